"""All deployments that are watched: who is asked, what has grown since the last reading, and to which bucket it goes.

Counts are cumulative from a pod's epoch on. A pod that is known tells what has grown; in another epoch, all of it has.
A pod that is new tells all when it was made since the watch began, else nothing yet: what was counted before belongs to
no bucket. What a pod counted between its last reading and its end is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import aiohttp

from trimtab.adapters.monitor import profile as profiles
from trimtab.adapters.monitor import reading as readings
from trimtab.adapters.monitor.course import Course
from trimtab.adapters.monitor.document import Unread, read_document
from trimtab.adapters.monitor.profile import Profile
from trimtab.adapters.monitor.reading import Reading
from trimtab.adapters.monitor.watched import FORGOTTEN_AFTER, Last, Watched
from trimtab.adapters.polling import Distrusted, Poller
from trimtab.core.conditions import parse_time
from trimtab.core.objects import Object
from trimtab.evidence.drift.finding import Finding
from trimtab.evidence.drift.labels import Labels
from trimtab.evidence.drift.pace import bucket, reading_seconds
from trimtab.evidence.drift.season import HOURS
from trimtab.evidence.drift.table import hour_of
from trimtab.evidence.drift.window import Window
from trimtab.kinds.modeldeployment.observe import Watch
from trimtab.kinds.modeldeployment.template import PORT

log = logging.getLogger(__name__)
PATIENCE = 0.3
"""A pass waits no longer for pods than this; later answers are read in the next one."""
KEPT_EVERY = 3_600
"""Seconds between two documents of one deployment."""
MOST_NOTE = 300
NEVER = float("inf")
GRAIN = 4_096
PREFIX = slice(len("sha256:"), len("sha256:") + 8)


async def nothing(deployment: str) -> bytes | None:
    """What is known of a deployment where nothing is kept."""
    return None


class Watcher:
    """`Monitor` over HTTP. `clock` is monotonic, `now` seconds since the epoch; `failed` is told of each failure.

    `recall` gives the document that was kept of a deployment; Unread when it cannot be read now.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        clock: Callable[[], float],
        now: Callable[[], float],
        failed: Callable[[str, str], None],
        port: int = PORT,
        recall: Callable[[str], Awaitable[bytes | None]] = nothing,
    ) -> None:
        self._now, self._failed, self._recall = now, failed, recall
        self._counts = Poller(readings.question(port), session, clock, failed)
        self._answers = Poller(profiles.question(port), session, clock, failed)
        self._profiles: dict[str, Profile] = {}
        self._watched: dict[str, Watched] = {}

    async def finding(self, watch: Watch) -> Finding:
        """What was found of the revision that serves, after what its pods say now."""
        now = self._now()
        try:
            watched = self._watched.get(watch.deployment) or await self._begin(watch.deployment, now)
        except Unread as error:
            return Finding(watch.digest, note=f"what was counted before cannot be read yet: {error}"[:MOST_NOTE])
        watched.wanted = now
        told = await self._counts.ask(watch.pods, reading_seconds(watch.period) / 2, PATIENCE)
        await self._learn(watch.pods, told)
        watched.resume(watch, self._profiles)
        made = {pod["metadata"]["uid"]: _made(pod) for pod in watch.pods}
        for uid, reading in sorted(told.items()):
            self._take(watch, watched, reading, made[uid], now)
        current = bucket(watch.deployment, watch.period, now)
        for course in watched.courses.values():
            course.close(current)
        self._sweep(watch, watched, {reading.digest for reading in told.values()}, now)
        return self._told(watch, watched, any(r.profile and r.profile not in self._profiles for r in told.values()))

    def size(self) -> int:
        """The bytes that all histories keep."""
        return sum(course.size() for watched in self._watched.values() for course in watched.courses.values())

    def changed(self, *, due: bool) -> list[str]:
        """The deployments that know more than their documents; those `due` only whose document is of an hour before."""
        now = self._now()
        return [
            uid
            for uid, watched in self._watched.items()
            if watched.changes > watched.kept
            and (not due or bucket(uid, KEPT_EVERY, now) > bucket(uid, KEPT_EVERY, watched.saved))
        ]

    def document(self, deployment: str) -> tuple[bytes | None, Callable[[], None]]:
        """What is known of it, if it is worth a document, and what to call when that was kept."""
        watched, now = self._watched.get(deployment), self._now()
        changes = watched.changes if watched else 0

        def kept() -> None:
            if watched:
                watched.kept, watched.saved = changes, now

        return watched.document(now) if watched else None, kept

    async def _begin(self, deployment: str, now: float) -> Watched:
        """Go on from what was kept, if that is of use."""
        watched = Watched(deployment, now, now, now)
        content = await self._recall(deployment)
        try:
            watched = Watched.of(read_document(content, deployment, now), now) if content is not None else watched
        except Distrusted as error:
            self._failed("history", error.kind)
            extra = {"deployment": deployment, "error": str(error)[:300]}
            log.warning("the document of a deployment's counts is of no use; its windows begin anew", extra=extra)
        return self._watched.setdefault(deployment, watched)

    async def _learn(self, pods: Sequence[Object], told: Mapping[str, Reading]) -> None:
        """Fetch each profile that is not known, of one pod that has it."""
        wanted = {r.profile: r.pod for r in told.values() if r.profile and r.profile not in self._profiles}
        asked = [pod for pod in pods if pod["metadata"]["uid"] in wanted.values()]
        found = await self._answers.ask(asked, NEVER, PATIENCE) if asked else {}
        for digest, uid in wanted.items():
            if uid not in found:
                continue
            if found[uid].digest == digest:
                self._profiles[digest] = found[uid]
            else:
                self._failed("profile", "digest")
                log.warning("a profile is not the one that counts name", extra={"pod_uid": uid, "profile": digest})

    def _take(self, watch: Watch, watched: Watched, reading: Reading, made: float, now: float) -> None:
        """Put down what has grown since the pod's last reading."""
        known = watched.pods.get(reading.pod)
        if (known is not None and known.reading is reading) or reading.profile not in {"", *self._profiles}:
            return
        profile = self._profiles.get(reading.profile)
        course = self._course(watch, watched, reading, profile, now)
        try:
            counted = bool(profile) and reading.counts_rows
            window = reading.window(profile) if profile and counted else None
        except Distrusted as error:
            self._failed("monitor", error.kind)
            return
        uid, epoch, digest = reading.pod, reading.epoch, reading.digest
        current = Last(reading, uid, epoch, digest, reading.profile, made, now, window, reading.labels())
        last = watched.last(current)
        watched.pods[uid] = current
        since = _since(last, current, whole=made > watched.begun)
        watched.changes += last is None
        if since is None or course.profile is not profile:
            return
        rows, labels = since
        # What was counted across the end of a bucket goes to the one that has more of the time.
        own = bucket(watch.deployment, watch.period, (now + min(last.time if last else now, now)) / 2)
        watched.changes += bool(rows and rows.rows) or any(told.count for told in labels.values())
        course.add(own, rows and _dated(rows, own), Labels())
        for told_digest, told in watched.courses.items():
            if told_digest[PREFIX] in labels:
                told.add(own, None, labels[told_digest[PREFIX]])

    @staticmethod
    def _course(watch: Watch, watched: Watched, reading: Reading, profile: Profile | None, now: float) -> Course:
        order = replace(watch, digest=reading.digest, pods=())
        course = watched.courses.get(reading.digest)
        if course is None or not course.obey(order) or course.ahead(now):
            course = Course(order, profile, reading.classes, reading.delay_edges)
            watched.discard(reading.digest, "it is of another drift profile than its pods tell")
            watched.courses[reading.digest] = course
        return course

    @staticmethod
    def _told(watch: Watch, watched: Watched, unread: bool) -> Finding:
        course = watched.courses.get(watch.digest)
        if course is None:
            waits = "its drift profile has not been fetched yet" if unread else "no pod has told its counts yet"
            return Finding(watch.digest, note=waits if watch.pods else "no pod is ready")
        own = [last.reading for last in watched.pods.values() if last.reading and last.digest == watch.digest]
        if course.profile and own and not any(reading.counts_rows for reading in own):
            return replace(course.finding, note="the pods do not count rows: TRIMTAB_COUNTING is off")
        return course.finding

    def _sweep(self, watch: Watch, watched: Watched, served: set[str], now: float) -> None:
        """Forget pods and revisions that are gone, deployments that nobody asks for, and profiles of neither."""
        kept = {*served, watch.digest, *watched.digests()}
        watched.forget(now)
        watched.courses = {digest: course for digest, course in watched.courses.items() if digest in kept}
        watched.waiting = {digest: course for digest, course in watched.waiting.items() if digest in kept}
        if any(now - other.wanted > FORGOTTEN_AFTER for other in self._watched.values()):
            self._watched = {
                uid: other for uid, other in self._watched.items() if now - other.wanted <= FORGOTTEN_AFTER
            }
            used = {c.profile.digest for w in self._watched.values() for c in w.courses.values() if c.profile}
            self._profiles = {digest: found for digest, found in self._profiles.items() if digest in used}


