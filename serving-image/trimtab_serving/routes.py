"""What answers on each path: health, metadata, and prediction in the protocols the server speaks over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from trimtab_serving import __version__, compression
from trimtab_serving.counting.profile import PROFILE_FILE
from trimtab_serving.docs import openapi, page
from trimtab_serving.http import BINARY, JSON, Headers, Request, Response, cloud_event, json_length, read_body
from trimtab_serving.lifecycle import Lifecycle
from trimtab_serving.metrics import CONTENT_TYPE, Metrics
from trimtab_serving.model import Model
from trimtab_serving.protocol import v2
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.v2_codec import Encoded
from trimtab_serving.smoke import SmokeTest

SERVER_NAME = "trimtab"
EXTENSIONS = ("binary_tensor_data",)

Handler = Callable[[Request], Awaitable[Response]]

_JSON_ALONE: Headers = (JSON,)
_HTML: Headers = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
)


class Route(NamedTuple):
    """What answers on a path.

    `counted` is for predictions, whose number and time are kept; `public` for what is answered without a token.
    """

    method: str
    handle: Handler
    counted: bool = False
    public: bool = False


class IndexRequest(msgspec.Struct):
    """The body of POST /v2/repository/index; `ready` asks for ready models alone."""

    ready: bool | None = None


_decode_index = msgspec.json.Decoder(IndexRequest).decode


class Endpoints:
    """The handlers of one model's server."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics) -> None:
        settings = lifecycle.settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self.name = settings.model_name
        self.version = settings.model_version
        self._limit = settings.max_request_bytes
        self._profile_path = Path(settings.bundle_dir, PROFILE_FILE)
        self._smoke_test = SmokeTest()
        self._source = f"/v2/models/{self.name}".encode()
        server = {"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS}
        self._server = Response(200, v2.encode(server))
        self._models = Response(200, v2.encode({"models": [self.name]}))

    def routes(self) -> dict[str, Route]:
        """The table from path to route."""
        routes = {
            "/v2/health/live": Route("GET", self._live, public=True),
            "/v2/health/ready": Route("GET", self._ready, public=True),
            "/v2": Route("GET", self._server_metadata),
            "/v2/models": Route("GET", self._list),
            "/v2/repository/index": Route("POST", self._index),
            "/v1/models": Route("GET", self._list),
            f"/v1/models/{self.name}": Route("GET", self._model_ready),
            f"/v1/models/{self.name}:predict": Route("POST", self._predict, counted=True),
            "/metrics": Route("GET", self._scrape, public=True),
            "/openapi.json": Route("GET", self._openapi),
            "/docs": Route("GET", self._page),
        }
        routes["/trimtab/v1/counts"] = Route("GET", self._counts, public=True)
        routes["/trimtab/v1/profile"] = Route("GET", self._profile, public=True)
        routes["/trimtab/v1/smoke"] = Route("POST", self._smoke, public=True)
        if self._metrics.desk is not None:
            routes["/trimtab/v1/feedback"] = Route("POST", self._feedback)
        model = f"/v2/models/{self.name}"
        for prefix in (model, f"{model}/versions/{self.version}"):
            routes[prefix] = Route("GET", self._metadata)
            routes[f"{prefix}/ready"] = Route("GET", self._model_ready, public=True)
            routes[f"{prefix}/infer"] = Route("POST", self._infer, counted=True)
        return routes

    async def _infer(self, request: Request) -> Response:
        model = self._loaded()
        body = await read_body(request, self._limit)
        self._lifecycle.admit()
        try:
            call = model.v2.decode(body, json_length(request.headers))
            encoded = model.v2.encode(call, await model.predict(call))
        finally:
            self._lifecycle.release()
        if len(encoded.body) < compression.LEAST_BYTES and encoded.json_length is None:
            return Response(200, encoded.body, self._event(request, _JSON_ALONE))
        return await self._answer(request, encoded)

    async def _predict(self, request: Request) -> Response:
        model = self._loaded()
        body = await read_body(request, self._limit)
        self._lifecycle.admit()
        try:
            call = model.v1.decode(body)
            encoded = model.v1.encode(call, await model.predict(call))
        finally:
            self._lifecycle.release()
        return await self._answer(request, encoded)

    async def _answer(self, request: Request, encoded: Encoded) -> Response:
        body, length = encoded
        headers: Headers = _JSON_ALONE
        if length is not None:
            headers = (BINARY, (b"inference-header-content-length", str(length).encode()))
        headers = self._event(request, headers)
        if len(body) >= compression.LEAST_BYTES:
            headers += ((b"vary", b"accept-encoding"),)
            if compression.wanted(request.headers.get(b"accept-encoding", b"")):
                return Response(200, await compression.packed(body), (*headers, (b"content-encoding", b"gzip")))
        return Response(200, body, headers)

    def _event(self, request: Request, headers: Headers) -> Headers:
        return headers + cloud_event(request.headers, self._source) if b"ce-id" in request.headers else headers

    async def _live(self, request: Request) -> Response:
        return Response(200, b'{"live":true}')

    async def _ready(self, request: Request) -> Response:
        if self._lifecycle.ready:
            return Response(200, b'{"live":true,"ready":true}')
        return Response(503, b'{"live":true,"ready":false}')

    async def _model_ready(self, request: Request) -> Response:
        ready = self._lifecycle.ready
        return Response(200 if ready else 503, v2.encode({"name": self.name, "ready": ready}))

    async def _server_metadata(self, request: Request) -> Response:
        return self._server

    async def _list(self, request: Request) -> Response:
        return self._models

    async def _index(self, request: Request) -> Response:
        body = await read_body(request, self._limit)
        wanted = v2.decoded(_decode_index, body) if body else IndexRequest()
        ready = self._lifecycle.ready
        if wanted.ready and not ready:
            return Response(200, b"[]")
        state, reason = ("READY", "") if ready else ("UNAVAILABLE", self._lifecycle.phase.value)
        return Response(
            200, v2.encode([{"name": self.name, "version": self.version, "state": state, "reason": reason}])
        )

    async def _metadata(self, request: Request) -> Response:
        return Response(200, v2.encode(self._loaded().metadata))

    async def _scrape(self, request: Request) -> Response:
        return Response(200, self._metrics.render(), ((b"content-type", CONTENT_TYPE.encode()),))

    async def _counts(self, request: Request) -> Response:
        return Response(200, self._metrics.counts())

    async def _profile(self, request: Request) -> Response:
        if "profile" not in self._metrics.identity:
            message = f"model {self.name!r} was imported without a drift profile; log it with one, and import it again"
            raise RequestError(message, 404)
        # Asked for once a digest, so it need not lie in memory.
        return Response(200, self._profile_path.read_bytes())

    async def _smoke(self, request: Request) -> Response:
        seconds = await self._smoke_test.run(self._loaded())
        return Response(200, v2.encode({"ok": True, "seconds": seconds}))

    async def _feedback(self, request: Request) -> Response:
        desk = self._metrics.desk
        assert desk is not None  # or there were no such route
        return Response(200, desk.take(await read_body(request, self._limit)))

    async def _openapi(self, request: Request) -> Response:
        model = self._loaded()
        return Response(200, v2.encode(openapi.document(model.metadata, model.signature)))

    async def _page(self, request: Request) -> Response:
        model = self._loaded()
        return Response(200, page.render(model.metadata, model.signature).encode(), _HTML)

    def _loaded(self) -> Model:
        model = self._lifecycle.model
        if model is None:
            message = f"model {self.name!r} is still loading; try again"
            raise RequestError(message, 503, ((b"retry-after", b"1"),))
        return model
