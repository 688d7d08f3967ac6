"""One pass over one object: look, judge, act. The only place where plans become requests.

    get ──► parse ──► observe ──► plan ──► apply children ──► delete extras ──► write status ──► tell ──► effects

Children come before status, so a status never claims what was not done; effects outside come after it. A request that
fails for good overrules the planned verdict with the server's own words; one that may succeed later ends the pass, and
the queue tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from trimtab.core import conditions, divergence, metadata
from trimtab.core.objects import DEPLOYMENT, HTTP_ROUTE, JOB, Object, Ref, Resource, controller_of, ref_of
from trimtab.core.plan import Plan
from trimtab.core.platform import Platform
from trimtab.kinds import Kind, Ports
from trimtab.runtime import events
from trimtab.runtime.cluster import ApiError, Cluster
from trimtab.runtime.effects import Effects
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.store import Store

log = logging.getLogger(__name__)
STARTS_PODS = frozenset({DEPLOYMENT.kind, JOB.kind})
PAUSE = conditions.Condition(
    "Ready", "Unknown", "Paused", f"nothing is changed while the annotation {metadata.PAUSED} is true"
)


class Refused(Exception):  # noqa: N818 - it carries a verdict
    """A request failed in a way that is worth a condition; `passing` if waiting alone mends it."""

    def __init__(self, reason: str, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.verdict = (conditions.progressing if passing else conditions.failing)(reason, message)


@dataclass(frozen=True)
class Shell:
    """What all kinds share: memory, the API server, the outside world, a clock."""

    store: Store
    cluster: Cluster
    platform: Platform
    ports: Ports
    effects: Effects
    metrics: Metrics
    enqueue: Callable[[Iterable[Ref]], None]
    now: Callable[[], datetime]
    instance: str


class Reconciler:
    """Passes over the objects of one kind."""

    def __init__(self, kind: Kind, shell: Shell) -> None:
        self._kind = kind
        self._shell = shell
        self._children = {resource.kind: resource for resource in kind.children}

    async def reconcile(self, ref: Ref) -> timedelta | None:
        """One pass; when to come again without being told. Refused and ApiError mean: try again later."""
        obj = self._shell.store.get(ref)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self._shell.effects.forget(ref)
            return None
        if obj["metadata"].get("annotations", {}).get(metadata.PAUSED) == "true":
            await self._write_status(obj, self._verdict(obj, [PAUSE]))
            return None
        try:
            parsed = self._kind.parse(obj)
        except ValidationError as error:
            await self._write_status(obj, self._verdict(obj, conditions.failing("InvalidSpec", _sentence(error))))
            return None
        seen = await self._kind.observe(parsed, self._shell.store, self._shell.platform, self._shell.ports)
        plan = self._kind.plan(parsed, seen, self._shell.now())
        await self._execute(obj, plan)
        repeat = await self._shell.effects.perform(obj, plan.effects, self._shell.enqueue)
        return min((wait for wait in (plan.requeue_after, repeat) if wait is not None), default=None)

    async def _execute(self, obj: Object, plan: Plan) -> None:
        """Do all that can be done: one child that is refused must not keep the others from being mended."""
        applied = await self._apply_all(obj, plan)
        pruned = await self._prune(obj, plan)
        failure = applied or pruned
        if isinstance(failure, Refused):
            await self._write_status(obj, self._overruled(obj, plan.status, failure))
        if failure is not None:
            raise failure
        await self._write_status(obj, plan.status)

    async def _apply_all(self, obj: Object, plan: Plan) -> Refused | ApiError | None:
        """Apply each child; the first failure. A server that is away or busy ends the pass at once."""
        failure: Refused | ApiError | None = None
        for child in plan.apply:
            if failure and child["kind"] in STARTS_PODS and self._shell.store.get(ref_of(child)) is None:
                continue  # what was refused may be the policy without which no pod must run
            try:
                await self._apply(obj, child)
            except (Refused, ApiError) as error:
                if isinstance(error, ApiError) and error.code < 500:
                    raise
                failure = failure or error
        return failure

    async def _apply(self, obj: Object, child: Object) -> None:
        held = self._shell.store.get(ref_of(child))
        if not divergence.needs_apply(child, held):
            return
        resource = self._children[child["kind"]]
        there = held or await self._namesake(obj, resource, child)
        if there is not None and not _owns(obj, there):
            raise _taken(obj, there)
        # Without force, taking a stranger's object for ours ends in a conflict instead of in its ruin.
        try:
            applied = await self._shell.cluster.apply(resource, child, force=there is not None)
        except ApiError as error:
            applied = await self._second_try(obj, resource, child, held, error)
        changed = held is None or applied["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]
        self._shell.metrics.children_applied.labels(child["kind"], str(changed).lower()).inc()
        self._shell.enqueue(self._shell.store.absorb(applied))

    async def _namesake(self, obj: Object, resource: Resource, child: Object) -> Object | None:
        """One look before the first write where no conflict would save a stranger's object; hashed names need none."""
        meta = child["metadata"]
        if resource not in self._kind.mergeable or meta["name"] != obj["metadata"]["name"]:
            return None
        return await self._shell.cluster.find(resource, meta["namespace"], meta["name"])

    async def _second_try(
        self, obj: Object, resource: Resource, child: Object, held: Object | None, error: ApiError
    ) -> Object:
        """What to do about an apply that failed for good, when something can be done."""
        if error.transient:
            raise error
        if error.conflict:
            # Memory does not hold it: ours without its label, or a stranger's?
            meta = child["metadata"]
            live = await self._shell.cluster.find(resource, meta["namespace"], meta["name"])
            if live is not None and not _owns(obj, live):
                raise _taken(obj, live) from error
        elif held is not None and _was_accepted(child, held, error) and resource in self._kind.renewable:
            # An edit stands beside what we want and excludes it: the other half of a budget, a second port "http".
            log.info("making a child anew that cannot be mended", extra={"child": str(ref_of(child))})
            await self._shell.cluster.delete(resource, held)
        else:
            raise _refused(_reason(child, error), child, error) from error
        return await self._shell.cluster.apply(resource, child, force=True)

    async def _prune(self, obj: Object, plan: Plan) -> Refused | None:
        """Delete the children that are neither wanted nor kept; the first refusal."""
        wanted = {ref_of(child) for child in plan.apply} | plan.keep
        failure = None
        for child in self._shell.store.children(obj["metadata"]["uid"]):
            resource = self._children.get(child["kind"])
            if resource is None or ref_of(child) in wanted or "deletionTimestamp" in child["metadata"]:
                continue
            log.info("deleting a child that is no longer wanted", extra={"child": str(ref_of(child))})
            try:
                await self._shell.cluster.delete(resource, child)
            except ApiError as error:
                if error.transient or error.conflict:
                    raise
                failure = failure or _refused("DeleteFailed", child, error)
        return failure

    async def _write_status(self, obj: Object, status: Object) -> None:
        if status == obj.get("status"):
            return
        written = await self._shell.cluster.apply_status(self._kind.resource, obj, status)
        self._shell.enqueue(self._shell.store.absorb(written))
        for event in conditions.transition(_conditions(obj), status["conditions"]):
            log.info(event.note, extra={"event": event.reason})
            await events.emit(self._shell.cluster, obj, event, self._shell.instance)

    def _verdict(self, obj: Object, wanted: Iterable[conditions.Condition]) -> Object:
        """The status as it is, with another overall verdict."""
        status = {**obj.get("status", {}), "observedGeneration": obj["metadata"]["generation"]}
        return conditions.overruled(status, wanted, _conditions(obj), self._shell.now())

    def _overruled(self, obj: Object, status: Object, refusal: Refused) -> Object:
        return conditions.overruled(status, refusal.verdict, _conditions(obj), self._shell.now())


