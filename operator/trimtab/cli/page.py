"""Findings as one HTML page that needs nothing else: no scripts, no fonts, no addresses elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from trimtab.cli import chart, text, wording

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2429; max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #dde3e6; vertical-align: top; }
th { font-weight: 600; color: #56646c; white-space: nowrap; }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: .2rem 1rem; } dt { color: #56646c; } dd { margin: 0; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: #56646c; }
.zero { stroke: #9aa7ad; stroke-dasharray: 4 4; } .verdict { font-size: 1.15rem; } .note { color: #56646c; }
code { font-size: .9em; overflow-wrap: anywhere; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(found: Mapping[str, Any]) -> str:
    """The page."""
    return document(f"{found['kind']} {found['namespace']}/{found['name']}", _body(found), found["note"])


def document(name: str, parts: Iterable[str], note: str) -> str:
    """A whole page from the parts of its body, which are HTML, and its name and a last note, which are text."""
    title = escape(name)
    body = "\n".join([f"<h1>{title}</h1>", *parts, f'<p class="note">{escape(note)}</p>'])
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>"
    )


def _body(found: Mapping[str, Any]) -> Iterator[str]:
    yield facts(text.about(found))
    yield from _experiment(found) if found["kind"] == "ABTest" else _deployment(found)
    if found["history"]:
        yield "<h2>History</h2>"
        yield table(("From and to", "What, and why"), text.history(found))
    if found["assignment"]:
        yield f"<h2>Assignment offline</h2>\n<p><code>{escape(wording.offline(found))}</code></p>"


def _experiment(found: Mapping[str, Any]) -> Iterator[str]:
    yield f'<p class="verdict"><strong>{escape(wording.decided(found))}</strong></p>'
    yield facts(text.questions(found))
    yield "<h2>Arms</h2>"
    yield table([head.capitalize() for head in text.ARM_HEADS], [text.arm(arm) for arm in found["arms"]])
    bars = [chart.bar(arm["name"], arm) for arm in found["arms"] if not arm["control"]]
    if known := [item for item in bars if item]:
        yield f"<h2>Evidence now</h2>\n{chart.intervals(known)}"
    if found["segments"]:
        yield f"<h2>Evidence over time</h2>\n{_over_time(found)}"
        yield table(text.SEGMENT_HEADS, [text.segment(segment) for segment in found["segments"]])
        yield "<h2>Counts by segment</h2>"
        yield table(text.COUNT_HEADS, text.counts(found["segments"]))


def _over_time(found: Mapping[str, Any]) -> str:
    segments = found["segments"]
    others = [arm["name"] for arm in found["arms"] if not arm["control"]]
    judged = [segment.get("arms", {}) for segment in segments]
    series = {
        name: [chart.bar(name, text.in_percent(arms[name])) if name in arms else None for arms in judged]
        for name in others
    }
    return chart.over_time([segment["until"] / 3_600 for segment in segments], series)


def _deployment(found: Mapping[str, Any]) -> Iterator[str]:
    yield facts(text.course(found))
    yield "<h2>Revisions</h2>"
    yield table([head.capitalize() for head in text.REVISION_HEADS], text.revisions(found))
    if found["rollout"]:
        yield f"<h2>Rollout</h2>\n{facts(text.rollout(found['rollout']))}"
    if found["segments"]:
        yield f"<h2>Counts by share</h2>\n{table(text.COUNT_HEADS, text.counts(found['segments']))}"


def facts(told: Iterable[tuple[str, str]]) -> str:
    """Labels and sentences."""
    rows = "\n".join(f"<dt>{escape(label)}</dt><dd>{escape(said)}</dd>" for label, said in told)
    return f"<dl>\n{rows}\n</dl>" if rows else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of text under their heads."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
