"""The public conformance table against a real process of ours, and against a server that gets everything wrong."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.conformance.__main__ import GROUPS, cases, main, run
from bench.conformance.case import Target
from tests.contract.test_server_process import NAME, fetched_environment, serving, train


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    trained = train("onnx", tmp_path_factory.mktemp("conformance"))
    with serving(fetched_environment(trained, tmp_path_factory.mktemp("server"))) as server:
        yield server.url


def target(url: str) -> Target:
    return Target(
        url=url,
        model=NAME,
        version="3",
        input="X",
        datatype="FP32",
        row=(5.1, 3.5, 1.4, 0.2),
        outputs=("label", "probabilities"),
        strict=True,
    )


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_passes(url: str, group: str) -> None:
    failed = run(target(url), cases([group]), quiet=True)
    assert [f"{case.name}: {reason}" for case, reason in failed] == []


def test_the_command_finds_out_about_the_model_and_says_how_it_went(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--url", url, "--model", NAME, "--strict", "--groups", "v1", "binary"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "pass  v1       3 instances" in lines
    assert lines[-1].split()[-4:] == [
        str(len(cases(["v1", "binary"]))),
        "of",
        str(len(cases(["v1", "binary"]))),
        "pass",
    ]


class AlwaysWrong(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(500)
        body = b"Traceback (most recent call last):"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815


def test_a_server_that_blames_itself_passes_nothing_of_the_protocol() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), AlwaysWrong) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        chosen = cases(["oip", "binary", "v1"])
        failed = run(target(f"http://127.0.0.1:{server.server_address[1]}"), chosen, quiet=True)
        server.shutdown()
        thread.join()
    assert [case.name for case in chosen if case not in [one for one, _ in failed]] == []


def test_the_table_is_large_and_its_names_are_unique() -> None:
    names = [(case.group, case.name) for case in cases()]
    assert len(names) >= 340
    assert len(set(names)) == len(names)


def test_servers_that_are_not_there_fail_every_case_with_a_reason(tmp_path: Path) -> None:
    chosen = cases(["trimtab"])[:3]
    failed = run(target("http://127.0.0.1:9"), chosen, quiet=True)
    assert len(failed) == 3
    assert "ConnectionRefusedError" in failed[0][1]
