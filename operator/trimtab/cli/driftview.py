"""Drift of a ModelDeployment as text for a terminal, and as one HTML page with a plot of each feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from trimtab.cli import page, text, wording
from trimtab.cli.distribution import plot
from trimtab.cli.errors import Failure
from trimtab.cli.live import Traffic

HEADS = ("FEATURE", "LEVEL", "PSI", "EXCESS", "P", "KS", "W/SD", "WEIGHT")
PAGE_HEADS = ("Feature", "Level", "PSI", "Excess", "p", "KS", "W/sd", "Weight")
POD_HEADS = ("Feature", "PSI", "Excess", "p", "KS", "W/sd", "JS", "Level")
NOTE = (
    "The table is of the operator's last window, whose worst features are in status. Plots, and the numbers below "
    "them, are of all that the pods have counted since they began, with rows taken to be independent."
)


def render(found: Mapping[str, Any]) -> str:
    """All lines for a terminal of 100 columns."""
    lines = [f"{found['kind']} {found['namespace']}/{found['name']}", *text.facts(about(found))]
    if found["features"]:
        lines += ["", *text.table(HEADS, rows(found))]
    lines += [""] * bool(problems(found)) + problems(found)
    lines += [""] * bool(found["notes"]) + found["notes"]
    return "\n".join(lines)


def about(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was found, and of what."""
    version = f", version {found['version']}" if found["version"] else ""
    yield "Revision", f"{found['revision'] or 'none'}{version}"
    since = f", in an episode at {found['level']} since {found['since']}" if found["since"] else ""
    yield "State", f"{found['state']}{since}"
    if found["message"]:
        yield "Message", found["message"]
    if found["windowSeconds"]:
        effective = f", worth {wording.count(found['effectiveRows'])} independent ones"
        long = wording.duration(found["windowSeconds"])
        yield "Window", f"{long} up to {found['checkedAt']}, {wording.count(found['rows'])} rows{effective}"
    if found["neededRows"]:
        yield "Needed", f"{wording.count(found['neededRows'])} more rows"
    if found["score"] is not None:
        yield "Score", f"{wording.score(found['score'])}; 1 is worth acting on"
    if pair := found["pair"]:
        names = " and ".join(pair.get("features", ()))
        yield "Pair", f"{names}: correlation {pair.get('before')}, now {pair.get('after')}"
    yield from _quality(found["model"])
    if pods := found["pods"]:
        yield "Pods", f"{len(pods['names'])}, {wording.count(pods['rows'])} rows since they began"


def _quality(told: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if not told:
        return
    yield "Quality", f"{told.get('state', wording.UNKNOWN)}, {wording.count(told.get('labels'))} labels"
    for row in told.get("metrics", ()):
        bounds = f" ({row['lower']} to {row['upper']})" if row.get("lower") and row.get("upper") else ""
        estimate = f", estimated {row['estimated']} without labels" if row.get("estimated") else ""
        yield row["name"], f"{row.get('realised') or 'not known yet'}{bounds}{estimate}"


def rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """A row for each feature that status tells of, the worst first."""
    keys = ("psi", "excess", "pValue", "ks", "wasserstein", "weight")
    return [(name, told["level"], *_numbers(told, keys)) for name, told in found["features"].items()]


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is wrong with the data itself."""
    return [f"{told['feature']}: {told['problem']}: {told.get('message', '')}" for told in found["quality"]]


def write_page(path: str, found: Mapping[str, Any], seen: Traffic | None) -> None:
    """Write the page into a file; Failure when that cannot be done."""
    try:
        Path(path).write_text(render_page(found, seen) + "\n", encoding="utf-8")
    except OSError as error:
        raise Failure(f"--html {path}: it cannot be written: {error.strerror}") from None


def render_page(found: Mapping[str, Any], seen: Traffic | None) -> str:
    """The page; it needs nothing else."""
    return page.document(f"Drift of {found['kind']} {found['namespace']}/{found['name']}", _body(found, seen), NOTE)


def _body(found: Mapping[str, Any], seen: Traffic | None) -> Iterator[str]:
    yield page.facts(about(found))
    if found["features"]:
        yield f"<h2>Worst features of the last window</h2>\n{page.table(PAGE_HEADS, rows(found))}"
    if found["quality"]:
        yield f"<h2>Data quality</h2>\n{_list(problems(found))}"
    if seen is not None:
        yield "<h2>Distributions</h2>"
        yield from _plots(found, seen)
    if found["notes"]:
        yield f"<h2>What could not be read</h2>\n{_list(found['notes'])}"


def _plots(found: Mapping[str, Any], seen: Traffic) -> Iterator[str]:
    """Those that drifted first, then by how far they are."""
    pods = found["pods"]["features"]
    order = sorted(
        range(len(seen.reference.features)), key=lambda i: -(pods[seen.reference.features[i].name]["excess"] or 0.0)
    )
    for i in order:
        feature = seen.reference.features[i]
        yield f"<h3>{escape(feature.name)}</h3>\n{plot(feature, seen.window.cells[i])}"
    keys = ("psi", "excess", "pValue", "ks", "wasserstein", "jensenShannon")
    names = [seen.reference.features[i].name for i in order]
    yield page.table(POD_HEADS, [(name, *_numbers(pods[name], keys), pods[name]["level"]) for name in names])


def _list(lines: Sequence[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"


def _numbers(told: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return ["" if told.get(key) is None else wording.score(told[key]) for key in keys]
