"""The table: our figures beside those of a peer, and beside what was aimed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import audit
from bench.rig import LIMITS, NAMESPACES

if TYPE_CHECKING:
    from bench.scale import Growth, Restart

NOTE = """\
Peer: KServe 0.20's controller with 1,000 objects on such a rig, measured elsewhere and not in this run.
Rig: etcd, kube-apiserver, kube-controller-manager and kube-scheduler (both {limits}), KWOK;
     {objects} ModelDeployments in {namespaces} namespaces. Requests are counted in the API server's audit log."""


def render(objects: int, growth: Growth, again: Restart) -> str:
    """Everything that was measured, as a Markdown table and a list of the requests behind it."""
    reads = [r for r in growth.requests if r.read]
    writes = audit.writes(growth.requests)
    children = [r for r in writes if r.child]
    status = [r for r in writes if r.resource.endswith("/status")]
    events = [r for r in writes if r.resource == "events"]
    late = audit.writes(again.requests)
    rows = [
        ("objects created by the bench after", f"{growth.created:.1f} s", "", ""),
        ("all children exist after", f"{growth.children:.1f} s", "70 s", "28 s"),
        ("all settled after", f"{growth.settled:.1f} s", "126 s", "63 s"),
        ("reads an object", f"{len(reads) / objects:.2f}", "12", "~0"),
        ("write requests an object, all", f"{len(writes) / objects:.2f}", "10", ""),
        ("… for children", f"{len(children) / objects:.2f}", "", "8"),
        ("… of these, changing something", f"{growth.changed / objects:.2f}", "6 of all 10", ""),
        ("… for its status", f"{len(status) / objects:.2f}", "", ""),
        ("… events", f"{len(events) / objects:.2f}", "", ""),
        ("passes an object", f"{growth.passes / objects:.2f}", "", ""),
        ("operator's processor time", f"{growth.cpu:.1f} s", "", ""),
        ("resident memory, peak / settled", f"{growth.peak:.0f} / {growth.resting:.0f} MiB", "155 MiB", "155 MiB"),
        ("orderly stop takes", f"{again.stop:.1f} s", "", ""),
        ("restart: all looked at again after", f"{again.quiet:.1f} s", "24 s", "5 s"),
        ("restart: no more work of any kind after", f"{again.calm:.1f} s", "", ""),
        ("restart: processor time until looked at", f"{again.cpu:.1f} s", "", ""),
        ("restart: writes, and 60 s more", f"{len(late)}", "2,000", "0"),
        ("restart: memory, peak / settled", f"{again.peak:.0f} / {again.resting:.0f} MiB", "", "155 MiB"),
    ]
    table = ["| what | Trimtab | peer | aim (at most) |", "|---|---|---|---|"]
    table += [f"| {' | '.join(row)} |" for row in rows]
    counted = sorted(audit.tally(growth.requests).items(), key=lambda item: -item[1])
    behind = [f"  {count:7} {what}" for what, count in counted]
    spent = [f"  {seconds:7.1f} s {name}" for name, seconds in growth.rig.items()]
    spent.append(f"  {growth.others:7.1f} s all other processes of the machine")
    note = NOTE.format(limits=" ".join(LIMITS), objects=objects, namespaces=NAMESPACES)
    parts = [*table, "", note, "", "Requests of the first run, by verb, resource and answer:", *behind]
    return "\n".join([*parts, "", "Processor time beside the operator in the first run:", *spent])
