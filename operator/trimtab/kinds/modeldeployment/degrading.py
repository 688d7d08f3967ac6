"""From findings to what the status says of quality. Pure.

Degraded is begun by proof, and ended when the newest labels keep the limit again and no proof is left. What scores
alone say stands beside it and decides nothing.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from trimtab.core.conditions import timestamp
from trimtab.evidence.drift.degradation import Limit
from trimtab.evidence.drift.finding import Finding, Quality
from trimtab.kinds.modeldeployment.episodes import followed, number, span
from trimtab.kinds.modeldeployment.monitoring import QualitySpec
from trimtab.kinds.modeldeployment.vitals import MOST_METRICS, MetricStatus, QualityState, QualityStatus

LEAST_LABELS = 500
LONGEST_DELAY = 10**9


def degrading(
    before: QualityStatus | None, found: Finding, revision: str, wanted: QualitySpec | None, now: datetime
) -> QualityStatus | None:
    """What the status says of quality after this finding; None while there is nothing to say and nothing was asked."""
    same = before if before is not None and before.digest == found.digest else None
    quality = found.quality
    if quality is None:
        if same is not None:
            return same.model_copy(update={"revision": revision})
        if wanted is None:
            return None
        message = f"no labels have come back yet; {wanted.min_labels} are needed"
        return QualityStatus(state="InsufficientData", revision=revision, digest=found.digest, message=message)
    if same is not None and followed(same.checked_at, quality.at, now):
        return same.model_copy(update={"revision": revision})
    return _looked(same, found.digest, quality, revision, wanted.limit if wanted else None)


def _looked(
    same: QualityStatus | None, digest: str, quality: Quality, revision: str, limit: Limit | None
) -> QualityStatus | None:
    metrics = _metrics(quality)
    if not metrics and limit is None:
        return None
    state = _state(same, quality, limit)
    delay = quality.delay
    return QualityStatus(
        state=state,
        revision=revision,
        digest=digest,
        labels=quality.labels,
        delay_seconds=None if delay is None else int(delay) if math.isfinite(delay) else LONGEST_DELAY,
        metrics=metrics,
        evidence=number(quality.evidence) if limit else "",
        needed_evidence=number(quality.needed) if limit else "",
        message=_message(state, quality, limit),
        checked_at=timestamp(datetime.fromtimestamp(quality.at, UTC)),
    )


def _state(same: QualityStatus | None, quality: Quality, limit: Limit | None) -> QualityState:
    least = limit.least if limit else LEAST_LABELS
    if limit is not None and same is not None and same.state == "Degraded":
        value = _realised(quality, limit.metric)
        kept = quality.labels >= least and value is not None and limit.kept(value)
        return "OK" if kept and not quality.alarmed else "Degraded"
    if quality.labels < least:
        return "InsufficientData"
    return "Degraded" if quality.alarmed else "OK"


def _realised(quality: Quality, name: str) -> float | None:
    return next((metric.value for metric in quality.metrics if metric.name == name), None)


def _metrics(quality: Quality) -> list[MetricStatus]:
    """Every figure that labels or scores give, realised ones first."""
    known = [
        MetricStatus(
            name=metric.name[:253],
            realised=number(metric.value),
            estimated=number(quality.estimated.get(metric.name)),
            lower=number(metric.lower),
            upper=number(metric.upper),
        )
        for metric in quality.metrics
    ]
    names = {metric.name for metric in known}
    others = [MetricStatus(name=n, estimated=number(v)) for n, v in quality.estimated.items() if n not in names]
    return [*known, *others][:MOST_METRICS]


def _message(state: QualityState, quality: Quality, limit: Limit | None) -> str:
    if limit is None:
        told = f"{quality.labels} labels came back; " if quality.labels else "no labels came back; "
        return f"{told}no limit is set, so nothing is held to one"
    value = _realised(quality, limit.metric)
    if quality.labels and value is None:
        return f"{limit.metric} cannot be told of this model's labels; choose another monitoring.quality.metric"
    if state == "InsufficientData":
        missing = limit.least - quality.labels
        return f"{quality.labels} labels came back; {missing} more are needed before anything is said"
    delay = quality.delay
    late = f", half of them within {span(int(delay))}" if delay is not None and math.isfinite(delay) else ""
    told = f"{limit.metric} is {number(value)} over the last {quality.labels} labels{late}"
    if state == "Degraded":
        return f"{told}; that it is {limit.wrong_side} {limit.value:g} is proven"
    return f"{told}; that it is {limit.wrong_side} {limit.value:g} is not proven"
