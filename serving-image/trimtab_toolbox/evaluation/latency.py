"""How much longer the challenger takes: both asked for the same rows in turn, so that what else the machine does
falls on both.

A machine's noise only ever adds time, and seldom to one model alone in three measurements, so the least of up to three
ratios counts. Models are timed as they were logged; a conversion to ONNX makes either faster.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np

from trimtab_toolbox.evaluation.contender import Contender
from trimtab_toolbox.table import Tensors

ROWS = 32
ROUNDS = 100
SECONDS = 10.0
"""One measurement stops after this, however many rounds it has, but not before MIN_ROUNDS."""
MIN_ROUNDS = 20
MEASUREMENTS = 3

Clock = Callable[[], float]


def latency_ratio(
    champion: tuple[Contender, Tensors],
    challenger: tuple[Contender, Tensors],
    limit: float,
    clock: Clock = time.perf_counter,
) -> float:
    """The 95th percentile of the challenger's times for ROWS rows, as a multiple of the champion's."""
    ratio = np.inf
    for _ in range(MEASUREMENTS):
        ratio = min(ratio, _measured((champion, challenger), clock))
        if ratio <= limit:
            break
    return float(ratio)


def _measured(pair: Sequence[tuple[Contender, Tensors]], clock: Clock) -> float:
    times: list[list[float]] = [[], []]
    rows = len(next(iter(pair[0][1].values())))
    began = clock()
    gc.disable()
    try:
        for number in range(ROUNDS):
            start = number * ROWS % max(rows - ROWS, 1)
            for which in (0, 1) if number % 2 else (1, 0):
                contender, tensors = pair[which]
                batch = {name: values[start : start + ROWS] for name, values in tensors.items()}
                asked = clock()
                contender.answer(batch)
                times[which].append(clock() - asked)
            if clock() - began > SECONDS and number + 1 >= MIN_ROUNDS:
                break
    finally:
        gc.enable()
    # The first rounds fill caches.
    before, after = (np.quantile(taken[2:], 0.95) for taken in times)
    return float(after / max(before, 1e-9))
