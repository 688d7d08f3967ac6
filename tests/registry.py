"""A model registry that answers as MLflow does, or as a broken one, on a port of its own."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

ALIAS = "/api/2.0/mlflow/registered-models/alias"


class Registry:
    """Use as a context manager. `aliases` holds the versions; `moods` says how questions about a model are answered.

    Moods: "well", unless told otherwise; "silent" accepts a request and never answers; "page" is somebody else's HTML;
    "number" is JSON of another shape; "broken" is HTTP 500; "refusing" is HTTP 403. With `down()` nobody listens any
    more, until `up()`.
    """

    def __init__(self) -> None:
        self.aliases: dict[str, int] = {}
        self.moods: dict[str, str] = {}
        self.asked: list[float] = []
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._woken = threading.Event()

    @property
    def url(self) -> str:
        """What MLFLOW_TRACKING_URI would be."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Registry:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self) -> None:
        """Listen, on the same port as before."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                registry.asked.append(time.monotonic())
                registry._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._woken.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        """Stop listening."""
        self._woken.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        mood = self.moods.get(query.get("name", ""), "well")
        if mood == "silent":
            self._woken.wait(120)
            return
        status, kind, text = {
            "well": (200, "application/json", ""),
            "page": (200, "text/html", "<html><body>Welcome to nginx!</body></html>"),
            "number": (200, "application/json", "42"),
            "broken": (500, "text/plain", "Internal Server Error"),
            "refusing": (403, "application/json", json.dumps({"message": "Permission denied"})),
        }[mood]
        if mood == "well":
            status, text = self._version(urlsplit(request.path).path, query)
        body = text.encode()
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _version(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        if path == ALIAS and (version := self.aliases.get(f"{query['name']}@{query['alias']}")):
            return 200, json.dumps({"model_version": {"name": query["name"], "version": str(version)}})
        return 404, json.dumps(
            {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered model alias not found."}
        )
