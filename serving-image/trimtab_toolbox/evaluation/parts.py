"""The checks on parts of the rows: slices, classes, groups.

A part may have too few rows to tell. It then neither passes nor fails: no data is no good news and no bad news, and
the row of the verdict says so. What keeps an equal model from failing in one of many parts by chance is Bonferroni's
correction; what keeps a worse one from passing needs none, because all parts have to pass (an intersection-union
test, Berger, Technometrics 24, 1982).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab_toolbox.evaluation.check import Check, decided, shown
from trimtab_toolbox.evaluation.estimate import Estimate, Pair, one, pair
from trimtab_toolbox.evaluation.gate import Gate
from trimtab_toolbox.evaluation.proportions import Proportion
from trimtab_toolbox.evaluation.truth import Answers, Truth, class_name

MIN_ROWS = 20
"""Parts with fewer rows are not even estimated."""
MAX_GROUPS = 20
DRAWS = 1000

Rows = NDArray[np.bool_]


def groups(column: pd.Series) -> dict[str, Rows]:
    """The rows by the column's value: numbers with more than MAX_GROUPS values by quarters, rare texts as `other`."""
    missing = column.isna().to_numpy()
    found: dict[str, Rows] = {}
    if column.nunique() > MAX_GROUPS and pd.api.types.is_numeric_dtype(column):
        quarters = pd.qcut(column, 4, duplicates="drop")
        found = {f"{span.left:g}..{span.right:g}": (quarters == span).to_numpy() for span in quarters.cat.categories}
    else:
        kept = column.value_counts().index[:MAX_GROUPS]
        found = {class_name(value): (column == value).to_numpy(dtype=bool, na_value=False) for value in kept}
        other = ~column.isin(kept).to_numpy() & ~missing
        found |= {"other": other} if other.any() else {}
    return found | ({"missing": missing} if missing.any() else {})


def slices(gate: Gate, table: pd.DataFrame, truth: Truth, champion: Answers, challenger: Answers) -> Iterator[Check]:
    """Each slice passes when it is shown not to be worse by sliceMargin; it fails when it is shown to be worse."""
    parts = {f"{name}={value}": rows for name in gate.slices for value, rows in groups(table[name]).items()}
    told = {name: _pair(gate, truth, champion, challenger, rows) for name, rows in parts.items()}
    strict = 1 - (1 - gate.confidence) / max(sum(found is not None for found in told.values()), 1)
    limit = shown(-gate.slice_margin)
    for name, found in told.items():
        if found is None:
            yield Check(f"slice {name}", None, f"{int(parts[name].sum())} rows", limit)
            continue
        better = found.improvement
        lower = better.lower(gate.confidence)
        passed = decided(lower >= -gate.slice_margin, better.upper(strict) < 0)
        message = (
            f"in the slice {name} ({int(parts[name].sum())} rows) {gate.metric} went from {shown(found.champion)} to "
            f"{shown(found.challenger)}, beyond chance and not within {shown(gate.slice_margin)}"
        )
        yield Check(f"slice {name}", passed, shown(lower), limit, "SliceWorse", message)


def class_floors(gate: Gate, truth: Truth, challenger: Answers) -> Iterator[Check]:
    """The recall of each class passes when it is shown to reach the floor, and fails when it is below it."""
    floor = gate.class_floor or 0.0
    for code, name in enumerate(truth.classes):
        rows = truth.codes == code
        if int(rows.sum()) < MIN_ROWS:
            yield Check(f"recall {name}", None, f"{int(rows.sum())} rows", shown(floor))
            continue
        recall = Proportion(int((challenger.labels[rows] == code).sum()), int(rows.sum()))
        passed = decided(recall.lower(gate.confidence) >= floor, recall.point < floor)
        message = (
            f"of the {recall.rows} rows of the class {name!r} the challenger finds {recall.right} (a recall of "
            f"{shown(recall.point)}), and classFloor is {shown(floor)}"
        )
        yield Check(f"recall {name}", passed, shown(recall.point), shown(floor), "ClassBelowFloor", message)


def fairness(gate: Gate, table: pd.DataFrame, truth: Truth, challenger: Answers) -> Check:
    """The largest difference of the metric between two groups.

    It passes when no difference can be larger than maxGap, and fails when one is larger and beyond chance.
    """
    parts = groups(table[gate.fair_column])
    told = {name: _one(gate, truth, challenger, rows) for name, rows in parts.items()}
    known: Mapping[str, Estimate] = {name: found for name, found in told.items() if found is not None}
    limit, name = gate.max_gap or 0.0, f"fairness {gate.fair_column}"
    if len(known) < 2:
        return Check(name, None, f"{len(known)} groups of {MIN_ROWS} rows", shown(limit))
    pairs: list[tuple[str, str]] = list(combinations(known, 2))
    strict = 1 - (1 - gate.confidence) / (2 * len(pairs))
    gaps = {names: abs(known[names[0]].point - known[names[1]].point) for names in pairs}
    apart = {names: _apart(known[names[0]], known[names[1]], strict) for names in pairs}
    worst = max(pairs, key=lambda names: gaps[names])
    broken = [names for names in pairs if gaps[names] > limit and apart[names][0] > 0]
    held = len(known) == len(told) and max(high for _, high in apart.values()) <= limit
    chosen = max(broken, key=lambda names: gaps[names]) if broken else worst
    low, high = sorted(chosen, key=lambda name: known[name].point)
    message = (
        f"{gate.metric} differs by {shown(gaps[chosen])} between the groups of {gate.fair_column!r}: {low} has "
        f"{shown(known[low].point)}, {high} {shown(known[high].point)}; maxGap is {shown(limit)}"
    )
    return Check(name, decided(held, bool(broken)), shown(gaps[chosen]), shown(limit), "Unfair", message)


def _apart(first: Estimate, second: Estimate, confidence: float) -> tuple[float, float]:
    """The least and the largest distance of two independent estimates that are likely (Newcombe's square-and-add)."""
    low, high = sorted((first, second), key=lambda estimate: estimate.point)
    gap = high.point - low.point
    down, up = high.point - high.lower(confidence), low.upper(confidence) - low.point
    wide, deep = high.upper(confidence) - high.point, low.point - low.lower(confidence)
    return gap - float(np.hypot(down, up)), gap + float(np.hypot(wide, deep))


def _pair(gate: Gate, truth: Truth, champion: Answers, challenger: Answers, rows: Rows) -> Pair | None:
    if int(rows.sum()) < MIN_ROWS:
        return None
    try:
        return pair(gate.metric, truth.part(rows), champion.part(rows), challenger.part(rows), DRAWS)
    except ValueError:
        return None


def _one(gate: Gate, truth: Truth, answers: Answers, rows: Rows) -> Estimate | None:
    if int(rows.sum()) < MIN_ROWS:
        return None
    try:
        return one(gate.metric, truth.part(rows), answers.part(rows), DRAWS)
    except ValueError:
        return None
