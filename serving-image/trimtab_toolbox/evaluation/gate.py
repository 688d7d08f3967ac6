"""What a challenger is held to: the judging fields of `spec.gate`, read once into numbers."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from trimtab_serving.outcome import Failure
from trimtab_toolbox.evaluation.metrics import METRICS
from trimtab_toolbox.request import choice, invalid

MODES = ("NonInferior", "Superior")


class Fairness(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The largest difference of the metric that is allowed between the groups of `column`."""

    column: str
    max_gap: str


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The fields as the resource has them: numbers are decimal strings, and nothing means that there is no limit."""

    metric: str
    mode: str = "NonInferior"
    margin: str = "0.01"
    confidence_percent: str = "95"
    floor: str = ""
    slices: tuple[str, ...] = ()
    slice_margin: str = ""
    class_floor: str = ""
    max_calibration_error: str = ""
    fairness: Fairness | None = None
    max_latency_ratio: str = ""
    max_size_bytes: int = 0
    holdout: Any = None
    """Not read: the variables say which file it is."""


class Gate(msgspec.Struct, frozen=True):
    """The same as numbers. A limit of None is not checked; `confidence` is a share."""

    metric: str
    superior: bool
    margin: float
    confidence: float
    floor: float | None
    slices: tuple[str, ...]
    slice_margin: float
    class_floor: float | None
    max_calibration_error: float | None
    fair_column: str
    max_gap: float | None
    max_latency_ratio: float | None
    max_size_bytes: int

    @property
    def aside(self) -> frozenset[str]:
        """Columns that only divide the rows, and which models need not know."""
        return frozenset(self.slices) | ({self.fair_column} if self.fair_column else frozenset())


def read_gate(text: str) -> Gate:
    """The gate that `text` (TRIMTAB_GATE) describes; Failure SettingsInvalid names the field that is wrong."""
    try:
        written = msgspec.json.decode(text, type=Written)
    except msgspec.DecodeError as error:
        message = f"TRIMTAB_GATE cannot be read: {error}; it must be the judging fields of spec.gate as JSON"
        raise invalid(message) from error
    choice("the gate's metric", written.metric, tuple(METRICS))
    fair = written.fairness
    margin = _number("margin", written.margin, 0, math.inf) or 0.0
    slice_margin = _number("sliceMargin", written.slice_margin, 0, math.inf)
    return Gate(
        metric=written.metric,
        superior=choice("the gate's mode", written.mode, MODES) == "Superior",
        margin=margin,
        confidence=(_number("confidencePercent", written.confidence_percent, 50, 99.99) or 95.0) / 100,
        floor=_number("floor", written.floor, -math.inf, math.inf),
        slices=written.slices,
        slice_margin=2 * margin if slice_margin is None else slice_margin,
        class_floor=_number("classFloor", written.class_floor, 0, 1),
        max_calibration_error=_number("maxCalibrationError", written.max_calibration_error, 0, 1),
        fair_column=fair.column if fair else "",
        max_gap=_number("fairness.maxGap", fair.max_gap, 0, math.inf) if fair else None,
        max_latency_ratio=_number("maxLatencyRatio", written.max_latency_ratio, 0, math.inf),
        max_size_bytes=written.max_size_bytes,
    )


def _number(name: str, text: str, least: float, most: float) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (least <= number <= most and math.isfinite(number)):
        raise _out_of_range(name, text, least, most)
    return number


def _out_of_range(name: str, text: str, least: float, most: float) -> Failure:
    bounds = [f"of at least {least:g}"] * math.isfinite(least) + [f"of at most {most:g}"] * math.isfinite(most)
    return invalid(f"the gate's {name} is {text!r}; it must be a number {' and '.join(bounds)}".rstrip())
