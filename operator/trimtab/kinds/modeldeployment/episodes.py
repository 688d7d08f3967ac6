"""From findings to what the status says of drift. Pure: a look is followed once, however often it is told.

The memory is the status itself, `checkedAt` and the episode. A new process may know nothing until it has read what was
kept of the windows; the episode goes on meanwhile. Another bundle is another reference, and begins without an episode.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

from trimtab.core.conditions import parse_time, timestamp
from trimtab.evidence.drift.episode import Episode, follow
from trimtab.evidence.drift.finding import Drift, Finding
from trimtab.evidence.drift.judge import FeatureLook, Look
from trimtab.evidence.drift.pairs import PairDrift
from trimtab.evidence.drift.quality import Finding as Problem
from trimtab.kinds.modeldeployment.vitals import (
    MOST_FEATURES,
    DriftStatus,
    EpisodeStatus,
    FeatureDrift,
    PairStatus,
    ProblemStatus,
)

NAME = 253
WAITING = "the first period with rows has not ended yet"
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def drifting(before: DriftStatus | None, found: Finding, revision: str, now: datetime) -> DriftStatus:
    """What the status says of drift after this finding; the same again when nothing was looked at since."""
    same = before if before is not None and before.digest == found.digest else None
    if found.profile == "":
        message = "the model has no drift profile; log it with trimtab_toolbox.log_model and import it again"
        return DriftStatus(state="ReferenceMissing", revision=revision, digest=found.digest, message=message)
    if found.drift is None:
        return _waiting(same, found, revision)
    if same is not None and followed(same.checked_at, found.drift.at, now):
        return same.model_copy(update={"revision": revision})
    return _looked(same, found, found.drift, revision)


def _waiting(same: DriftStatus | None, found: Finding, revision: str) -> DriftStatus:
    """Nothing has been looked at, since the beginning or since this process began."""
    known = same is not None and same.state == "ReferenceMissing" and found.profile is None  # for good: by its digest
    if same is not None and (known or same.checked_at is not None):
        return same.model_copy(update={"revision": revision})
    message = found.note or WAITING
    return DriftStatus(state="InsufficientData", revision=revision, digest=found.digest, message=message)


def followed(checked_at: str | None, at: float, now: datetime) -> bool:
    """Whether the look at that time is in the status already. Another time that is yet to come was written by a hand,
    the same one by a clock that has gone back since."""
    checked = parse_time(checked_at).timestamp() if checked_at is not None else None
    return checked is not None and (at == checked or at <= checked <= now.timestamp())


def _looked(same: DriftStatus | None, found: Finding, drift: Drift, revision: str) -> DriftStatus:
    look, at = drift.look, timestamp(_moment(drift.at))
    episode = follow(_episode(same), look, drift.at)
    worst = sorted(look.features, key=lambda feature: -feature.excess)[:MOST_FEATURES]
    status = DriftStatus(
        state=look.state,
        level=episode.level,
        revision=revision,
        digest=found.digest,
        window_seconds=drift.seconds,
        rows=look.rows,
        effective_rows=int(look.effective),
        needed_rows=look.needed,
        score=number(look.score),
        features=[_feature(feature) for feature in worst],
        pair=_pair(look.pair),
        problems=[_problem(problem) for problem in drift.problems[:MOST_FEATURES]],
        episode=_remembered(episode, found.profile or ""),
        checked_at=at,
    )
    return status.model_copy(update={"message": _message(status, look)})


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)


def _seconds(text: str | None) -> float | None:
    return parse_time(text).timestamp() if text else None


def _episode(before: DriftStatus | None) -> Episode:
    if before is None:
        return Episode()
    told = before.episode
    begun, first = _seconds(told.begun_at), _seconds(told.first_at)
    return Episode(before.level, begun, first, told.warned, told.critical, told.quiet)


def _remembered(episode: Episode, profile: str) -> EpisodeStatus:
    begun = None if episode.begun is None else timestamp(_moment(episode.begun))
    name = hashlib.sha256(f"{profile} {begun}".encode()).hexdigest()[:12]
    return EpisodeStatus(
        id=name if episode.level != "OK" else "",
        begun_at=begun,
        first_at=None if episode.first is None else timestamp(_moment(episode.first)),
        warned=episode.warned,
        critical=episode.critical,
        quiet=episode.quiet,
    )


def number(value: float | None) -> str:
    """A figure with as many digits as mean something; empty for none."""
    return f"{value:.3g}" if value is not None and math.isfinite(value) else ""


def _feature(look: FeatureLook) -> FeatureDrift:
    return FeatureDrift(
        name=look.name[:NAME],
        level=look.level,
        excess=number(look.excess),
        psi=number(look.psi),
        p_value=number(look.p_value),
        ks=number(look.ks),
        wasserstein=number(look.wasserstein),
        weight=number(look.weight),
    )


def _pair(pair: PairDrift | None) -> PairStatus | None:
    if pair is None or not pair.drifted:
        return None
    names = [name[:NAME] for name in pair.features]
    return PairStatus(
        features=names, before=number(pair.before), after=number(pair.after), p_value=number(pair.p_value)
    )


def _problem(problem: Problem) -> ProblemStatus:
    name = problem.feature[:NAME]
    return ProblemStatus(
        feature=name, problem=problem.problem, share=number(problem.share), message=f"{name}: {problem.message}"[:2_048]
    )


def _message(status: DriftStatus, look: Look) -> str:
    window = f"the last {span(status.window_seconds)}"
    if look.needed_reference:
        return f"the profile was made of {look.needed_reference} rows too few to compare with"
    if look.needed:
        return f"{window} had {status.rows} rows; {status.needed_rows} more are needed before anything can be said"
    drifted = [feature for feature in look.features if feature.drifted]
    told = f"{status.rows} rows of {window}, worth {status.effective_rows} independent ones"
    if not drifted:
        return f"{told}, are as in training"
    ranked = sorted(drifted, key=lambda feature: -feature.excess)
    names = ", ".join(f"{feature.name[:64]} ({number(feature.excess)})" for feature in ranked[:3])
    more = f" and {len(ranked) - 3} more" if len(ranked) > 3 else ""
    return f"{told}, differ from training in {names}{more}; the score is {status.score}, and 1 is worth acting on"


def span(seconds: int) -> str:
    """A length of time for people."""
    for size, unit in UNITS:
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}s" if count > 1 else unit
    return f"{seconds} seconds"
