"""Evidently and NannyML, each in an environment of its own, asked about tables in files. No telemetry leaves here."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bench.peers.install import PeerError, environment, last_words

APPS = Path(__file__).parent / "apps"
REQUIREMENTS = {
    "evidently": ("evidently==0.7.23", "numpy==2.4.6", "pandas==2.3.3", "scipy==1.17.1"),
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0", "numpy==2.4.6", "pandas==2.3.3", "scipy==1.17.1"),
}
SILENT = {"DO_NOT_TRACK": "1", "ITERATIVE_DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}


class Stream(NamedTuple):
    """Rows to be looked at window by window, and what they are compared with."""

    reference: pd.DataFrame
    current: pd.DataFrame
    bounds: list[tuple[int, int]]
    """The first row of each window, and the one after its last."""
    categorical: tuple[str, ...] = ()
    size: int = 1_000
    """How many rows the reference's chunks have, for those who learn from them."""


def claims(peer: str, streams: Sequence[Stream]) -> list[list[list[bool]]]:
    """By stream, window and column: whether the peer's defaults say that it drifted."""
    tables: dict[str, pd.DataFrame] = {}
    asked = []
    for place, stream in enumerate(streams):
        tables |= {f"reference {place}": stream.reference, f"current {place}": stream.current}
        more = {} if peer == "evidently" else {"size": stream.size}
        asked.append({"bounds": stream.bounds, "categorical": list(stream.categorical), **more})
    found: list[list[list[bool]]] = ask(peer, "windows", tables, streams=asked)
    return found


def ask(peer: str, what: str, tables: Mapping[str, pd.DataFrame], **asked: Any) -> Any:
    """The peer's answer; PeerError when it cannot be installed, or fails."""
    python = environment(f"drift {peer}", REQUIREMENTS[peer]) / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / name) for name in tables}
        for name, table in tables.items():
            table.to_pickle(paths[name])
        request = json.dumps({"what": what, "tables": paths, **asked})
        command = [str(python), str(APPS / f"{peer}_app.py"), request]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **SILENT})
    if done.returncode:
        raise PeerError(f"{peer} failed: {last_words(done.stderr)}")
    return json.loads(done.stdout.splitlines()[-1])
