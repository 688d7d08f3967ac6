"""Laws of retraining that hold in any history: of triggers, fates, silences, clocks that jump, and kills.

`Life` checks at each write that a slot has one run and a run one Job, that no candidate stands without a passed gate,
and that nothing starts while suspended.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.test_retrain_run_laws import CHANNEL
from tests.retrain_life import Life, Story
from tests.thorough import examples
from tests.unit.kinds.builders import NOW
from tests.unit.kinds.retrain_lab import DRIFT, GATE, MINUTELY, drifted, schedule_object
from tests.unit.kinds.test_retrain_plan import planned
from trimtab.core.conditions import parse_time, timestamp
from trimtab.kinds.retrainschedule.limits import WEEK
from trimtab.kinds.retrainschedule.slots import last_slot, next_slot

TICKS = 30
lives = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
ticks = st.integers(1, TICKS - 1)
fates = st.lists(st.sampled_from(["good", "reject", "rollback", "fail", "lie", "skip"]), min_size=1, max_size=6).map(
    tuple
)
notes = st.dictionaries(ticks, st.sampled_from("abc").map(lambda value: {"trimtab.dev/run": value}), max_size=4)
suspensions = st.dictionaries(ticks, st.booleans().map(lambda value: {"suspend": value}), max_size=3)
jumps = st.dictionaries(
    ticks, st.sampled_from([-86_400.0, -3_600.0, -700.0, 700.0, 3_600.0, 40 * 86_400.0]), max_size=3
)
drifts = st.dictionaries(
    ticks,
    st.sampled_from(
        [
            drifted("aaaaaaaaaaaa"),
            drifted("bbbbbbbbbbbb"),
            {**drifted(), "follows": True},
            drifted("cccccccccccc", problems=[{"feature": "age", "problem": "Missing", "message": "all"}]),
            drifted(state="OK", level="OK", episode=None),
        ]
    ),
    max_size=4,
)
specs = st.fixed_dictionaries(
    {
        "triggers": st.just({**MINUTELY, **DRIFT}),
        "gate": st.sampled_from([GATE, None]),
        "concurrencyPolicy": st.sampled_from(["Forbid", "Replace", "Queue"]),
        "cooldownSeconds": st.sampled_from([0, 600]),
        "maxRunsPerWeek": st.sampled_from([1, 3, 20]),
        "failureThreshold": st.sampled_from([1, 3]),
        "historyLimit": st.sampled_from([1, 10]),
        "notify": st.just(CHANNEL),
    }
)


@lives
@given(specs, fates, notes, suspensions, drifts, st.frozensets(ticks, max_size=8), jumps, st.integers(1, 60))
def test_any_history_keeps_the_laws(
    spec: Any, fate: Any, note: Any, suspended: Any, drift: Any, silent: Any, jump: Any, kill: int
) -> None:
    story = Story(spec, fate, note, suspended, drift, silent, jump, TICKS)
    life = Life(story, kill_in=kill).live()
    assert max(life.born.values(), default=1) == 1
    assert max(life.versions.values(), default=1) == 1
    assert max(life.judged.values(), default=1) == 1
    starts = [at for at in life.status.starts if life.clock.now - parse_time(at) < WEEK]
    assert len(starts) <= spec["maxRunsPerWeek"] or jump
    champion = life.status.champion
    if champion is not None:
        assert champion.version in {life.tracking.runs[run].version for run in life.tracking.runs}


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0-4 * * SUN", "15 1,2,3 * 3,10 *", "0 12 * * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"]),
    st.integers(0, 366 * 24 * 60),
    st.integers(1, 10_000),
)
def test_looking_forward_and_back_agree(expression: str, zone: str, minute: int, seconds: int) -> None:
    now = NOW + timedelta(minutes=minute, seconds=seconds % 60)
    ahead, behind = next_slot(expression, zone, now), last_slot(expression, zone, now)
    assert ahead is not None
    assert behind is not None
    assert behind <= now < ahead
    assert last_slot(expression, zone, ahead) == ahead
    assert next_slot(expression, zone, behind) == ahead
    assert last_slot(expression, zone, ahead - timedelta(seconds=1)) == behind


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.integers(-90_000, 90_000), min_size=1, max_size=12))
def test_no_walk_of_the_clock_starts_a_slot_twice(steps: list[int]) -> None:
    """Each pass keeps only what it wrote into the status, as a process that is killed after each one would."""
    obj = schedule_object(triggers=MINUTELY, concurrencyPolicy="Queue", maxRunsPerWeek=168, historyLimit=1)
    started: list[str] = []
    now = NOW
    for step in steps:
        now += timedelta(seconds=step)
        status = planned(obj, now=now).status
        taken = status["lastSlot"]
        if taken and taken != obj.get("status", {}).get("lastSlot"):
            started.append(taken)
        obj = {**obj, "status": status}
    assert started == sorted(set(started)), f"at {timestamp(now)}"
