"""The ASGI application: one dictionary from path to handler, and one place that turns faults into answers.

There is no framework between the socket and the model. A request costs a dictionary lookup, decoding,
prediction, encoding and two sends; everything else was prepared when the server started.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from trimtab_serving import __version__
from trimtab_serving.http import (
    CLOSE,
    Disconnected,
    Headers,
    Receive,
    Response,
    Scope,
    Send,
    read_body,
    request_id,
    send_response,
)
from trimtab_serving.lifecycle import Lifecycle, Phase
from trimtab_serving.metrics import CONTENT_TYPE, Metrics
from trimtab_serving.model import Model
from trimtab_serving.protocol import v2
from trimtab_serving.protocol.errors import RequestError

log = logging.getLogger("trimtab.access")
fault_log = logging.getLogger("trimtab.app")

SERVER_NAME = "trimtab"

Handler = Callable[[Scope, Receive], Awaitable[Response]]


class Route(NamedTuple):
    """What answers on a path."""

    method: str
    handle: Handler
    counted: bool = False


class Application:
    """Serves one model; callable as ASGI 3."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics) -> None:
        settings = lifecycle.settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._name = settings.model_name
        self._version = settings.model_version
        self._limit = settings.max_request_bytes
        self._access_log = settings.access_log
        self._revision: Headers = ((b"x-trimtab-revision", settings.revision.encode()),)
        self._server = v2.encode({"name": SERVER_NAME, "version": __version__, "extensions": []})
        self._routes = self._build_routes()

    def _build_routes(self) -> dict[str, Route]:
        routes = {
            "/v2/health/live": Route("GET", self._live),
            "/v2/health/ready": Route("GET", self._ready),
            "/v2": Route("GET", self._server_metadata),
            "/metrics": Route("GET", self._scrape),
        }
        model = f"/v2/models/{self._name}"
        for prefix in (model, f"{model}/versions/{self._version}"):
            routes[prefix] = Route("GET", self._metadata)
            routes[f"{prefix}/ready"] = Route("GET", self._model_ready)
            routes[f"{prefix}/infer"] = Route("POST", self._infer, counted=True)
        return routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        route = self._routes.get(scope["path"])
        try:
            response = await self._dispatch(route, scope, receive)
        except RequestError as error:
            response = _refusal(error)
        except Disconnected:
            return
        except asyncio.CancelledError:
            # The server stops and has waited long enough. The task ends here anyway, so it may say why.
            response = _refusal(RequestError("the server stopped before it could answer; try again", 503))
        except Exception:
            fault_log.exception("a request failed", extra={"path": scope["path"]})
            response = Response(500, v2.encode_error("the server failed on this request; its log says why"))
        if route is not None and route.counted:
            self._metrics.answered(response.status, time.perf_counter() - start)
        await send_response(send, response, self._extra(scope))
        if self._access_log:
            self._log(scope, response, time.perf_counter() - start)

    async def _dispatch(self, route: Route | None, scope: Scope, receive: Receive) -> Response:
        if route is None:
            raise RequestError(self._unknown(scope["path"]), 404)
        method = scope["method"]
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            allow = b"GET, HEAD" if route.method == "GET" else route.method.encode()
            raise RequestError(f"{scope['path']} takes {route.method}, not {method}", 405, ((b"allow", allow),))
        return await route.handle(scope, receive)

    async def _infer(self, scope: Scope, receive: Receive) -> Response:
        model = self._loaded()
        body = await read_body(scope, receive, self._limit)
        try:
            return Response(200, await model.infer(body))
        except RequestError as error:
            if any(name == b"inference-header-content-length" for name, _ in scope["headers"]):
                message = "binary tensor data is not supported; send the tensors' data as JSON"
                raise RequestError(message) from error
            raise

    async def _live(self, scope: Scope, receive: Receive) -> Response:
        return Response(200, b'{"live":true}')

    async def _ready(self, scope: Scope, receive: Receive) -> Response:
        if self._lifecycle.ready:
            return Response(200, b'{"live":true,"ready":true}')
        return Response(503, b'{"live":true,"ready":false}')

    async def _model_ready(self, scope: Scope, receive: Receive) -> Response:
        ready = self._lifecycle.ready
        return Response(200 if ready else 503, v2.encode({"name": self._name, "ready": ready}))

    async def _server_metadata(self, scope: Scope, receive: Receive) -> Response:
        return Response(200, self._server)

    async def _metadata(self, scope: Scope, receive: Receive) -> Response:
        return Response(200, self._loaded().metadata)

    async def _scrape(self, scope: Scope, receive: Receive) -> Response:
        return Response(200, self._metrics.render(), ((b"content-type", CONTENT_TYPE.encode()),))

    def _loaded(self) -> Model:
        model = self._lifecycle.model
        if model is None:
            message = f"model {self._name!r} is still loading; try again"
            raise RequestError(message, 503, ((b"retry-after", b"1"),))
        return model

    def _unknown(self, path: str) -> str:
        parts = path.split("/")
        if path.startswith("/v2/models/") and parts[3] != self._name:
            return f"model {parts[3][:128]!r} is unknown; this server serves {self._name!r}"
        if len(parts) > 5 and parts[4] == "versions" and parts[5] != self._version:
            return f"version {parts[5][:128]!r} of model {self._name!r} is unknown; here it is {self._version!r}"
        return f"there is nothing at {path[:256]!r}"

    def _extra(self, scope: Scope) -> Headers:
        extra = self._revision
        identity = request_id(scope)
        if identity is not None:
            extra = (*extra, (b"x-request-id", identity))
        if self._lifecycle.phase is Phase.DRAINING:
            extra = (*extra, CLOSE)
        return extra

    def _log(self, scope: Scope, response: Response, seconds: float) -> None:
        identity = request_id(scope)
        fields = {"method": scope["method"], "path": scope["path"], "status": response.status}
        fields |= {"seconds": round(seconds, 6), "bytes": len(response.body)}
        if identity is not None:
            fields["request_id"] = identity.decode("latin-1")
        log.info("request", extra=fields)


def _refusal(error: RequestError) -> Response:
    return Response(error.status, v2.encode_error(error.message), (*Response(0, b"").headers, *error.headers))
