"""Finds out whether Docker can run kind, by trying.

Neither a `docker` command nor an answering engine is enough: kind's node is a privileged container, and an engine that
is itself confined refuses those. The trial needs no registry: its image is one program of a hundred and thirty bytes.
"""

from __future__ import annotations

import shutil
import struct
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from hack.cluster.catalog import architecture
from hack.command import Failure, run
from hack.progress import say

_TRIAL = "trimtab-trial:1"
_ANSWER_SECONDS = 10
_RUN_SECONDS = 60
_LOAD_ADDRESS = 0x400000
_HEADERS_BYTES = 64 + 56
_MACHINES = {"amd64": 62, "arm64": 183}
_EXIT_0 = {
    "amd64": bytes.fromhex("31ff b83c000000 0f05"),  # xor edi, edi; mov eax, 60; syscall
    "arm64": bytes.fromhex("000080d2 a80b80d2 010000d4"),  # mov x0, #0; mov x8, #93; svc #0
}


def runs_privileged() -> bool:
    """Say whether a Docker engine answers and lets a privileged container run; takes a minute at the very most."""
    if shutil.which("docker") is None:
        return False
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=_ANSWER_SECONDS)
    except Failure:
        return False
    try:
        _try()
    except Failure as failure:
        say(f"Docker answers but cannot run kind: {failure.message.splitlines()[-1]}")
        return False
    return True


def smallest_program(machine: str) -> bytes:
    """Return a static ELF program that exits with 0, for `amd64` or `arm64`."""
    code = _EXIT_0[machine]
    size = _HEADERS_BYTES + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",  # 64-bit, little-endian, version 1
        2,  # an executable
        _MACHINES[machine],
        1,
        _LOAD_ADDRESS + _HEADERS_BYTES,  # where it starts
        64,  # the program header follows
        0,
        0,
        64,
        56,
        1,
        64,
        0,
        0,
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, 0x1000)
    return header + segment + code


def _try() -> None:
    content = smallest_program(architecture())
    entry = tarfile.TarInfo("trial")
    entry.size, entry.mode = len(content), 0o755
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "trial.tar"
        with tarfile.open(archive, "w") as tar:
            tar.addfile(entry, BytesIO(content))
        run(["docker", "import", archive, _TRIAL], timeout=_RUN_SECONDS)
    run(["docker", "run", "--rm", "--privileged", "--network=none", _TRIAL, "/trial"], timeout=_RUN_SECONDS)
    run(["docker", "image", "rm", _TRIAL], timeout=_RUN_SECONDS, check=False)
