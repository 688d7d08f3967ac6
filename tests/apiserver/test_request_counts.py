"""What the operator asks of a real API server, counted by that server: few reads, no write too many, none twice.

`python -m bench.scale` measures times on 1,000 objects with the same parts; counts are the same on a few.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bench import audit, objects
from bench.replica import Replica
from bench.rig import Rig
from bench.scale import Growth, Restart, grow, restart

COUNT = 20
SILENT_SECONDS = 10.0


class Counted(NamedTuple):
    growth: Growth
    again: Restart


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    log: Path = tmp_path_factory.mktemp("operator") / "log"
    with Rig.start() as rig:
        asyncio.run(rig.prepare())
        with Replica(rig.kubeconfig, log) as first:
            growth = asyncio.run(grow(rig, first, COUNT))
            stop = first.stop()
        with Replica(rig.kubeconfig, log) as second:
            yield Counted(growth, restart(rig, second, COUNT, stop, SILENT_SECONDS))


def test_each_child_is_written_once_and_each_write_made_it(counted: Counted) -> None:
    children = [request for request in audit.writes(counted.growth.requests) if request.child]
    assert len(children) == COUNT * len(objects.children(0)) <= COUNT * 8
    assert {(request.verb, request.code) for request in children} == {("patch", 201)}


def test_the_status_tells_the_beginning_and_the_end_and_little_between(counted: Counted) -> None:
    writes = audit.writes(counted.growth.requests)
    status = [request for request in writes if request.resource == "modeldeployments/status"]
    assert 2 * COUNT <= len(status) <= 4 * COUNT
    assert sum(request.resource == "events" for request in writes) == COUNT
    assert {request.resource for request in writes if not request.child} == {"modeldeployments/status", "events"}


def test_nothing_is_read_but_what_might_be_a_strangers(counted: Counted) -> None:
    """One look before a Service is made, for one of that name; everything else comes from memory. Lists are those of
    the check that follows each start, two pages of 100 at most for what is here."""
    reads = [request for request in counted.growth.requests if request.read]
    assert [request.resource for request in reads if request.verb == "find"] == ["services"] * COUNT
    listed = Counter(request.resource for request in reads if request.verb != "find")
    assert max(listed.values(), default=0) <= 2


def test_the_operators_own_count_of_changes_is_the_servers(counted: Counted) -> None:
    assert counted.growth.changed == sum(request.code == 201 and request.child for request in counted.growth.requests)


def test_a_restart_writes_nothing(counted: Counted) -> None:
    assert audit.writes(counted.again.requests) == []


def test_an_orderly_stop_is_quick(counted: Counted) -> None:
    assert counted.again.stop < 5
