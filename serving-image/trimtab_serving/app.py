"""The ASGI application: one dictionary from path to handler, and one place that turns faults into answers.

There is no framework between the socket and the model. A request costs a dictionary lookup, decoding,
prediction, encoding and two sends; everything else was prepared when the server started.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time

from trimtab_serving.auth import Door
from trimtab_serving.counting.recorder import saw
from trimtab_serving.http import (
    CLOSE,
    Disconnected,
    Headers,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    correlation,
    send_response,
)
from trimtab_serving.lane import Lane
from trimtab_serving.lifecycle import Lifecycle, Phase
from trimtab_serving.metrics import Metrics
from trimtab_serving.protocol import v2
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.routes import Endpoints, Route

log = logging.getLogger("trimtab.access")
fault_log = logging.getLogger("trimtab.app")

SERVER_FAULT = 500
ROUTED = b"x-trimtab-routed"
"""Set by routers, which split the users of one address over servers of models that have different names."""
_MODEL = re.compile(r"(/v[12]/models/)[^/:]+")


class Application:
    """Serves one model; callable as ASGI 3."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics) -> None:
        settings = lifecycle.settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._name = settings.model_name
        self._version = settings.model_version
        self._access_log = settings.access_log
        self._revision: Headers = ((b"x-trimtab-revision", settings.revision.encode()),)
        self._routes = Endpoints(lifecycle, metrics).routes()
        self._door = Door(settings.tokens_dir)
        self.lane = Lane(lifecycle, metrics, self._door)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        request = Request(scope, receive)
        route = self._routes.get(scope["path"]) or self._routed(request)
        refused: str | None = None
        saw(None)
        try:
            response = await self._dispatch(route, request)
        except RequestError as error:
            refused = error.tensor
            response = _refusal(error, request)
        except Disconnected:
            return
        except asyncio.CancelledError:
            # The server stops and has waited long enough. The task ends here anyway, so it may say why.
            response = _refusal(RequestError("the server stopped before it could answer; try again", 503), request)
        except Exception:
            fault_log.exception("a request failed", extra=_told(request))
            response = Response(SERVER_FAULT, v2.encode_error("the server failed on this request; its log says why"))
        extra = self._extra(request)
        if route is not None and route.counted:
            # Before it is sent: whatever a client has seen was counted, even if this process is killed now.
            extra += self._metrics.answered(response.status, time.perf_counter() - start, request.headers, refused)
        await send_response(send, response, extra)
        if self._access_log:
            seconds = round(time.perf_counter() - start, 6)
            fields = {"method": scope["method"], "status": response.status, "seconds": seconds}
            log.info("request", extra=fields | {"bytes": len(response.body)} | _told(request))

    async def _dispatch(self, route: Route | None, request: Request) -> Response:
        path, method = request.scope["path"], request.scope["method"]
        if route is None:
            raise RequestError(self._unknown(path), 404)
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            allow = b"GET, HEAD" if route.method == "GET" else route.method.encode()
            raise RequestError(f"{path} takes {route.method}, not {method}", 405, ((b"allow", allow),))
        if not route.public:
            self._door.admit(request.headers.get(b"authorization"))
        if route.counted:
            self._lifecycle.check_room()
        return await route.handle(request)

    def _routed(self, request: Request) -> Route | None:
        """The route of a path with another model's name, if a router has sent the request here."""
        if ROUTED not in request.headers:
            return None
        return self._routes.get(_MODEL.sub(rf"\g<1>{self._name}", request.scope["path"], count=1))

    def _unknown(self, path: str) -> str:
        parts = path.split("/")
        name = parts[3].partition(":")[0] if len(parts) > 3 else ""
        if path.startswith(("/v1/models/", "/v2/models/")) and name != self._name:
            return f"model {name[:128]!r} is unknown; this server serves {self._name!r}"
        if len(parts) > 5 and parts[4] == "versions" and parts[5] != self._version:
            return f"version {parts[5][:128]!r} of model {self._name!r} is unknown; here it is {self._version!r}"
        return f"there is nothing at {path[:256]!r}"

    def _extra(self, request: Request) -> Headers:
        extra = self._revision + correlation(request.headers)
        if self._lifecycle.phase is Phase.DRAINING:
            extra = (*extra, CLOSE)
        return extra


def _refusal(error: RequestError, request: Request) -> Response:
    if error.status == SERVER_FAULT:
        fault_log.error(error.message, extra=_told(request))
    return Response(error.status, v2.encode_error(error.message), (*Response(0, b"").headers, *error.headers))


def _told(request: Request) -> dict[str, str]:
    """What a line of the log says of a request: its path, and by what its client knows it."""
    names = {b"x-request-id": "request_id", b"traceparent": "traceparent"}
    return {"path": request.scope["path"]} | {
        names[name]: value.decode("latin-1") for name, value in correlation(request.headers)
    }
