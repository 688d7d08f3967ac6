"""Effects of plans: after the status, by the leader only, each on its own, and no more talk than needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.memory_cluster import Call, MemoryCluster
from tests.memory_operator import MemoryNotifier, MemoryOperator, MemoryRegistry
from tests.unit.kinds.builders import NAMESPACE, mlmodel_object
from trimtab.core.objects import Object, Ref
from trimtab.core.plan import Alias, Effect, Notice, Plan, Tags
from trimtab.kinds import MLMODEL
from trimtab.runtime.cluster import NotLeader
from trimtab.runtime.reconciler import Reconciler

MODEL = Ref("MLModel", NAMESPACE, "credit")
ALIAS = Alias("credit", "champion", "7")
TAGS = Tags("credit", "7", {"trimtab.dev/promoted-by": "weekly"})
NOTICE = Notice("run-1/Promoted", "slack", "credit: version 7 is promoted", "It passed its gate.")


class World:
    """An operator whose plan for the one model there is has the effects that a test wants."""

    def __init__(self) -> None:
        self.leading = 10.0
        self.cluster = MemoryCluster(lambda: self.leading)
        self.registry, self.notifier = MemoryRegistry(), MemoryNotifier()
        self.registry.versions["credit", "champion"] = "1"
        self.cluster.put(mlmodel_object("models:/credit@champion"))
        self.operator = MemoryOperator(self.cluster, self.registry, notifier=self.notifier)
        self.effects: tuple[Effect, ...] = ()
        self.again: timedelta | None = None
        shell = self.operator.reconcilers["MLModel"]._shell
        self.operator.reconcilers["MLModel"] = Reconciler(replace(MLMODEL, plan=self._plan), shell)
        self.operator.look()

    def _plan(self, model: Any, seen: Any, now: datetime) -> Plan:
        return replace(MLMODEL.plan(model, seen, now), effects=self.effects, requeue_after=self.again)

    def run(self, *effects: Effect) -> timedelta | None:
        self.effects = effects
        self.operator.hear()
        return self.operator.reconcile(MODEL)

    def events(self) -> list[Object]:
        return [obj for obj in self.cluster.objects.values() if obj.get("reason") == "EffectFailed"]

    def count(self, kind: str, result: str) -> float:
        found = self.operator.metrics.registry.get_sample_value(
            "trimtab_effects_total", {"kind": kind, "result": result}
        )
        return found or 0.0


@pytest.fixture
def world() -> World:
    return World()


def test_each_effect_is_made(world: World) -> None:
    assert world.run(ALIAS, TAGS, NOTICE) is None
    assert world.registry.versions["credit", "champion"] == "7"
    assert world.registry.tags["credit", "7"] == {"trimtab.dev/promoted-by": "weekly"}
    assert world.notifier.sent == {NOTICE.key: NOTICE}
    assert [world.count(kind, "done") for kind in ("Alias", "Tags", "Notice")] == [1, 1, 1]
    assert world.events() == []


def test_they_come_after_the_status(world: World) -> None:
    at_status: list[str] = []

    def after(call: Call) -> None:
        if call.verb == "status":
            at_status.append(world.registry.versions["credit", "champion"])

    world.cluster.after = after
    world.run(ALIAS)
    assert at_status == ["1"]
    assert world.registry.versions["credit", "champion"] == "7"


def test_nothing_is_done_where_the_status_was_not_written(world: World) -> None:
    def before(verb: str, ref: Ref) -> None:
        if verb == "status":
            raise NotLeader("no longer")

    world.cluster.before = before
    with pytest.raises(NotLeader):
        world.run(ALIAS)
    assert world.registry.changes == 0


def test_nothing_is_done_without_leadership(world: World) -> None:
    world.run()
    world.leading = 0.0
    with pytest.raises(NotLeader):
        world.run(ALIAS, TAGS, NOTICE)
    assert world.registry.changes == 0
    assert world.notifier.sent == {}


def test_leadership_that_ends_between_two_effects_keeps_the_second_from_being_made(world: World) -> None:
    class Ending(MemoryRegistry):
        async def set_alias(self, model: str, alias: str, version: str, seconds: float) -> None:
            await super().set_alias(model, alias, version, seconds)
            world.leading = 0.0

    ending = Ending()
    ending.versions["credit", "champion"] = "1"
    world.operator.reconcilers["MLModel"]._shell.effects._registrar = ending
    with pytest.raises(NotLeader):
        world.run(ALIAS, TAGS)
    assert ending.changes == 1
    assert ending.tags == {}


def test_a_write_gets_no_more_time_than_leadership_has_left(world: World) -> None:
    asked: list[float] = []

    class Timed(MemoryRegistry):
        async def set_tags(self, model: str, version: str, tags: Mapping[str, str], seconds: float) -> None:
            asked.append(seconds)

    world.operator.reconcilers["MLModel"]._shell.effects._registrar = Timed()
    world.leading = 3.5
    world.run(TAGS)
    assert asked == [3.5]


def test_one_that_fails_keeps_none_from_being_made_and_is_repeated(world: World) -> None:
    stranger = replace(NOTICE, key="other", channel="pager")
    assert world.run(stranger, NOTICE, ALIAS) == timedelta(seconds=30)
    assert world.notifier.sent == {NOTICE.key: NOTICE}
    assert world.registry.versions["credit", "champion"] == "7"
    assert world.count("Notice", "failed") == 1
    assert world.count("Notice", "done") == 1


def test_an_earlier_appointment_of_the_plan_stands(world: World) -> None:
    stranger = replace(NOTICE, channel="pager")
    world.again = timedelta(seconds=5)
    assert world.run(stranger) == timedelta(seconds=5)
    world.again = timedelta(minutes=5)
    assert world.run(stranger) == timedelta(seconds=30)
    assert world.run() == timedelta(minutes=5)


def test_a_failure_is_told_once_as_an_event_and_again_after_a_success(world: World) -> None:
    world.registry.down = True
    world.run(ALIAS)
    calls = len(world.cluster.writes())
    for _ in range(2):
        world.run(ALIAS)
    assert len(world.cluster.writes()) == calls, "the second and third time nothing was even sent"
    (event,) = world.events()
    assert (event["type"], event["reason"]) == ("Warning", "EffectFailed")
    assert event["note"] == (
        "the alias champion of credit should be version 7: MLflow does not answer: timed out; it is asked again; "
        "it is tried again every 30 s"
    )
    assert event["regarding"]["name"] == "credit"
    world.registry.down = False
    world.run(ALIAS)
    assert world.registry.versions["credit", "champion"] == "7"
    world.registry.down = True
    world.run(replace(ALIAS, version="8"))
    assert len(world.events()) == 2


def test_a_failure_in_other_letters_is_told_in_as_many_bytes_as_an_event_may_have(world: World) -> None:
    world.registry.down = True
    world.run(replace(ALIAS, alias="模型" * 300))
    (event,) = world.events()
    assert len(event["note"].encode()) <= 1_024
    assert event["note"].endswith("; it is tried again every 30 s")


def test_a_fault_of_our_own_is_told_without_its_words(world: World) -> None:
    class Broken(MemoryNotifier):
        def send(self, notice: Notice, look_again: Any) -> None:
            raise RuntimeError("slack://token@host")

    world.operator.reconcilers["MLModel"]._shell.effects._messenger = Broken()
    assert world.run(NOTICE) == timedelta(seconds=30)
    (event,) = world.events()
    assert 'the channel slack should get the message "credit: version 7 is promoted": RuntimeError' in event["note"]


def test_the_log_names_the_object(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.run(replace(NOTICE, channel="pager"))
    (record,) = (record for record in caplog.records if record.message == "an effect failed and is tried again")
    assert record.__dict__["concerned"] == str(MODEL)


def test_nothing_is_kept_of_objects_that_are_gone(world: World) -> None:
    effects = world.operator.reconcilers["MLModel"]._shell.effects
    world.run(replace(NOTICE, channel="pager"))
    assert effects._failing
    world.cluster.remove(MODEL)
    world.run()
    assert effects._failing == {}


def test_a_message_that_got_through_makes_its_object_look_again(world: World) -> None:
    world.run(NOTICE)
    assert MODEL in world.operator.dirty
