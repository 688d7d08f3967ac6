"""Starts operators quickly: it has imported everything once, and forks for each.

Importing the operator takes a second of a core, and a test that kills it fifty times would spend a minute on that
alone. A forked operator is a process like any other: it has its own id, can be killed and stopped, and runs `main()`.

Each line on standard input is an order, {"environment": {...}, "log": path}; each line on standard output answers one
with a process id. When an operator ends, its exit code (or the negative of the signal that killed it) appears in
`<log>.<pid>`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from kubernetes.aio.config import kube_config

from trimtab import __main__ as operator

PR_SET_PDEATHSIG = 1
running: dict[int, str] = {}


def main() -> None:
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        order = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until the child is known by its log
        pid = os.fork()
        if pid == 0:
            _become(order)
        running[pid] = order["log"]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _become(order: dict[str, Any]) -> NoReturn:
    """Turn into an operator, one that dies with the zygote."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(order["environment"])
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = os.environ["KUBECONFIG"]  # the library looked when it was imported
    code = 1
    try:
        operator.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)  # the zygote's own clean-up is not the child's to do


def _reap(*_: object) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        ended = Path(f"{running.pop(pid)}.{pid}")
        part = ended.with_name(f"{ended.name}.part")
        part.write_text(str(os.waitstatus_to_exitcode(status)))
        part.rename(ended)


if __name__ == "__main__":
    main()
