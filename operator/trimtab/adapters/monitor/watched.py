"""What one process knows of one deployment's counts, and how that becomes a document and is gone on from.

What a document holds of a revision, or of a pod, waits until the revision's profile has been fetched, or the pod has
been heard of again. Until then it is written on as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import gt

from trimtab.adapters.monitor.course import Course
from trimtab.adapters.monitor.document import (
    LARGEST,
    MOST_PODS,
    Document,
    KeptCourse,
    KeptLabels,
    KeptPod,
    written,
)
from trimtab.adapters.monitor.profile import Profile
from trimtab.adapters.monitor.reading import Reading
from trimtab.evidence.drift.kept import LADDERS, Ladder, sound
from trimtab.evidence.drift.labels import Labels
from trimtab.evidence.drift.window import Window, packed
from trimtab.kinds.modeldeployment.observe import Watch

log = logging.getLogger(__name__)
FORGOTTEN_AFTER = 3_600.0
PODS_SHARE = 4
"""What pods had said takes at most a quarter of a document."""


@dataclass(frozen=True)
class Last:
    """What a pod said last."""

    reading: Reading | None
    """None when that was to another process."""
    uid: str
    epoch: str
    digest: str
    profile: str
    made: float
    time: float
    window: Window | None
    labels: Mapping[str, Labels]

    def kept(self) -> KeptPod:
        """All that is needed to tell what has grown since."""
        return KeptPod.model_construct(
            uid=self.uid,
            epoch=self.epoch,
            digest=self.digest,
            profile=self.profile,
            made=self.made,
            time=self.time,
            rows=packed(self.window) if self.window else None,
            labels={revision: KeptLabels.of(labels) for revision, labels in self.labels.items()},
        )


@dataclass
class Watched:
    """One deployment."""

    uid: str
    begun: float
    """No pod that was made later has been counted without being known."""
    wanted: float
    saved: float
    pods: dict[str, Last] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)
    """By digest: versions are never mixed."""
    resumed: float = 0.0
    awaited: dict[str, KeptPod] = field(default_factory=dict)
    """Pods of the document that have not been heard of since."""
    waiting: dict[str, KeptCourse] = field(default_factory=dict)
    """Courses of the document whose profile is not known yet."""
    changes: int = 0
    kept: int = 0
    """The changes that are in the document."""

    @classmethod
    def of(cls, document: Document, now: float) -> Watched:
        """Go on from a document."""
        found = cls(document.deployment, document.begun, now, document.saved, resumed=now)
        found.awaited = {pod.uid: pod for pod in document.pods}
        found.waiting = {course.digest: course for course in document.courses}
        return found

    def resume(self, watch: Watch, profiles: Mapping[str, Profile]) -> None:
        """Go on with each course whose profile is known by now."""
        for digest, told in list(self.waiting.items()):
            if told.profile and told.profile not in profiles:
                continue
            del self.waiting[digest]
            order = replace(watch, digest=digest, pods=())
            try:
                if not told.fits(order.period, order.limit):
                    raise ValueError("its periods, or the limit of its quality, are no longer those of the spec")
                self.courses[digest] = Course.resumed(order, profiles.get(told.profile), told)
            except ValueError as error:
                _ignored(self.uid, digest, str(error))

    def discard(self, digest: str, why: str) -> None:
        """Do not wait any more for what the document says of this revision."""
        if self.waiting.pop(digest, None) is not None:
            _ignored(self.uid, digest, why)

    def last(self, current: Last) -> Last | None:
        """What the pod had said before, to this process or to the one that wrote the document."""
        told = self.awaited.pop(current.uid, None)
        if told is None:
            return self.pods.get(current.uid)
        self.changes += 1
        try:
            return _recalled(told, current)
        except ValueError as error:
            _ignored(self.uid, f"pod {told.uid}", str(error))
            self.begun = max(self.begun, current.made)
            return None

    def forget(self, now: float) -> None:
        """Let go of pods that have been silent for an hour. Should one speak again, it is known to be no new one."""
        for uid in [uid for uid, last in self.pods.items() if now - last.time >= FORGOTTEN_AFTER]:
            self.begun = max(self.begun, self.pods.pop(uid).made)
        if self.awaited and now - self.resumed >= FORGOTTEN_AFTER:
            self.begun = max(self.begun, *(pod.made for pod in self.awaited.values()))
            self.awaited = {}

    def digests(self) -> set[str]:
        """The revisions of all pods that are remembered."""
        return {last.digest for last in self.pods.values()} | {pod.digest for pod in self.awaited.values()}

    def document(self, now: float) -> bytes | None:
        """All of it in at most LARGEST bytes, the coarser the more there is; None before there is anything to lose."""
        pods, begun = self._pods()
        for ladder in (*LADDERS, None):
            courses = self._courses(ladder)
            if not courses and not any(pod.rows or pod.labels for pod in pods):
                return None
            document = Document.model_construct(
                schema_=1, deployment=self.uid, begun=begun, saved=now, courses=courses, pods=pods
            )
            content = written(document)
            if len(content) <= LARGEST:
                return content
        log.warning("what is counted of a deployment is too much to be kept", extra={"deployment": self.uid})
        return None

    def _courses(self, ladder: Ladder | None) -> tuple[KeptCourse, ...]:
        told = (course.kept(ladder) for course in self.courses.values())
        waiting = list(self.waiting.values())
        if ladder is not LADDERS[0]:
            waiting = [course.model_copy(update={"history": None}) for course in waiting]
        return (*(course for course in told if course is not None), *waiting)

    def _pods(self) -> tuple[tuple[KeptPod, ...], float]:
        """Those with the most rows that have room, and the time from which on a pod that is not among them is new."""
        kept: list[KeptPod] = []
        begun, room = self.begun, LARGEST // PODS_SHARE
        ranked = sorted(self.pods.values(), key=lambda last: -(last.window.rows if last.window else 0))
        for pod in (*(last.kept() for last in ranked), *self.awaited.values()):
            room -= sum(map(len, pod.rows or ())) + 256
            if room >= 0 and len(kept) < MOST_PODS:
                kept.append(pod)
            else:
                begun = max(begun, pod.made)
        return tuple(kept), begun


def _recalled(told: KeptPod, current: Last) -> Last:
    """What the pod had said then. Counts of another epoch are not compared, so they need not be read."""
    labels = {revision: kept.labels() for revision, kept in told.labels.items()}
    same = (told.epoch, told.profile) == (current.epoch, current.profile)
    window = sound(told.rows, current.window) if same and told.rows and current.window else None
    if same and window is not None and current.window is not None and _shrank(window, current.window):
        raise ValueError("it had counted more then than now")
    for revision, then in labels.items() if told.epoch == current.epoch else ():
        now = current.labels.get(revision, Labels())
        if not then.alike(now) or _fewer(then, now):
            raise ValueError("it had more labels then than now, or other ones")
    return Last(None, told.uid, told.epoch, told.digest, told.profile, told.made, told.time, window, labels)


def _shrank(before: Window, now: Window) -> bool:
    pairs = zip((before.missing, *before.cells), (now.missing, *now.cells), strict=True)
    return before.rows > now.rows or any(a > b for old, new in pairs for a, b in zip(old, new, strict=True))


def _fewer(before: Labels, now: Labels) -> bool:
    pairs = zip(before.growing.values(), now.growing.values(), strict=True)
    return any(old and (not new or any(map(gt, old, new))) for old, new in pairs)


def _ignored(deployment: str, what: str, why: str) -> None:
    extra = {"deployment": deployment, "part": what, "error": why[:300]}
    log.warning("what was kept of a deployment's counts is of no use, and begins anew", extra=extra)
