"""Drift between tables, and through a dated one: the answers of `kubectl trimtab drift`, as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from trimtab.evidence.drift.columns import Table
from trimtab.evidence.drift.episode import Episode, follow
from trimtab.evidence.drift.history import BUCKET, DAY, HOUR, History
from trimtab.evidence.drift.judge import Chosen, FeatureLook, Look, judge, judge_chosen
from trimtab.evidence.drift.quality import problems
from trimtab.evidence.drift.reference import Reference
from trimtab.evidence.drift.table import Binning, Rows
from trimtab.evidence.drift.window import Window

NAMES = {HOUR: "1h", 6 * HOUR: "6h", DAY: "24h", 7 * DAY: "7d"}
TOLD_PER_WINDOW = 12
REFERENCE_SHARE = 4
"""A dated table without a reference of its own is compared with its first quarter."""


def compare(binning: Binning, current: Table, times: Sequence[float] = ()) -> dict[str, Any]:
    """One window, all rows of `current`, whose rows are taken to be independent: nothing says otherwise.

    Rows whose `times` are within a day are compared with the same hours of a dated reference.
    """
    rows = Rows(binning, current)
    window = rows.window(0, rows.size, times if times and max(times) - min(times) < DAY else ())
    look = judge(binning.reference, window, [1.0] * len(binning.reference.features))
    return {"state": look.state, **told(look, binning.reference, window)}


def replay(binning: Binning, record: Table, times: Sequence[float]) -> Iterator[dict[str, Any]]:
    """What the operator would have said of rows in the order of their `times`, seconds since the epoch.

    It looks at the end of each bucket with rows. Told are twelve looks while a window passes, and all that change the
    state. `state` is what three looks in a row have made of it; `look` is what this one says by itself.
    """
    before, told_at = "", -math.inf
    for end, chosen, look, episode in _looks(binning, record, times):
        unknown = look.state == "InsufficientData" and episode.level == "OK"
        state = look.state if unknown else episode.level
        if state == before and end < told_at + chosen.seconds // TOLD_PER_WINDOW:
            continue
        before, told_at = state, end
        yield {
            "from": _stamp(end - chosen.seconds),
            "to": _stamp(end),
            "window": NAMES[chosen.seconds],
            "state": state,
            "look": look.state,
            "since": None if episode.begun is None else _stamp(episode.begun),
            **told(look, binning.reference, chosen.window),
        }


def _looks(binning: Binning, record: Table, times: Sequence[float]) -> Iterator[tuple[int, Chosen, Look, Episode]]:
    """The end of each bucket with rows, the window up to there, what it says, and the episode after it."""
    rows, history, episode = Rows(binning, record), History(binning.reference), Episode()
    start = 0
    while start < rows.size:
        bucket = int(times[start] // BUCKET) * BUCKET
        stop = start
        while stop < rows.size and times[stop] < bucket + BUCKET:
            stop += 1
        history.add(bucket, rows.window(start, stop, times[start:stop]))
        start, end, chosen = stop, bucket + BUCKET, history.choose()
        look = judge_chosen(binning.reference, chosen)
        episode = follow(episode, look, end)
        yield end, chosen, look, episode


def split(table: Table, times: Sequence[float]) -> tuple[int, Table, Table]:
    """How many rows the first quarter has; it, and the rest. Rows of one time are not parted."""
    place = len(times) // REFERENCE_SHARE
    while 0 < place < len(times) and times[place] == times[place - 1]:
        place += 1
    first = {name: texts[:place] for name, texts in table.items()}
    return place, first, {name: texts[place:] for name, texts in table.items()}


def told(look: Look, reference: Reference, window: Window) -> dict[str, Any]:
    """A look and the quality of its data as JSON; null where nothing is known."""
    worst = sorted(look.features, key=lambda feature: -feature.excess)
    pair = look.pair
    return {
        "score": look.score,
        "rows": look.rows,
        "effectiveRows": look.effective,
        "neededRows": look.needed,
        "neededReferenceRows": look.needed_reference,
        "worst": [feature.name for feature in worst if feature.drifted],
        "features": {feature.name: _feature(feature) for feature in look.features},
        "pair": pair
        and {
            "features": list(pair.features),
            "before": pair.before,
            "after": pair.after,
            "pValue": pair.p_value,
            "drifted": pair.drifted,
        },
        "quality": [
            {"feature": found.feature, "problem": found.problem, "share": found.share, "message": found.message}
            for found in problems(reference, window)
        ],
    }


def _feature(look: FeatureLook) -> dict[str, Any]:
    return {
        "psi": look.psi,
        "excess": look.excess if math.isfinite(look.excess) else None,
        "pValue": look.p_value,
        "ks": look.ks,
        "ksPValue": look.ks_p_value,
        "wasserstein": look.wasserstein,
        "jensenShannon": look.jensen_shannon,
        "tail": None if look.tail is None else {"reference": look.tail[0], "current": look.tail[1]},
        "effectiveRows": look.effective,
        "level": look.level,
        "drifted": look.drifted,
    }


def _stamp(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
