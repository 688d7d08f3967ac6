"""The comparison as Markdown: rates with ratios, latencies, aims, and what else ran."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.machine import OTHERS
from bench.peers.cases import Case
from bench.peers.catalogue import Peer
from bench.peers.figures import Rounds, middle, per_processor_second, rate, ratio
from bench.peers.load import Round
from bench.peers.servers import OURS, TRIMTAB, UNCOUNTED

Found = Mapping[Case, Rounds]

AIMS = (
    ("linear", "KServe", 15.0),
    ("linear", "MLServer", 15.0),
    ("linear", "FastAPI", 5.0),
    ("linear", UNCOUNTED, 0.8),
    ("forest", "KServe", 100.0),
    ("forest", "MLServer", 100.0),
    ("forest", "FastAPI", 5.0),
    ("forest", UNCOUNTED, 0.8),
)
"""Requests a second over 32 connections, one row each: ours as so many times theirs, at least."""


def versions(peers: Sequence[Peer], homes: Mapping[str, Path]) -> dict[str, str]:
    """The version of each installed peer, as its own environment tells it."""
    return {peer.name: _version(homes[peer.name], peer.package) for peer in peers if peer.name in homes}


def _version(home: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run(
        [home / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def render(found: Found, named: Mapping[str, str], left_out: Sequence[str], spent: Mapping[str, float]) -> str:
    """The whole report."""
    parts = ["Requests a second by the clock; in brackets how many times as many Trimtab answers:", ""]
    parts += grid(found, named, lambda rounds, name: _with_ratio(rounds, name, rate))
    parts += ["", "The same for each second of processor time of the server, which other work hardly changes:", ""]
    parts += grid(found, named, lambda rounds, name: _with_ratio(rounds, name, per_processor_second))
    parts += ["", "Latency in milliseconds, p50 / p99:", ""]
    parts += grid(found, named, _latencies)
    parts += ["", *aims(found), "", *slower(found), ""]
    parts += [f"Not measured: {reason}" for reason in left_out] or ["Every peer was installed, started and right."]
    return "\n".join([*parts, "", *_processors(spent)])


def grid(found: Found, named: Mapping[str, str], cell: Callable[[Rounds, str], str]) -> list[str]:
    """A row for each server, a column for each case; a dash where a server was not measured."""
    servers = list(dict.fromkeys(name for rounds in found.values() for name in rounds))
    lines = [f"| server | {' | '.join(case.title for case in found)} |", "|---" * (len(found) + 1) + "|"]
    for name in servers:
        cells = [cell(rounds, name) if name in rounds else "-" for rounds in found.values()]
        lines.append(f"| {f'{name} {named.get(name, str())}'.strip()} | {' | '.join(cells)} |")
    return lines


def _with_ratio(rounds: Rounds, name: str, figure: Callable[[Round], float]) -> str:
    own = f"{middle(rounds[name], figure):,.0f}"
    return own if name == TRIMTAB else f"{own} ({times(ratio(rounds[TRIMTAB], rounds[name], figure))})"


def _latencies(rounds: Rounds, name: str) -> str:
    p50, p99 = (middle(rounds[name], figure) for figure in (lambda one: one.p50, lambda one: one.p99))
    return f"{p50:.2f} / {p99:.2f}"


def times(value: float) -> str:
    """A ratio with two or three digits that mean something."""
    return f"{value:.2f}×" if value < 10 else f"{value:.1f}×" if value < 100 else f"{value:.0f}×"


def aims(found: Found) -> Iterator[str]:
    """Each aim, by the clock and by processor time, and whether it was reached."""
    yield "| aim, one row, c=32 | at least | by the clock | by processor time | |"
    yield "|---|---|---|---|---|"
    for subject, other, least in AIMS:
        rounds = found.get(Case(subject, 1, 32), {})
        if other in rounds:
            clock, processor = (
                ratio(rounds[TRIMTAB], rounds[other], figure) for figure in (rate, per_processor_second)
            )
            word = "reached" if clock >= least else "missed"
            yield f"| {subject}: of {other} | {times(least)} | {times(clock)} | {times(processor)} | {word} |"


def slower(found: Found) -> list[str]:
    """Where a peer was quicker, by median rate or by a median latency."""
    lines = []
    for case, rounds in found.items():
        for name in rounds.keys() - set(OURS):
            lines += [f"slower than {name}: {case.title}, {what}" for what in _lost(rounds, name)]
    return sorted(lines) or ["No case is slower than a peer: neither in rate, nor in p50, nor in p99."]


def _lost(rounds: Rounds, name: str) -> Iterator[str]:
    ours, theirs = rounds[TRIMTAB], rounds[name]
    if ratio(ours, theirs, rate) < 1:
        yield "rate"
    if ratio(ours, theirs, lambda one: one.p50) > 1:
        yield "p50"
    if ratio(ours, theirs, lambda one: one.p99) > 1:
        yield "p99"


def _processors(spent: Mapping[str, float]) -> Iterator[str]:
    yield "Processor seconds during the rounds:"
    total = sum(spent.values()) or 1.0
    for program, seconds in spent.items():
        yield f"  {seconds:7.1f} s {program}"
    yield f"Others took {100 * spent.get(OTHERS, 0.0) / total:.0f} % of all processor time that was used."
