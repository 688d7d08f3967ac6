"""One run and one version for a training, however many attempts it takes.

MLflow has no "create unless it exists", and its client repeats calls whose answer was lost. So what is made is
looked for first, and counted afterwards. A version gets its tag in the same call that makes it, and the registry
numbers versions one after the other: of several with the tag the lowest was there first, everybody sees that alike,
and the others are removed. The run of that version is the training's run. Before there is a version, the run that
began first is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trimtab_toolbox.job import TrainingJob

RUN_TAG = "trimtab.dev/run-id"
PROGRESS_TAG = "trimtab.dev/progress"
ROWS_TAG = "trimtab.dev/rows"


def client() -> Any:
    """A client of MLflow whose waits are those of a Job."""
    from trimtab_toolbox.sources.models import CLIENT_DEFAULTS

    for name, value in {**CLIENT_DEFAULTS, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow.MlflowClient()


def experiment_id(name: str) -> str:
    """The experiment of that name, made if it is missing; several pods may do that at once."""
    from mlflow.exceptions import MlflowException

    registry = client()
    found = registry.get_experiment_by_name(name)
    if found is None:
        try:
            return str(registry.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = registry.get_experiment_by_name(name)
    return str(found.experiment_id)


def find_run(experiment: str, run: str) -> str:
    """The id of the run with the tag that began first; empty when there is none."""
    found = client().search_runs([experiment], f"tags.`{RUN_TAG}` = {_quoted(run)}", max_results=100)
    ids = sorted((entry.info.start_time, entry.info.run_id) for entry in found)
    return str(ids[0][1]) if ids else ""


def find_or_create_run(job: TrainingJob) -> str:
    """The id of the training's run; an attempt that was a moment later than another takes back the run it made."""
    registry = client()
    experiment = experiment_id(job.experiment)
    found = find_run(experiment, job.run)
    if found:
        return found
    made = registry.create_run(experiment, tags={RUN_TAG: job.run}, run_name=job.run).info.run_id
    first = find_run(experiment, job.run) or str(made)
    if first != made:
        with _may_be_gone():
            registry.delete_run(made)
    return first


def versions(name: str, run: str) -> list[Any]:
    """The versions of a registered model that carry the tag, lowest first."""
    query = f"name = {_quoted(name)} and tags.`{RUN_TAG}` = {_quoted(run)}"
    found = client().search_model_versions(query, max_results=100)
    return sorted(found, key=lambda version: int(version.version))


def register(uri: str, name: str, run: str, rows: int) -> Any:
    """A new version with the tag, or the one that another attempt made at the same time."""
    import mlflow

    made = mlflow.register_model(uri, name, tags={RUN_TAG: run, ROWS_TAG: str(rows)})
    first, *others = versions(name, run) or [made]
    for other in others:
        say(f"version {other.version} of {name} is removed: version {first.version} is of the same training")
        with _may_be_gone():
            client().delete_model_version(name, other.version)
    return first


def adopt(name: str, run: str, run_id: str) -> Any | None:
    """The training's version: the tagged one, or one that the run registered by other means, which is tagged now."""
    tagged = versions(name, run)
    if tagged or not run_id:
        return tagged[0] if tagged else None
    found = client().search_model_versions(f"name = {_quoted(name)} and run_id = {_quoted(run_id)}", max_results=100)
    if not found:
        return None
    first = min(found, key=lambda version: int(version.version))
    client().set_model_version_tag(name, first.version, RUN_TAG, run)
    return first


def keep_only(job: TrainingJob, run_id: str) -> None:
    """Remove the other runs with the tag, which hold what attempts began that came to nothing."""
    registry = client()
    experiment = registry.get_run(run_id).info.experiment_id
    for entry in registry.search_runs([experiment], f"tags.`{RUN_TAG}` = {_quoted(job.run)}", max_results=100):
        if entry.info.run_id != run_id:
            with _may_be_gone():
                registry.delete_run(entry.info.run_id)


@contextmanager
def _may_be_gone() -> Iterator[None]:
    """Another attempt may clean up at the same moment, and a call may be repeated because its answer was lost."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def say(text: str) -> None:
    """One line for whoever reads the log."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _quoted(text: str) -> str:
    if "'" in text or "\\" in text:
        raise ValueError(f"{text!r} cannot be asked for in MLflow: remove the quote")
    return f"'{text}'"
