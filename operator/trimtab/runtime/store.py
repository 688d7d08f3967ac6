"""The operator's picture of the cluster: by address, by owner, by reference, by pod label.

Watch events may come late, twice, out of order, or (after `410 Gone`) never. So an object replaces what is held only if
its resourceVersion is newer, what is gone comes back only by news that is younger than its end, and `retain` drops what
a fresh list no longer holds. Comparing resourceVersions as integers is allowed since KEP-5504 and true of every
etcd-backed API server before it.

Objects rest as JSON text and are read anew for each pass. As dicts they would take four times the memory, the garbage
collector would walk through all of them again and again, and whoever reads could change what is remembered.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from trimtab.core import metadata
from trimtab.core.objects import API_VERSION, POD, Object, Ref, controller_of
from trimtab.kinds import Kind

NOISE = ("managedFields", "selfLink", "generateName")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
POD_STATUS = ("phase", "reason", "message", "podIP", "conditions", "initContainerStatuses", "containerStatuses")

ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

PodKey = tuple[str, str, str]
References = Callable[[Object], Sequence[Ref]]
Tells = Callable[[Object], Mapping[Ref, str]]


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


class Links(NamedTuple):
    """What an object has to do with others: all that must be known of it without reading its text."""

    owner: str
    pod_keys: tuple[PodKey, ...]
    targets: tuple[Ref, ...]
    concerned: frozenset[Ref]
    told: frozenset[tuple[Ref, str]]


class Held(NamedTuple):
    """An object at rest."""

    version: int
    links: Links
    text: str

    def read(self) -> Object:
        """The object, for the caller to keep."""
        obj: Object = json.loads(self.text)
        return obj


class Store:
    """Objects by address. Every change returns the addresses of the resources that should look again."""

    def __init__(self, references: Mapping[str, References], tells: Mapping[str, Tells] | None = None) -> None:
        self._references = references
        self._tells = tells or {}
        self._held: dict[Ref, Held] = {}
        self._children: defaultdict[str, set[Ref]] = defaultdict(set)
        self._pods: defaultdict[PodKey, set[Ref]] = defaultdict(set)
        self._referrers: defaultdict[Ref, set[Ref]] = defaultdict(set)
        self._gone: dict[Ref, int] = {}
        self._listed: dict[tuple[str, str | None], int] = {}

    @classmethod
    def of(cls, kinds: Mapping[str, Kind]) -> Store:
        """A store that knows how objects of these kinds concern each other."""
        references = {name: kind.references for name, kind in kinds.items()}
        return cls(references, {name: kind.tells for name, kind in kinds.items()})

    def get(self, ref: Ref) -> Object | None:
        """One object, or None."""
        held = self._held.get(ref)
        return held.read() if held is not None else None

    def version(self, ref: Ref) -> int | None:
        """The version of one object, without reading it; None if it is not there."""
        held = self._held.get(ref)
        return held.version if held is not None else None

    def children(self, uid: str, kind: str | None = None) -> Sequence[Object]:
        """The objects whose controller has that uid, by name."""
        refs = (ref for ref in self._children.get(uid, ()) if kind in (None, ref.kind))
        return [self._held[ref].read() for ref in sorted(refs)]

    def pods(self, label: str, namespace: str, value: str) -> Sequence[Object]:
        """The pods with that label, by name."""
        return [self._held[ref].read() for ref in sorted(self._pods.get((label, namespace, value), ()))]

    def referrers(self, ref: Ref, kind: str) -> Sequence[Object]:
        """The objects of that kind that refer to this one, by name."""
        return [self._held[found].read() for found in sorted(self._referrers.get(ref, ())) if found.kind == kind]

    def refs(self, kind: str) -> list[Ref]:
        """The addresses of all objects of a kind."""
        return [ref for ref in self._held if ref.kind == kind]

    def count(self) -> dict[str, int]:
        """How many objects of each kind are held."""
        return dict(Counter(ref.kind for ref in self._held))

    def absorb(self, obj: Object, *, gone: bool = False) -> Set[Ref]:
        """Take in one event or response; the resources that should look again."""
        ref = Ref(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        held, version = self._held.get(ref), version_of(obj)
        known = held.version if held is not None else self._gone.get(ref, -1)
        # A response to a write may come after the event of a deletion that followed it; events may come twice.
        if version < known or (version == known and (held is None or not gone)):
            return frozenset()
        links = self._links(ref, obj)
        concerned = self._forget(ref, frozenset() if gone else links.told) | links.concerned
        if gone:
            self._gone[ref] = version
        else:
            self._gone.pop(ref, None)
            self._remember(ref, Held(version, links, ENCODE(slim(obj))))
        return concerned | self._referrers.get(ref, frozenset())

    def retain(self, kind: str, namespace: str | None, present: Set[Ref], version: int) -> Set[Ref]:
        """Forget what a complete list no longer held; whoever should look again.

        What is newer than the list was created while the list was under way, and stays.
        """
        concerned: set[Ref] = set()
        for ref in self.refs(kind):
            elsewhere = namespace is not None and ref.namespace != namespace
            last = self._held[ref].version
            if ref not in present and not elsewhere and last <= version:
                concerned |= self._forget(ref) | self._referrers.get(ref, frozenset())
                self._gone[ref] = last
        self._bury(kind, namespace, version)
        return concerned

    def _bury(self, kind: str, namespace: str | None, version: int) -> None:
        """Stop remembering what was gone before the last list but one: news of it is not under way any more."""
        before = self._listed.get((kind, namespace), -1)
        self._listed[kind, namespace] = version
        for ref, ended in list(self._gone.items()):
            if ref.kind == kind and namespace in (None, ref.namespace) and ended <= before:
                del self._gone[ref]

    def _remember(self, ref: Ref, held: Held) -> None:
        self._held[ref] = held
        if held.links.owner:
            self._children[held.links.owner].add(ref)
        for key in held.links.pod_keys:
            self._pods[key].add(ref)
        for target in held.links.targets:
            self._referrers[target].add(ref)

    def _forget(self, ref: Ref, told: Set[tuple[Ref, str]] = frozenset()) -> Set[Ref]:
        """Let go of an object, if it is held; whom that concerns when from now on it tells others this."""
        held = self._held.pop(ref, None)
        if held is None:
            return self._audience(told)
        if held.links.owner:
            _discard(self._children, held.links.owner, ref)
        for key in held.links.pod_keys:
            _discard(self._pods, key, ref)
        for target in held.links.targets:
            _discard(self._referrers, target, ref)
        return held.links.concerned | self._audience(held.links.told ^ told)

    def _audience(self, told: Set[tuple[Ref, str]]) -> Set[Ref]:
        """Who hears it: the object at that address, or all who refer to an address of no kind."""
        heard: set[Ref] = set()
        for target, _ in told:
            heard |= {target} if target.kind in self._references else self._referrers.get(target, set())
        return heard

    def _links(self, ref: Ref, obj: Object) -> Links:
        """Owner, labels and references; a change concerns the resource itself, its owner, and for pods the resource
        they work for."""
        concerned = {ref} if ref.kind in self._references else set()
        owner = controller_of(obj)
        # Owners of kinds nobody here knows are a newer operator's.
        if owner is not None and owner.get("apiVersion") == API_VERSION and owner["kind"] in self._references:
            concerned.add(Ref(owner["kind"], ref.namespace, owner["name"]))
        pod_keys = _pod_keys(ref, obj)
        for label, space, name in pod_keys:
            kinds = (kind for kind in metadata.POD_OWNERS[label] if kind in self._references)
            concerned |= {Ref(kind, space, name) for kind in kinds}
        targets = self._references[ref.kind](obj) if ref.kind in self._references else ()
        told = frozenset(self._tells[ref.kind](obj).items()) if ref.kind in self._tells else frozenset()
        return Links(owner["uid"] if owner else "", pod_keys, tuple(targets), frozenset(concerned), told)


def _pod_keys(ref: Ref, obj: Object) -> tuple[PodKey, ...]:
    if ref.kind != POD.kind:
        return ()
    labels = obj["metadata"].get("labels", {})
    return tuple((label, ref.namespace, labels[label]) for label in metadata.POD_OWNERS if label in labels)


def _discard(index: defaultdict[Any, set[Ref]], key: Any, ref: Ref) -> None:
    index[key].discard(ref)
    if not index[key]:
        del index[key]
