"""Findings as text for a terminal of 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trimtab.cli import wording

WIDTH = 100
LABEL = 12


def render(found: Mapping[str, Any]) -> str:
    """All lines, ended by a newline."""
    title = f"{found['kind']} {found['namespace']}/{found['name']}"
    body = _experiment(found) if found["kind"] == "ABTest" else _deployment(found)
    lines = [title, *facts(about(found)), "", *body, *_history(found)]
    if found["assignment"]:
        lines += ["Assignment, without a cluster", *_command(wording.offline(found))]
    return "\n".join(lines).rstrip() + "\n"


def about(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is true of any object."""
    ready = found["ready"]
    if ready["status"]:
        yield "Ready", f"{ready['status']}, {ready['reason']}: {ready['message']}"
    if found["paused"]:
        yield "Paused", found["paused"]
    if found["url"]:
        yield "URL", found["url"]


def questions(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What an experiment asks, and what was answered."""
    yield "Question", wording.asked(found)
    for guardrail in found["guardrails"]:
        yield "Guardrail", wording.guarded(guardrail)
    yield "Decision", wording.decided(found)
    yield "Rule", wording.ruled(found)
    yield "Sample ratio", wording.ratio(found)
    yield "Users needed", wording.needed(found)


ARM_HEADS = ("ARM", "WEIGHT", "USERS", "REQUESTS", "ERRORS", "OUTCOMES", "MEAN", "LIFT (INTERVAL)", "E-VALUE")


def arm(told: Mapping[str, Any]) -> Sequence[str]:
    """A row for one arm; where routers do not yet do as told, the weight is both what is and what is to be."""
    applied = told.get("applied")
    weight = f"{told['weight']} %" if applied in (None, told["weight"]) else f"{applied} > {told['weight']} %"
    numbers = (wording.count(told.get(key, 0)) for key in ("users", "requests", "errors", "outcomes"))
    evidence = ("control", "") if told["control"] else (wording.interval(told), wording.score(told.get("eValue")))
    return (told["name"], weight, *numbers, str(told.get("mean", wording.UNKNOWN)), *evidence)


SEGMENT_HEADS = ("Until", "Weights", "Decision", "Lift")


def segment(told: Mapping[str, Any]) -> Sequence[str]:
    """A row for what was known when a segment ended."""
    lifts = "; ".join(
        f"{name} {wording.interval(in_percent(row))}"
        for name, row in told.get("arms", {}).items()
        if row != told["arms"].get(told["control"])
    )
    decision = told.get("decision", wording.UNKNOWN)
    return wording.duration(told["until"]), wording.weights(told["weights"]), decision, lifts


def in_percent(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fractions as percent."""
    return {key: None if row[key] is None else 100 * row[key] for key in ("lift", "lower", "upper")}


def _experiment(found: Mapping[str, Any]) -> Iterator[str]:
    yield from facts(questions(found))
    yield from ("", *table(ARM_HEADS, [arm(told) for told in found["arms"]]), "")
    if found["segments"]:
        yield "After each segment"
        yield from (*table([head.upper() for head in SEGMENT_HEADS], [segment(s) for s in found["segments"]]), "")


REVISION_HEADS = ("REVISION", "VERSION", "RUNTIME", "WEIGHT", "PODS", "READY")


def revisions(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """A row for each revision that has pods."""
    return [
        (row["name"], row["version"], row["runtime"], f"{row['weight']} %", f"{row['replicas']}", f"{row['available']}")
        for row in found["revisions"]
    ]


def course(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What serves, and how another revision would come."""
    yield "Serving", found["serving"] or "nothing yet"
    steps = f" by {', '.join(map(str, found['shares']))} and 100 %" if found["shares"] else ""
    yield "Strategy", f"{found['strategy']}{steps}"


def rollout(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How a rollout stands, and by what it is judged."""
    yield "Rollout", f"revision {told['revision']} in place of {told['previous'] or 'nothing'}"
    yield "Since", told["startedAt"]
    yield "Stage", wording.placed(told)
    if told.get("reason"):
        yield "Reason", f"{told['reason']}: {told.get('message', '')}"
    for numbers in told.get("compared", ()):
        candidate = wording.share(numbers["candidate"], numbers["candidateRequests"])
        current = wording.share(numbers["current"], numbers["currentRequests"])
        yield numbers["metric"], f"candidate {candidate}, current {current}"
        worse, broken = wording.score(numbers["eValue"]), wording.score(numbers["limitEValue"])
        yield "Evidence", f"e-value {worse} that it is worse, {broken} that it breaks the limit"


def _deployment(found: Mapping[str, Any]) -> Iterator[str]:
    yield from (*facts(course(found)), "", *table(REVISION_HEADS, revisions(found)), "")
    if found["rollout"]:
        yield from (*facts(rollout(found["rollout"])), "")
    if found["segments"]:
        yield from (*table([head.upper() for head in COUNT_HEADS], list(counts(found["segments"]))), "")


COUNT_HEADS = ("Weights", "For", "Arm", "Requests", "Errors", "Slow", "Outcomes")


def counts(segments: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    """A row for each arm in each segment."""
    for told in segments:
        about = wording.weights(told["weights"]), wording.duration(told["seconds"])
        for name, row in told["counts"].items():
            numbers = (row[key] for key in ("requests", "errors", "latencyAbove", "outcomes"))
            yield (*about, name, *map(wording.count, numbers))
            about = "", ""


def history(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """When and what, for each run or rollout that is over."""
    tell = _run if found["kind"] == "ABTest" else _past
    return [(f"{row['startedAt']} to {row['endedAt']}", tell(row)) for row in found["history"]]


def _run(row: Mapping[str, Any]) -> str:
    winner = f", {row['winner']}" if row.get("winner") else ""
    summary = f" {row['summary']}." if row.get("summary") else ""
    return f"{row.get('decision') or 'Undecided'}{winner}.{summary} {row.get('reason', '')}"


def _past(row: Mapping[str, Any]) -> str:
    what = f"{row['outcome']}, revision {row['revision']} (version {row.get('version') or wording.UNKNOWN})"
    return f"{what} at {row['weight']} %. {row['reason']}: {row['message']}"


def _history(found: Mapping[str, Any]) -> Iterator[str]:
    rows = history(found)
    if rows:
        yield "History"
        for when, what in rows:
            yield f"  {when}"
            yield from textwrap.wrap(what, WIDTH, initial_indent="    ", subsequent_indent="    ")
        yield ""


def facts(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Labels and sentences, wrapped."""
    for label, said in told:
        start = f"{label + ':':<{LABEL + 2}}"
        rest = " " * len(start)
        yield from textwrap.wrap(said, WIDTH, initial_indent=start, subsequent_indent=rest) or [start.rstrip()]


def _command(command: str) -> Iterator[str]:
    """A command that can be copied, over several lines if it must."""
    *first, last = textwrap.wrap(command, WIDTH - 6, break_long_words=False, break_on_hyphens=False)
    yield from (f"    {line} \\" for line in first)
    yield f"    {last}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they must be; what is too long for the last one goes on below."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    for row in [heads, *rows]:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        yield from (
            textwrap.wrap(line, WIDTH, subsequent_indent="        ", drop_whitespace=False, break_on_hyphens=False)
            if len(line) > WIDTH
            else [line]
        )