def _dated(rows: Window, start: int) -> Window:
    """The window with its rows put down to an hour of the day, and sums that need less room when they are packed."""
    hours = tuple(rows.rows if hour == hour_of(start) else 0 for hour in range(HOURS))
    if rows.moments is None:
        return replace(rows, hours=hours)
    n, sums, products = rows.moments
    return replace(rows, hours=hours, moments=(n, _rounded(sums), _rounded(products)))


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    """Multiples of a power of two, whose sums are such too: most of their bytes are zero."""
    return tuple(round(value * GRAIN) / GRAIN for value in values)


def _since(last: Last | None, current: Last, *, whole: bool) -> tuple[Window | None, dict[str, Labels]] | None:
    """What has grown since the last reading; None when nothing can be said."""
    if last is None or last.epoch != current.epoch:
        return (current.window, dict(current.labels)) if whole or last is not None else None
    rows = current.window - last.window if current.window is not None and last.window is not None else None
    labels = {
        revision: now - last.labels[revision] if revision in last.labels else now
        for revision, now in current.labels.items()
    }
    return rows, labels


def _made(pod: Object) -> float:
    """When the pod was made; 0 when it does not say."""
    text = str(pod["metadata"].get("creationTimestamp", ""))
    try:
        return parse_time(text).timestamp() if text else 0.0
    except ValueError:
        return 0.0
