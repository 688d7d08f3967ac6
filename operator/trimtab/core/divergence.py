"""Does what is there still say what we want? Answered from memory, without reading the API server.

A child is applied again when the hash of what we want changed (which also catches fields we no
longer want), or when what we want is not contained in what is observed (which catches edits by
hand). Fields that others added are theirs: containment, not equality.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import Object

# The field that tells list entries apart, where the API merges by one (structured-merge-diff list maps).
MERGE_KEYS = ("name", "mountPath", "port", "type", "uid")
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


def contains(observed: Any, desired: Any, field: str = "") -> bool:
    """True when every value of `desired` stands in `observed`; quantities compare as numbers."""
    if isinstance(desired, Mapping):
        inner = field if field in QUANTITY_FIELDS else None
        return isinstance(observed, Mapping) and all(
            key in observed and contains(observed[key], value, inner or key) for key, value in desired.items()
        )
    if isinstance(desired, list):
        return isinstance(observed, list) and _contains_list(observed, desired)
    return observed == desired or (field in QUANTITY_FIELDS and _same_quantity(observed, desired))


def _contains_list(observed: Sequence[Any], desired: Sequence[Any]) -> bool:
    key = _merge_key(desired)
    if key is None:
        return len(observed) == len(desired) and all(map(contains, observed, desired))
    by_key = {item.get(key): item for item in observed if isinstance(item, Mapping)}
    return all(item[key] in by_key and contains(by_key[item[key]], item) for item in desired)


def _merge_key(items: Sequence[Any]) -> str | None:
    for key in MERGE_KEYS:
        if items and all(isinstance(item, Mapping) and key in item for item in items):
            return key if len({item[key] for item in items}) == len(items) else None
    return None


def _same_quantity(observed: Any, desired: Any) -> bool:
    try:
        return quantity(observed) == quantity(desired)
    except (InvalidOperation, TypeError):
        return False
