"""One evaluation, step by step: load both models, look at what needs no rows, ask both, judge, record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.evaluation.check import Check, shown
from trimtab_toolbox.evaluation.contender import Contender, load
from trimtab_toolbox.evaluation.fitness import fitness
from trimtab_toolbox.evaluation.holdout import fetch_holdout, read_table, truth_of
from trimtab_toolbox.evaluation.judge import judge
from trimtab_toolbox.evaluation.latency import latency_ratio
from trimtab_toolbox.evaluation.metrics import METRICS
from trimtab_toolbox.evaluation.reading import answers_of, not_finite
from trimtab_toolbox.evaluation.record import record
from trimtab_toolbox.evaluation.settings import Settings
from trimtab_toolbox.evaluation.truth import Truth
from trimtab_toolbox.evaluation.verdict import Verdict, conclude
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.table import Tensors


@dataclass(frozen=True, slots=True)
class _Asked:
    """What came of asking: the holdout, what is true of it, and of each role the rows it got and gave."""

    table: pd.DataFrame
    truth: Truth
    rows: Mapping[str, Tensors]
    given: Mapping[str, Tensors]


def evaluate(settings: Settings, workdir: Path, journal: Journal) -> dict[str, Any]:
    """Grade the challenger, working in the empty `workdir`; the result is that of docs/contract.md.

    Every foreseen way to fail is a `Failure`; a rejection is none.
    """
    with journal.record("load") as found:
        challenger = load("challenger", settings.challenger, settings, workdir)
        champion = load("champion", settings.champion, settings, workdir) if settings.champion else None
        found["bytes"] = challenger.size_bytes
    checks = list(fitness(settings.gate, champion, challenger))
    if any(check.reason == "SchemaIncompatible" and not check.passed for check in checks):
        verdict = conclude(checks, {"metric": settings.gate.metric}, "", "")
    else:
        asked = _ask(settings, workdir, journal, [one for one in (champion, challenger) if one is not None])
        verdict = _graded(settings, journal, champion, challenger, asked, checks)
    result = verdict.result()
    with journal.record("record") as found:
        found["verdict"], found["reason"] = result["verdict"], result["reason"]
        found["written"] = record(settings, verdict.whole(), result)
    return result


def _ask(settings: Settings, workdir: Path, journal: Journal, contenders: list[Contender]) -> _Asked:
    with journal.record("holdout") as found:
        table = _table(settings, workdir, contenders)
        truth = truth_of(table, settings, {one.role: one.classes for one in contenders})
        found["rows"] = len(truth)
    with journal.record("ask"):
        rows = {one.role: one.tensors(table, settings.target, settings.gate.aside) for one in contenders}
        return _Asked(table, truth, rows, {one.role: one.ask(rows[one.role]) for one in contenders})


def _graded(
    settings: Settings,
    journal: Journal,
    champion: Contender | None,
    challenger: Contender,
    asked: _Asked,
    checks: list[Check],
) -> Verdict:
    gate, truth = settings.gate, asked.truth
    finite = _finite(challenger, asked.given["challenger"])
    if champion is not None and not_finite(champion, asked.given["champion"]):
        message = f"the champion {champion.uri} answers NaN or infinity to some rows of the holdout, so nothing can be"
        raise Failure(Reason.LOAD_FAILED, f"{message} compared with it; grade without a champion, or leave them out")
    if not finite.passed:
        return conclude([*checks, finite], {"metric": gate.metric, "rows": len(truth)}, "", "")
    with journal.record("judge"):
        metric = METRICS[gate.metric]
        old = None if champion is None else answers_of(champion, asked.given["champion"], truth, metric)
        new = answers_of(challenger, asked.given["challenger"], truth, metric)
        try:
            judged, numbers = judge(gate, asked.table, truth, old, new)
        except ValueError as error:
            message = f"the holdout says nothing of {gate.metric}: {error}; choose another holdout or metric"
            raise Failure(Reason.HOLDOUT_INVALID, message) from error
    with journal.record("latency"):
        judged += _latency(settings, champion, challenger, asked.rows)
    return conclude([*judged, *checks, finite], numbers, *_passing(settings, champion, numbers))


def _table(settings: Settings, workdir: Path, contenders: list[Contender]) -> pd.DataFrame:
    texts = frozenset[str]().union(*(contender.texts for contender in contenders))
    if any(
        not name.lstrip("-").isdigit() or name != str(int(name)) for one in contenders for name in one.classes or ()
    ):
        # Classes that are text are compared as text: "01" must not become 1 on the way.
        texts |= {settings.target}
    table = read_table(fetch_holdout(settings, workdir / "holdout"), texts)
    lacking = sorted(settings.gate.aside - set(table.columns))
    if lacking:
        message = f"the holdout has no column {lacking[0]!r}, which the gate divides the rows by"
        raise Failure(Reason.HOLDOUT_INVALID, f"{message}; it has {', '.join(table.columns[:10])}")
    return table


def _finite(challenger: Contender, given: Tensors) -> Check:
    wrong = not_finite(challenger, given)
    message = f"the challenger answers NaN or infinity to {wrong} rows of the holdout; find out which step makes them"
    return Check("finite", not wrong, f"{wrong} rows", "0 rows", "NotFinite", message)


def _latency(
    settings: Settings, champion: Contender | None, challenger: Contender, rows: Mapping[str, Tensors]
) -> list[Check]:
    limit = settings.gate.max_latency_ratio
    if limit is None:
        return []
    if champion is None:
        return [Check("latency", None, "no champion", shown(limit))]
    ratio = latency_ratio((champion, rows["champion"]), (challenger, rows["challenger"]), limit)
    message = (
        f"the challenger takes {shown(round(ratio, 2))} times as long as the champion (95th percentile, 32 rows), and "
        f"maxLatencyRatio is {shown(limit)}"
    )
    return [Check("latency", ratio <= limit, shown(round(ratio, 3)), shown(limit), "TooSlow", message)]


def _passing(settings: Settings, champion: Contender | None, numbers: dict[str, Any]) -> tuple[str, str]:
    """The reason and the message of a challenger that passes everything."""
    metric, rows = settings.gate.metric, numbers["rows"]
    if champion is None:
        return "FloorsMet", f"there is no champion to compare with; {metric} is {numbers['challenger']} on {rows} rows"
    went = f"{metric} went from {numbers['champion']} to {numbers['challenger']} on {rows} rows"
    sure = f"with {100 * settings.gate.confidence:g} % confidence"
    chance = f"a model worse by {shown(settings.gate.margin)} would pass with a chance of {numbers['chanceIfWorse']}"
    if settings.gate.superior:
        return "Superior", f"{went}, better {sure}; {chance}"
    return "NonInferior", f"{went}, not worse by {shown(settings.gate.margin)} {sure}; {chance}"
