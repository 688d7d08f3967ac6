"""A small training on the Job contract, started quickly: the server it is forked from has imported everything."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import mlflow.sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from trimtab_toolbox import BadData, SelfCheckFailed, Skip, TryAgain, log_model, training_run

STEPS = 3
NAME = "irises"
TOOLS = [mlflow.sklearn]
ENDS: Mapping[str, Exception] = {
    "skip": Skip("no new rows since Monday"),
    "data": BadData("the column petal is empty"),
    "check": SelfCheckFailed("all predictions are the same"),
    "again": TryAgain("the feature store is busy"),
    "bug": KeyError("petal"),
}


class Attempt:
    """One attempt of a training in a process of its own. `environ` is the Job's."""

    def __init__(self, home: Path, uri: str, behaviour: str = "", **environ: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "TRIMTAB_RUN_ID": home.name,
            "TRIMTAB_TRIGGER": "Manual",
            "TRIMTAB_MODEL_NAME": NAME,
            "TRIMTAB_SEED": "7",
            "TRIMTAB_CHECKPOINT_DIR": str(home / "checkpoints" / home.name),
            "TRIMTAB_OUTPUT_DIR": str(home),
            "TRIMTAB_RESULT_PATH": str(home / "result"),
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_EXPERIMENT_NAME": "team/irises",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
            **environ,
        }
        (home / "result").unlink(missing_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.trainers"])
        self.process: BaseProcess = context.Process(target=_attempt, args=(self.environ, behaviour), daemon=True)
        self.process.start()

    def ended(self, seconds: float = 240) -> int:
        """The exit code, or the negative of the signal."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, self.log()
        return self.process.exitcode

    def reached(self, step: int, seconds: float = 240) -> None:
        """Wait until the training has done so many steps."""
        until = time.monotonic() + seconds
        while f"step {step}\n" not in self.log():
            assert self.process.is_alive(), self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.01)

    def signal(self, which: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, which)

    def log(self) -> str:
        path = self.home / "log"
        return path.read_text() if path.exists() else ""

    @property
    def result(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.home / "result").read_bytes())
        return told


def _attempt(environ: Mapping[str, str], behaviour: str) -> None:
    os.environ.clear()
    os.environ.update(environ)
    log = os.open(Path(environ["HOME"], "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    train(behaviour)


def train(behaviour: str) -> None:
    """Three steps, each with a checkpoint, and a model. `behaviour` is how it goes wrong."""
    with training_run() as run:
        if behaviour in ENDS:
            raise ENDS[behaviour]
        before = run.restored()
        begun = int(before.read_text()) if before else 0
        os.write(1, f"begins at {begun}\n".encode())
        for step in range(begun + 1, STEPS + 1):
            os.write(1, f"step {step}\n".encode())
            if behaviour == f"hang {step}":
                time.sleep(600)
            while behaviour == f"wait {step}" and not run.stopping:
                time.sleep(0.01)
            with run.checkpoint() as path:
                path.write_text(str(step))
            run.progress(step, STEPS)
        rows, labels = load_iris(return_X_y=True)
        model = LogisticRegression(max_iter=300).fit(rows, labels)
        mlflow.log_metric("accuracy", float(model.score(rows, labels)))
        if behaviour == "plain":
            mlflow.sklearn.log_model(model, name="model", registered_model_name=NAME, pip_requirements=[])
        elif behaviour != "nothing":
            log_model(model, rows, labels, registered_model_name=NAME, holdout=(rows, labels))
