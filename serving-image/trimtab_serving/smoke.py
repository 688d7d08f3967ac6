"""Does this pod answer? The bundle's own example, sent the whole way of a prediction, and counted nowhere.

Whoever is about to send traffic here can ask first, without data and without a token. So that nobody can put load on
the pod in this way, one test runs at a time, and all who ask meanwhile get its answer.
"""

from __future__ import annotations

import asyncio
import logging
import time

import numpy as np

from trimtab_serving.model import Model
from trimtab_serving.protocol.errors import RequestError

log = logging.getLogger("trimtab.smoke")


class SmokeTest:
    """The smoke test of one server process."""

    def __init__(self) -> None:
        self._running: asyncio.Task[float | str] | None = None

    async def run(self, model: Model) -> float:
        """Seconds from the example's bytes to the answer's; RequestError 503 says what is wrong."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(_answer(model))
        # Shielded: the one who asked first may go away, and the others still wait.
        told = await asyncio.shield(self._running)
        if isinstance(told, str):
            raise RequestError(f"the bundle's own example was not answered: {told}", 503)
        return told


async def _answer(model: Model) -> float | str:
    start = time.perf_counter()
    try:
        call = model.v2.decode(model.example)
        results = await model.predict(call)
        for name, array in zip(call.outputs.names, results, strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return f"the output {name!r} is not finite"
        model.v2.encode(call, results)
    except RequestError as error:
        return error.message
    except Exception as error:
        log.exception("the smoke test failed")
        return f"{type(error).__name__}; the server's log says more"
    return time.perf_counter() - start
