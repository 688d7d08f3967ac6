"""Does what is there still say what we want? Answered from memory, without reading the API server.

A child is applied again when the hash of what we want changed (which also catches fields we no
longer want), or when what we want is not contained in what is observed (which catches edits by
hand). Fields that others added are theirs: containment, not equality, except where the API itself
takes a value as one piece. One more label in a Service's selector leaves it without pods, and one
more port in a NetworkPolicy is a door.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import Object

# Lists whose entries the API tells apart by these fields, by name or by parent and name; all others are one piece.
LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "ownerReferences": ("uid",),
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "containers.ports": ("containerPort", "protocol"),
    "spec.ports": ("port", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
# Maps that are one piece.
ATOMIC = frozenset({"selector", "podSelector", "namespaceSelector", "labelSelector", "nodeSelector"})
QUANTITY_FIELDS = frozenset({"limits", "requests", "sizeLimit", "capacity"})
QUANTITY = re.compile(r"([+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?")
SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50, "Ei": Decimal(2) ** 60,
}  # fmt: skip


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity as a number; raises InvalidOperation for anything else."""
    found = QUANTITY.fullmatch(str(text))
    if found is None:
        raise InvalidOperation(f"{text!r} is not a quantity")
    return Decimal(found[1]) * SUFFIXES[found[2] or ""]


def needs_apply(desired: Object, observed: Object | None) -> bool:
    """True when applying `desired` would change the object, as far as we can see it."""
    if observed is None:
        return True
    return metadata.desired_hash(observed) != metadata.desired_hash(desired) or not contains(observed, desired)


def contains(observed: Any, desired: Any, field: str = "", parent: str = "") -> bool:
    """True when every value of `desired` stands in `observed`; quantities compare as numbers."""
    if observed == desired:
        return True
    if field in ATOMIC:
        return False
    if isinstance(desired, Mapping):
        inner = field if field in QUANTITY_FIELDS else None
        return isinstance(observed, Mapping) and all(
            key in observed and contains(observed[key], value, inner or key, field) for key, value in desired.items()
        )
    if isinstance(desired, list):
        keys = LIST_KEYS.get(f"{parent}.{field}") or LIST_KEYS.get(field, ())
        return isinstance(observed, list) and _contains_list(observed, desired, keys, field)
    return field in QUANTITY_FIELDS and _same_quantity(observed, desired)


def _contains_list(observed: Sequence[Any], desired: Sequence[Any], keys: Sequence[str], field: str) -> bool:
    """By key where entries have keys of their own, else by place."""
    wanted = _by_key(desired, keys)
    if not keys or len(wanted) < len(desired):
        return len(observed) == len(desired) and all(
            contains(there, item, field) for there, item in zip(observed, desired, strict=True)
        )
    there = _by_key(observed, keys)
    return all(key in there and contains(there[key], item, field) for key, item in wanted.items())


def _by_key(items: Sequence[Any], keys: Sequence[str]) -> dict[tuple[Any, ...], Any]:
    """The entries that have all the keys, by them."""
    return {
        tuple(str(item[key]) for key in keys): item
        for item in items
        if keys and isinstance(item, Mapping) and all(key in item for key in keys)
    }


def _same_quantity(observed: Any, desired: Any) -> bool:
    try:
        return quantity(observed) == quantity(desired)
    except (InvalidOperation, TypeError):
        return False
