"""What is decided about an MLModel, case by case: given the object, what was observed and the time, the whole plan."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.memory_operator import PLATFORM
from tests.unit.kinds import kubelet
from tests.unit.kinds.builders import (
    EARLIER_TEXT,
    NOW,
    NOW_TEXT,
    ago,
    complete,
    condition,
    digest,
    failed,
    import_job,
    import_result,
    mlmodel_object,
    model_revision,
    model_status,
    resolved,
    seen_model,
)
from tests.unit.kinds.kubelet import container, ended
from trimtab.core.objects import Object, ref_of
from trimtab.core.plan import Plan
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.mlmodel.children import import_key
from trimtab.kinds.mlmodel.observe import Observed, Resolution
from trimtab.kinds.mlmodel.plan import plan

POLL = timedelta(seconds=30)
URI = "models:/credit/{}"
DOWN = Resolution(reason="RegistryUnreachable", message="MLflow does not answer: timed out; it is asked again")


def planned(obj: Object, seen: Observed) -> Plan:
    return plan(MLModel.parse(obj), seen, NOW)


def key_of(obj: Object, number: int) -> str:
    return import_key(MLModel.parse(obj), URI.format(number))


def imported(obj: Object, number: int, **more: Any) -> Object:
    """The entry that importing version `number` by this spec leaves in status.revisions."""
    return model_revision(number, key=key_of(obj, number), **more)


def judged(given: Plan) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    return {c["type"]: (c["status"], c["reason"]) for c in given.status["conditions"]}


def message(given: Plan, type_: str = "Ready") -> str:
    return next(str(c["message"]) for c in given.status["conditions"] if c["type"] == type_)


def speaking(obj: Object, number: int, *containers: Object, **more: Any) -> Object:
    return kubelet.import_pod("credit-import-x", "credit", key_of(obj, number), *containers, **more)


FOUND = ("True", "ReferenceFound")


def test_a_new_model_is_imported() -> None:
    obj = mlmodel_object()
    job = import_job(obj, URI.format(1))
    del job["status"]
    given = planned(obj, seen_model(resolved(1)))
    assert given == Plan(
        apply=(job,),
        keep=frozenset({ref_of(job)}),
        status={
            "observedGeneration": 1,
            "conditions": [
                condition("Ready", "Unknown", "Importing", "importing models:/credit/1", at=NOW_TEXT),
                condition("Reconciling", "True", "Importing", "importing models:/credit/1", at=NOW_TEXT),
                condition("Resolved", "True", "ReferenceFound", "the source stands for models:/credit/1", at=NOW_TEXT),
            ],
            "current": "",
            "version": "",
            "runtime": "",
            "resolvedUri": "models:/credit/1",
            "revisions": [],
        },
        requeue_after=POLL,
    )


def test_a_job_under_way_is_left_to_finish() -> None:
    obj = mlmodel_object()
    job = import_job(obj, URI.format(1))
    given = planned(obj, seen_model(resolved(1), [job]))
    assert [ref_of(child) for child in given.apply] == [ref_of(job)]
    assert judged(given) == {
        "Ready": ("Unknown", "Importing"),
        "Reconciling": ("True", "Importing"),
        "Resolved": FOUND,
    }


def test_a_finished_import_becomes_the_current_revision() -> None:
    obj = mlmodel_object()
    job = import_job(obj, URI.format(1), **complete(seconds_ago=3))
    pod = speaking(obj, 1, container(ended(0, json.dumps(import_result(1))), name="import"), phase="Succeeded")
    given = planned(obj, seen_model(resolved(1), [job], [pod]))
    entry = {
        **imported(obj, 1, importedAt=ago(3)),
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
        "parity": {"rows": 100, "maxAbsDiff": "1.2e-07", "mismatchPercent": "0"},
    }
    assert given.status == {
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "True", "Reconciled", f"version 1 ({digest(1)[:19]}) is current", at=NOW_TEXT),
            condition("Resolved", "True", "ReferenceFound", "the source stands for models:/credit/1", at=NOW_TEXT),
        ],
        "current": digest(1),
        "version": "1",
        "runtime": "onnx",
        "resolvedUri": "models:/credit/1",
        "revisions": [entry],
    }
    assert given.keep == {ref_of(job)}
    assert given.requeue_after == POLL


def test_a_job_whose_result_is_recorded_may_go() -> None:
    obj = mlmodel_object()
    job = import_job(obj, URI.format(1), **complete())
    given = planned({**obj, "status": model_status(imported(obj, 1), current=1)}, seen_model(resolved(1), [job]))
    assert (given.apply, given.keep) == ((), frozenset())
    assert judged(given) == {"Ready": ("True", "Reconciled"), "Resolved": FOUND}


def test_a_moved_alias_is_imported_while_the_old_version_stays_current() -> None:
    obj = mlmodel_object()
    obj["status"] = model_status(imported(obj, 1), current=1)
    given = planned(obj, seen_model(resolved(2)))
    assert [child["metadata"]["name"] for child in given.apply] == [f"credit-{key_of(obj, 2)}"]
    assert given.status["current"] == digest(1)
    assert judged(given) == {"Ready": ("True", "Reconciled"), "Reconciling": ("True", "Importing"), "Resolved": FOUND}


def test_an_alias_moved_back_needs_no_import() -> None:
    obj = mlmodel_object()
    obj["status"] = model_status(imported(obj, 2), imported(obj, 1), current=2)
    given = planned(obj, seen_model(resolved(1)))
    assert given.apply == ()
    assert (given.status["current"], given.status["version"]) == (digest(1), "1")
    assert [r["digest"] for r in given.status["revisions"]] == [digest(2), digest(1)]


def test_a_silent_registry_changes_nothing_but_a_condition() -> None:
    obj = mlmodel_object()
    obj["status"] = model_status(imported(obj, 1), current=1)
    given = planned(obj, seen_model(DOWN))
    assert (given.status["current"], given.status["resolvedUri"]) == (digest(1), "models:/credit/1")
    assert judged(given) == {"Ready": ("True", "Reconciled"), "Resolved": ("False", "RegistryUnreachable")}
    assert "MLflow does not answer" in message(given)
    assert given.requeue_after == POLL


def test_a_first_import_waits_for_a_silent_registry() -> None:
    given = planned(mlmodel_object(), seen_model(DOWN))
    assert given.apply == ()
    assert judged(given) == {
        "Ready": ("False", "RegistryUnreachable"),
        "Reconciling": ("True", "RegistryUnreachable"),
        "Resolved": ("False", "RegistryUnreachable"),
    }


REFUSED = ended(10, kubelet.words("PickleRefused", "model.pkl runs code; set allowPickle: true if you trust it"))
AWAY = ended(75, kubelet.words("SourceUnreachable", "https://x: connection refused"))
BAD_ENDS: dict[str, tuple[Object, list[Object], str, str, bool]] = {
    "refused for good": (failed(), [container(REFUSED, name="import")], "PickleRefused", "set allowPickle: true", True),
    "no words left": (
        failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"),
        [],
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
        True,
    ),
    "out of memory": (
        failed(),
        [container(ended(137, reason="OOMKilled"), name="import")],
        "OutOfMemory",
        "raise the limit",
        True,
    ),
    "source away": (failed(), [container(AWAY, name="import")], "SourceUnreachable", "connection refused", False),
    "too slow": (failed("DeadlineExceeded", "Job was active longer"), [], "DeadlineExceeded", "active longer", False),
}


@pytest.mark.parametrize("case", BAD_ENDS)
@pytest.mark.parametrize("current", [None, 1])
def test_a_failed_import_says_why_and_leaves_what_is_current(case: str, current: int | None) -> None:
    end, containers, reason, words, final = BAD_ENDS[case]
    obj = mlmodel_object()
    if current:
        obj["status"] = model_status(imported(obj, 1), current=1)
    job = import_job(obj, URI.format(2), **end)
    pods = [speaking(obj, 2, *containers, phase="Failed")] if containers else []
    given = planned(obj, seen_model(resolved(2), [job], pods))
    verdict = {"Ready": ("False", reason), "Resolved": FOUND}
    verdict |= {"Stalled": ("True", reason)} if final else {"Reconciling": ("True", "Importing")}
    assert judged(given) == verdict
    assert words in message(given)
    assert (f"version 1 ({digest(1)[:19]}) stays current" in message(given)) is bool(current)
    assert given.status["current"] == (digest(1) if current else "")
    assert given.keep == {ref_of(job)}, "the Job is the memory of the failure"
    assert given.requeue_after == POLL


def test_a_failure_that_may_pass_is_tried_again_after_a_minute() -> None:
    obj = mlmodel_object("https://example.com/model.onnx")
    uri = Resolution("https://example.com/model.onnx")
    fresh = import_job(obj, uri.uri, **failed("DeadlineExceeded", seconds_ago=20))
    given = planned(obj, seen_model(uri, [fresh]))
    assert given.keep == {ref_of(fresh)}
    assert given.requeue_after == timedelta(seconds=40)
    old = import_job(obj, uri.uri, **failed("DeadlineExceeded", seconds_ago=60))
    given = planned(obj, seen_model(uri, [old]))
    assert (given.apply, given.keep) == ((), frozenset()), "deleted, so that the next pass makes it anew"
    assert given.requeue_after is None


def test_trouble_while_the_job_still_tries_is_told_but_not_final() -> None:
    obj = mlmodel_object()
    pod = speaking(obj, 1, container(kubelet.pulling_later(), name="import"))
    given = planned(obj, seen_model(resolved(1), [import_job(obj, URI.format(1))], [pod]))
    assert judged(given) == {
        "Ready": ("False", "ImagePullFailed"),
        "Reconciling": ("True", "Importing"),
        "Resolved": FOUND,
    }


def test_pods_of_another_import_say_nothing_about_this_one() -> None:
    obj = mlmodel_object()
    pod = speaking(obj, 1, container(REFUSED, name="import"), phase="Failed")
    given = planned(obj, seen_model(resolved(2), [import_job(obj, URI.format(2))], [pod]))
    assert judged(given)["Ready"] == ("Unknown", "Importing")


NONSENSE: dict[str, str] = {
    "no JSON": "imported, I think",
    "no digest": '{"schema": 1, "format": "MLflow"}',
    "a digest that is none": '{"digest": "sha256:1", "format": "MLflow", "runtime": "onnx", "sizeBytes": 1}',
    "a digest that is a number": '{"digest": 5, "format": "MLflow", "runtime": "onnx", "sizeBytes": 1}',
    "no size": f'{{"digest": "{digest(1)}", "format": "MLflow", "runtime": "onnx"}}',
    "an unknown runtime": f'{{"digest": "{digest(1)}", "format": "MLflow", "runtime": "jvm", "sizeBytes": 1}}',
}


@pytest.mark.parametrize("uri", ["models:/credit/1", "https://example.com/m"])
@pytest.mark.parametrize("said", NONSENSE)
def test_a_result_that_cannot_be_read_is_imported_again(said: str, uri: str) -> None:
    obj = mlmodel_object(uri)
    job = import_job(obj, uri, **complete(seconds_ago=60))
    key = import_key(MLModel.parse(obj), uri)
    pod = kubelet.import_pod("p", "credit", key, container(ended(0, NONSENSE[said]), name="import"), phase="Succeeded")
    given = planned(obj, seen_model(Resolution(uri), [job], [pod]))
    assert (given.apply, given.keep) == ((), frozenset())
    assert judged(given)["Ready"] == ("False", "ImportResultLost")
    assert f"the import Job {job['metadata']['name']} finished, but its result cannot be read" in message(given)


def test_a_result_whose_pod_is_gone_is_imported_again() -> None:
    obj = mlmodel_object()
    job = import_job(obj, URI.format(1), **complete(seconds_ago=60))
    given = planned(obj, seen_model(resolved(1), [job]))
    assert (given.apply, given.keep) == ((), frozenset())
    assert "its pod is gone" in message(given)


@pytest.mark.parametrize("said", [[], [container(ended(0, NONSENSE["no size"]), name="import")]])
def test_a_result_that_is_lost_each_time_is_not_imported_again_at_once(said: list[Object]) -> None:
    uri = "models:/credit/1"
    obj = mlmodel_object(uri)
    job = import_job(obj, uri, **complete(seconds_ago=20))
    key = import_key(MLModel.parse(obj), uri)
    pods = [kubelet.import_pod("p", "credit", key, words, phase="Succeeded") for words in said]
    given = planned(obj, seen_model(resolved(1), [job], pods))
    assert given.keep == {ref_of(job)}
    assert given.requeue_after == timedelta(seconds=40)
    assert judged(given)["Ready"] == ("False", "ImportResultLost")


def test_a_result_may_be_seen_later_than_the_end_of_its_job() -> None:
    """Jobs and pods come over two watches; the one may run ahead of the other."""
    obj = mlmodel_object()
    job = import_job(obj, URI.format(1), **complete(seconds_ago=1))
    running = speaking(obj, 1, container(kubelet.STARTED, name="import", ready=True), phase="Running")
    for pods in ([running], []):
        given = planned(obj, seen_model(resolved(1), [job], pods))
        assert given.keep == {ref_of(job)}
        assert judged(given)["Ready"] == ("Unknown", "Importing")
        assert given.requeue_after is not None
        assert given.requeue_after <= timedelta(seconds=10)


def test_a_job_from_another_template_is_left_to_finish() -> None:
    """A Job's template is immutable: applying today's over an older operator's would fail for ever."""
    obj = mlmodel_object()
    job = import_job(obj, URI.format(1))
    job["metadata"]["annotations"] = {"trimtab.dev/desired-hash": "of-an-older-operator"}
    given = planned(obj, seen_model(resolved(1), [job]))
    assert given.apply == ()
    assert given.keep == {ref_of(job)}


