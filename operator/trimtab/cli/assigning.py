"""Who is given which arm, without asking a router: from a salt and weights, or from what routers are told. Pure.

Delayed outcomes can be attributed in this way, in a notebook or a warehouse, without a log of who saw what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ValidationError

from trimtab.cli import target
from trimtab.cli.errors import BadInput, Failure
from trimtab.core.objects import Object
from trimtab.traffic import slots
from trimtab.traffic.state import SLOTS, RouterArm, RouterStatus

PERCENT = SLOTS // 100
FORM = "write NAME=PERCENT, or NAME=PERCENT/RESERVED, with commas between: a=90,b=10"


def routed(obj: Object) -> RouterStatus:
    """What the routers of an object are told."""
    told = obj.get("status", {}).get("router")
    if not told:
        raise Failure(f"{target.of(obj)}: no routers work for it now, so nobody is assigned to an arm")
    return RouterStatus.model_validate(told)


def drawn(salt: str, weights: str, control: str) -> RouterStatus:
    """Routers of this salt and these weights; the control is the first arm unless another one is named."""
    parts = [_part(part) for part in weights.split(",")]
    names = [name for name, _, _ in parts]
    chosen = control or names[0]
    if chosen not in names:
        raise BadInput(f"--control: {chosen!r} is none of the arms {', '.join(names)}")
    total = sum(weight for _, weight, _ in parts)
    if total != SLOTS:
        raise BadInput(f"--weights: they sum to {Decimal(total) / PERCENT} percent, and must sum to 100")
    try:
        arms = [RouterArm(name=name, host="-", port=1, reserved=room, weight=weight) for name, weight, room in parts]
        return RouterStatus(salt=salt, arms=arms, control=chosen).checked()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = "--salt" if first["loc"][0] == "salt" else f"--weights: {first['loc'][0]}"
        raise BadInput(f"{option}: {first['msg']}") from None
    except ValueError as error:
        raise BadInput(f"--weights: {error}") from None


def weights_of(status: RouterStatus) -> str:
    """The value of --weights that assigns everybody as these routers do."""
    held = status.weights()
    # In the order of the ranges, with the control where it is: only the others' order matters.
    return ",".join(
        f"{arm.name}={_percent(held[arm.name])}"
        + (f"/{_percent(arm.reserved)}" if arm.name != status.control and arm.reserved != held[arm.name] else "")
        for arm in status.arms
    )


def assigned(status: RouterStatus, users: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Each user's slot and arm."""
    for user in users:
        try:
            yield {"user": user, "slot": slots.slot(status.salt, user), "arm": slots.assign(status, user)}
        except ValueError as error:
            raise BadInput(f"USER {user!r}: {error}") from None


def _part(text: str) -> tuple[str, int, int]:
    name, equals, rest = text.strip().partition("=")
    share, slash, room = rest.partition("/")
    if not name or not equals:
        raise BadInput(f"--weights: {text!r} has no weight: {FORM}")
    weight = _slots(text, share)
    return name, weight, _slots(text, room) if slash else weight


def _slots(text: str, percent: str) -> int:
    try:
        found = Decimal(percent) * PERCENT
    except InvalidOperation:
        raise BadInput(f"--weights: {text!r} has no number of percent: {FORM}") from None
    if not found.is_finite() or found != int(found) or not 0 <= found <= SLOTS:
        raise BadInput(f"--weights: {text!r}: percent are from 0 to 100, in steps of 0.01")
    return int(found)


def _percent(held: int) -> str:
    return f"{Decimal(held) / PERCENT:f}"
