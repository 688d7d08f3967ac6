"""Many schedules before two places, on a real control plane: nobody trains too soon, whoever leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.faultproxy import FaultProxy
from tests.kube import Kube, Object, condition, until
from tests.kubelet import imports
from tests.life import model
from tests.mlflow_server import mlflow_server
from tests.operators import Nest
from trimtab.core.conditions import parse_time

TRAINERS = "app.kubernetes.io/component=trainer"
PLACES = 2
PRIORITIES = {f"s{number}": number % 4 for number in range(8)}
SECONDS = 240.0


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


def schedule(namespace: str, name: str, priority: int) -> Object:
    """A RetrainSchedule that is asked for a run as soon as it is there."""
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "RetrainSchedule",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"trimtab.dev/run": "now"}},
        "spec": {"model": "m", "priority": priority, "job": {"template": {"image": "registry.example.com/train:1"}}},
    }


async def training(kube: Kube, namespace: str) -> list[str]:
    """The training Jobs that have not ended."""
    jobs = await kube.list("Job", namespace, TRAINERS)
    ended = ("Complete", "Failed")
    living = (job for job in jobs if not any(condition(job, type_).get("status") == "True" for type_ in ended))
    return [str(job["metadata"]["name"]) for job in living]


@asynccontextmanager
async def watched(kube: Kube, namespace: str) -> AsyncIterator[list[int]]:
    """How many trained, each time somebody looked; more than there are places is an error at the end."""
    seen: list[int] = []

    async def look() -> None:
        while True:
            seen.append(len(await training(kube, namespace)))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


async def runs(kube: Kube, namespace: str) -> dict[str, Object]:
    """The one run of each schedule that has one."""
    found = await kube.list("RetrainSchedule", namespace)
    return {obj["metadata"]["name"]: obj["status"]["runs"][0] for obj in found if obj.get("status", {}).get("runs")}


def overtaken(rows: dict[str, Object]) -> list[tuple[str, str]]:
    """Who was given a place although somebody of a higher priority had waited for one, by two seconds at least."""
    return [
        (early, late)
        for early, first in rows.items()
        for late, second in rows.items()
        if PRIORITIES[early] < PRIORITIES[late]
        and first["admittedAt"] < second["admittedAt"]
        and parse_time(first["admittedAt"]) - parse_time(second["recordedAt"]) >= timedelta(seconds=2)
    ]


async def test_two_train_at_a_time_by_priority_whoever_leads(
    nest: Nest, proxy: FaultProxy, kube: Kube, mlflow: str, tmp_path: Path
) -> None:
    namespace = await kube.fresh_namespace()
    client = MlflowClient(mlflow, mlflow)
    client.create_registered_model(namespace)
    client.create_model_version(namespace, "s3://bucket/1")
    client.set_registered_model_alias(namespace, "champion", "1")
    await kube.create({**model(namespace), "spec": {"source": {"uri": f"models:/{namespace}@champion"}}})
    for name, priority in PRIORITIES.items():
        await kube.create(schedule(namespace, name, priority))
    settings = {"TRIMTAB_MLFLOW_TRACKING_URI": mlflow, "TRIMTAB_MAX_CONCURRENT_RUNS": str(PLACES)}

    def words(pod: Object) -> tuple[int, dict[str, Any]]:
        return 3, {"schema": 1, "skipped": "no new rows"}

    async def waits() -> bool:
        rows = await runs(kube, namespace)
        waiting = [row for row in rows.values() if row.get("reason") == "AwaitingPlace"]
        assert len(rows) == len(PRIORITIES)
        assert len(waiting) == len(PRIORITIES) - PLACES, rows
        assert all(" in line" in row["message"] for row in waiting)
        return True

    async def ended() -> dict[str, Object]:
        rows = await runs(kube, namespace)
        assert {row["stage"] for row in rows.values()} == {"Ended"}, rows
        return rows

    async with AsyncExitStack() as stack:
        seen = await stack.enter_async_context(watched(kube, namespace))
        operator = nest.start(proxy, namespace, settings=settings)
        await until(waits, SECONDS, "all but two wait")
        operator.kill()
        await kube.delete("Lease", namespace, "trimtab-operator")
        nest.start(proxy, namespace, settings=settings)
        await stack.enter_async_context(imports(kube, words, TRAINERS))
        rows = await until(ended, SECONDS, "all runs ended")
    assert max(seen) == PLACES
    assert {(row["outcome"], row["reason"]) for row in rows.values()} == {("Skipped", "NothingToDo")}
    assert overtaken(rows) == []
    jobs = await kube.list("Job", namespace, TRAINERS)
    assert sorted(job["metadata"]["name"] for job in jobs) == sorted(row["name"] for row in rows.values())
