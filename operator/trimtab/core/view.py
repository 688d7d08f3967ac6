"""What deciding code may see of the cluster: memory only, never a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trimtab.core.objects import Object, Ref


class View(Protocol):
    """The operator's picture of the cluster, as kinds read it."""

    def get(self, ref: Ref) -> Object | None:
        """One object, or None if it is not there."""

    def children(self, uid: str, kind: str | None = None) -> Sequence[Object]:
        """The objects whose controller has that uid, in the order of their names."""

    def pods(self, label: str, namespace: str, value: str) -> Sequence[Object]:
        """The pods that carry the label with that value, in the order of their names."""

    def referrers(self, ref: Ref, kind: str) -> Sequence[Object]:
        """The objects of that kind that refer to this one, in the order of their names."""