class TestApproval:
    obj = mlmodel_object(approval="Required")

    def finished(self, obj: Object, number: int) -> Observed:
        job = import_job(obj, URI.format(number), **complete())
        said = container(ended(0, json.dumps(import_result(number))), name="import")
        return seen_model(resolved(number), [job], [speaking(obj, number, said, phase="Succeeded")])

    def test_a_first_revision_waits(self) -> None:
        given = planned(self.obj, self.finished(self.obj, 1))
        assert given.status["current"] == ""
        assert judged(given) == {"Ready": ("False", "ApprovalPending"), "Resolved": FOUND}
        assert f"kubectl annotate --overwrite mlm credit trimtab.dev/approve={digest(1)}" in message(given)

    def test_a_further_revision_waits_while_the_old_one_serves(self) -> None:
        obj = {**self.obj, "status": model_status(imported(self.obj, 1), current=1)}
        given = planned(obj, self.finished(obj, 2))
        assert (given.status["current"], given.status["version"]) == (digest(1), "1")
        assert [(r["version"], r["approved"]) for r in given.status["revisions"]] == [("2", False), ("1", True)]
        assert judged(given)["Ready"] == ("True", "ApprovalPending")

    @pytest.mark.parametrize(
        ("approve", "current"), [(digest(2), "2"), (digest(1), "1"), ("sha256:nonsense", "1"), ("", "1")]
    )
    def test_the_annotation_approves_one_digest(self, approve: str, current: str) -> None:
        obj = mlmodel_object(approval="Required", annotations={"trimtab.dev/approve": approve})
        obj["status"] = model_status(imported(obj, 2, approved=False), imported(obj, 1), current=1)
        given = planned(obj, seen_model(resolved(2)))
        assert given.status["version"] == current

    def test_what_was_approved_once_stays_approved(self) -> None:
        obj = {**self.obj, "status": model_status(imported(self.obj, 1), current=1)}
        given = planned(obj, seen_model(resolved(1)))
        assert given.status["revisions"][0]["approved"] is True

    def test_the_same_bytes_need_no_second_approval(self) -> None:
        """A model is its digest: another version of the registry with the same bundle is the same model."""
        obj = {**self.obj, "status": model_status(imported(self.obj, 1), current=1)}
        job = import_job(obj, URI.format(2), **complete())
        said = container(ended(0, json.dumps(import_result(1))), name="import")
        given = planned(obj, seen_model(resolved(2), [job], [speaking(obj, 2, said, phase="Succeeded")]))
        assert (given.status["current"], given.status["version"]) == (digest(1), "2")
        assert [r["approved"] for r in given.status["revisions"]] == [True, True]
        assert judged(given)["Ready"] == ("True", "Reconciled")

    def test_approval_switched_off_approves_all(self) -> None:
        obj = mlmodel_object(approval="Auto")
        obj["status"] = model_status(imported(obj, 2, approved=False), imported(obj, 1), current=1)
        assert planned(obj, seen_model(resolved(2))).status["version"] == "2"


