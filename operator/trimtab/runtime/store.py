"""The operator's picture of the cluster: by address, by owner, by reference, by pod label.

Watch events may come late, twice, out of order, or (after `410 Gone`) never. So an object replaces what is held only if
its resourceVersion is newer, what is gone comes back only by news that is younger than its end, and `retain` drops what
a fresh list no longer holds. Comparing resourceVersions as integers is allowed since KEP-5504 and true of every
etcd-backed API server before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import API_VERSION, POD, Object, Ref, controller_of

NOISE = ("managedFields", "selfLink", "generateName")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
POD_STATUS = ("phase", "conditions", "initContainerStatuses", "containerStatuses")

References = Callable[[Object], Sequence[Ref]]


def version_of(obj: Mapping[str, Any]) -> int:
    """An object's resourceVersion as a number."""
    return int(obj["metadata"].get("resourceVersion", 0))


def slim(obj: Object) -> Object:
    """The parts of an object that are ever read; the rest would only cost memory."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in NOISE}
    if LAST_APPLIED in meta.get("annotations", {}):
        meta["annotations"] = {k: v for k, v in meta["annotations"].items() if k != LAST_APPLIED}
    if obj["kind"] != POD.kind:
        return {**obj, "metadata": meta}
    status = {k: v for k, v in obj.get("status", {}).items() if k in POD_STATUS}
    return {"apiVersion": "v1", "kind": POD.kind, "metadata": meta, "status": status}


class Store:
    """Objects by address. Every change returns the addresses of the resources that should look again."""

    def __init__(self, references: Mapping[str, References]) -> None:
        self._references = references
        self._objects: dict[Ref, Object] = {}
        self._children: defaultdict[str, set[Ref]] = defaultdict(set)
        self._pods: defaultdict[tuple[str, str, str], set[Ref]] = defaultdict(set)
        self._referrers: defaultdict[Ref, set[Ref]] = defaultdict(set)
        self._gone: dict[Ref, int] = {}
        self._listed: dict[tuple[str, str | None], int] = {}

    def get(self, ref: Ref) -> Object | None:
        """One object, or None."""
        return self._objects.get(ref)

    def children(self, uid: str, kind: str | None = None) -> Sequence[Object]:
        """The objects whose controller has that uid, by name."""
        refs = (ref for ref in self._children.get(uid, ()) if kind in (None, ref.kind))
        return [self._objects[ref] for ref in sorted(refs)]

    def pods(self, label: str, namespace: str, value: str) -> Sequence[Object]:
        """The pods with that label, by name."""
        return [self._objects[ref] for ref in sorted(self._pods.get((label, namespace, value), ()))]

    def refs(self, kind: str) -> list[Ref]:
        """The addresses of all objects of a kind."""
        return [ref for ref in self._objects if ref.kind == kind]

    def count(self) -> dict[str, int]:
        """How many objects of each kind are held."""
        counts: defaultdict[str, int] = defaultdict(int)
        for ref in self._objects:
            counts[ref.kind] += 1
        return dict(counts)

    def absorb(self, obj: Object, *, gone: bool = False) -> set[Ref]:
        """Take in one event or response; the resources that should look again."""
        ref = Ref(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        held, version = self._objects.get(ref), version_of(obj)
        known = version_of(held) if held is not None else self._gone.get(ref, -1)
        # A response to a write may come after the event of a deletion that followed it; events may come twice.
        if version < known or (version == known and (held is None or not gone)):
            return set()
        concerned = self._concerned(ref, held) if held is not None else set()
        self._forget(ref, held)
        if gone:
            self._gone[ref] = version
        else:
            self._gone.pop(ref, None)
            obj = slim(obj)
            self._remember(ref, obj)
        return concerned | self._concerned(ref, obj)

    def retain(self, kind: str, namespace: str | None, present: Set[Ref], version: int) -> set[Ref]:
        """Forget what a complete list no longer held; whoever should look again.

        What is newer than the list was created while the list was under way, and stays.
        """
        concerned: set[Ref] = set()
        for ref in self.refs(kind):
            elsewhere = namespace is not None and ref.namespace != namespace
            if ref not in present and not elsewhere and version_of(self._objects[ref]) <= version:
                concerned |= self.absorb(self._objects[ref], gone=True)
        self._bury(kind, namespace, version)
        return concerned

    def _bury(self, kind: str, namespace: str | None, version: int) -> None:
        """Stop remembering what was gone before the last list but one: news of it is not under way any more."""
        before = self._listed.get((kind, namespace), -1)
        self._listed[kind, namespace] = version
        for ref, ended in list(self._gone.items()):
            if ref.kind == kind and namespace in (None, ref.namespace) and ended <= before:
                del self._gone[ref]

    def _remember(self, ref: Ref, obj: Object) -> None:
        self._objects[ref] = obj
        owner = controller_of(obj)
        if owner is not None:
            self._children[owner["uid"]].add(ref)
        for key in _pod_keys(ref, obj):
            self._pods[key].add(ref)
        for target in self._targets(ref, obj):
            self._referrers[target].add(ref)

    def _forget(self, ref: Ref, held: Object | None) -> None:
        if held is None:
            return
        del self._objects[ref]
        owner = controller_of(held)
        if owner is not None:
            _discard(self._children, owner["uid"], ref)
        for key in _pod_keys(ref, held):
            _discard(self._pods, key, ref)
        for target in self._targets(ref, held):
            _discard(self._referrers, target, ref)

    def _targets(self, ref: Ref, obj: Object) -> Sequence[Ref]:
        return self._references[ref.kind](obj) if ref.kind in self._references else ()

    def _concerned(self, ref: Ref, obj: Object) -> set[Ref]:
        """The resource itself, its owner, whoever refers to it, and for pods the resource they work for."""
        found = set(self._referrers.get(ref, ()))
        if ref.kind in self._references:
            found.add(ref)
        owner = controller_of(obj)
        # Owners of kinds nobody here knows are a newer operator's.
        if owner is not None and owner.get("apiVersion") == API_VERSION and owner["kind"] in self._references:
            found.add(Ref(owner["kind"], ref.namespace, owner["name"]))
        found |= {Ref(metadata.POD_OWNERS[label], space, name) for label, space, name in _pod_keys(ref, obj)}
        return found


def _pod_keys(ref: Ref, obj: Object) -> list[tuple[str, str, str]]:
    if ref.kind != POD.kind:
        return []
    labels = obj["metadata"].get("labels", {})
    return [(label, ref.namespace, labels[label]) for label in metadata.POD_OWNERS if label in labels]


def _discard(index: defaultdict[Any, set[Ref]], key: Any, ref: Ref) -> None:
    index[key].discard(ref)
    if not index[key]:
        del index[key]
