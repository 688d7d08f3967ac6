"""The table: our figures beside those of a peer, and beside what was aimed at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench import audit
from bench.machine import OTHERS
from bench.objects import NAMESPACES
from bench.rig import LIMITS

if TYPE_CHECKING:
    from bench.scale import Growth, Restart

NOTE = """\
Peer: KServe 0.20's controller with 1,000 objects on such a rig, measured elsewhere and not in this run.
Rig: etcd, kube-apiserver, kube-controller-manager and kube-scheduler (both {limits}), KWOK;
     {count} ModelDeployments in {namespaces} namespaces. Requests are counted in the API server's audit log."""


def render(count: int, growth: Growth, again: Restart) -> str:
    """Everything that was measured, as a Markdown table and lists of what is behind it."""
    table = ["| what | Trimtab | peer | aim (at most) |", "|---|---|---|---|"]
    table += [f"| {' | '.join(row)} |" for row in (*_grown(count, growth), *_restarted(again))]
    note = NOTE.format(limits=" ".join(LIMITS), count=count, namespaces=NAMESPACES)
    counted = sorted(audit.tally(growth.requests).items(), key=lambda item: -item[1])
    behind = [f"  {number:7} {what}" for what, number in counted]
    parts = [*table, "", note, "", "Requests of the first run, by verb, resource and answer:", *behind]
    return "\n".join([*parts, "", *processors(growth.spent)])


def processors(spent: Mapping[str, float]) -> list[str]:
    """Processor time by program, as lines, and what it means: no clock can show less on these cores."""
    needed = sum(seconds for name, seconds in spent.items() if name != OTHERS)
    cores = os.cpu_count() or 1
    least = f"Without the others {needed:.0f} s: on {cores} idle cores at least {needed / cores:.0f} s by the clock."
    return ["Processor time until then:", *(f"  {seconds:7.1f} s {name}" for name, seconds in spent.items()), least]


def _grown(count: int, growth: Growth) -> list[tuple[str, str, str, str]]:
    reads = [r for r in growth.requests if r.read]
    writes = audit.writes(growth.requests)
    children = [r for r in writes if r.child]
    status = [r for r in writes if r.resource.endswith("/status")]
    events = [r for r in writes if r.resource == "events"]
    changing = int(growth.changed) + len(status) + len(events)
    return [
        ("objects created by the bench after", f"{growth.created:.1f} s", "", ""),
        ("all children exist after", f"{growth.children:.1f} s", "70 s", "28 s"),
        ("all settled after", f"{growth.settled:.1f} s", "126 s", "63 s"),
        ("reads an object", f"{len(reads) / count:.2f}", "12", "~0"),
        ("write requests an object", f"{len(writes) / count:.2f}", "10", ""),
        ("… of these, changing something", f"{changing / count:.2f}", "6", ""),
        ("… for children, of which changing something", _pair(len(children), growth.changed, count), "", "8"),
        ("… for its status, events", _pair(len(status), len(events), count), "", ""),
        ("passes an object", f"{growth.passes / count:.2f}", "", ""),
        ("operator's processor time", f"{growth.spent['operator']:.1f} s", "", ""),
        ("resident memory, peak / settled", f"{growth.peak:.0f} / {growth.resting:.0f} MiB", "155 MiB", "155 MiB"),
    ]


def _restarted(again: Restart) -> list[tuple[str, str, str, str]]:
    late = audit.writes(again.requests)
    return [
        ("orderly stop takes", f"{again.stop:.1f} s", "", ""),
        ("restart: all looked at again after", f"{again.quiet:.1f} s", "24 s", "5 s"),
        ("restart: no work of any kind left after", f"{again.calm:.1f} s", "", ""),
        ("restart: processor time until looked at", f"{again.cpu:.1f} s", "", ""),
        ("restart: writes, 60 s of silence included", f"{len(late)}", "2,000", "0"),
        ("restart: memory, peak / settled", f"{again.peak:.0f} / {again.resting:.0f} MiB", "", "155 MiB"),
    ]


def _pair(first: float, second: float, count: int) -> str:
    return f"{first / count:.2f}, {second / count:.2f}"