def test_history_is_cut_but_never_what_is_current_or_wanted() -> None:
    obj = mlmodel_object(revisionHistoryLimit=2)
    obj["status"] = model_status(*(imported(obj, n) for n in (5, 4, 3, 2, 1)), current=1)
    given = planned(obj, seen_model(resolved(2)))
    assert [r["version"] for r in given.status["revisions"]] == ["5", "4", "2", "1"]
    assert given.status["version"] == "2"
    given = planned(obj, seen_model(DOWN))
    assert [r["version"] for r in given.status["revisions"]] == ["5", "4", "3", "2", "1"], (
        "who knows what it stands for"
    )


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"approval": "Required"}, True),
        ({"revisionHistoryLimit": 1}, True),
        ({"source": {"pollSeconds": 5}}, True),
        ({"source": {"credentialsSecretName": "other"}}, True),
        ({"optimize": "Off"}, False),
        ({"format": "Sklearn"}, False),
        ({"allowPickle": True}, False),
        ({"annotations": {"trimtab.dev/retry": "1"}}, False),
    ],
)
def test_an_import_is_named_by_what_shapes_its_bundle(change: dict[str, Any], same: bool) -> None:
    assert (key_of(mlmodel_object(**change), 1) == key_of(mlmodel_object(), 1)) is same


