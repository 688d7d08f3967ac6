"""From looks to episodes: drift must be seen several times in a row to begin, and be absent as often to end."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trimtab.evidence.drift.judge import LEVELS, Level, Look

CONSECUTIVE = 3


@dataclass(frozen=True, slots=True)
class Episode:
    """What is remembered from one look to the next; a plain value, to be kept in status."""

    level: Level = "OK"
    begun: float | None = None
    """When the episode began: the time of the first of the looks in a row. With the profile it names the episode."""
    first: float | None = None
    """When the present run of looks in drift began."""
    warned: int = 0
    """Looks in a row at Warning or worse."""
    critical: int = 0
    """Looks in a row at Critical."""
    quiet: int = 0
    """Looks in a row without drift."""


def follow(episode: Episode, look: Look, at: float) -> Episode:
    """The episode after one more look at the time `at`, in seconds. A look on too few rows changes nothing."""
    if look.state == "InsufficientData":
        return episode
    rank = LEVELS.index(look.state)
    if not rank:
        quiet = replace(episode, first=None, warned=0, critical=0, quiet=episode.quiet + 1)
        return replace(quiet, level="OK", begun=None) if quiet.quiet >= CONSECUTIVE else quiet
    first = at if episode.first is None else episode.first
    warned, critical = episode.warned + 1, episode.critical + 1 if rank == 2 else 0
    seen = 2 if critical >= CONSECUTIVE else 1 if warned >= CONSECUTIVE else 0
    level = LEVELS[max(seen, LEVELS.index(episode.level))]
    begun = episode.begun if episode.begun is not None or level == "OK" else first
    return Episode(level, begun, first, warned, critical, 0)
