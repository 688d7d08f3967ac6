"""What a training script holds in its hands: what it was told, its checkpoints, its progress, and when to stop.

SIGTERM only asks: a training that is cut off anywhere has lost what it did since it last saved itself, so it stops
where it has just done that.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trimtab_toolbox import tracking
from trimtab_toolbox.job import Stopped, TrainingJob

PROGRESS_SECONDS = 5.0


class TrainingRun:
    """One attempt. `run_id` is MLflow's; `champion_uri` is empty when nothing serves yet, `trigger` outside a Job."""

    def __init__(self, job: TrainingJob, run_id: str) -> None:
        self.run_id = run_id
        self.model_name = job.model_name
        self.champion_uri = job.champion_uri
        self.seed = job.seed
        self.trigger: Mapping[str, Any] = job.trigger
        self.output_dir = job.output_dir
        self._checkpoints = job.checkpoint_dir
        self.index = job.index
        self.stopping = False
        self._deadline = None if job.deadline_seconds is None else time.monotonic() + job.deadline_seconds
        self._told_at = -math.inf

    @property
    def checkpoint_dir(self) -> Path:
        """Where this training's checkpoints are: on the Job's volume, or where they end with the pod (or the laptop).

        There they have the name of the MLflow run, for two trainings on a laptop must not go on with each other's.
        """
        return self._checkpoints or self.output_dir / "trimtab-checkpoints" / self.run_id

    def seconds_left(self) -> float | None:
        """An upper bound of what the Job's deadline leaves; None without one."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    @contextmanager
    def checkpoint(self, name: str = "checkpoint") -> Iterator[Path]:
        """A path to write a file to, which becomes the checkpoint `name` when the block ends; then stop if asked to.

        The last whole checkpoint stays until the new one is whole: a killed attempt leaves one of the two.
        """
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        part = self.checkpoint_dir / f".{name}.part"
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self.checkpoint_dir / name)
        self.stop_if_asked()

    def restored(self, name: str = "checkpoint") -> Path | None:
        """The checkpoint that an earlier attempt left, if there is one."""
        path = self.checkpoint_dir / name
        return path if path.is_file() else None

    def progress(self, done: int, of: int) -> None:
        """Say how far the training is (on the MLflow run, at most every 5 s and at the end); then stop if asked to.

        A number nobody can be told is no reason to fail: without MLflow the training goes on, and is asked less often.
        """
        now = time.monotonic()
        if now >= self._told_at + PROGRESS_SECONDS or done == of:
            self._told_at = now
            try:
                tracking.client().set_tag(self.run_id, tracking.PROGRESS_TAG, f"{done} of {of}")
            except Exception as error:  # whatever MLflow's client makes of a server that is away
                self._told_at = time.monotonic() + 10 * PROGRESS_SECONDS
                tracking.say(f"progress {done} of {of} could not be told to MLflow: {type(error).__name__}")
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """End the process with exit code 75 if SIGTERM has come: call this where the training can go on later."""
        if self.stopping:
            raise Stopped
