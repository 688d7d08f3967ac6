"""The gRPC server: the six calls of the protocol, on the loop, the model and the counters of the HTTP server.

Every fault is one that HTTP has too, told by the gRPC code that means the same. Predictions are counted under the
HTTP status they would have had, so that figures do not depend on how a client asks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from trimtab_serving import __version__
from trimtab_serving.auth import Door
from trimtab_serving.counting.recorder import saw
from trimtab_serving.http import Headers
from trimtab_serving.lifecycle import Lifecycle
from trimtab_serving.metrics import Metrics
from trimtab_serving.model import Model
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.routes import SERVER_NAME
from trimtab_serving.rpc import codec
from trimtab_serving.rpc.messages import MESSAGES, SERVICE

log = logging.getLogger("trimtab.grpc")

CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By HTTP status; any other fault is INVALID_ARGUMENT."""

OK = 200
SERVER_FAULT = 500

Context = Any
Handle = Callable[[Any], Awaitable[Any]]


class RpcServer:
    """Serves one model over gRPC on a port of its own."""

    def __init__(self, lifecycle: Lifecycle, metrics: Metrics, port: int) -> None:
        settings = lifecycle.settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._name = settings.model_name
        self._version = settings.model_version
        self._door = Door(settings.tokens_dir)
        self._limit = settings.max_request_bytes
        self.port = port
        self._server: Any = None

    async def start(self) -> None:
        """Listen; Failure SettingsInvalid when the port cannot be had."""
        options = [
            ("grpc.max_receive_message_length", self._limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(self._lifecycle.part.workers > 1)),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        try:
            self.port = self._server.add_insecure_port(f"[::]:{self.port}")
        except RuntimeError as error:
            message = f"TRIMTAB_GRPC_PORT is {self.port}, on which nothing can listen: {error}"
            raise Failure(Reason.SETTINGS_INVALID, message) from error
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Take no new calls, and give those that have begun so many seconds."""
        if self._server is not None:
            await self._server.stop(seconds)

    def _handlers(self) -> dict[str, Any]:
        calls: dict[str, Handle] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._metadata,
            "ModelInfer": self._infer,
        }
        return {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(name, _reading(name, handle)),
                response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
            )
            for name, handle in calls.items()
        }

    def _guarded(self, name: str, handle: Handle) -> Callable[[Any, Context], Awaitable[Any]]:
        public = name in ("ServerLive", "ServerReady", "ModelReady")
        counted = name == "ModelInfer"

        async def answer(request: Any, context: Context) -> Any:
            start = time.perf_counter()
            headers = _headers(context)
            result, refusal = await self._attempt(handle, request, headers, public=public, counted=counted)
            extra: Headers = self._echo(headers)
            if counted:
                status, tensor = (OK, None) if refusal is None else (refusal.status, refusal.tensor)
                extra += self._metrics.answered(status, time.perf_counter() - start, headers, tensor)
            context.set_trailing_metadata([(key.decode(), value.decode("latin-1")) for key, value in extra])
            if refusal is not None:
                await context.abort(CODES.get(refusal.status, grpc.StatusCode.INVALID_ARGUMENT), refusal.message)
            return result

        return answer

    async def _attempt(
        self, handle: Handle, request: Any, headers: dict[bytes, bytes], *, public: bool, counted: bool
    ) -> tuple[Any, RequestError | None]:
        saw(None)
        try:
            if not public:
                self._door.admit(headers.get(b"authorization"))
            if not counted:
                return await handle(request), None
            self._lifecycle.admit()
            try:
                return await handle(request), None
            finally:
                self._lifecycle.release()
        except RequestError as error:
            return None, error
        except Exception:
            log.exception("a call failed")
            return None, RequestError("the server failed on this request; its log says why", SERVER_FAULT)

    def _echo(self, headers: dict[bytes, bytes]) -> Headers:
        revision = (b"x-trimtab-revision", self._lifecycle.settings.revision.encode())
        identity = headers.get(b"x-request-id")
        return (revision,) if identity is None else (revision, (b"x-request-id", identity[:128]))

    async def _live(self, request: Any) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _ready(self, request: Any) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=self._lifecycle.ready)

    async def _model_ready(self, request: Any) -> Any:
        self._check(request.name, request.version)
        return MESSAGES["ModelReadyResponse"](ready=self._lifecycle.ready)

    async def _server_metadata(self, request: Any) -> Any:
        return MESSAGES["ServerMetadataResponse"](name=SERVER_NAME, version=__version__)

    async def _metadata(self, request: Any) -> Any:
        self._check(request.name, request.version)
        told = self._loaded().metadata
        answer = MESSAGES["ModelMetadataResponse"](name=told.name, versions=told.versions, platform=told.platform)
        for side, tensors in ((answer.inputs, told.inputs), (answer.outputs, told.outputs)):
            for tensor in tensors:
                side.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return answer

    async def _infer(self, request: Any) -> Any:
        self._check(request.model_name, request.model_version)
        model = self._loaded()
        call = codec.decode(request, model.signature)
        results = await model.predict(call)
        return codec.encode(call, results, model.signature, self._name, self._version)

    def _check(self, name: str, version: str) -> None:
        if name != self._name:
            raise RequestError(f"model {name[:128]!r} is unknown; this server serves {self._name!r}", 404)
        if version not in ("", self._version):
            message = f"version {version[:128]!r} of model {name!r} is unknown; here it is {self._version!r}"
            raise RequestError(message, 404)

    def _loaded(self) -> Model:
        model = self._lifecycle.model
        if model is None:
            raise RequestError(f"model {self._name!r} is still loading; try again", 503)
        return model


def _reading(name: str, handle: Handle) -> Handle:
    """`handle` for the bytes of a message. Left to the library, bytes that are none would be a fault without a name."""
    read = MESSAGES[f"{name}Request"].FromString

    async def read_and_handle(content: bytes) -> Any:
        try:
            request = read(content)
        except DecodeError as error:
            raise RequestError(f"the message is no {name}Request: {error}") from None
        return await handle(request)

    return read_and_handle


def _headers(context: Context) -> dict[bytes, bytes]:
    given = context.invocation_metadata() or ()
    return {
        key.encode(): value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        for key, value in given
    }
