"""The experiments that are measured do run, and cost what they are said to cost."""

import pytest

from bench.world import CADENCE, World
from trimtab.traffic.state import RouterStatus


@pytest.fixture(scope="module")
def world() -> World:
    world = World(2)
    world.begin()
    return world


def test_all_of_them_run_and_are_counted(world: World) -> None:
    for status in world.statuses():
        assert status["verdict"]["decision"] == "Running"
        assert [(share["name"], share["percent"]) for share in status["run"]["counted"]] == [
            ("control", 50),
            ("a", 25),
            ("b", 25),
        ]
        assert all(arm["requests"] > 10_000 and arm["outcomes"] > 10_000 for arm in status["arms"])


def test_a_minute_has_four_looks_one_write_and_the_look_at_what_was_written(world: World) -> None:
    before = [arm["requests"] for status in world.statuses() for arm in status["arms"]]
    passes = writes = 0
    for _ in range(4):
        world.traffic(CADENCE)
        spent = world.work(CADENCE)
        passes, writes = passes + len(spent.passes), writes + spent.writes
        assert min(spent.passes) > 0
    assert (passes, writes) == (2 * (4 + 1), 2)
    after = [arm["requests"] for status in world.statuses() for arm in status["arms"]]
    assert all(later > sooner for sooner, later in zip(before, after, strict=True))


def test_another_split_is_told_to_all_routers(world: World) -> None:
    world.split(60, 20, 20)
    world.work(0.0)
    for status in world.statuses():
        told = RouterStatus.model_validate(status["router"])
        assert told.weights() == {"control": 6_000, "a": 2_000, "b": 2_000}