def test_times_stand_still_while_nothing_flips() -> None:
    obj = mlmodel_object()
    before = [
        condition("Ready", "True", "Reconciled", "old words"),
        condition("Resolved", "True", "ReferenceFound", "old words"),
    ]
    obj["status"] = model_status(imported(obj, 1), current=1, conditions=before)
    given = planned(obj, seen_model(resolved(1)))
    assert {c["lastTransitionTime"] for c in given.status["conditions"]} == {EARLIER_TEXT}
    settled = planned({**obj, "status": given.status}, seen_model(resolved(1)))
    assert settled.status == given.status


@pytest.mark.parametrize(
    ("uri", "poll"),
    [
        ("models:/credit@champion", True),
        ("models:/credit/latest", True),
        ("models:/credit/7", False),
        ("https://x/m", False),
    ],
)
def test_only_references_that_may_move_are_looked_at_again(uri: str, poll: bool) -> None:
    obj = mlmodel_object(uri, source={"pollSeconds": 77})
    given = planned(obj, seen_model(Resolution(uri)))
    assert given.requeue_after == (timedelta(seconds=77) if poll else None)


def test_a_plan_is_made_for_the_platform() -> None:
    assert seen_model(resolved(1)).platform == PLATFORM
    (job,) = planned(mlmodel_object(), seen_model(resolved(1))).apply
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == PLATFORM.toolbox_image


