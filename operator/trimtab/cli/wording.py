"""Numbers and sentences as the text and the page both have them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

UNKNOWN = "?"
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def count(value: Any) -> str:
    """A whole number with separators: 81,000."""
    return UNKNOWN if value is None else f"{float(value):,.0f}"


def percent(value: Any) -> str:
    """A signed percentage: +4.9 %."""
    return UNKNOWN if value is None else f"{_plain(value)} %"


def interval(row: Mapping[str, Any]) -> str:
    """A lift with its interval in percent: +4.9 % (-1.2 to +11.4)."""
    if row.get("lift") is None:
        return "not known yet"
    low, high = (
        "unbounded" if value is None or not math.isfinite(float(value)) else _plain(value)
        for value in (row.get("lower"), row.get("upper"))
    )
    return f"{percent(row['lift'])} ({low} to {high})"


def _plain(value: Any) -> str:
    """Three digits, and none below a thousandth: what rounding left over is not told."""
    return f"{round(float(value), 3):+.3g}"


def score(value: Any) -> str:
    """An e-value."""
    return UNKNOWN if value is None else f"{float(value):.3g}"


def share(bad: Any, whole: Any) -> str:
    """So many of so many: 3 of 312 (0.96 %)."""
    rate = f" ({100 * float(bad) / float(whole):.3g} %)" if whole else ""
    return f"{count(bad)} of {count(whole)}{rate}"


def duration(seconds: Any) -> str:
    """How long: 23 h, 1.5 d."""
    for unit, size in UNITS:
        if float(seconds) >= size:
            return f"{float(seconds) / size:.3g} {unit}"
    return f"{float(seconds):.3g} s"


def weights(shares: Mapping[str, Any]) -> str:
    """Arms with their percent: control 90, gbm 10."""
    return ", ".join(f"{name} {float(value):.4g}" for name, value in shares.items())


def asked(found: Mapping[str, Any]) -> str:
    """What an experiment wants to know."""
    aim = found["objective"]
    what = aim["metric"]
    if aim.get("aboveMilliseconds"):
        what = f"{what} above {aim['aboveMilliseconds']} ms"
    return (
        f"{what}, {aim['direction'].lower()} is better; a change of {aim['minimumEffectPercent']} % matters; "
        f"alpha {aim['alpha']}, power {aim['power']}"
    )


def guarded(guardrail: Mapping[str, Any]) -> str:
    """What a guardrail allows."""
    edge = f" above {guardrail['aboveMilliseconds']} ms" if guardrail.get("aboveMilliseconds") else ""
    return f"{guardrail['metric']}{edge} at most {guardrail['maxIncreasePercent']} % above the control's"


def decided(found: Mapping[str, Any]) -> str:
    """The decision in a line."""
    verdict = found["verdict"]
    if not verdict.get("decision"):
        return "none yet"
    winner = f", {verdict['winner']}" if verdict.get("winner") else ""
    final = ", final" if verdict.get("final") else ""
    return f"{verdict['decision']}{winner}{final}, since {verdict.get('at', UNKNOWN)}"


def ruled(found: Mapping[str, Any]) -> str:
    """The rule that fired, and what it said."""
    rule = found["verdict"].get("rule") or "None"
    name = "none; it goes on" if rule == "None" else rule
    return f"{name}: {found['verdict']['reason']}" if found["verdict"].get("reason") else name


def ratio(found: Mapping[str, Any]) -> str:
    """Whether users came as the weights say."""
    srm = found["srm"]
    if not srm:
        return "not tested yet"
    if not srm["mismatch"]:
        return f"users come as the weights say (e-value {score(srm['eValue'])} against them)"
    where = f": arm {srm['arm']} in segment {srm.get('segment', UNKNOWN)} shows it most" if srm.get("arm") else ""
    return f"MISMATCH{where} (e-value {score(srm['eValue'])})"


def needed(found: Mapping[str, Any]) -> str:
    """How many users the experiment needs."""
    power = found["power"]
    if not power:
        return "not known before a base rate is"
    days = f", {float(power['days']):.3g} days at the traffic so far" if power.get("days") else ""
    return f"{count(power['neededUsers'])} of all arms together{days}"


def offline(found: Mapping[str, Any]) -> str:
    """The command that assigns users as the routers do."""
    how = found["assignment"]
    return (
        f"kubectl trimtab assign --salt {how['salt']} --weights {how['weights']} --control {how['control']} USER"
        if how
        else ""
    )


def placed(rollout: Mapping[str, Any]) -> str:
    """How far a rollout is."""
    step = f", step {rollout['step']} of {rollout['steps']}" if rollout.get("step") else ""
    how = rollout.get("outcome") or rollout["stage"]
    return f"{how}{step}, {rollout.get('weight', 0)} % of the traffic"
