"""One revision of one deployment over time: the bucket that is filling, all before it, and what was found last.

Nothing is judged in a bucket without rows, nor told anew: no traffic is neither good news nor bad.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from trimtab.adapters.monitor.document import KeptCourse, KeptHistory, KeptLabels
from trimtab.adapters.monitor.profile import Profile
from trimtab.evidence.drift.degradation import Detector
from trimtab.evidence.drift.finding import Drift, Finding, Quality
from trimtab.evidence.drift.history import BUCKET, DAY, History
from trimtab.evidence.drift.judge import judge_chosen
from trimtab.evidence.drift.kept import LADDERS, Ladder, sound
from trimtab.evidence.drift.labels import Labels, Newest
from trimtab.evidence.drift.performance import estimated, realised
from trimtab.evidence.drift.quality import Finding as Problem
from trimtab.evidence.drift.quality import problems
from trimtab.evidence.drift.window import Window, packed
from trimtab.kinds.modeldeployment.observe import Watch

LEAST_LABELS = 500
AHEAD = 3_600
"""Seconds by which a clock may go back without an end to the windows."""
WEEK = 7 * DAY // BUCKET
"""In buckets."""


class Course:
    """All that is known of one revision. Times are seconds since the epoch."""

    def __init__(
        self, watch: Watch, profile: Profile | None, classes: tuple[str, ...], delay_edges: tuple[float, ...]
    ) -> None:
        self.profile = profile
        self.finding = Finding(watch.digest, profile.digest if profile else "")
        self._watch = watch
        self._classes, self._delay_edges = classes, delay_edges
        self._history = History(profile.reference, bucket=watch.period) if profile else None
        least = watch.limit.least if watch.limit else LEAST_LABELS
        self._newest = Newest(least, WEEK * watch.period)
        rate = watch.policy.false_alarms_per_year
        self._detector = Detector(watch.limit, watch.period, rate) if watch.limit else None
        self._start: int | None = None
        self._closed = 0
        self._rows: Window | None = None
        self._labels = Labels()
        self._like = Labels(edges=profile.edges if profile else ())
        self._scores: tuple[int, ...] = ()

    def obey(self, watch: Watch) -> bool:
        """Go on under this order; False when it asks for other buckets, or another limit, which is a new beginning."""
        fits = (self._watch.period, self._watch.limit) == (watch.period, watch.limit)
        self._watch = watch if fits else self._watch
        return fits

    def ahead(self, now: float) -> bool:
        """Whether it is far in a time that is yet to come: the clock ran ahead, and waiting for it would take long."""
        return max(self._closed, self._start or 0) > now + max(self._watch.period, AHEAD)

    def kept(self, ladder: Ladder | None = LADDERS[0]) -> KeptCourse | None:
        """All that another process needs to go on, without its windows where `ladder` is None; None without counts."""
        if self._start is None and not self._closed:
            return None
        watch = self._watch
        history = self._history.kept(ladder) if self._history and ladder else None
        bets, block = self._detector.kept() if self._detector else ((), Labels())
        return KeptCourse.model_construct(
            digest=self.finding.digest,
            profile=self.finding.profile or "",
            period=watch.period,
            limit=tuple(watch.limit) if watch.limit else None,
            classes=self._classes,
            delay_edges=self._delay_edges,
            start=self._start,
            closed=self._closed,
            rows=packed(self._rows) if self._rows else None,
            labels=KeptLabels.of(self._labels),
            like=KeptLabels.of(self._like),
            newest=tuple((start, KeptLabels.of(labels)) for start, labels in self._newest.kept()),
            bets=bets,
            block=KeptLabels.of(block),
            history=KeptHistory.of(history) if history else None,
        )

    @classmethod
    def resumed(cls, watch: Watch, profile: Profile | None, told: KeptCourse) -> Course:
        """The course that goes on from there; ValueError when it is of another profile, or cannot be right."""
        if told.profile != (profile.digest if profile else ""):
            raise ValueError("it is of another drift profile")
        course = cls(watch, profile, told.classes, told.delay_edges)
        course._start, course._closed = told.start, told.closed
        course._resume(told)
        return course

    def _resume(self, told: KeptCourse) -> None:
        if self._history is not None and self.profile is not None:
            like = self.profile.window
            self._rows = sound(told.rows, like) if told.rows else None
            if told.history is not None:
                self._history.resume(told.history.kept(), like)
        self._labels, self._like = told.labels.labels(), told.like.labels()
        self._newest.resume((start, labels.labels()) for start, labels in told.newest)
        if not (self._labels.alike(self._like) and self._newest.sum.alike(self._like)):
            raise ValueError("the labels are of different cells")
        if self._detector is not None:
            self._detector.resume(told.bets, told.block.labels())

    def add(self, start: int, rows: Window | None, labels: Labels) -> None:
        """Take in what was counted in the bucket that began at `start`, or in the first one that is not judged yet."""
        own = max(start, self._closed)
        self.close(own)
        self._start = own if self._start is None else self._start
        if rows is not None and rows.rows:
            self._rows = rows if self._rows is None else self._rows + rows
        if labels.count:
            # A pod of another revision counts in the cells of its own profile.
            known = labels if labels.alike(self._like) else labels.without_scores()
            self._like = self._like if self._like.edges else known
            self._labels = self._labels + known if self._labels.alike(known) else known

    def close(self, start: int) -> None:
        """Judge the bucket that is filling, if it began before `start`."""
        if self._start is None or self._start >= start:
            return
        own, end = self._start, self._start + self._watch.period
        rows, labels = self._rows, self._labels
        self._start, self._rows, self._labels, self._closed = None, None, Labels(), end
        if rows is not None:
            self.finding = replace(self.finding, drift=self._drift(own, end, rows))
        if rows is not None or labels.count:
            self.finding = replace(self.finding, quality=self._quality(own, end, labels))

    def size(self) -> int:
        """The bytes that its history keeps."""
        return self._history.size() if self._history else 0

    def _drift(self, start: int, end: int, rows: Window) -> Drift | None:
        if self._history is None or self.profile is None:
            return None
        self._history.add(start, rows)
        chosen = self._history.choose()
        look = judge_chosen(self.profile.reference, chosen, self._watch.policy)
        self._scores = self._scored(chosen.window)
        names = {place: name for name, place in self.profile.inputs.items()}
        by_feature = {f.name: names.get(place, f.name) for place, f in enumerate(self.profile.reference.features)}
        found = (self._named(problem, by_feature) for problem in problems(self.profile.reference, chosen.window))
        return Drift(end, chosen.seconds, look, tuple(found))

    @staticmethod
    def _named(problem: Problem, inputs: dict[str, str]) -> Problem:
        """Wrong types are told of by input, because a request is refused for all of it."""
        return problem._replace(feature=inputs[problem.feature]) if problem.problem == "Type" else problem

    def _scored(self, window: Window) -> tuple[int, ...]:
        roles = [feature.role for feature in self.profile.reference.features] if self.profile else []
        return window.cells[roles.index("score")] if "score" in roles else ()

    def _quality(self, start: int, end: int, labels: Labels) -> Quality:
        if labels.count:
            self._newest.add(start, labels)
            if self._detector is not None:
                self._detector.take(labels)
        window, detector = self._newest.sum, self._detector
        return Quality(
            end,
            window.count,
            self._newest.since,
            tuple(realised(window, self._classes)),
            estimated(self.profile.calibration if self.profile else None, self._scores),
            self._delay(window.delays),
            detector.alarmed if detector else False,
            detector.evidence if detector else 0.0,
            detector.needed if detector else 0.0,
        )

    def _delay(self, cells: tuple[int, ...]) -> float | None:
        """The upper edge of the cell in which the median is."""
        half, upper = sum(cells) / 2, (*self._delay_edges, float("inf"))
        if not half:
            return None
        return next(edge for edge, below in zip(upper, accumulate(cells), strict=False) if below >= half)
