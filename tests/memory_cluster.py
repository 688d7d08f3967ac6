"""An API server's rules for writes, in memory: enough of server-side apply to hold the operator to its promises.

The real API server is the judge in tests/apiserver; this one answers in microseconds, so that tests may kill, deny
and replay thousands of writes. It keeps resourceVersions, uids, generations, field ownership of one manager, deletion
preconditions, garbage collection, and a log of events that a test delivers when, and in the order, it likes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.copies import copied
from trimtab.core.objects import Object, Ref, Resource, controller_of, ref_of
from trimtab.runtime.cluster import ApiError, Cluster, NotLeader

# Lists the API server merges by these keys; all others it replaces.
LIST_KEYS = ("name", "uid")
# Values it takes as one piece (x-kubernetes-map-type: atomic).
ATOMIC = frozenset({"selector", "podSelector", "labelSelector", "nodeSelector"})


class Call(NamedTuple):
    """One request that reached the server; `changed` tells whether it made a difference."""

    verb: str
    ref: Ref
    changed: bool


@dataclass(frozen=True)
class Happening:
    """One watch event."""

    obj: Object
    gone: bool


class MemoryCluster(Cluster):
    """Objects by address. `before` sees each request first and may raise an ApiError in the server's place."""

    def __init__(self, may_write: Callable[[], float] = lambda: 1.0) -> None:
        self.may_write = may_write
        self.objects: dict[Ref, Object] = {}
        self.calls: list[Call] = []
        self.log: list[Happening] = []
        self.before: Callable[[str, Ref], None] = lambda verb, ref: None
        self.after: Callable[[Call], None] = lambda call: None
        self.version = 100
        self._uids = 0
        self._applied: dict[Ref, Object] = {}

    # What the operator does.

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        ref = Ref(resource.kind, namespace or "", name)
        self.before("get", ref)
        self._done("get", ref, False)
        return copied(self._existing(ref))

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        ref = Ref(resource.kind, namespace, name)
        self.before("list", ref)
        self._done("list", ref, False)
        return copied(self.objects.get(ref))

    async def pages(
        self, resource: Resource, namespace: str | None, selector: str = "", *, whole: bool = True
    ) -> AsyncIterator[Object]:
        self.before("list", Ref(resource.kind, namespace or "", ""))
        wanted = dict(term.split("=") for term in selector.split(",") if term)
        items = [
            copied(obj)
            for ref, obj in sorted(self.objects.items())
            if ref.kind == resource.kind
            and namespace in (None, ref.namespace)
            and wanted.items() <= obj["metadata"].get("labels", {}).items()
        ]
        meta = {"resourceVersion": str(self.version)}
        half = len(items) // 2
        if half:
            yield {"metadata": {**meta, "continue": "more"}, "items": items[:half]}
        yield {"metadata": meta, "items": items[half:]}

    async def apply(self, resource: Resource, obj: Object, *, force: bool) -> Object:
        ref = self._begin("apply", ref_of(obj))
        assert resource.kind == obj["kind"]
        assert resource.api_version == obj["apiVersion"]
        there = self.objects.get(ref)
        before = self._applied.get(ref, {})
        if there is None:
            return self._finish("apply", ref, self._born(_default(copied(obj))), applied=obj)
        disputed = [] if force else _conflicts(there, before, obj)
        if disputed:
            raise ApiError(409, "Conflict", f'Apply failed with 1 conflict: conflict with "kubectl": {disputed[0]}')
        merged = _default(_merge(_without_dropped(there, before, obj), obj))
        return self._finish("apply", ref, merged, applied=obj)

    async def apply_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        ref = self._begin("status", ref_of(obj))
        there = self._existing(ref)
        if there["metadata"]["uid"] != obj["metadata"]["uid"]:
            raise ApiError(409, "Conflict", "Precondition failed: UID in precondition and UID in object meta differ")
        return self._finish("status", ref, {**there, "status": copied(status)})

    async def delete(self, resource: Resource, obj: Object) -> None:
        ref = self._begin("delete", ref_of(obj))
        there = self.objects.get(ref)
        found = there is not None and there["metadata"]["uid"] == obj["metadata"]["uid"]
        if found:
            self.remove(ref)
        self._done("delete", ref, found)

    async def create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        ref = self._begin("create", ref_of(obj))
        if ref in self.objects:
            raise ApiError(409, "AlreadyExists", f'{resource.plural} "{ref.name}" already exists')
        return self._finish("create", ref, self._born(copied(obj)))

    async def replace(self, resource: Resource, obj: Object) -> Object:
        ref = self._begin("replace", ref_of(obj))
        there = self._existing(ref)
        if there["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        given = {key: there["metadata"][key] for key in ("uid", "generation")}
        return self._finish("replace", ref, {**copied(obj), "metadata": {**obj["metadata"], **given}})

    # What everybody else does.

    def put(self, obj: Object) -> Object:
        """Create or overwrite an object as a user or another controller would."""
        ref = ref_of(obj)
        there = self.objects.get(ref)
        obj = copied(obj)
        if there is None:
            return self._store(ref, self._born(_default(obj)))
        for field in ("uid", "generation", "resourceVersion"):
            obj["metadata"][field] = there["metadata"][field]
        return self._store(ref, obj)

    def edit(self, ref: Ref, change: Callable[[Object], Any]) -> Object:
        """Change an object in place, by hand."""
        obj = copied(self.objects[ref])
        change(obj)
        return self._store(ref, obj)

    def remove(self, ref: Ref) -> None:
        """Delete an object; what it controls follows, as the garbage collector sees to."""
        obj = self.objects.pop(ref)
        self._applied.pop(ref, None)
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.log.append(Happening(obj, gone=True))
        uid = obj["metadata"]["uid"]
        for child in list(self.objects.values()):
            owner = controller_of(child)
            if owner is not None and owner["uid"] == uid and ref_of(child) in self.objects:
                self.remove(ref_of(child))

    def writes(self) -> list[Call]:
        """The requests so far that could have changed something."""
        return [call for call in self.calls if call.verb not in ("get", "list")]

    # How.

    def _begin(self, verb: str, ref: Ref) -> Ref:
        if not self.may_write():
            raise NotLeader(f"{verb} {ref}")
        self.before(verb, ref)
        return ref

    def _existing(self, ref: Ref) -> Object:
        if ref not in self.objects:
            raise ApiError(404, "NotFound", f'{ref.kind} "{ref.name}" not found')
        return self.objects[ref]

    def _born(self, obj: Object) -> Object:
        self._uids += 1
        obj["metadata"] = {**obj["metadata"], "uid": f"uid-{self._uids}", "generation": 1}
        return obj

    def _finish(self, verb: str, ref: Ref, obj: Object, applied: Object | None = None) -> Object:
        if applied is not None:
            self._applied[ref] = copied(applied)
        version = self.version
        stored = self._store(ref, obj)
        self._done(verb, ref, self.version != version)
        return copied(stored)

    def _done(self, verb: str, ref: Ref, changed: bool) -> None:
        call = Call(verb, ref, changed)
        self.calls.append(call)
        self.after(call)

    def _store(self, ref: Ref, obj: Object) -> Object:
        """Keep an object; one that says nothing new keeps its resourceVersion and makes no event."""
        there = self.objects.get(ref)
        if there is not None and there == obj:
            return there
        self.version += 1
        meta = {**obj["metadata"], "resourceVersion": str(self.version)}
        if there is not None and there.get("spec") != obj.get("spec"):
            meta["generation"] = there["metadata"]["generation"] + 1
        obj = {**obj, "metadata": meta}
        self.objects[ref] = obj
        self.log.append(Happening(copied(obj), gone=False))
        return obj


def _default(obj: Object) -> Object:
    """The one default that has ever surprised anybody: a Deployment without `replicas` has one."""
    if obj["kind"] == "Deployment":
        obj["spec"].setdefault("replicas", 1)
    return obj


def _key(items: Any) -> str | None:
    for key in LIST_KEYS:
        if items and all(isinstance(item, dict) and key in item for item in items):
            return key if len({item[key] for item in items}) == len(items) else None
    return None


def _merge(there: Any, wanted: Any) -> Any:
    if isinstance(there, dict) and isinstance(wanted, dict):
        whole = [key for key in wanted if key in ATOMIC or key not in there]
        merged = {key: value if key in whole else _merge(there[key], value) for key, value in wanted.items()}
        return {**there, **copied(merged)}
    key = _key(wanted) if isinstance(wanted, list) and isinstance(there, list) else None
    if key is None or not all(isinstance(item, dict) and key in item for item in there):
        return copied(wanted)
    by_key = {item[key]: item for item in there}
    mine = [_merge(by_key.get(item[key], {}), item) for item in wanted]
    return mine + [item for item in there if item[key] not in {w[key] for w in wanted}]


def _without_dropped(there: Any, before: Any, wanted: Any) -> Any:
    """What is there, less the fields we applied before and no longer mention."""
    if isinstance(there, dict) and isinstance(before, dict) and isinstance(wanted, dict):
        return {
            key: _without_dropped(value, before.get(key), wanted.get(key))
            for key, value in there.items()
            if key in wanted or key not in before or key in ("uid", "generation", "resourceVersion")
        }
    key = _key(wanted) if isinstance(wanted, list) and isinstance(before, list) and isinstance(there, list) else None
    if key is None:
        return there
    dropped = {item.get(key) for item in before} - {item[key] for item in wanted}
    return [item for item in there if item.get(key) not in dropped]


def _conflicts(there: Any, before: Any, wanted: Any, path: str = "") -> list[str]:
    """The fields that hold another value, which we did not put there."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        mine = before if isinstance(before, dict) else {}
        return [
            found
            for key, value in wanted.items()
            if key in there
            for found in _conflicts(there[key], mine.get(key), value, f"{path}.{key}")
        ]
    if there in (wanted, before) or path.endswith(".ownerReferences"):
        return []
    return [path]
