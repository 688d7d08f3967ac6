"""Fitted models, sources to import them from over real HTTP, and one whole import in this process."""

import io
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from trimtab_serving.bundle import BundleInfo, read_info, unpack
from trimtab_toolbox.importer import run_import
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.request import Request


class FileServer(ThreadingHTTPServer):
    """Serves what was published, by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _FileHandler)
        self.files: dict[str, bytes] = {}

    def handle_error(self, *arguments: object) -> None:
        """A client that hangs up is no news."""

    def publish(self, source: Path | bytes, name: str = "") -> str:
        """The address of a file's bytes, or of a folder as a zip."""
        if isinstance(source, Path) and source.is_dir():
            archive = shutil.make_archive(str(source), "zip", source)
            source, name = Path(archive), name or "model.zip"
        content = source if isinstance(source, bytes) else source.read_bytes()
        name = name or (source.name if isinstance(source, Path) else "model")
        self.files[f"/{name}"] = content
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class _FileHandler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *arguments: object) -> None:
        pass


class Imported(NamedTuple):
    """What an import said, and the bundle it put into the store, unpacked."""

    result: dict[str, Any]
    info: BundleInfo
    directory: Path

    @property
    def files(self) -> list[str]:
        found = (path for path in self.directory.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.directory).as_posix() for path in found)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """The models here are small, and threads that wait for each other on a busy machine take longer than they help."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def web() -> Iterator[FileServer]:
    server = FileServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def importing(web: FileServer, tmp_path: Path) -> Callable[..., Imported]:
    """Import a file, a folder (as a zip) or bytes, with further fields of the Request."""

    def run(source: Path | bytes, name: str = "", **fields: Any) -> Imported:
        workdir = tmp_path / f"work-{len(list(tmp_path.glob('work-*')))}"
        workdir.mkdir()
        store = tmp_path / "store"
        request = Request(uri=web.publish(source, name), store=store.as_uri(), **fields)
        result = run_import(request, workdir, Journal(io.StringIO()))
        directory = workdir / "stored"
        directory.mkdir()
        with (store / "sha256" / result["digest"].removeprefix("sha256:")).open("rb") as tar:
            unpack(tar, directory)
        return Imported(result, read_info(directory), directory)

    return run


@pytest.fixture(scope="session")
def tumours() -> tuple[pd.DataFrame, "pd.Series[int]"]:
    rows, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    return rows, labels


@pytest.fixture(scope="session")
def logistic(tumours: tuple[pd.DataFrame, Any]) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(*tumours)
