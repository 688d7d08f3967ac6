"""A user, a saboteur, an unreliable network and an operator that dies: and in the end everything is as it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.property.worlds import FRONT, MDEP, MODEL, REVISION, World, digest
from trimtab.core.objects import Object, Ref
from trimtab.runtime.cluster import ApiError

FAULTS = (
    ApiError(0, "Unreachable", "connection reset"),
    ApiError(409, "Conflict", "the object has been modified"),
    ApiError(422, "Invalid", "spec: Invalid value"),
    ApiError(403, "Forbidden", "exceeded quota: small"),
    ApiError(429, "TooManyRequests", "later", retry_after=1),
    ApiError(500, "InternalError", "etcdserver: request timed out"),
)
CPU = [{"type": "CPU", "targetPercent": 70}]
SPECS: dict[str, Object] = {
    "one pod": {"replicas": 1},
    "three pods": {"replicas": 3},
    "no pods": {"replicas": 0},
    "another pod": {"podAnnotations": {"team": "risk"}},
    "the same pod": {"podAnnotations": {}},
    "autoscaled": {"autoscaling": {"minReplicas": 2, "maxReplicas": 4, "metrics": CPU}},
    "not autoscaled": {"autoscaling": None},
    "pinned": {"model": {"name": "credit", "revision": digest("1")}},
    "not pinned": {"model": {"name": "credit", "revision": ""}},
}
EDITS: dict[str, Callable[[Object], Any]] = {
    "no labels": lambda obj: obj["metadata"]["labels"].pop(REVISION, None),
    "no annotations": lambda obj: obj["metadata"].update(annotations={}),
    "nonsense in annotations": lambda obj: obj["metadata"]["annotations"].update({"trimtab.dev/digest": "nonsense"}),
    "another number of pods": lambda obj: "replicas" in obj["spec"] and obj["spec"].update(replicas=1),
    "another selector": lambda obj: "ports" in obj["spec"] and obj["spec"].update(selector={"app": "other"}),
    "something of one's own": lambda obj: obj["metadata"]["labels"].update(team="mine"),
}


class OperatorMachine(RuleBasedStateMachine):
    """Each rule is something that happens in a cluster; `World` watches the laws at each write."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    # The user.

    @rule(spec=st.sampled_from(sorted(SPECS)))
    def edit_spec(self, spec: str) -> None:
        def change(obj: Object) -> None:
            obj["spec"] = {k: v for k, v in {**obj["spec"], **SPECS[spec]}.items() if v is not None}

        self.world.cluster.edit(MDEP, change)

    @rule(broken=st.sampled_from(["", "", "", "import", "pods"]))
    def new_version(self, broken: str) -> None:
        version = str(int(self.world.version()) + 1)
        self.world.registry.versions["credit", "champion"] = version
        if broken == "import":
            self.world.broken_imports.add(version)
        if broken == "pods":
            self.world.broken_pods.add(digest(version))

    @rule(approval=st.sampled_from(["Auto", "Required"]))
    def ask_for_approval(self, approval: str) -> None:
        self.world.cluster.edit(MODEL, lambda obj: obj["spec"].update(approval=approval))

    @rule()
    def approve(self) -> None:
        revisions = self.world.status(MODEL).get("revisions", [])
        if revisions:
            note = {"trimtab.dev/approve": revisions[0]["digest"]}
            self.world.cluster.edit(MODEL, lambda obj: obj["metadata"].update(annotations=note))

    @rule(back=st.integers(1, 3))
    def move_the_alias_back(self, back: int) -> None:
        version = max(1, int(self.world.version()) - back)
        self.world.registry.versions["credit", "champion"] = str(version)

    # The saboteur.

    @precondition(lambda self: self.world.children())
    @rule(data=st.data())
    def delete_a_child(self, data: st.DataObject) -> None:
        self.world.cluster.remove(data.draw(st.sampled_from(self.world.children())))

    @precondition(lambda self: self.world.children())
    @rule(data=st.data(), edit=st.sampled_from(sorted(EDITS)))
    def edit_a_child(self, data: st.DataObject, edit: str) -> None:
        ref = data.draw(st.sampled_from(self.world.children()))
        if ref.kind == "Job" and edit == "no labels":
            return
        self.world.cluster.edit(ref, EDITS[edit])

    @rule(ref=st.sampled_from([MDEP, MODEL]))
    def wipe_a_status(self, ref: Ref) -> None:
        self.world.wipe(ref)

    @precondition(lambda self: FRONT in self.world.cluster.objects)
    @rule(rounds=st.integers(0, 3))
    def lose_all_memory_of_who_serves_while_a_newcomer_starts(self, rounds: int) -> None:
        self.new_version("")
        for _ in range(rounds):
            self.time_passes(61)
            self.world.act()
            self.all_events_arrive()
        self.world.wipe(MDEP)
        self.world.cluster.remove(FRONT)
        self.all_events_arrive()

    # Pods, networks, processes, time.

    @rule(rounds=st.integers(1, 4))
    def everybody_else_works(self, rounds: int) -> None:
        for _ in range(rounds):
            self.world.act()

    @rule(data=st.data())
    def pods_crash_or_recover(self, data: st.DataObject) -> None:
        bundle = digest(data.draw(st.sampled_from([str(n) for n in range(1, int(self.world.version()) + 1)])))
        self.world.broken_pods ^= {bundle}

    @rule(down=st.booleans())
    def the_registry_comes_and_goes(self, down: bool) -> None:
        self.world.registry.down = down

    @rule(events=st.integers(0, 5))
    def some_events_arrive(self, events: int) -> None:
        self.world.operator.hear(events)
        self.world.work()

    @rule()
    def all_events_arrive(self) -> None:
        self.world.operator.hear()
        self.world.work()

    @rule()
    def a_watch_breaks_and_everything_is_listed(self) -> None:
        self.world.operator.miss()
        self.world.operator.look()
        self.world.work()

    @rule()
    def the_operator_restarts(self) -> None:
        self.world.restart()
        self.world.work()

    @rule(writes=st.integers(1, 9))
    def the_operator_is_killed_after_some_writes(self, writes: int) -> None:
        self.world.kill_in = writes
        self.world.operator.hear()
        self.world.work()
        self.world.kill_in = None
        self.world.work()

    @rule(error=st.sampled_from(FAULTS), after=st.integers(0, 5))
    def a_request_fails(self, error: ApiError, after: int) -> None:
        left = after

        def fail(verb: str, ref: Ref) -> None:
            nonlocal left
            left -= 1
            if left == -1 and verb not in ("get", "list"):
                raise error

        self._work_while(fail)

    @rule(error=st.sampled_from(FAULTS), kind=st.sampled_from(["Deployment", "NetworkPolicy", "Job", "MLModel"]))
    def a_kind_cannot_be_written(self, error: ApiError, kind: str) -> None:
        def fail(verb: str, ref: Ref) -> None:
            if ref.kind == kind and verb not in ("get", "list"):
                raise error

        self._work_while(fail)

    @rule(error=st.sampled_from(FAULTS))
    def a_switch_cannot_be_made(self, error: ApiError) -> None:
        def fail(verb: str, ref: Ref) -> None:
            if ref == FRONT and verb not in ("get", "list"):
                raise error

        self.new_version("")
        self._work_while(fail, rounds=6)

    def _work_while(self, fail: Callable[[str, Ref], None], rounds: int = 0) -> None:
        self.world.cluster.before = fail
        try:
            self.all_events_arrive()
            for _ in range(rounds):
                self.time_passes(61)
                self.world.act()
                self.all_events_arrive()
        finally:
            self.world.cluster.before = lambda verb, ref: None

    @rule(seconds=st.sampled_from([1, 9, 11, 61]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.advance(seconds)
        self.world.operator.enqueue([MDEP, MODEL])
        self.world.work()

    # What must be true.

    @invariant()
    def whoever_serves_is_told(self) -> None:
        status = self.world.status(MDEP)
        if status.get("serving"):
            assert status["selector"].endswith(f"{REVISION}={status['serving']}")

    @rule()
    def calm(self) -> None:
        """When nobody disturbs it any more, the operator brings everything in order, and then it rests."""
        world = self.world
        world.registry.down = False
        world.broken_imports.clear()
        world.broken_pods.clear()
        world.cluster.edit(MODEL, _approving_and_retrying)
        if world.get(MDEP)["spec"]["model"]["revision"] not in world.digests():
            self.edit_spec("not pinned")
        world.operator.miss()
        world.operator.look()
        for _ in range(12):
            world.operator.enqueue([MDEP, MODEL])
            world.work()
            for _ in range(6):
                world.act()
            world.operator.hear()
            world.work()
            world.clock.advance(61)
        assert_settled(world)
        assert_quiet(world)

    def teardown(self) -> None:
        self.calm()


def _approving_and_retrying(obj: Object) -> None:
    obj["spec"]["approval"] = "Auto"
    count = int(obj["metadata"].get("annotations", {}).get("trimtab.dev/retry", "0"))
    obj["metadata"]["annotations"] = {"trimtab.dev/retry": str(count + 1)}


def assert_settled(world: World) -> None:
    """One revision, the right one, with all its children and with the traffic; and nothing else."""
    model, mdep, spec = world.status(MODEL), world.status(MDEP), world.get(MDEP)["spec"]
    assert _ready(model) == ("True", "Reconciled"), model["conditions"]
    assert model["version"] == world.version()
    pinned = spec["model"]["revision"]
    scaled_to_zero = spec["replicas"] == 0 and "autoscaling" not in spec
    assert _ready(mdep) == ("True", "ScaledToZero" if scaled_to_zero else "Reconciled"), mdep["conditions"]
    assert mdep["version"] == ("1" if pinned else world.version())
    assert world.selected() == mdep["serving"]
    assert set(world.deployments()) == {mdep["serving"]}
    assert [r["name"] for r in mdep["revisions"]] == [mdep["serving"]]
    name = f"risk-{mdep['serving']}"
    wanted = [("Deployment", name), ("NetworkPolicy", "risk"), ("PodDisruptionBudget", "risk"), ("Service", "risk")]
    wanted += [("Service", name), *([("HorizontalPodAutoscaler", name)] if "autoscaling" in spec else [])]
    assert [(ref.kind, ref.name) for ref in world.children()] == sorted(wanted)
    if "autoscaling" not in spec:
        assert world.deployments()[mdep["serving"]]["spec"]["replicas"] == spec["replicas"]


def assert_quiet(world: World) -> None:
    """A second look over everything, by an old process and by a new one, writes nothing."""
    writes = len(world.cluster.writes())
    world.operator.look()
    world.operator.enqueue([MDEP, MODEL])
    world.work()
    world.restart()
    world.work()
    assert world.cluster.writes()[writes:] == []


def _ready(status: Object) -> tuple[str, str]:
    (found,) = (c for c in status["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"]


TestOperatorMachine = OperatorMachine.TestCase
# The same lives each time, and a failure is told as it was met: to shrink one would take minutes.
TestOperatorMachine.settings = settings(
    max_examples=10,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
