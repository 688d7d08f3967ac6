"""What the operator asks of, and changes in, a real MLflow, beside what MLflow's own client puts there and reads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

import aiohttp
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.processes import free_port
from trimtab.adapters.mlflow import Mlflow, MlflowError
from trimtab.adapters.registry import MlflowRegistry
from trimtab.adapters.tracking import MlflowTracking
from trimtab.kinds.mlmodel.observe import RegistryError
from trimtab.kinds.retrainschedule.observe import Tracked, TrackingError

NAMES = ("credit-risk", "credit risk, ü & 100%+#?", "o'brien", 'the "best"')
EXPERIMENT = "team-a/weekly"


class Asked(NamedTuple):
    """The operator's side of one server."""

    registry: MlflowRegistry
    tracking: MlflowTracking


@pytest.fixture(scope="module")
def uri(mlflow_uri: str) -> str:
    return mlflow_uri


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return MlflowClient(uri, uri)


@pytest.fixture
async def asked(uri: str) -> AsyncIterator[Asked]:
    async with aiohttp.ClientSession() as session:
        mlflow = Mlflow(uri, session, time.monotonic)
        yield Asked(MlflowRegistry(mlflow), MlflowTracking(mlflow))


def experiment(client: MlflowClient, name: str = EXPERIMENT) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id) if found else str(client.create_experiment(name))


def model(client: MlflowClient, name: str, *runs: str) -> None:
    """A registered model with one version for each run."""
    with suppress(MlflowException):  # it is there already
        client.create_registered_model(name)
    for run in runs:
        client.create_model_version(name, "s3://bucket/model", tags={"trimtab.dev/run-id": run} if run else {})


async def test_a_run_is_found_by_its_tag_in_its_experiment_only(client: MlflowClient, asked: Asked) -> None:
    assert await asked.tracking.tracked("team-a/not-there", "credit-risk", "weekly-1", 0) is None
    here, elsewhere = experiment(client), experiment(client, "team-b/weekly")
    assert await asked.tracking.tracked(EXPERIMENT, "credit-risk", "weekly-1", 0) is None
    tags = {"trimtab.dev/run-id": "weekly-1", "trimtab.dev/progress": "3 of 10"}
    client.create_run(elsewhere, tags=tags)
    assert await asked.tracking.tracked(EXPERIMENT, "credit-risk", "weekly-1", 0) is None
    run = client.create_run(here, tags=tags, start_time=1_000).info.run_id
    client.create_run(here, tags=tags, start_time=2_000)
    client.create_run(here, tags={"trimtab.dev/run-id": "weekly-2"})
    for key, value in (("auc", 0.25), ("auc", 0.5), ("lost", float("nan")), ("far", float("inf"))):
        client.log_metric(run, key, value)
    found = await asked.tracking.tracked(EXPERIMENT, "credit-risk", "weekly-1", 0)
    assert found == Tracked(run, "RUNNING", "3 of 10", {"auc": 0.5}, "")
    client.set_terminated(run, "FAILED")
    found = await asked.tracking.tracked(EXPERIMENT, "credit-risk", "weekly-1", 0)
    assert found is not None
    assert found.status == "FAILED"


@pytest.mark.parametrize("name", NAMES)
async def test_the_first_version_with_the_tag_is_found_whatever_the_model_is_called(
    client: MlflowClient, asked: Asked, name: str
) -> None:
    model(client, name, "weekly-7", "weekly-7", "other", "")
    found = await asked.tracking.tracked("team-a/not-there", name, "weekly-7", 0)
    assert found == Tracked(version="1")
    assert await asked.tracking.tracked("team-a/not-there", name, "weekly-8", 0) is None
    assert await asked.registry.version(name, None, 0) == "4"


async def test_versions_beyond_the_first_page_are_found(client: MlflowClient, asked: Asked) -> None:
    model(client, "many", *["other"] * 12, *["weekly-3"] * 3)
    assert await asked.tracking.tracked("team-a/not-there", "many", "weekly-3", 0) == Tracked(version="13")


@pytest.mark.parametrize("name", NAMES)
async def test_alias_and_tags_are_set_and_read(client: MlflowClient, asked: Asked, name: str) -> None:
    model(client, name, "", "")
    assert await asked.tracking.alias(name, "champion", 60) == ""
    with pytest.raises(RegistryError, match="no models:/"):
        await asked.registry.version(name, "champion", 60)
    for version in ("1", "2"):
        await asked.registry.set_alias(name, "champion", version, 10)
        assert client.get_model_version_by_alias(name, "champion").version == version
        assert await asked.tracking.alias(name, "champion", 60) == version
        assert await asked.registry.version(name, "champion", 60) == version
    tags = {"trimtab.dev/promoted-by": "team-a/weekly", "trimtab.dev/gate": 'Passed: "0.91" ≥ 0.9', "empty": ""}
    client.set_model_version_tag(name, "2", "mine", "stays")
    await asked.registry.set_tags(name, "2", tags, 10)
    await asked.registry.set_tags(name, "2", {"empty": "no more"}, 10)
    wanted = {**tags, "mine": "stays", "empty": "no more"}
    assert wanted.items() <= client.get_model_version(name, "2").tags.items()
    assert wanted.items() <= (await asked.tracking.tags(name, "2", 60)).items()


async def test_what_is_not_there(client: MlflowClient, asked: Asked) -> None:
    model(client, "lonely")
    for name in ("lonely", "nobody"):
        assert await asked.tracking.alias(name, "champion", 0) == ""
        assert await asked.tracking.tags(name, "1", 0) == {}
        assert await asked.tracking.tracked(EXPERIMENT, name, "weekly-9", 0) is None
        with pytest.raises(MlflowError, match="not found") as caught:
            await asked.registry.set_alias(name, "champion", "1", 10)
        assert caught.value.absent
        with pytest.raises(MlflowError, match="not found"):
            await asked.registry.set_tags(name, "1", {"a": "b"}, 10)


async def test_what_mlflow_refuses_is_said_in_its_words(client: MlflowClient, asked: Asked) -> None:
    model(client, "strict", "")
    with pytest.raises(MlflowError, match="'v1' is reserved"):
        await asked.registry.set_alias("strict", "v1", "1", 10)
    with pytest.raises(TrackingError, match="both kinds of quotes"):
        await asked.tracking.tracked(EXPERIMENT, 'it\'s "that"', "weekly-1", 0)


async def test_a_server_that_is_not_there() -> None:
    async with aiohttp.ClientSession() as session:
        mlflow = Mlflow(f"http://127.0.0.1:{free_port()}", session, time.monotonic)
        with pytest.raises(TrackingError, match="MLflow does not answer") as caught:
            await MlflowTracking(mlflow).alias("credit-risk", "champion", 0)
        assert caught.value.reason == "RegistryUnreachable"
        with pytest.raises(MlflowError, match="MLflow does not answer"):
            await MlflowRegistry(mlflow).set_alias("credit-risk", "champion", "1", 5)