CANDIDATE = Resolution(URI.format(9), candidate="weekly (run weekly-0a1b2c3d)")


def test_a_candidate_is_imported_and_becomes_current() -> None:
    obj = mlmodel_object()
    obj["status"] = model_status(imported(obj, 1), current=1)
    given = planned(obj, seen_model(CANDIDATE))
    assert [job["metadata"]["name"] for job in given.apply] == [f"credit-{key_of(obj, 9)}"]
    assert given.status["version"] == "1"
    assert judged(given)["Resolved"] == ("True", "CandidateFollowed")
    assert message(given, "Resolved") == (
        "the source stands for models:/credit/9, the candidate of RetrainSchedule weekly (run weekly-0a1b2c3d)"
    )
    obj["status"] = model_status(imported(obj, 9), imported(obj, 1), current=1)
    given = planned(obj, seen_model(CANDIDATE))
    assert (given.status["version"], given.status["current"], given.apply) == ("9", digest(9), ())
    assert judged(given)["Ready"] == ("True", "Reconciled")


def test_a_candidate_that_cannot_be_imported_leaves_what_is_current() -> None:
    obj = mlmodel_object()
    obj["status"] = model_status(imported(obj, 1), current=1)
    job = import_job(obj, URI.format(9), **failed())
    pod = speaking(obj, 9, container(REFUSED, name="import"))
    given = planned(obj, seen_model(CANDIDATE, [job], [pod]))
    assert (given.status["version"], given.status["current"]) == ("1", digest(1))
    assert judged(given)["Stalled"] == ("True", "PickleRefused")
    assert message(given).endswith(f"; version 1 ({digest(1)[:19]}) stays current")
    assert given.status["resolvedUri"] == URI.format(9)


