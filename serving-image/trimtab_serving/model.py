"""A model ready to answer: its signature, the protocols it is asked in, and the runtime that predicts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trimtab_serving import runtimes
from trimtab_serving.batching import Batcher
from trimtab_serving.bundle import digest_of, read_example, read_info
from trimtab_serving.counting.recorder import saw
from trimtab_serving.counting.rows import Seen
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol import v2
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.forms import Frames
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v1 import V1Codec
from trimtab_serving.protocol.v2_codec import Call, V2Codec
from trimtab_serving.runtimes import ModelRefused, Runtime
from trimtab_serving.settings import Settings

log = logging.getLogger("trimtab.model")

INLINE_SECONDS = 0.001
"""A prediction shorter than this runs on the event loop: handing it to a thread would take as long."""

THREADS = 4
WARM_UP_RUNS = 10
WARM_UP_SECONDS = 0.2
MOST_COPIED = 1000
"""The example is not copied beyond that: JSON of more rows takes longer than what is judged."""


class Model:
    """One loaded bundle under one name and version."""

    def __init__(self, settings: Settings, signature: Signature, runtime: Runtime, kind: str) -> None:
        self.name = settings.model_name
        self.version = settings.model_version
        self.kind = kind
        self.signature = signature
        self.v1 = V1Codec(signature)
        self.v2 = V2Codec(self.name, self.version, signature)
        self.frames = Frames(self.name, self.version, signature)
        self._runtime = runtime
        self.inline_rows = 0
        """Requests of so many rows run on the event loop."""
        self.example = b""
        """The bundle's own request, once it has been answered."""
        self._timeout = settings.timeout_seconds
        slots = getattr(runtime, "slots", THREADS)
        joined = settings.batch_max_size if signature.row_by_row else 1
        self._joined = joined
        self._batcher = Batcher(
            runtime.run, ThreadPoolExecutor(slots, "predict"), slots, joined, settings.batch_max_wait
        )
        inputs, outputs = signature.metadata()
        self.metadata = v2.ModelMetadata(
            self.name, [self.version], runtime.platform, inputs, outputs, {"digest": settings.digest}
        )

    async def predict(self, call: Call) -> Sequence[Array]:
        """The outputs of `call`; RequestError when the model refuses its values. All protocols end here."""
        arrays, names = call.arrays, call.outputs.names
        try:
            rows = row_count(arrays)
            if rows <= self.inline_rows:
                results: Sequence[Array] = self._runtime.run(arrays, names)
            else:
                results = await self._elsewhere(arrays, names, rows)
            saw(Seen(arrays, names, results))
            return results
        except ModelRefused as refusal:
            raise RequestError(f"the model refused the input: {_short(refusal)}") from refusal

    @property
    def joined_rows(self) -> int:
        """How many rows of several requests may run on the event loop together."""
        return min(self._joined, self.inline_rows)

    def at_once(self, arrays: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        """The outputs `names` of at most `inline_rows` rows, computed here and now; whatever the model raises."""
        return self._runtime.run(arrays, names)

    def warm_up(self, example: bytes) -> None:
        """Answer the bundle's example a few times; learn how many rows may run on the event loop."""
        call = self.v2.decode(example)
        times: list[float] = []
        while len(times) < WARM_UP_RUNS and sum(times) < WARM_UP_SECONDS:
            start = time.perf_counter()
            results = self._runtime.run(call.arrays, call.outputs.names)
            times.append(time.perf_counter() - start)
            self.v2.encode(call, results)
        self.example = example
        # Only ONNX Runtime's cost is in the rows; Python models may wait for anything.
        if self.kind == "onnx":
            self.inline_rows = self._rows_within(INLINE_SECONDS, call, min(times))

    def _rows_within(self, limit: float, call: Call, seconds: float) -> int:
        """How many rows take so long, judged by the example, and by as many copies of it as take a tenth of that."""
        arrays = call.arrays
        while self.signature.row_by_row and seconds < limit / 10 and row_count(arrays) < MOST_COPIED:
            arrays = {name: np.concatenate([array] * 10) for name, array in arrays.items()}
            start = time.perf_counter()
            self._runtime.run(arrays, call.outputs.names)
            seconds = time.perf_counter() - start
        return int(limit * row_count(arrays) / max(seconds, 1e-7))

    @property
    def waiting(self) -> int:
        """How many predictions wait for the model to be free."""
        return self._batcher.depth

    async def _elsewhere(self, arrays: Mapping[str, Array], names: Sequence[str], rows: int) -> Sequence[Array]:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._batcher.predict(arrays, names, rows)
        except TimeoutError:
            message = f"the model did not answer within {self._timeout:g} s; send fewer rows, or try again later"
            raise RequestError(message, 504) from None


def load(settings: Settings) -> Model:
    """Check the bundle's digest, load it and warm it up; Failure says why the pod cannot serve it."""
    info = read_info(settings.bundle_dir)
    digest = digest_of(settings.bundle_dir)
    if digest != settings.digest:
        message = (
            f"the bundle in {settings.bundle_dir} has the digest {digest}, not {settings.digest}; "
            "it was changed after it was fetched: delete the pod"
        )
        raise Failure(Reason.DIGEST_MISMATCH, message)
    try:
        runtime = runtimes.load(info, settings.bundle_dir, settings.workers, settings.timeout_seconds)
        model = Model(settings, Signature(info), runtime, info.runtime)
        model.warm_up(read_example(settings.bundle_dir))
    except Failure:
        raise
    except RequestError as error:
        message = f"the bundle's own example is refused: {error.message}; import the model again"
        raise Failure(Reason.BUNDLE_INVALID, message) from error
    except Exception as error:
        log.exception("the model cannot be loaded")
        message = f"the {info.flavor} model cannot be loaded: {type(error).__name__}: {_short(error)}"
        raise Failure(Reason.LOAD_FAILED, message) from error
    return model


def row_count(arrays: Mapping[str, Array]) -> int:
    """How many rows a request has."""
    shape = next(iter(arrays.values())).shape
    return int(shape[0]) if shape else 1


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
