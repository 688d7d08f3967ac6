"""What findings become in the status of a ModelDeployment: episodes, problems, quality, and the words for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.memory_operator import MemoryMonitor
from tests.unit.kinds.builders import NOW, digest, mdep_object, mlmodel_object, seen_mdep
from trimtab.core.objects import Object
from trimtab.evidence.drift.degradation import Limit
from trimtab.evidence.drift.finding import Drift, Finding, Quality
from trimtab.evidence.drift.judge import FeatureLook, Look, Thresholds
from trimtab.evidence.drift.pairs import PairDrift
from trimtab.evidence.drift.performance import Metric
from trimtab.evidence.drift.quality import Finding as Problem
from trimtab.kinds.modeldeployment.alarms import alarms
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.degrading import degrading
from trimtab.kinds.modeldeployment.episodes import drifting, number, span
from trimtab.kinds.modeldeployment.monitoring import DriftSpec, FeatureThresholds, QualitySpec
from trimtab.kinds.modeldeployment.plan import plan
from trimtab.kinds.modeldeployment.vitals import DriftStatus, QualityStatus, Vitals

OWN, OTHER, PROFILE = digest(1), digest(2), digest(9)
T0 = NOW.timestamp() - 3_600
PERIOD = 300
WANTED = QualitySpec(warn_below="0.8")


def feature(name: str, excess: float, level: Any = "OK", weight: float = 0.5) -> FeatureLook:
    return FeatureLook(name, 400, 400.0, excess + 0.02, excess, 1e-9, 0.3, 1e-8, 0.7, 0.2, None, level, weight)


def look(state: Any = "OK", rows: int = 400, needed: int = 0, **change: Any) -> Look:
    features = (
        feature("age", 0.6 if state == "Critical" else 0.3 if state == "Warning" else 0.01, state_of(state)),
        feature("income", 0.0),
    )
    return replace(Look(state, 0.4, rows, float(rows), needed, 0, features), **change)


def state_of(state: str) -> str:
    return state if state in ("Warning", "Critical") else "OK"


def found(step: int, state: Any = "OK", **change: Any) -> Finding:
    return Finding(OWN, PROFILE, Drift(T0 + step * PERIOD, 3_600, look(state, **change)))


def followed(*states: str, before: DriftStatus | None = None, start: int = 1) -> DriftStatus:
    """The status after one look after the other."""
    for step, state in enumerate(states, start):
        before = drifting(before, found(step, state), "abc", NOW)
    assert before is not None
    return before


@pytest.mark.parametrize(
    ("states", "level"),
    [
        (["Warning"], "OK"),
        (["Warning"] * 2, "OK"),
        (["Warning"] * 3, "Warning"),
        (["Warning", "Critical", "Warning"], "Warning"),
        (["Critical"] * 3, "Critical"),
        (["Critical", "OK", "Critical", "Critical"], "OK"),
        (["Critical"] * 3 + ["OK"] * 2, "Critical"),
        (["Critical"] * 3 + ["OK"] * 3, "OK"),
        (["Critical"] * 3 + ["OK"] * 2 + ["Critical"] + ["OK"] * 2, "Critical"),
        (["Critical"] * 2 + ["InsufficientData"] * 4 + ["Critical"], "Critical"),
        (["Critical"] * 3 + ["InsufficientData"] * 9, "Critical"),
    ],
)
def test_three_looks_in_a_row_begin_and_end_an_episode(states: list[str], level: str) -> None:
    told = followed(*states)
    assert (told.level, bool(told.episode.id)) == (level, level != "OK")
    assert told.state == states[-1]


def test_an_episode_keeps_its_name_until_it_is_over_and_the_next_has_another() -> None:
    first = followed(*["Critical"] * 3)
    again = followed("OK", "Critical", "Critical", before=first, start=4)
    assert (again.episode.id, again.episode.begun_at) == (first.episode.id, first.episode.begun_at)
    assert len(first.episode.id) == 12
    second = followed(*["OK"] * 3, *["Critical"] * 3, before=again, start=7)
    assert second.episode.id not in ("", first.episode.id)


def test_a_look_is_followed_once_however_often_it_is_told() -> None:
    once = drifting(None, found(1, "Critical"), "abc", NOW)
    for _ in range(5):
        assert drifting(once, found(1, "Critical"), "abc", NOW) is not None
        again = drifting(once, found(1, "Critical"), "abc", NOW + timedelta(days=1))
        assert again == once
    assert once.episode.critical == 1


def test_a_time_to_come_in_the_status_does_not_stop_the_looks() -> None:
    odd = followed("OK").model_copy(update={"checked_at": "2999-01-01T00:00:00Z"})
    assert drifting(odd, found(2, "Critical"), "abc", NOW).checked_at == "2030-01-02T02:14:05Z"


def test_a_clock_that_steps_back_makes_no_second_look_of_one() -> None:
    once = drifting(None, found(1, "Critical"), "abc", NOW)
    back = datetime.fromtimestamp(T0 + PERIOD - 0.2, UTC)
    for _ in range(5):
        assert drifting(once, found(1, "Critical"), "abc", back) == once


def test_another_bundle_begins_without_an_episode() -> None:
    before = followed(*["Critical"] * 3)
    after = drifting(before, Finding(OTHER, PROFILE), "def", NOW)
    assert (after.state, after.level, after.digest, after.revision) == ("InsufficientData", "OK", OTHER, "def")
    assert after.episode.id == ""


def test_a_new_process_keeps_the_episode_until_it_knows_more() -> None:
    before = followed(*["Critical"] * 3)
    assert drifting(before, Finding(OWN), "abc", NOW) == before
    blind = drifting(before, found(4, "InsufficientData", rows=20, needed=180), "abc", NOW)
    assert (blind.state, blind.level, blind.needed_rows) == ("InsufficientData", "Critical", 180)
    assert blind.episode.id == before.episode.id


def test_without_a_profile_the_reference_is_missing() -> None:
    told = drifting(None, Finding(OWN, ""), "abc", NOW)
    assert told.state == "ReferenceMissing"
    assert drifting(told, Finding(OWN, ""), "abc", NOW + timedelta(days=1)) == told
    (drift, data) = alarms("credit", Vitals(told), held_to=False)
    assert (drift.status, drift.reason) == ("Unknown", "ReferenceMissing")
    assert (data.status, data.reason) == ("Unknown", "ReferenceMissing")
    assert "trimtab_toolbox.log_model" in drift.message


def test_that_a_bundle_has_no_profile_stays_known_while_its_pods_are_silent() -> None:
    told = drifting(None, Finding(OWN, ""), "abc", NOW)
    silent = Finding(OWN, note="no pod has told its counts yet")
    assert drifting(told, silent, "abc", NOW) == told
    assert drifting(told, replace(silent, digest=OTHER), "def", NOW).state == "InsufficientData"
    assert drifting(told, Finding(OWN, PROFILE), "abc", NOW).state == "InsufficientData"


def test_nothing_looked_at_yet_says_why() -> None:
    assert drifting(None, Finding(OWN, note="no pod is ready"), "abc", NOW).message == "no pod is ready"
    assert drifting(None, Finding(OWN, PROFILE), "abc", NOW).message == "the first period with rows has not ended yet"


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (
            followed(*["Critical"] * 3),
            "DriftDetected=True Critical: since 2030-01-02T02:09:05Z: 400 rows of the last hour, worth 400 independent "
            "ones, differ from training in age (0.6); the score is 0.4, and 1 is worth acting on; see kubectl trimtab "
            "drift mdep/credit; retrain, or go back to an older revision",
        ),
        (
            followed(*["Warning"] * 3, "OK"),
            "DriftDetected=True Warning: since 2030-01-02T02:09:05Z; the last look found none, and after three such it "
            "is over: 400 rows of the last hour, worth 400 independent ones, are as in training",
        ),
        (
            followed("Critical"),
            "DriftDetected=False NotConfirmed: drift was seen in 1 of the three looks in a row that make it one: 400 "
            "rows of the last hour, worth 400 independent ones, differ from training in age (0.6); the score is 0.4, "
            "and 1 is worth acting on",
        ),
        (
            followed("OK"),
            "DriftDetected=False NoDrift: 400 rows of the last hour, worth 400 independent ones, are as in training",
        ),
        (
            drifting(None, found(1, "InsufficientData", rows=40, needed=160), "abc", NOW),
            "DriftDetected=Unknown InsufficientData: the last hour had 40 rows; 160 more are needed before anything "
            "can be said",
        ),
        (
            drifting(None, found(1, pair=PairDrift(("age", "income"), 0.7, 0.1, 1e-9, True)), "abc", NOW),
            "DriftDetected=False CorrelationChanged: 400 rows of the last hour, worth 400 independent ones, are as in "
            "training, but age and income correlate by 0.1 and did by 0.7",
        ),
    ],
)
def test_the_condition_says_what_how_much_since_when_and_what_to_do(status: DriftStatus, wanted: str) -> None:
    told = next(iter(alarms("credit", Vitals(status), held_to=False)))
    assert f"{told.type}={told.status} {told.reason}: {told.message}" == wanted


def test_problems_of_the_data_are_told_apart_from_drift() -> None:
    problems = tuple(Problem(f"f{i}", "Missing", 0.5, "50.0% are missing, 0.0% in training") for i in range(5))
    status = drifting(None, Finding(OWN, PROFILE, Drift(T0, 3_600, look(), problems)), "abc", NOW)
    _, data = alarms("credit", Vitals(status), held_to=False)
    assert (data.type, data.status, data.reason) == ("DataQuality", "False", "ProblemsFound")
    assert data.message.startswith("f0: 50.0% are missing, 0.0% in training; f1:")
    assert data.message.endswith("; and 2 more. Mend the source; do not retrain on it")


def test_new_values_are_no_broken_source() -> None:
    problem = Problem("temp", "Range", 0.9, "90.0% are out of the range of training")
    status = drifting(None, Finding(OWN, PROFILE, Drift(T0, 3_600, look(), (problem,))), "abc", NOW)
    _, data = alarms("credit", Vitals(status), held_to=False)
    assert (data.status, data.reason) == ("False", "NewValues")
    assert data.message == (
        "temp: 90.0% are out of the range of training. If the source is right, the world has changed, and the model "
        "does not know it: retrain"
    )


def test_the_worst_ten_features_are_told() -> None:
    features = tuple(feature(f"f{i}", i / 100) for i in range(30))
    status = drifting(None, found(1, features=features), "abc", NOW)
    assert [f.name for f in status.features] == [f"f{i}" for i in range(29, 19, -1)]
    assert status.features[0].model_dump() == {
        "name": "f29", "level": "OK", "excess": "0.29", "psi": "0.31", "p_value": "1e-09", "ks": "0.3",
        "wasserstein": "0.7", "weight": "0.5",
    }  # fmt: skip


# quality


def quality(
    step: int, value: float, labels: int = 600, *, alarmed: bool = False, delay: float | None = 90.0
) -> Finding:
    metrics = (Metric("Accuracy", value, value - 0.03, value + 0.03),) if labels else ()
    told = Quality(
        T0 + step * PERIOD, labels, T0, metrics, {"Accuracy": 0.91, "RocAuc": 0.95}, delay, alarmed, 4.2, 11.6
    )
    return Finding(OWN, PROFILE, quality=told)


def judged(*findings: Finding, wanted: QualitySpec | None = WANTED) -> QualityStatus | None:
    status = None
    for finding in findings:
        status = degrading(status, finding, "abc", wanted, NOW)
    return status


@pytest.mark.parametrize(
    ("findings", "state"),
    [
        ([quality(1, 0.9, 100)], "InsufficientData"),
        ([quality(1, 0.9)], "OK"),
        ([quality(1, 0.7)], "OK"),
        ([quality(1, 0.7, alarmed=True)], "Degraded"),
        ([quality(1, 0.7, 100, alarmed=True)], "InsufficientData"),
        ([quality(1, 0.7, alarmed=True), quality(2, 0.79)], "Degraded"),
        ([quality(1, 0.7, alarmed=True), quality(2, 0.85, alarmed=True)], "Degraded"),
        ([quality(1, 0.7, alarmed=True), quality(2, 0.85, 100)], "Degraded"),
        ([quality(1, 0.7, alarmed=True), quality(2, 0.85)], "OK"),
    ],
)
def test_only_proof_degrades_and_only_good_labels_end_it(findings: list[Finding], state: str) -> None:
    told = judged(*findings)
    assert told is not None
    assert told.state == state


def test_quality_says_what_was_found_beside_the_estimate() -> None:
    told = judged(quality(1, 0.72, alarmed=True))
    assert told is not None
    assert told.message == (
        "Accuracy is 0.72 over the last 600 labels, half of them within 90 seconds; that it is below 0.8 is proven"
    )
    assert [m.model_dump() for m in told.metrics] == [
        {"name": "Accuracy", "realised": "0.72", "estimated": "0.91", "lower": "0.69", "upper": "0.75"},
        {"name": "RocAuc", "realised": "", "estimated": "0.95", "lower": "", "upper": ""},
    ]
    assert (told.labels, told.delay_seconds, told.evidence, told.needed_evidence) == (600, 90, "4.2", "11.6")
    (condition,) = alarms("credit", Vitals(None, told), held_to=True)
    assert (condition.type, condition.status, condition.reason) == ("QualityDegraded", "True", "LimitBroken")
    assert condition.message.endswith("; retrain, or go back to an older revision")


def test_before_labels_come_the_limit_waits_for_them() -> None:
    told = judged(Finding(OWN))
    assert told is not None
    assert told.message == "no labels have come back yet; 500 are needed"
    (condition,) = alarms("credit", Vitals(None, told), held_to=True)
    assert (condition.status, condition.reason) == ("Unknown", "InsufficientData")
    assert judged(Finding(OWN), wanted=None) is None


def test_a_limit_that_labels_cannot_tell_of_says_so() -> None:
    told = judged(quality(1, 0.9), wanted=QualitySpec(metric="MAE", warn_above="3"))
    assert told is not None
    assert told.message == "MAE cannot be told of this model's labels; choose another monitoring.quality.metric"


def test_without_a_limit_figures_stand_without_a_condition() -> None:
    told = judged(quality(1, 0.3), wanted=None)
    assert told is not None
    assert (told.state, told.message) == ("OK", "600 labels came back; no limit is set, so nothing is held to one")
    assert list(alarms("credit", Vitals(None, told), held_to=False)) == []


def test_labels_are_looked_at_once_and_of_one_bundle() -> None:
    told = judged(quality(1, 0.7, alarmed=True))
    assert degrading(told, quality(1, 0.7, alarmed=True), "abc", WANTED, NOW + timedelta(days=1)) == told
    other = degrading(told, Finding(OTHER), "def", WANTED, NOW)
    assert other is not None
    assert (other.state, other.digest) == ("InsufficientData", OTHER)


# through the plan


def deployment(status: Object | None = None, **spec: Any) -> Object:
    row = {"name": "abc", "digest": OWN, "version": "1", "runtime": "onnx", "weight": 100}
    return mdep_object(status={"serving": "abc", "revisions": [row], **(status or {})}, **spec)


def planned(obj: Object, finding: Finding | None, at: datetime = NOW) -> Any:
    monitor = MemoryMonitor()
    if finding is not None:
        monitor.findings[obj["metadata"]["uid"]] = finding
    seen = seen_mdep(obj, mlmodel_object(), monitor=monitor)
    return plan(ModelDeployment.parse(obj), seen, at), monitor


def test_what_serves_is_watched_as_the_spec_says() -> None:
    features = [{"name": "age", "warn": "0.3", "critical": "0.9"}]
    drift = {"warn": "0.1", "critical": "0.4", "falseAlarmsPerYear": 3, "periodSeconds": 60, "features": features}
    quality_spec = {"metric": "Brier", "warnAbove": "0.2", "minLabels": 100}
    _, monitor = planned(deployment(monitoring={"drift": drift, "quality": quality_spec}), None)
    (watch,) = monitor.watches
    assert (watch.digest, watch.period, watch.limit) == (OWN, 60, Limit("Brier", 0.2, 100))
    assert watch.policy.thresholds == Thresholds(0.1, 0.4)
    assert watch.policy.of("age") == Thresholds(0.3, 0.9)
    assert watch.policy.false_alarms_per_year == 3


def test_a_finding_stands_in_status_and_conditions_and_leaves_ready_alone() -> None:
    without, _ = planned(deployment(), None)
    made, _ = planned(deployment(), found(1, "Critical"))
    assert made.status["drift"]["state"] == "Critical"
    kinds = [c["type"] for c in made.status["conditions"]]
    assert {"DriftDetected", "DataQuality"} <= set(kinds)
    ready = [c for c in made.status["conditions"] if c["type"] in ("Ready", "Reconciling", "Stalled")]
    assert ready == [c for c in without.status["conditions"] if c["type"] in ("Ready", "Reconciling", "Stalled")]
    assert timedelta() < made.requeue_after <= timedelta(seconds=60)


def test_an_unchanged_finding_writes_nothing() -> None:
    made, _ = planned(deployment(), found(1, "Critical"))
    again, _ = planned(deployment(made.status), found(1, "Critical"), NOW + timedelta(hours=5))
    assert again.status["drift"] == made.status["drift"]
    assert again.status["conditions"] == made.status["conditions"]


def test_a_container_is_not_watched_and_what_was_known_goes() -> None:
    made, _ = planned(deployment(), found(1, "Critical"))
    obj = deployment(made.status, container={"image": "a/b:1"}, model=None)
    obj["spec"].pop("model")
    after, monitor = planned(obj, found(2))
    assert monitor.watches == []
    assert "drift" not in after.status


def test_the_policy_of_a_feature_without_limits_is_the_default_one() -> None:
    spec = DriftSpec(features=[FeatureThresholds(name="score", warn="1", critical="2")])
    assert (spec.policy.of("score"), spec.policy.of("age")) == (Thresholds(1, 2), Thresholds(0.2, 0.5))


@pytest.mark.parametrize(
    ("seconds", "text"), [(3_600, "hour"), (21_600, "6 hours"), (604_800, "7 days"), (60, "minute"), (61, "61 seconds")]
)
def test_lengths_of_time_are_said_in_words(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_figures_that_are_none_are_empty() -> None:
    assert [number(v) for v in (0.123456, None, float("-inf"), 1e-12)] == ["0.123", "", "", "1e-12"]
    assert datetime.fromtimestamp(T0, UTC) == NOW - timedelta(hours=1)
