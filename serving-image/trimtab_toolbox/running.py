"""`training_run()`: one attempt of a training, inside a Job of Trimtab or on a laptop.

In a Job the attempts of one training share one MLflow run and make one version. What goes wrong becomes an exit code
and one line of JSON, because that is all the operator gets to see. Outside a Job it is a plain MLflow run, and what
goes wrong is raised.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from trimtab_serving.outcome import report
from trimtab_toolbox import tracking
from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.job import (
    EXIT_SKIPPED,
    NothingRegistered,
    Stopped,
    TrainingJob,
    TryAgain,
    ending_of,
    read_job,
)
from trimtab_toolbox.journal import Journal

MAX_METRICS = 20
MAX_METRIC_NAME = 64
PATIENCE_SECONDS = 300.0
"""How long the pods of an Indexed Job wait for the one with index 0 to begin the run."""


@contextmanager
def training_run() -> Iterator[TrainingRun]:
    """One attempt of a training as a context, with its MLflow run active.

    Inside a Job (TRIMTAB_RUN_ID is set) the run is the one tagged with that id, an earlier attempt's or a new one,
    and the end of the block ends the process unless all is well. When an earlier attempt registered the version and
    was killed before it could say so, the process ends at once with that result, and the block is not entered.
    Raises SystemExit with 3, 10, 11, 12 or 75 inside a Job, and outside what the block raises.
    """
    job = read_job(os.environ)
    if not job.run:
        with _laptop_run(job) as run:
            yield run
        return
    try:
        with _terminable(job) as run:
            _begin(job, run)
            try:
                yield run
            except SystemExit as end:
                if not end.code:  # sys.exit() is a way to come to the end
                    report(job.result_path, _end(job, run))
                raise
            report(job.result_path, _end(job, run))
    except BaseException as error:
        _leave(job, error)
        raise


@contextmanager
def _laptop_run(job: TrainingJob) -> Iterator[TrainingRun]:
    tracking.client()
    import mlflow

    mlflow.set_experiment(job.experiment)
    with mlflow.start_run() as active:
        run = TrainingRun(job, str(active.info.run_id))
        yield run
    if job.checkpoint_dir is None:
        shutil.rmtree(run.checkpoint_dir, ignore_errors=True)


@contextmanager
def _terminable(job: TrainingJob) -> Iterator[TrainingRun]:
    """The run before it is known to MLflow; from here on SIGTERM is a question."""
    run = TrainingRun(job, "")

    def ask(_signal: int, _frame: FrameType | None) -> None:
        run.stopping = True
        tracking.say("SIGTERM came: the training stops at its next checkpoint")

    if threading.current_thread() is not threading.main_thread():
        yield run
        return
    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield run
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin(job: TrainingJob, run: TrainingRun) -> None:
    tracking.client()
    import mlflow

    if job.index:
        parent = _awaited(job, run)
        _end_if_registered(job, parent)
        mlflow.set_experiment(experiment_id=tracking.experiment_id(job.experiment))
        run.run_id = str(mlflow.start_run(run_name=f"{job.run}-{job.index}", parent_run_id=parent).info.run_id)
        return
    run.run_id = tracking.find_or_create_run(job)
    _end_if_registered(job, run.run_id)
    mlflow.start_run(run_id=run.run_id)


def _awaited(job: TrainingJob, run: TrainingRun) -> str:
    """The run that the pod with index 0 makes."""
    experiment = tracking.experiment_id(job.experiment)
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := tracking.find_run(experiment, job.run)):
        run.stop_if_asked()
        if time.monotonic() > until:
            raise TryAgain(f"the pod with index 0 did not begin the run {job.run} within {PATIENCE_SECONDS:.0f} s")
        time.sleep(1.0)
    return found


def _end_if_registered(job: TrainingJob, run_id: str) -> None:
    version = tracking.adopt(job.model_name, job.run, run_id) if job.model_name else None
    if version is None:
        return
    Journal().line("already registered", version=str(version.version), runId=str(version.run_id))
    report(job.result_path, _result(version))
    _tidy(job, str(version.run_id or run_id))
    raise SystemExit(0)


def _end(job: TrainingJob, run: TrainingRun) -> dict[str, Any]:
    """What a block that came to its end has made; the run in MLflow is closed."""
    import mlflow

    if job.index:
        mlflow.end_run("FINISHED")
        return {"schema": 1, "runId": run.run_id}
    version = tracking.adopt(job.model_name, job.run, run.run_id) if job.model_name else None
    if version is None:
        raise NothingRegistered(
            f"the training ended without a version of {job.model_name or 'a model'}; call log_model(..., "
            "registered_model_name=run.model_name), or raise Skip when there is nothing to do"
        )
    mlflow_run = str(version.run_id or run.run_id)
    _close("FINISHED")
    _tidy(job, mlflow_run)
    return _result(version)


def _tidy(job: TrainingJob, run_id: str) -> None:
    """Remove what is needed no longer. The version is there and found by its tag: nothing here may undo that."""
    if job.index:
        return
    try:
        tracking.client().set_terminated(run_id, "FINISHED")
        tracking.keep_only(job, run_id)
    except Exception as error:  # whatever MLflow's client makes of a server that is away
        tracking.say(f"the run could not be closed in MLflow: {type(error).__name__}; the version is registered")
    # Other pods of an Indexed Job may still write there.
    if job.checkpoint_dir is not None and job.checkpoint_dir.name == job.run and job.index is None:
        shutil.rmtree(job.checkpoint_dir, ignore_errors=True)


def _result(version: Any) -> dict[str, Any]:
    result = {"schema": 1, "version": str(version.version), "runId": str(version.run_id)}
    with suppress(Exception):
        found = tracking.client().get_run(version.run_id).data.metrics
        numbers = {
            name: value
            for name, value in sorted(found.items())
            if math.isfinite(value) and len(name) <= MAX_METRIC_NAME
        }
        result["metrics"] = dict(list(numbers.items())[:MAX_METRICS])
    rows = dict(version.tags or {}).get(tracking.ROWS_TAG, "")
    return {**result, "rows": int(rows)} if rows.isdigit() else result


def _leave(job: TrainingJob, error: BaseException) -> None:
    """Say how a training ends that did not come to its end, and end the process with the code for it."""
    if isinstance(error, SystemExit) and not error.code:
        return
    ending = ending_of(error)
    if not isinstance(error, SystemExit) and ending.code != EXIT_SKIPPED:
        traceback.print_exception(error, file=sys.stderr)
    report(job.result_path, ending.result())
    Journal().line("training ends", exitCode=ending.code, reason=ending.reason, message=ending.message)
    status = {True: "KILLED"}.get(isinstance(error, Stopped), "FINISHED" if ending.code == EXIT_SKIPPED else "FAILED")
    _close(status)
    raise SystemExit(ending.code) from error


def _close(status: str) -> None:
    """The run in MLflow shows how it went, if MLflow can be told."""
    import mlflow

    with suppress(Exception):
        mlflow.end_run(status)
