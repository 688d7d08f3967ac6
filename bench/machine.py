"""What processes and the machine used, from /proc: processor seconds say more than a clock where others work too."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
OTHERS = "all other processes of the machine"


def processor_seconds(pid: int) -> float:
    """Processor time a process has used so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> tuple[float, float]:
    """Resident memory in MiB: the most it ever was, and what it is now."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+) kB", text, re.MULTILINE))
    return int(found["VmHWM"]) / 1024, int(found["VmRSS"]) / 1024


class Meter:
    """Processor time since now, by program; `read` tells what each has used so far."""

    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read
        self._before, self._busy = read(), _busy_seconds()

    def spent(self) -> dict[str, float]:
        """Seconds by program, and what is left for everybody else."""
        used = {name: seconds - self._before[name] for name, seconds in self._read().items()}
        return {**used, OTHERS: max(0.0, _busy_seconds() - self._busy - sum(used.values()))}


def _busy_seconds() -> float:
    """Processor time that all processes of the machine have used so far, and what its host took from it."""
    user, nice, system, _idle, _wait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / TICKS
