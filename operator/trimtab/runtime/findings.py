"""Drift, quality and retraining as series: read from the statuses in the store when somebody scrapes.

Nothing is counted here and nothing is kept that a status does not say: an object that is gone has no series, a value
that is not known has none either, and a new replica tells the same as the one before it. All replicas tell, because
all hold the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from trimtab.core.conditions import parse_time
from trimtab.core.objects import Object, Ref
from trimtab.kinds.retrainschedule.line import AWAITING
from trimtab.runtime import standing
from trimtab.runtime.families import FAMILIES

Told = Mapping[str, Any]
MOST_FEATURES = 10
MOST_METRICS = 16
JUDGED = ("OK", "Warning", "Critical")
QUALITY = ("InsufficientData", "OK", "Degraded")
PROBLEMS = ("Missing", "Type", "Range", "Unseen", "Stuck", "Unit")
RUNNING = "Running"

Series = dict[tuple[str, tuple[str, ...]], float]
"""Values by name and labels: no two of the same labels, which would spoil the whole answer."""


class Statuses(Protocol):
    """What is read of the store."""

    def refs(self, kind: str) -> list[Ref]:
        """The addresses of all objects of a kind."""

    def version(self, ref: Ref) -> int | None:
        """The version of one object."""

    def get(self, ref: Ref) -> Object | None:
        """One object."""


class Findings(Collector):
    """Collects the series of all objects; an object that did not change is not read again."""

    def __init__(self, store: Statuses) -> None:
        self._store = store
        self._known: dict[Ref, tuple[int | None, Series]] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each name that has series."""
        refs = [ref for kind in READERS for ref in self._store.refs(kind)]
        self._known = {ref: self._of(ref) for ref in refs}
        whole: dict[str, dict[tuple[str, ...], float]] = {}
        for _, found in self._known.values():
            for (name, labels), value in found.items():
                whole.setdefault(name, {})[labels] = value
        for name, values in whole.items():
            family = GaugeMetricFamily(name, FAMILIES[name].help, labels=FAMILIES[name].labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family

    def _of(self, ref: Ref) -> tuple[int | None, Series]:
        version = self._store.version(ref)
        known = self._known.get(ref)
        if known is not None and known[0] == version:
            return known
        obj = self._store.get(ref)
        return version, {} if obj is None else series(obj)


def series(obj: Object) -> Series:
    """All series of one object of our kinds. What is no finite number is left out."""
    meta = obj["metadata"]
    about = (str(meta.get("namespace", "")), str(meta["name"]))
    found: Series = {}
    for read in READERS[obj["kind"]]:
        for name, labels, value in read(obj.get("spec") or {}, obj.get("status") or {}):
            number = _number(value)
            if number is not None:
                found[name, (*about, *labels)] = number
    return found


Rows = Iterator[tuple[str, tuple[str, ...], Any]]


def _deployment(spec: Told, status: Told) -> Rows:
    model = str((spec.get("model") or {}).get("name", ""))
    for read, told in ((_drift, status.get("drift")), (_quality, status.get("quality"))):
        if told:
            yield from read((model, _version(status, told)), told)


def _version(status: Told, told: Told) -> str:
    """The registry's name for what was judged; the revision's where the status has none any more."""
    judged = str(told.get("revision", ""))
    versions = {row.get("name"): row.get("version") for row in status.get("revisions", ())}
    return str(versions.get(judged) or judged)


def _drift(labels: tuple[str, ...], told: Told) -> Rows:
    yield "trimtab_drift_state", labels, _state(told)
    for key, name in (
        ("score", "score"),
        ("effectiveRows", "effective_samples"),
        ("neededRows", "needed_samples"),
        ("windowSeconds", "window_seconds"),
    ):
        yield f"trimtab_drift_{name}", labels, told.get(key)
    yield "trimtab_drift_last_check_timestamp_seconds", labels, _time(told.get("checkedAt"))
    if told.get("level") in JUDGED[1:]:
        begun = (told.get("episode") or {}).get("begunAt")
        yield "trimtab_drift_episode_start_timestamp_seconds", labels, _time(begun)
    for feature in told.get("features", ())[:MOST_FEATURES]:
        own = (*labels, str(feature["name"]))
        yield "trimtab_drift_psi_excess", own, feature.get("excess")
        yield "trimtab_drift_pvalue", own, feature.get("pValue")
        for statistic in ("psi", "ks", "wasserstein"):
            yield "trimtab_drift_statistic", (*own, statistic), feature.get(statistic)
    yield from _problems(labels, told)


def _state(told: Told) -> int:
    """The episode's level: a single look is no alarm, and one that cannot tell does not end one."""
    level = told.get("level")
    if level in JUDGED[1:]:
        return 1 + JUDGED.index(str(level))
    return 1 if told.get("state") in JUDGED else 0


RATIOS = {"Missing": "missing", "Unseen": "unseen", "Range": "out_of_range"}


def _problems(labels: tuple[str, ...], told: Told) -> Rows:
    found = told.get("problems", ())[:MOST_FEATURES]
    for row in found:
        if row.get("problem") in RATIOS:
            yield f"trimtab_feature_{RATIOS[row['problem']]}_ratio", (*labels, str(row["feature"])), row.get("share")
    if found or told.get("state") in JUDGED:
        for problem in PROBLEMS:
            count = sum(row.get("problem") == problem for row in found)
            yield "trimtab_data_problems", (*labels, problem), count


def _quality(labels: tuple[str, ...], told: Told) -> Rows:
    state = told.get("state")
    yield "trimtab_quality_state", labels, QUALITY.index(state) if state in QUALITY else None
    yield "trimtab_quality_labels", labels, told.get("labels")
    for row in told.get("metrics", ())[:MOST_METRICS]:
        for kind in ("realised", "estimated"):
            yield "trimtab_model_quality", (*labels, str(row["name"]), kind), row.get(kind)
        for bound in ("lower", "upper"):
            yield "trimtab_model_quality_bound", (*labels, str(row["name"]), bound), row.get(bound)


def _schedule(spec: Told, status: Told) -> Rows:
    labels = (str(spec.get("model", "")),)
    runs: Sequence[Told] = status.get("runs", ())
    circuit = status.get("circuit") or {}
    counted: dict[tuple[str, str], int] = {}
    for run in runs:
        key = str(run.get("trigger", "")), str(run.get("outcome") or RUNNING)
        counted[key] = counted.get(key, 0) + 1
    for key, count in counted.items():
        yield "trimtab_retrain_runs", (*labels, *key), count
    waiting = any(run.get("stage") == "AwaitingApproval" and not run.get("outcome") for run in runs)
    yield "trimtab_retrain_awaiting_approval", labels, waiting
    queued = any(run.get("stage") == "Queued" and run.get("reason") == AWAITING for run in runs)
    yield "trimtab_retrain_queued", labels, queued
    yield "trimtab_retrain_suspended", labels, spec.get("suspend", False)
    yield "trimtab_retrain_circuit_open", labels, bool(circuit.get("openedAt"))
    yield "trimtab_retrain_consecutive_failures", labels, circuit.get("failures", 0)
    yield "trimtab_retrain_next_run_timestamp_seconds", labels, _time(status.get("nextScheduledAt"))
    yield from _times(labels, runs)
    yield from _gate(labels, runs)


def _times(labels: tuple[str, ...], runs: Sequence[Told]) -> Rows:
    for key, name in (("startedAt", "start"), ("endedAt", "end"), ("promotedAt", "promotion")):
        latest = max(filter(None, (_time(run.get(key)) for run in runs)), default=None)
        yield f"trimtab_retrain_last_{name}_timestamp_seconds", labels, latest
    ended = [
        (end, start) for run in runs if (end := _time(run.get("endedAt"))) and (start := _time(run.get("startedAt")))
    ]
    if ended:
        end, start = max(ended)
        yield "trimtab_retrain_last_duration_seconds", labels, end - start


def _gate(labels: tuple[str, ...], runs: Iterable[Told]) -> Rows:
    """The newest run that was graded; runs are newest first."""
    gate = next((found for run in runs if (found := run.get("gate")) and found.get("verdict")), None)
    if gate is None:
        return
    yield "trimtab_retrain_gate_passed", labels, gate["verdict"] == "Passed"
    metric = str(gate.get("metric", ""))
    yield "trimtab_gate_delta", (*labels, metric), gate.get("difference")
    for bound in ("lower", "upper"):
        yield "trimtab_gate_delta_bound", (*labels, metric, bound), gate.get(bound)


READERS = {
    "MLModel": (standing.model,),
    "ModelDeployment": (standing.deployment, _deployment),
    "ABTest": (standing.experiment,),
    "RetrainSchedule": (standing.schedule, _schedule),
}


def _number(value: Any) -> float | None:
    """Status writes numbers that are not whole as strings."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _time(value: Any) -> float | None:
    """Seconds since the epoch of a time in a status; None where there is none."""
    try:
        return parse_time(value).timestamp() if value else None
    except (TypeError, ValueError):
        return None
