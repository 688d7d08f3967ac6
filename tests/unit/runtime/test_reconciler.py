"""One pass after another against an API server in memory: what is written, what is not, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.memory_cluster import MemoryCluster
from tests.memory_operator import MemoryOperator
from tests.unit.kinds.builders import NAMESPACE, digest, mdep_object, mlmodel_object, model_revision, model_status
from trimtab.core.objects import Object, Ref
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.mlmodel.children import import_key
from trimtab.runtime.cluster import ApiError, NotLeader
from trimtab.runtime.reconciler import Refused

MDEP = Ref("ModelDeployment", NAMESPACE, "risk")
MODEL = Ref("MLModel", NAMESPACE, "credit")
FRONT = Ref("Service", NAMESPACE, "risk")
POLICY = Ref("NetworkPolicy", NAMESPACE, "risk")
BUDGET = Ref("PodDisruptionBudget", NAMESPACE, "risk")
REVISION = "trimtab.dev/revision"


def model(current: int = 1) -> Object:
    """An MLModel whose versions 1 and 2 are imported, and one of them is current."""
    obj = mlmodel_object(f"models:/credit/{current}")
    entries = (
        model_revision(n, key=import_key(MLModel.parse(obj), f"models:/credit/{n}")) for n in (current, 3 - current)
    )
    return {**obj, "status": model_status(*entries, current=current)}


@pytest.fixture
def cluster() -> MemoryCluster:
    made = MemoryCluster()
    made.put(model())
    made.put(mdep_object())
    return made


@pytest.fixture
def operator(cluster: MemoryCluster) -> MemoryOperator:
    """An operator that has looked at the model, and not yet at the deployment."""
    made = MemoryOperator(cluster)
    made.look()
    made.reconcile(MODEL)
    made.hear()
    made.dirty = {MDEP}
    cluster.calls.clear()
    return made


def writes(cluster: MemoryCluster) -> list[str]:
    """What was written since the last time, as "verb Kind/name"."""
    done = [f"{call.verb} {call.ref.kind}/{call.ref.name}" for call in cluster.writes()]
    cluster.calls.clear()
    return done


def deployments(cluster: MemoryCluster) -> list[Ref]:
    return sorted(ref for ref in cluster.objects if ref.kind == "Deployment")


def start_pods(cluster: MemoryCluster, ref: Ref, available: int | None = None) -> None:
    """Let a Deployment's controller and its kubelets do their work."""

    def work(obj: Object) -> None:
        wanted = obj["spec"]["replicas"]
        ready = wanted if available is None else available
        generation = obj["metadata"]["generation"]
        obj["status"] = {"observedGeneration": generation, "replicas": wanted, "availableReplicas": ready}

    cluster.edit(ref, work)


def settle(operator: MemoryOperator) -> None:
    """Work until there is nothing left to do, with pods that start at once."""
    operator.work()
    for ref in deployments(operator.cluster):
        start_pods(operator.cluster, ref)
    operator.hear()
    operator.work()


