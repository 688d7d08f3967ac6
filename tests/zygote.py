"""Starts operators quickly: it has imported everything once, and forks for each.

Importing the operator takes a second of a core, and a test that kills it fifty times would spend a minute on that
alone. A forked operator is a process like any other: it has its own id, can be killed and stopped, and runs `main()`.

Each line on standard input is an order, {"environment": {...}, "log": path}; each line on standard output answers one
with a process id. When an operator ends, its exit code (or the negative of the signal that killed it) appears in
`<log>.<pid>`. Ends are read from pidfds and between orders: a signal handler could run between a fork and the note of
whose it was, and would take a child for somebody else's.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from kubernetes.aio.config import kube_config

from trimtab import __main__ as operator

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Obey until standard input ends."""
    orders, poll = sys.stdin.fileno(), select.poll()
    poll.register(orders, select.POLLIN)
    ends: dict[int, tuple[int, str]] = {}
    while True:
        for ready, _ in poll.poll():
            if ready != orders:
                poll.unregister(ready)
                _bury(ready, *ends.pop(ready))
            elif line := sys.stdin.readline():  # never two at once: each is answered before the next is sent
                order = json.loads(line)
                pid = os.fork() or _become(order)
                end = os.pidfd_open(pid)
                poll.register(end, select.POLLIN)
                ends[end] = pid, order["log"]
                sys.stdout.write(f"{pid}\n")
                sys.stdout.flush()
            else:
                return


def _become(order: dict[str, Any]) -> NoReturn:
    """Turn into an operator, one that dies with the zygote."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
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


def _bury(end: int, pid: int, log: str) -> None:
    """Tell how an operator ended; the file is there whole or not at all."""
    _, status = os.waitpid(pid, 0)
    os.close(end)
    ended = Path(f"{log}.{pid}")
    part = ended.with_name(f"{ended.name}.part")
    part.write_text(str(os.waitstatus_to_exitcode(status)))
    part.rename(ended)


if __name__ == "__main__":
    main()