def test_after_a_candidate_was_withdrawn_the_alias_is_followed_without_another_import() -> None:
    obj = mlmodel_object(revisionHistoryLimit=1)
    obj["status"] = model_status(imported(obj, 9), imported(obj, 8), imported(obj, 1), current=9)
    during = planned(obj, seen_model(CANDIDATE))
    assert [r["version"] for r in during.status["revisions"]] == ["9", "8", "1"], "any of them may be gone back to"
    silent = planned({**obj, "status": during.status}, seen_model(DOWN))
    assert [r["version"] for r in silent.status["revisions"]] == ["9", "8", "1"]
    given = planned({**obj, "status": silent.status}, seen_model(resolved(1)))
    assert (given.status["version"], given.status["current"], given.apply) == ("1", digest(1), ())
    assert [r["version"] for r in given.status["revisions"]] == ["9", "1"]
    assert judged(given)["Resolved"] == FOUND


def test_the_list_of_revisions_never_grows_beyond_what_the_status_may_hold() -> None:
    obj = mlmodel_object()
    obj["status"] = model_status(*(imported(obj, n) for n in range(200, 100, -1)), current=101)
    job = import_job(obj, URI.format(9), **complete(60))
    pod = speaking(obj, 9, container(ended(0, json.dumps(import_result(9))), name="import"))
    given = planned(obj, seen_model(CANDIDATE, [job], [pod]))
    versions = [r["version"] for r in given.status["revisions"]]
    assert len(versions) <= 100
    assert {"9", "101"} <= set(versions)


def test_a_candidate_that_is_not_followed_is_named() -> None:
    obj = mlmodel_object()
    obj["status"] = model_status(imported(obj, 1), current=1)
    why = "models:/fraud/3 of RetrainSchedule other is not followed: it is no version of credit"
    given = planned(obj, seen_model(Resolution(URI.format(1), ignored=why)))
    assert message(given, "Resolved") == f"the source stands for models:/credit/1; {why}"
    given = planned(obj, seen_model(Resolution(CANDIDATE.uri, candidate="weekly", ignored=why)))
    assert message(given, "Resolved").endswith(f"the candidate of RetrainSchedule weekly; {why}")
