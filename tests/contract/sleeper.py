"""A Python model that takes its time: as many seconds as it is told, or until a gate is opened, or its life."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info

HELD = 1e6
"""Seconds that mean: until there is a file at TEST_GATE; a second file tells that somebody waits."""
FATAL = -1.0

_CODE = '''"""Sleeps."""
import os
import pathlib
import time


class Sleeper:
    def predict(self, rows):
        seconds = float(rows[:, 0].max())
        if seconds < 0:
            os._exit(3)
        if seconds < 1e6:
            time.sleep(seconds)
            return rows[:, 0]
        gate = pathlib.Path(os.environ["TEST_GATE"])
        gate.with_suffix(".waiting").touch()
        while not gate.exists():
            time.sleep(0.005)
        return rows[:, 0]
'''


def make_sleeper(directory: Path) -> str:
    """The bundle in `directory`; returns its digest."""
    code = directory / "model" / "code"
    code.mkdir(parents=True)
    (code / "sleeper_of_trimtab_tests.py").write_text(_CODE)
    dump = "import joblib, sleeper_of_trimtab_tests as s; joblib.dump(s.Sleeper(), 'model/model.pkl')"
    environ = os.environ | {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", dump], cwd=directory, env=environ, check=True)
    info = BundleInfo(
        format="Sklearn",
        flavor="sklearn",
        runtime="python",
        inputs=(Tensor("seconds", "FP32", (-1, 1)),),
        outputs=(Tensor("slept", "FP32", (-1,)),),
    )
    write_info(info, directory)
    (directory / "example.json").write_text(json.dumps(sleep(0)))
    with (directory.parent / "bundle.tar").open("wb") as tar:
        return pack(directory, tar)


def sleep(seconds: float) -> dict[str, Any]:
    """A request to sleep."""
    return {"inputs": [{"name": "seconds", "shape": [1, 1], "datatype": "FP32", "data": [seconds]}]}


class Gate:
    """Holds the predictions of a server whose environment has `environ`."""

    def __init__(self, home: Path) -> None:
        self._file = home / "gate"
        self.environ = {"TEST_GATE": str(self._file)}

    @property
    def waiting(self) -> bool:
        """Whether a prediction is held."""
        return self._file.with_suffix(".waiting").exists()

    def open(self) -> None:
        """Let all go."""
        self._file.touch()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)