def _conditions(obj: Object) -> list[Object]:
    found: list[Object] = obj.get("status", {}).get("conditions", [])
    return found


def _owns(obj: Object, child: Object) -> bool:
    """Ours by its reference; or by our marks, where a hand or a backup has lost the reference."""
    owner = controller_of(child)
    if owner is not None:
        return bool(owner["uid"] == obj["metadata"]["uid"])
    instance = child["metadata"].get("labels", {}).get(metadata.INSTANCE)
    return bool(metadata.desired_hash(child)) and instance == obj["metadata"]["name"]


def _taken(obj: Object, found: Object) -> Refused:
    what = f"{found['kind']} {found['metadata']['name']}"
    owner = controller_of(found)
    if owner is not None and (owner["kind"], owner["name"]) == (obj["kind"], obj["metadata"]["name"]):
        message = f"the {what} of an earlier {obj['kind']} of this name is still there; it is waited for to go"
        return Refused("PredecessorRemains", message, passing=True)
    message = f"there already is a {what} that does not belong to this resource; delete it or choose another name"
    return Refused("NameTaken", message)


def _refused(reason: str, child: Object, error: ApiError) -> Refused:
    return Refused(reason, f"{child['kind']} {child['metadata']['name']}: {error}")


def _was_accepted(child: Object, held: Object, error: ApiError) -> bool:
    """True when the server finds invalid what it once took: then the fault is not in what we want."""
    return error.code == 422 and metadata.desired_hash(child) == metadata.desired_hash(held)


def _reason(child: Object, error: ApiError) -> str:
    if error.code == 404 and child["kind"] == HTTP_ROUTE.kind:
        return "GatewayMissing"
    return "QuotaExceeded" if "exceeded quota" in str(error) else "ApplyFailed"


def _sentence(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
