"""Series from statuses: only what is known, nothing of what is gone, and never two of the same labels."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.runtime.statuses import deployment, lessened, schedule
from trimtab.core.objects import ref_of
from trimtab.runtime.families import FAMILIES
from trimtab.runtime.findings import Findings, series


class Held:
    """A store of these objects that knows how often each was read."""

    def __init__(self, *objects):
        self.objects = {ref_of(obj): obj for obj in objects}
        self.reads = 0

    def refs(self, kind):
        return [ref for ref in self.objects if ref.kind == kind]

    def version(self, ref):
        return int(self.objects[ref]["metadata"]["resourceVersion"])

    def get(self, ref):
        self.reads += 1
        return self.objects[ref]


def scraped(store, registry=None):
    registry = registry or CollectorRegistry()
    registry.register(Findings(store))
    return again(registry)


def again(registry):
    text = generate_latest(registry).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples}
    assert len(found) == len(samples)
    return found


def value(found, name, /, **labels):
    hits = [v for (n, given), v in found.items() if n == name and labels.items() <= dict(given).items()]
    assert len(hits) <= 1, hits
    return hits[0] if hits else None


def test_drift_of_a_deployment():
    found = scraped(Held(deployment()))
    of = {"namespace": "shop", "name": "credit", "model": "credit-risk", "version": "7"}
    assert value(found, "trimtab_drift_state", **of) == 3
    assert value(found, "trimtab_drift_score", **of) == 1.2
    assert value(found, "trimtab_drift_effective_samples", **of) == 812
    assert value(found, "trimtab_drift_needed_samples", **of) == 0
    assert value(found, "trimtab_drift_window_seconds", **of) == 3600
    assert value(found, "trimtab_drift_episode_start_timestamp_seconds", **of) == 1_893_456_000
    assert value(found, "trimtab_drift_psi_excess", feature="age", **of) == 0.61
    assert value(found, "trimtab_drift_pvalue", feature="age", **of) == 1e-12
    assert value(found, "trimtab_drift_statistic", feature="age", statistic="ks") == 0.31
    assert value(found, "trimtab_drift_statistic", feature="plan", statistic="wasserstein") is None


def test_data_quality_and_quality_of_a_deployment():
    found = scraped(Held(deployment()))
    assert value(found, "trimtab_feature_missing_ratio", feature="income") == 0.4
    assert value(found, "trimtab_feature_unseen_ratio", feature="plan") == 0.08
    assert value(found, "trimtab_feature_out_of_range_ratio") is None
    assert value(found, "trimtab_data_problems", problem="Missing") == 1
    assert value(found, "trimtab_data_problems", problem="Stuck") == 0
    assert value(found, "trimtab_quality_state") == 2
    assert value(found, "trimtab_quality_labels") == 2400
    assert value(found, "trimtab_model_quality", metric="accuracy", kind="realised") == 0.78
    assert value(found, "trimtab_model_quality", metric="accuracy", kind="estimated") == 0.91
    assert value(found, "trimtab_model_quality_bound", metric="accuracy", bound="upper") == 0.8


@pytest.mark.parametrize(
    ("state", "level", "told"),
    [
        ("ReferenceMissing", "OK", 0),
        ("InsufficientData", "OK", 0),
        ("OK", "OK", 1),
        ("Critical", "OK", 1),
        ("OK", "Warning", 2),
        ("InsufficientData", "Critical", 3),
    ],
)
def test_the_state_is_that_of_the_episode_where_there_is_one(state, level, told):
    obj = deployment()
    obj["status"]["drift"] |= {"state": state, "level": level}
    assert value(scraped(Held(obj)), "trimtab_drift_state") == told


def test_what_is_not_known_has_no_series():
    obj = deployment()
    obj["status"]["drift"] = {"state": "ReferenceMissing", "level": "OK", "revision": "aaaa1111"}
    obj["status"].pop("quality")
    assert {name for name, _ in scraped(Held(obj))} == {"trimtab_drift_state"}
    obj["status"] = {}
    assert scraped(Held(obj)) == {}
    del obj["status"]
    assert scraped(Held(obj)) == {}


def test_a_revision_that_status_has_no_version_of_is_named_itself():
    obj = deployment()
    obj["status"]["revisions"] = []
    assert value(scraped(Held(obj)), "trimtab_drift_state", version="aaaa1111") == 3


def test_retraining():
    found = scraped(Held(schedule()))
    of = {"namespace": "shop", "name": "weekly", "model": "credit-risk"}
    assert value(found, "trimtab_retrain_runs", trigger="Drift", outcome="Running", **of) == 1
    assert value(found, "trimtab_retrain_runs", trigger="Cron", outcome="Promoted", **of) == 1
    assert value(found, "trimtab_retrain_runs", trigger="Cron", outcome="Rejected", **of) == 2
    assert value(found, "trimtab_retrain_awaiting_approval", **of) == 1
    assert value(found, "trimtab_retrain_suspended", **of) == 0
    assert value(found, "trimtab_retrain_circuit_open", **of) == 0
    assert value(found, "trimtab_retrain_consecutive_failures", **of) == 1
    assert value(found, "trimtab_retrain_next_run_timestamp_seconds", **of) == 1_893_456_000 + 86_400
    assert value(found, "trimtab_retrain_last_start_timestamp_seconds", **of) == 1_893_456_000
    assert value(found, "trimtab_retrain_last_end_timestamp_seconds", **of) == 1_893_456_000 - 86_400 + 600
    assert value(found, "trimtab_retrain_last_duration_seconds", **of) == 600
    assert value(found, "trimtab_retrain_gate_passed", **of) == 0
    assert value(found, "trimtab_gate_delta", metric="roc_auc", **of) == -0.02
    assert value(found, "trimtab_gate_delta_bound", metric="roc_auc", bound="lower", **of) == -0.03


def test_a_run_that_waits_for_its_turn():
    obj = schedule()
    waiting = {"trigger": "Manual", "stage": "Queued", "reason": "AwaitingPlace"}
    assert value(scraped(Held(obj)), "trimtab_retrain_queued", name="weekly") == 0
    obj["status"]["runs"] = [waiting, *obj["status"]["runs"]]
    assert value(scraped(Held(obj)), "trimtab_retrain_queued", name="weekly") == 1


def test_a_schedule_that_never_ran_says_little():
    obj = schedule()
    obj["status"] = {}
    assert {name for name, _ in scraped(Held(obj))} == {
        "trimtab_retrain_awaiting_approval",
        "trimtab_retrain_queued",
        "trimtab_retrain_suspended",
        "trimtab_retrain_circuit_open",
        "trimtab_retrain_consecutive_failures",
    }


def test_objects_that_are_gone_have_no_series_and_those_that_did_not_change_are_not_read_again():
    store, registry = Held(deployment(), schedule()), CollectorRegistry()
    assert scraped(store, registry)
    assert store.reads == 2
    assert again(registry)
    assert store.reads == 2
    changed = deployment()
    changed["metadata"]["resourceVersion"] = "9"
    changed["status"]["drift"]["level"] = "Warning"
    store.objects = {ref_of(changed): changed}
    found = again(registry)
    assert store.reads == 3
    assert value(found, "trimtab_drift_state") == 2
    assert value(found, "trimtab_retrain_suspended") is None


def test_series_are_bounded_and_unique_whatever_a_status_says():
    obj = deployment()
    feature, problem = obj["status"]["drift"]["features"][0], obj["status"]["drift"]["problems"][0]
    obj["status"]["drift"]["features"] = [{**feature, "name": f"f{i}"} for i in range(500)] + [feature, feature]
    obj["status"]["drift"]["problems"] = [{**problem, "feature": f"f{i}"} for i in range(500)]
    obj["status"]["quality"]["metrics"] *= 50
    assert len(scraped(Held(obj))) < 100


@pytest.mark.parametrize("bad", ["NaN", "inf", "a word", "", None])
def test_numbers_that_are_none_are_left_out(bad):
    obj = deployment()
    obj["status"]["drift"]["score"] = bad
    assert value(scraped(Held(obj)), "trimtab_drift_score") is None


@pytest.mark.parametrize("obj", [deployment(), schedule()], ids=lambda obj: obj["kind"])
def test_no_part_of_a_status_has_to_be_there(obj):
    for less in lessened(obj, {"name", "feature"}):
        for name, labels in series(less):
            assert len(FAMILIES[name].labels) == len(labels)
