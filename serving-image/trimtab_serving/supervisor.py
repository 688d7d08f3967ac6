"""Several server processes behind one socket, one for each core.

The parent binds the socket before there are workers, so a worker that dies takes no waiting connection with it
but those it had accepted. It starts a worker again under the same number, where its counts go on; it passes on
the signal to stop; and it ends the pod when a worker says that it will never be able to serve.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from trimtab_serving.outcome import EXIT_PERMANENT

log = logging.getLogger("trimtab.supervisor")

Work = Callable[[int, bool], int]
"""What a worker does, given its number and whether it replaces one that died; returns its exit code."""

_AWAITED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1
YOUNG_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 16.0


@dataclass
class Worker:
    """A worker's place."""

    number: int
    pid: int | None = None
    started: float = 0.0
    pause: float = 0.0
    due: float = 0.0


class Supervisor:
    """Keeps `count` workers running until it is told to stop."""

    def __init__(self, count: int, work: Work, hang_up: Callable[[], object] = int) -> None:
        self._work = work
        self._hang_up = hang_up
        """Closes the parent's copy of the socket; else clients could connect when no worker listens any more."""
        self._workers = [Worker(number) for number in range(count)]
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        """Run until all workers have ended for good; the exit code of the pod."""
        # Blocked, not handled: signals then arrive in one place and interrupt nothing. Workers unblock them.
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        for worker in self._workers:
            self._start(worker, replaces=False)
        while any(worker.pid for worker in self._workers) or not self._stopping:
            received = signal.sigtimedwait(_AWAITED, self._patience())
            if received is not None and received.si_signo != signal.SIGCHLD:
                self._stop(signal.Signals(received.si_signo))
            self._reap()
            self._restart()
        return self._code

    def _patience(self) -> float:
        due = [worker.due for worker in self._workers if worker.pid is None]
        return max(0.0, min([due_at - time.monotonic() for due_at in due], default=3600.0))

    def _start(self, worker: Worker, *, replaces: bool) -> None:
        worker.started = time.monotonic()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            worker.pid = pid
            return
        code = 1
        try:
            # A worker without its parent would hold the port and answer to nobody.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
            if os.getppid() == parent:
                code = self._work(worker.number, replaces)
        except BaseException:
            log.exception("a worker failed")
        finally:
            logging.shutdown()
            os._exit(code)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping = True
        self._hang_up()
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.pid = None
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: Worker, code: int) -> None:
        if code == EXIT_PERMANENT and not self._stopping:
            self._code = code
            self._stop(signal.SIGTERM)
        if self._stopping:
            self._code = self._code or (code if code >= 0 else 1)
            return
        young = time.monotonic() - worker.started < YOUNG_SECONDS
        worker.pause = min(LAST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * worker.pause)) if young else 0.0
        worker.due = time.monotonic() + worker.pause
        if worker.pause >= LAST_PAUSE_SECONDS:
            log.error("a worker dies each time it is started; the server ends", extra={"exit_code": code})
            self._code = 1
            self._stop(signal.SIGTERM)
            return
        fields = {"worker": worker.number, "exit_code": code, "pause_seconds": worker.pause}
        log.warning("a worker ended and is started again", extra=fields)

    def _restart(self) -> None:
        for worker in self._workers:
            if worker.pid is None and not self._stopping and time.monotonic() >= worker.due:
                self._start(worker, replaces=True)