def ready(cluster: MemoryCluster, ref: Ref = MDEP) -> tuple[str, str]:
    (found,) = (c for c in cluster.objects[ref]["status"]["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"]


def message(cluster: MemoryCluster) -> str:
    (found,) = (c for c in cluster.objects[MDEP]["status"]["conditions"] if c["type"] == "Ready")
    return str(found["message"])


def refuse(cluster: MemoryCluster, error: ApiError, *kinds: str, verb: str = "apply") -> None:
    def before(asked: str, ref: Ref) -> None:
        if asked == verb and ref.kind in kinds:
            raise error

    cluster.before = before


def name_of(cluster: MemoryCluster, number: int = 0) -> str:
    return deployments(cluster)[number].name


class TestOnePass:
    def test_children_come_before_status_and_the_front_last(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        operator.reconcile(MDEP)
        name = name_of(cluster)
        assert writes(cluster) == [
            "apply NetworkPolicy/risk",
            "apply PodDisruptionBudget/risk",
            f"apply Deployment/{name}",
            f"apply Service/{name}",
            "apply Service/risk",
            "status ModelDeployment/risk",
        ]
        assert ready(cluster) == ("Unknown", "PodsStarting")

    def test_what_was_written_is_known_without_hearing_of_it(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        operator.reconcile(MDEP)
        writes(cluster)
        assert MDEP in operator.dirty, "its own writes may have consequences"
        operator.work()
        assert writes(cluster) == []

    def test_a_settled_object_is_not_written_to(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        assert ready(cluster) == ("True", "Reconciled")
        writes(cluster)
        for _ in range(3):
            operator.reconcile(MDEP)
            operator.reconcile(MODEL)
        assert writes(cluster) == []

    def test_a_restart_over_settled_objects_writes_nothing(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        settle(operator)
        writes(cluster)
        again = MemoryOperator(cluster)
        again.look()
        assert again.dirty >= {MDEP, MODEL}
        again.work()
        assert writes(cluster) == []

    def test_what_is_gone_or_going_is_left_alone(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        assert operator.reconcile(Ref("MLModel", NAMESPACE, "unheard-of")) is None
        cluster.edit(MDEP, lambda obj: obj["metadata"].update(deletionTimestamp="2030-01-02T03:04:05Z"))
        operator.hear()
        assert operator.reconcile(MDEP) is None
        assert writes(cluster) == []

    def test_a_status_changes_times_only_when_something_flips(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        settle(operator)
        before = {c["type"]: c["lastTransitionTime"] for c in cluster.objects[MDEP]["status"]["conditions"]}
        operator.clock.advance(3_600)
        cluster.edit(MDEP, lambda obj: obj["spec"].update(replicas=1))
        operator.hear()
        settle(operator)
        after = {c["type"]: c["lastTransitionTime"] for c in cluster.objects[MDEP]["status"]["conditions"]}
        assert after == before

    def test_who_may_not_write_says_so(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        cluster.may_write = lambda: 0.0
        with pytest.raises(NotLeader):
            operator.reconcile(MDEP)
        assert writes(cluster) == []


class TestChildren:
    EDITS: dict[str, tuple[str, Callable[[Object], Any]]] = {
        "number of pods": ("Deployment", lambda obj: obj["spec"].update(replicas=9)),
        "image": ("Deployment", lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image="evil")),
        "label": ("Deployment", lambda obj: obj["metadata"]["labels"].pop(REVISION)),
        "owner": ("Service", lambda obj: obj["metadata"].pop("ownerReferences")),
        "selector": ("Service", lambda obj: obj["spec"].update(selector={"app": "other"})),
        "ports": ("NetworkPolicy", lambda obj: obj["spec"].update(ingress=[])),
        "budget": ("PodDisruptionBudget", lambda obj: obj["spec"].update(maxUnavailable="100%")),
    }

    @pytest.mark.parametrize("case", EDITS)
    def test_an_edit_by_hand_is_undone(self, cluster: MemoryCluster, operator: MemoryOperator, case: str) -> None:
        settle(operator)
        kind, edit = self.EDITS[case]
        refs = [ref for ref in cluster.objects if ref.kind == kind]
        before = {ref: _said(cluster.objects[ref]) for ref in refs}
        for ref in refs:
            cluster.edit(ref, edit)
        operator.hear()
        if case == "owner":
            operator.dirty.add(MDEP)
        settle(operator)
        assert {ref: _said(cluster.objects[ref]) for ref in refs} == before

    def test_what_others_added_stays(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        (ref,) = deployments(cluster)

        def add(obj: Object) -> None:
            obj["metadata"]["labels"]["team"] = "risk"
            obj["metadata"]["annotations"]["note"] = "mine"
            obj["spec"]["minReadySeconds"] = 5

        cluster.edit(ref, add)
        writes(cluster)
        operator.hear()
        settle(operator)
        assert "apply" not in " ".join(writes(cluster))
        cluster.edit(ref, lambda obj: obj["spec"].update(replicas=7))
        operator.hear()
        settle(operator)
        found = cluster.objects[ref]
        assert (found["metadata"]["labels"]["team"], found["spec"]["minReadySeconds"]) == ("risk", 5)
        assert found["spec"]["replicas"] == 2

    def test_every_child_that_is_deleted_comes_back(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        children = [ref for ref in cluster.objects if ref.kind not in ("MLModel", "ModelDeployment", "Event")]
        assert len(children) == 5
        for ref in children:
            cluster.remove(ref)
            operator.hear()
            settle(operator)
            assert ref in cluster.objects
            assert ready(cluster) == ("True", "Reconciled")

    def test_a_field_no_longer_wanted_is_taken_back(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        scaling = {"minReplicas": 1, "maxReplicas": 3}
        cluster.edit(MDEP, lambda obj: obj["spec"].update(autoscaling=scaling))
        operator.hear()
        settle(operator)
        assert [ref.kind for ref in cluster.objects].count("HorizontalPodAutoscaler") == 1
        cluster.edit(MDEP, lambda obj: obj["spec"].pop("autoscaling"))
        operator.hear()
        settle(operator)
        operator.wait(11)
        assert [ref.kind for ref in cluster.objects].count("HorizontalPodAutoscaler") == 0

    def test_only_our_own_extra_children_are_deleted(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        ours = {key: cluster.objects[FRONT]["metadata"][key] for key in ("ownerReferences", "labels")}
        going = {**ours, "deletionTimestamp": "2030-01-01T00:00:00Z"}
        theirs = {"labels": ours["labels"]}
        for kind, name, meta in (
            ("Service", "ours", ours),
            ("Service", "going", going),
            ("Service", "theirs", theirs),
            ("Job", "of-another-kind", ours),
        ):
            metadata = {"name": name, "namespace": NAMESPACE, **meta}
            cluster.put({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": {}})
        operator.hear()
        writes(cluster)
        operator.work()
        assert writes(cluster) == ["delete Service/ours"]


class TestNames:
    """Whose is an object of the wanted name?"""

    def stranger(self, **meta: Any) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "risk", "namespace": NAMESPACE, **meta},
            "spec": {"type": "ClusterIP", "selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 80}]},
        }

    @pytest.mark.parametrize("known", [True, False], ids=["in memory", "not in memory"])
    def test_a_strangers_object_is_never_taken(
        self, cluster: MemoryCluster, operator: MemoryOperator, known: bool
    ) -> None:
        labels = {"app.kubernetes.io/managed-by": "trimtab"} if known else {"team": "other"}
        before = cluster.put(self.stranger(labels=labels))
        operator.hear() if known else operator.miss()
        with pytest.raises(Refused):
            operator.reconcile(MDEP)
        assert cluster.objects[FRONT] == before
        assert ready(cluster) == ("False", "NameTaken")
        assert message(cluster) == (
            "there already is a Service risk that does not belong to this resource; delete it or choose another name"
        )
        cluster.remove(FRONT)
        operator.hear()
        operator.dirty.add(MDEP)
        settle(operator)
        assert ready(cluster) == ("True", "Reconciled")

    def test_our_own_object_without_its_label_is_taken_back(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        """Its watch tells of a deletion, because the watch asks for the label."""
        settle(operator)

        def take(obj: Object) -> None:
            obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "hand"
            obj["spec"]["selector"] = {"app": "other"}

        edited = cluster.edit(FRONT, take)
        operator.miss()
        operator.picture.absorb(edited, True)
        settle(operator)
        found = cluster.objects[FRONT]
        assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "trimtab"
        assert found["spec"]["selector"][REVISION] == name_of(cluster).rpartition("-")[2]

    def test_what_a_deleted_namesake_left_is_waited_for(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        """`kubectl delete` and `apply` in one breath: the garbage collector is still at the old children."""
        settle(operator)
        left = [obj for ref, obj in cluster.objects.items() if ref.kind not in ("MLModel", "ModelDeployment", "Event")]
        cluster.remove(MDEP)
        for obj in left:
            cluster.put({**obj, "metadata": {**obj["metadata"], "resourceVersion": "0"}})
        cluster.put(mdep_object())
        operator.look()
        operator.hear()
        operator.work()
        assert ready(cluster) == ("Unknown", "PredecessorRemains")
        for obj in left:
            cluster.remove(Ref(obj["kind"], NAMESPACE, obj["metadata"]["name"]))
        operator.hear()
        settle(operator)
        assert ready(cluster) == ("True", "Reconciled")
        reasons = {obj["reason"] for ref, obj in cluster.objects.items() if ref.kind == "Event"}
        assert "NameTaken" not in reasons, "nobody is told to delete anything"


QUOTA = ApiError(403, "Forbidden", 'deployments.apps "x" is forbidden: exceeded quota: small, requested: count=1')
INVALID = ApiError(422, "Invalid", 'Deployment.apps "x" is invalid: spec.template.metadata.annotations: Invalid value')
BROKEN = ApiError(500, "InternalError", "failed calling webhook")


class TestRefusals:
    @pytest.mark.parametrize(("error", "reason"), [(QUOTA, "QuotaExceeded"), (INVALID, "ApplyFailed")])
    def test_the_servers_words_overrule_the_plan(
        self, cluster: MemoryCluster, operator: MemoryOperator, error: ApiError, reason: str
    ) -> None:
        refuse(cluster, error, "Deployment")
        with pytest.raises(Refused):
            operator.reconcile(MDEP)
        assert ready(cluster) == ("False", reason)
        assert str(error) in message(cluster)
        assert message(cluster).startswith("Deployment risk-")
        conditions = {c["type"]: c["status"] for c in cluster.objects[MDEP]["status"]["conditions"]}
        assert conditions == {"Ready": "False", "Stalled": "True", "ModelResolved": "True", "Available": "False"}
        cluster.before = lambda verb, ref: None
        operator.dirty.add(MDEP)
        settle(operator)
        assert ready(cluster) == ("True", "Reconciled")

    @pytest.mark.parametrize("error", [INVALID, BROKEN])
    def test_one_refused_child_does_not_keep_the_others_from_being_repaired(
        self, cluster: MemoryCluster, operator: MemoryOperator, error: ApiError
    ) -> None:
        settle(operator)
        cluster.edit(MODEL, lambda obj: obj.update(model(2)))
        for ref in (FRONT, POLICY):
            cluster.remove(ref)
        refuse(cluster, error, "Deployment")
        operator.hear()
        with pytest.raises((Refused, ApiError)):
            operator.reconcile(MDEP)
        assert {FRONT, POLICY} <= set(cluster.objects)

    def test_no_pods_are_started_without_their_policies(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        refuse(cluster, INVALID, "NetworkPolicy")
        with pytest.raises(Refused):
            operator.reconcile(MDEP)
        assert deployments(cluster) == []
        assert ready(cluster) == ("False", "ApplyFailed")

    def test_a_refused_newcomer_does_not_keep_others_from_going(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        """Else an overtaken revision that fills the quota would keep the next one out for ever."""
        settle(operator)
        cluster.edit(MODEL, lambda obj: obj.update(model(2)))
        operator.hear()
        operator.work()
        assert len(deployments(cluster)) == 2
        refuse(cluster, QUOTA, "Deployment")
        cluster.edit(MDEP, lambda obj: obj["spec"].update(podAnnotations={"a": "b"}))
        operator.hear()
        with pytest.raises(Refused):
            operator.reconcile(MDEP)
        assert len(deployments(cluster)) == 1

    def test_a_switch_that_was_refused_is_not_claimed(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        old = cluster.objects[MDEP]["status"]["serving"]
        cluster.edit(MODEL, lambda obj: obj.update(model(2)))
        operator.hear()
        operator.work()
        forbidden = ApiError(403, "Forbidden", "admission webhook denied the request")
        refuse(cluster, forbidden, "Service")
        for ref in deployments(cluster):
            start_pods(cluster, ref)
        for _ in range(5):
            operator.hear()
            operator.dirty.add(MDEP)
            operator.work()
            operator.clock.advance(60)
        assert ready(cluster) == ("False", "ApplyFailed")
        assert cluster.objects[FRONT]["spec"]["selector"][REVISION] == old
        assert cluster.objects[MDEP]["status"]["serving"] == old
        assert Ref("Deployment", NAMESPACE, f"risk-{old}") in cluster.objects

    def test_a_deletion_that_is_refused_is_told(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        meta = {k: cluster.objects[FRONT]["metadata"][k] for k in ("ownerReferences", "labels")}
        stray = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stray", "namespace": NAMESPACE, **meta}}
        cluster.put({**stray, "spec": {}})
        refuse(cluster, ApiError(403, "Forbidden", "may not delete"), "Service", verb="delete")
        operator.hear()
        with pytest.raises(Refused):
            operator.reconcile(MDEP)
        assert ready(cluster) == ("False", "DeleteFailed")
        assert message(cluster) == "Service stray: may not delete"


class TestNoAnswer:
    def test_what_may_pass_changes_no_status(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        before = cluster.objects[MDEP]["status"]
        cluster.remove(FRONT)
        refuse(cluster, BROKEN, "Service")
        operator.hear()
        with pytest.raises(ApiError):
            operator.reconcile(MDEP)
        assert cluster.objects[MDEP]["status"] == before

    @pytest.mark.parametrize("code", [0, 429])
    def test_a_server_that_is_away_or_busy_is_not_asked_for_the_rest(
        self, cluster: MemoryCluster, operator: MemoryOperator, code: int
    ) -> None:
        refuse(cluster, ApiError(code, "", "later", retry_after=3), "NetworkPolicy")
        with pytest.raises(ApiError) as caught:
            operator.reconcile(MDEP)
        assert caught.value.retry_after == 3
        assert writes(cluster) == []

    def test_a_conflict_that_is_a_race_is_tried_again(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        cluster.edit(FRONT, lambda obj: obj["spec"].update(selector={}))
        operator.hear()
        refuse(cluster, ApiError(409, "Conflict", "the object has been modified"), "Service")
        before = cluster.objects[MDEP]["status"]
        with pytest.raises(ApiError):
            operator.reconcile(MDEP)
        assert cluster.objects[MDEP]["status"] == before

    def test_a_status_of_what_is_gone_is_no_disaster(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        cluster.remove(MDEP)
        with pytest.raises(ApiError) as caught:
            operator.reconcile(MDEP)
        assert caught.value.code == 404
        operator.hear()
        assert operator.reconcile(MDEP) is None


class TestUnusable:
    def test_a_spec_that_cannot_be_read_is_named_and_what_runs_goes_on(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        settle(operator)
        children = set(cluster.objects)
        cluster.edit(MDEP, lambda obj: obj["spec"].update(replicas="many", model={}))
        operator.hear()
        assert operator.reconcile(MDEP) is None
        assert ready(cluster) == ("False", "InvalidSpec")
        assert "spec.model.name: Field required" in message(cluster)
        assert "spec.replicas: " in message(cluster)
        assert cluster.objects[MDEP]["status"]["serving"]
        assert {ref for ref in cluster.objects if ref.kind != "Event"} == {r for r in children if r.kind != "Event"}

    def test_a_new_one_that_cannot_be_read_is_named_too(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        cluster.put({**mdep_object("other"), "spec": {"model": {}}})
        operator.hear()
        other = Ref("ModelDeployment", NAMESPACE, "other")
        operator.reconcile(other)
        assert ready(cluster, other) == ("False", "InvalidSpec")
        assert cluster.objects[other]["status"]["observedGeneration"] == 1


class TestPaused:
    def pause(self, cluster: MemoryCluster, value: str) -> None:
        cluster.edit(MDEP, lambda obj: obj["metadata"].update(annotations={"trimtab.dev/paused": value}))

    def test_nothing_is_changed_and_the_status_says_so(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        self.pause(cluster, "true")
        cluster.remove(FRONT)
        operator.hear()
        writes(cluster)
        operator.work()
        assert writes(cluster) == ["status ModelDeployment/risk", "create Event/" + self.event(cluster)]
        assert ready(cluster) == ("Unknown", "Paused")
        assert cluster.objects[MDEP]["status"]["serving"]
        self.pause(cluster, "false")
        operator.hear()
        settle(operator)
        assert FRONT in cluster.objects
        assert ready(cluster) == ("True", "Reconciled")

    def event(self, cluster: MemoryCluster) -> str:
        (name,) = (r.name for r, obj in cluster.objects.items() if r.kind == "Event" and obj["reason"] == "Paused")
        return name

    def test_one_that_was_never_looked_at_can_be_paused(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        self.pause(cluster, "true")
        operator.hear()
        operator.work()
        assert ready(cluster) == ("Unknown", "Paused")
        assert deployments(cluster) == []


class TestModels:
    def test_an_import_runs_once_and_its_job_goes_when_its_result_is_kept(
        self, cluster: MemoryCluster, operator: MemoryOperator
    ) -> None:
        cluster.edit(MODEL, lambda obj: obj["spec"]["source"].update(uri="models:/credit/3"))
        operator.hear()
        operator.reconcile(MODEL)
        (job,) = (ref for ref in cluster.objects if ref.kind == "Job")
        assert writes(cluster)[:2] == [f"apply Job/{job.name}", "status MLModel/credit"]
        operator.reconcile(MODEL)
        assert writes(cluster) == []
        cluster.edit(MODEL, lambda obj: obj["spec"]["source"].update(uri="models:/credit/1"))
        operator.hear()
        operator.reconcile(MODEL)
        assert "delete Job/" + job.name in writes(cluster)

    def test_a_model_is_followed(self, cluster: MemoryCluster, operator: MemoryOperator) -> None:
        settle(operator)
        cluster.edit(MODEL, lambda obj: obj.update(model(2)))
        operator.hear()
        assert MDEP in operator.dirty
        settle(operator)
        assert cluster.objects[MDEP]["status"]["version"] == "2"
        operator.wait(11)
        assert len(deployments(cluster)) == 1
        assert cluster.objects[FRONT]["spec"]["selector"][REVISION] == name_of(cluster).rpartition("-")[2]
        assert cluster.objects[MDEP]["status"]["revisions"][0]["digest"] == digest(2)


def test_applies_are_counted_with_what_they_changed(cluster: MemoryCluster, operator: MemoryOperator) -> None:
    def applied(changed: str) -> float | None:
        labels = {"kind": "Service", "changed": changed}
        return operator.metrics.registry.get_sample_value("trimtab_children_applied_total", labels)

    operator.work()
    assert (applied("true"), applied("false")) == (2, None)
    cluster.edit(FRONT, lambda obj: obj["spec"].update(selector={}))
    operator.hear()
    cluster.edit(FRONT, lambda obj: obj["spec"].update(selector=cluster.objects[FRONT]["spec"]["selector"]))
    operator.work()
    assert applied("true") == 3


def _said(obj: Object) -> Object:
    """An object without what the server counts."""
    kept = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "generation")}
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": kept}
