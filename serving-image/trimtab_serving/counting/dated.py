"""The part of the drift profile that says how the training data was at each hour of the day.

The toolbox writes it and the operator reads it. A server skips it: nothing is counted by hour, and it is most of the
file. Profiles without it are as good as ever.
"""

from __future__ import annotations

import msgspec

from trimtab_serving.counting.profile import Profile, check

HOURS = 24
MAX_DATED = 256
"""Features whose counts are kept by hour of the day: the operator watches no more."""

Slots = tuple[tuple[int, ...], ...]


class Hours(msgspec.Struct, frozen=True, omit_defaults=True):
    """The profile's counts by hour of the day, UTC: for each 24 rows of them, which add up to the whole."""

    features: dict[str, Slots]
    """By name, of at most 256 features."""
    score: Slots | None = None
    predictions: Slots | None = None


class DatedProfile(Profile, frozen=True, omit_defaults=True):
    """The whole content of profile.json."""

    hours: Hours | None = None


def decode_dated(content: bytes) -> DatedProfile:
    """Read all of a profile; ValueError names what contradicts itself."""
    profile = msgspec.json.decode(content, type=DatedProfile)
    check(profile)
    if profile.hours is not None:
        _check_hours(profile, profile.hours)
    return profile


def _check_hours(profile: Profile, hours: Hours) -> None:
    if len(hours.features) > MAX_DATED:
        raise ValueError(f"hours: it has {len(hours.features)} features; at most {MAX_DATED} are taken")
    known = {feature.name: feature.counts for feature in profile.features}
    for name, slots in hours.features.items():
        _check_slots(f"feature {name!r}", slots, known.get(name))
    if hours.score is not None:
        _check_slots("score", hours.score, profile.score.counts if profile.score else None)
    if hours.predictions is not None:
        _check_slots("predictions", hours.predictions, profile.predictions.counts if profile.predictions else None)


def _check_slots(where: str, slots: Slots, counts: tuple[int, ...] | None) -> None:
    if counts is None:
        raise ValueError(f"hours: the profile has no {where}")
    if len(slots) != HOURS or any(len(slot) != len(counts) for slot in slots):
        raise ValueError(f"hours: {where} needs {HOURS} rows of {len(counts)} counts")
    if tuple(map(sum, zip(*slots, strict=True))) != counts or any(count < 0 for slot in slots for count in slot):
        raise ValueError(f"hours: the counts of {where} do not add up to those of the whole day")
