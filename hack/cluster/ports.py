"""Finds out, before a component starts, that its port belongs to a stranger; the component itself would only die."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import psutil

from hack.command import Failure


def require_free(component: str, ports: Iterable[tuple[str, int]]) -> None:
    """Fail with the name of the process that holds one of the ports a component needs."""
    for address, port in ports:
        with socket.socket() as probe:
            # As servers do: a port in TIME_WAIT counts as free, one that is listened on does not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise Failure(
                    f"{component} needs {address}:{port}, which is taken by {_holder(port)} ({error.strerror}): "
                    "end that process and repeat"
                ) from error


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "an unknown process"
