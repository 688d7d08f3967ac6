"""The directory with the counts of all workers of one pod.

It lies in memory or on disk below TRIMTAB_STATE_DIR and outlives workers and containers: the counts of a pod go
on over restarts of either. Its name says revision, layout and port; its epoch changes only when it is new, and
then whoever takes differences starts again from zero.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trimtab_serving.counting.fold import Counts, Folder
from trimtab_serving.counting.sketch import merged
from trimtab_serving.counting.slab import Slab
from trimtab_serving.outcome import Failure, Reason

EPOCH_FILE = "epoch"
_SLAB = re.compile(r"worker-(\d+)$")


class State:
    """This process's slab, and the others' to read."""

    def __init__(self, folder: Folder, directory: Path | None, worker: int = 0) -> None:
        self.folder = folder
        self.directory = directory
        self.worker = worker
        self._others: dict[str, Slab] = {}
        if directory is None:
            self.epoch = secrets.token_hex(8)
            self.slab = Slab(folder, None)
            return
        self.epoch = prepare(directory)
        path = directory / f"worker-{worker}"
        try:
            self.slab = Slab(folder, path)
        except BlockingIOError as error:
            message = f"{path} is in use by another process; give each server a TRIMTAB_STATE_DIR of its own"
            raise Failure(Reason.SETTINGS_INVALID, message) from error

    def slabs(self) -> Iterator[tuple[int, Slab]]:
        """Every worker's slab by number, this one's first."""
        yield self.worker, self.slab
        if self.directory is None:
            return
        for entry in sorted(os.listdir(self.directory)):
            match = _SLAB.match(entry)
            if match is None or int(match[1]) == self.worker:
                continue
            if entry not in self._others:
                try:
                    self._others[entry] = Slab(self.folder, self.directory / entry, write=False)
                except ValueError:  # just created, and still empty
                    continue
            yield int(match[1]), self._others[entry]

    def totals(self) -> Counts:
        """The counts of all workers, also of those that no longer run."""
        totals = self.folder.empty()
        for _, slab in self.slabs():
            totals.add(slab.read())
        return totals

    def users(self) -> bytes:
        """The sketch of the users that any worker saw, also of those that no longer run."""
        return merged(slab.users for _, slab in self.slabs())

    def gauge(self, index: int) -> list[float]:
        """One gauge of every worker."""
        return [float(np.float64(slab.gauges[index])) for _, slab in self.slabs()]


def prepare(directory: Path) -> str:
    """Create the directory if it is not there, and return its epoch. Safe to call from several processes."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            message = f"{directory} belongs to somebody else; set TRIMTAB_STATE_DIR to a directory of your own"
            raise Failure(Reason.SETTINGS_INVALID, message)
        return _epoch(directory)
    except OSError as error:
        message = f"the counts cannot be kept in {directory}: {error.strerror}; set TRIMTAB_STATE_DIR to another place"
        raise Failure(Reason.SETTINGS_INVALID, message) from error


def _epoch(directory: Path) -> str:
    path, draft = directory / EPOCH_FILE, directory / f"{EPOCH_FILE}-{os.getpid()}"
    if not path.exists():
        draft.write_text(secrets.token_hex(8))
        try:
            # A link fails when another process was first: its epoch is the one that counts.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
