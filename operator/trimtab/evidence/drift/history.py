"""The last seven days of counts, and the shortest window of them that is long enough to judge.

Buckets of 5 minutes, kept packed for six hours, and for a week as sums of an hour; the sums of the windows are carried
on, so that a look costs what came and went since the last one. Versions are never mixed: each has a history of its own.
With buckets of another length all is that much shorter or longer: an hour is twelve of them, a day 288.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from trimtab.evidence.drift.judge import Chosen
from trimtab.evidence.drift.kept import LADDERS, Coarse, Groups, Kept, Ladder, Packed, Scale, sound
from trimtab.evidence.drift.reference import Reference
from trimtab.evidence.drift.season import LEAST_ROWS
from trimtab.evidence.drift.significance import Spread, Test, design_effect, succession, typical
from trimtab.evidence.drift.window import Window, empty, packed, unpacked

BUCKET = 300
HOUR, DAY = 3_600, 86_400
LENGTHS = (HOUR, 6 * HOUR, DAY, 7 * DAY)
DAILY = (DAY, 7 * DAY)
"""The windows for traffic with a daily cycle, where the reference does not know the hours of the day."""
SHORT = 6
"""Windows of more hours let go of an hour at a time."""
SPREAD_OVER = 6
"""Buckets are compared within each of the last six hours: a shift between hours must not look like dependent rows."""


class Successions:
    """How each hour, or day, differs from the one before it, by feature."""

    def __init__(self, scale: int, over: int, features: int) -> None:
        self.scale = scale
        self._start = -1
        self._growing: Groups = []
        self._before: Groups = []
        self._ratios: list[deque[float]] = [deque(maxlen=over // scale - 1) for _ in range(features)]
        self.effects = [1.0] * features

    def add(self, start: int, groups: Groups) -> None:
        """Take in a bucket; a sub-window is compared when the next one begins."""
        own = start - start % self.scale
        if own == self._start:
            pairs = zip(self._growing, groups, strict=True)
            self._growing = [[a + b for a, b in zip(x, y, strict=True)] for x, y in pairs]
            return
        if self._before:
            for ratios, first, second in zip(self._ratios, self._before, self._growing, strict=True):
                if (ratio := succession(first, second)) is not None:
                    ratios.append(ratio)
            self.effects = [typical(ratios) for ratios in self._ratios]
        self._before, self._growing, self._start = self._growing, groups, own

    def kept(self) -> Scale:
        """All of it, as values."""
        return Scale(self._start, self._growing, self._before, [list(ratios) for ratios in self._ratios])

    def resume(self, kept: Scale, like: Groups) -> None:
        """Go on from there; ValueError when it is of other features."""
        shape = list(map(len, like))
        if any(groups and list(map(len, groups)) != shape for groups in (kept.growing, kept.before)):
            raise ValueError("the hours are of other groups")
        for ratios, told in zip(self._ratios, kept.ratios, strict=True):
            ratios.extend(told)
        self._start, self._growing, self._before = kept.start, kept.growing, kept.before
        self.effects = [typical(ratios) for ratios in self._ratios]


class Trail:
    """The sum of the last `length` seconds, and the parts of it that will be let go of."""

    def __init__(self, length: int, like: Window) -> None:
        self.length = length
        self.window = like
        self.parts: deque[tuple[int, Packed]] = deque()

    def forget(self, before: int, like: Window) -> None:
        """Let go of what began before that time; `like` is a window of the same parts."""
        while self.parts and self.parts[0][0] < before:
            self.window -= unpacked(self.parts.popleft()[1], like)


class History:
    """Counts of one model version by bucket. Times are seconds since the epoch, and never go back."""

    def __init__(self, reference: Reference, lengths: Sequence[int] | None = None, bucket: int = BUCKET) -> None:
        self._features = reference.features
        self._dated = reference.dated
        self._like = empty(reference)
        self._bucket = bucket
        self._hours = bucket * HOUR // BUCKET
        days = bucket * DAY // BUCKET
        lengths = lengths or [bucket * length // BUCKET for length in LENGTHS]
        self._trails = [Trail(length, self._like) for length in sorted(lengths)]
        self._open: tuple[int, Window] | None = None
        self._coarse = Coarse(self._hours)
        self._begun: int | None = None
        self._end = 0
        self._hour = -1
        self._spread: list[Spread] = []
        self._tests: list[deque[Test]] = [deque(maxlen=SPREAD_OVER - 1) for _ in self._features]
        features = len(self._features)
        self._scales = [Successions(self._hours, days, features), Successions(days, 7 * days, features)]

    def add(self, start: int, counted: Window) -> None:
        """Take in the counts of the bucket that began at `start`, which must be later than all before it."""
        self._like = counted
        self._begun = start if self._begun is None else self._begun
        self._end = start + self._bucket
        groups = [f.grouped(cells) for f, cells in zip(self._features, counted.cells, strict=True)]
        if self._hour != start // self._hours:
            for tests, spread in zip(self._tests, self._spread, strict=False):
                tests.append(spread.test())
            self._hour = start // self._hours
            self._spread = [Spread(len(part)) for part in groups]
        for spread, part in zip(self._spread, groups, strict=True):
            spread.take(part)
        for scale in self._scales:
            scale.add(start, groups)
        self._keep(start, counted)
        for trail in self._trails:
            trail.window += counted
            trail.forget(self._end - trail.length, counted)

    def _keep(self, start: int, counted: Window) -> None:
        """Keep what will be let go of: buckets for the short windows, sums of an hour for the long ones."""
        short = [trail for trail in self._trails if trail.length <= SHORT * self._hours]
        kept = packed(counted)
        for trail in short:
            trail.parts.append((start, kept))
        own = start - start % self._hours
        if self._open is not None and self._open[0] == own:
            self._open = (own, self._open[1] + counted)
            return
        if self._open is not None:
            closed = (self._open[0], packed(self._open[1]))
            for trail in self._trails:
                if trail not in short:
                    trail.parts.append(closed)
        self._open = (own, counted)

    def choose(self) -> Chosen:
        """The shortest window with 200 effective rows, or the longest one.

        Hours that differ from each other make features correlate that do not in any of them. So where the reference is
        dated, correlations wait for the shortest window of whole days.
        """
        seen = [(trail, self.effects(trail.length)) for trail in self._trails]
        enough = [trail.window.rows >= LEAST_ROWS * (median(effects) if effects else 1.0) for trail, effects in seen]
        base = enough.index(True) if any(enough) else len(seen) - 1
        trail, effects = seen[base]
        whole = [self._whole(trail.length) for trail, _ in seen]
        paired = next((place for place in range(base, len(seen)) if whole[place] or not self._dated), None)
        pairs = None if paired is None else (seen[paired][0].window, median(seen[paired][1] or [1.0]))
        return Chosen(trail.length, trail.window, effects, whole[base], pairs)

    def _whole(self, length: int) -> bool:
        """Whether a window of this length has all hours of the day in it."""
        return self._begun is not None and min(length, self._end - self._begun) >= DAY

    def kept(self, ladder: Ladder = LADDERS[0]) -> Kept | None:
        """All that another history needs to go on, in coarse parts; None before there is anything."""
        if self._open is None or self._begun is None:
            return None
        own = self._open[0]
        newest = tuple(part for part in self._trails[0].parts if part[0] >= own)
        closed = self._coarse.parts(self._trails[-1].parts, own, ladder, self._like)
        tests = [[(test.statistic, test.freedom) for test in tests] for tests in self._tests]
        return Kept(self._begun, self._end, closed + newest, tests, [scale.kept() for scale in self._scales])

    def resume(self, kept: Kept, like: Window) -> None:
        """Go on from there, before anything is added; `like` is a window of the same reference, with all its parts.

        A window has the parts that lie in it with all of their length, so it is at most as long as it should be.
        ValueError when it is of another reference, or cannot be right; the history is then of no use.
        """
        self._like, self._begun, self._end = like, kept.begun, kept.end
        groups = [f.grouped(cells) for f, cells in zip(self._features, like.cells, strict=True)]
        for scale, told in zip(self._scales, kept.scales, strict=True):
            scale.resume(told, groups)
        for tests, told_tests in zip(self._tests, kept.tests, strict=True):
            tests.extend(Test(*test) for test in told_tests)
        own = kept.parts[-1][0] // self._hours * self._hours
        self._hour, self._spread = own // self._hours, [Spread(len(part)) for part in groups]
        for start, content in kept.parts:
            self._take(start, content, sound(content, like), own)

    def _take(self, start: int, content: Packed, counted: Window, own: int) -> None:
        """Put a part where it belongs; those of the last hour, which began at `own`, are buckets."""
        newest = start >= own
        if newest:
            self._open = (own, self._open[1] + counted if self._open is not None else counted)
            for spread, feature, cells in zip(self._spread, self._features, counted.cells, strict=True):
                spread.take(feature.grouped(cells))
        for trail in self._trails:
            if start >= self._end - trail.length:
                trail.window += counted
                if not newest or trail.length <= SHORT * self._hours:
                    trail.parts.append((start, content))

    def size(self) -> int:
        """The bytes that are kept packed, which are most of what a long history takes."""
        parts = {id(part): part for trail in self._trails for _, part in trail.parts}
        return sum(len(whole) + len(floats) for whole, floats in parts.values())

    def effects(self, length: int) -> tuple[float, ...]:
        """The design effect of each feature in windows of this length, the largest that any scale up to it shows."""
        now = zip(self._tests, self._spread, strict=True)
        shown = [[design_effect([*tests, spread.test()]) for tests, spread in now]]
        shown += [scale.effects for scale in self._scales if scale.scale <= length]
        return tuple(max(effects) for effects in zip(*shown, strict=True))
