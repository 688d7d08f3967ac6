"""What MLflow knows of training runs and model versions.

The tag trimtab.dev/run-id joins them to runs of a RetrainSchedule: a trainer sets it on its MLflow run, and log_model
on the version. Runs can be searched for in named experiments only, of which each schedule has one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from trimtab.adapters.mlflow import Mlflow, MlflowError, quoted, version_of
from trimtab.core.objects import GROUP
from trimtab.kinds.retrainschedule.observe import Tracked, TrackingError

RUN = f"{GROUP}/run-id"
PROGRESS = f"{GROUP}/progress"
PAGE = 10
PAGES = 5


class MlflowTracking:
    """The runs and versions of one MLflow server."""

    def __init__(self, mlflow: Mlflow) -> None:
        self._mlflow = mlflow

    async def tracked(self, experiment: str, model: str, run: str, max_age_seconds: float) -> Tracked | None:
        """What there is of a run: MLflow's own, and the version of the model that is ready. Attempts that race may make
        two of each, of which trainers keep the first: so it is the first that counts. None while there is neither;
        TrackingError if MLflow does not tell."""
        with _tracking():
            found = await self._run(experiment, run, max_age_seconds)
            version = await self._version(model, run, max_age_seconds)
        if not found and not version:
            return None
        info, data = _mapping(found.get("info")), _mapping(found.get("data"))
        return Tracked(
            run_id=str(info.get("run_id", "")),
            status=str(info.get("status", "")),
            progress=_pairs(data.get("tags")).get(PROGRESS, ""),
            metrics=_metrics(data.get("metrics")),
            version=version,
        )

    async def alias(self, model: str, alias: str, max_age_seconds: float) -> str:
        """The version the alias stands for, or nothing if there is no such alias or model; else TrackingError."""
        with _tracking():
            where = {"name": model, "alias": alias}
            answer = await self._there("/registered-models/alias", where, max_age_seconds)
            return version_of(answer.get("model_version"), model) if answer else ""

    async def tags(self, model: str, version: str, max_age_seconds: float) -> Mapping[str, str]:
        """The tags of a version, none if there is no such version; TrackingError if MLflow does not tell."""
        with _tracking():
            where = {"name": model, "version": version}
            answer = await self._there("/model-versions/get", where, max_age_seconds)
            return _pairs(_mapping(answer.get("model_version")).get("tags"))

    async def _run(self, experiment: str, run: str, max_age: float) -> Mapping[str, Any]:
        answer = await self._there("/experiments/get-by-name", {"experiment_name": experiment}, max_age)
        number = _mapping(answer.get("experiment")).get("experiment_id")
        if number is None:
            return {}
        query = {
            "experiment_ids": [str(number)],
            "filter": f"tags.`{RUN}` = {quoted(run)}",
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1,
        }
        runs = _mappings((await self._mlflow.search("/runs/search", query, max_age)).get("runs"))
        return runs[0] if runs else {}

    async def _version(self, model: str, run: str, max_age: float) -> str:
        """The first version with the tag that is not still being registered; more than one page of others is odd."""
        query = {
            "filter": f"name = {quoted(model)} and tags.`{RUN}` = {quoted(run)}",
            "order_by": "version_number ASC",
            "max_results": str(PAGE),
        }
        for _ in range(PAGES):
            answer = await self._there("/model-versions/search", query, max_age)
            for found in _mappings(answer.get("model_versions")):
                if found.get("status", "READY") == "READY":
                    return version_of(found, model)
            if not answer.get("next_page_token"):
                break
            query["page_token"] = str(answer["next_page_token"])
        return ""

    async def _there(self, where: str, query: Mapping[str, str], max_age: float) -> Mapping[str, Any]:
        """The answer, or nothing if what was asked for is not there."""
        try:
            return await self._mlflow.get(where, query, max_age)
        except MlflowError as error:
            if error.absent:
                return {}
            raise


@contextmanager
def _tracking() -> Iterator[None]:
    try:
        yield
    except MlflowError as error:
        if error.reason != "Missing":
            raise TrackingError(error.reason, str(error)) from None
        why = f"MLflow does not understand a question: {error}; is it older than 3.0?"
        raise TrackingError("RegistryConfused", why) from None


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _mappings(found: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _pairs(found: Any) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in _mappings(found) if "key" in tag}


def _metrics(found: Any) -> dict[str, float]:
    """The last value of each metric; those that are not finite (MLflow writes "NaN", and the largest float for an
    infinity) tell nothing."""
    pairs = {str(metric["key"]): metric.get("value") for metric in _mappings(found) if "key" in metric}
    numbers = {key: value for key, value in pairs.items() if isinstance(value, int | float)}
    return {key: float(value) for key, value in numbers.items() if abs(value) < sys.float_info.max}
