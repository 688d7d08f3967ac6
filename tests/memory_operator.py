"""The operator's own parts on an API server in memory, one step at a time: a test decides what it knows, and when.

Store, picture, reconcilers and kinds are the real ones; only sockets, clocks and tasks are missing. Killing it is
making another one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from tests.memory_cluster import MemoryCluster
from trimtab.adapters.mlflow import MlflowError
from trimtab.adapters.notify import NotifyError
from trimtab.core.objects import Object, Ref
from trimtab.core.plan import Notice
from trimtab.core.platform import Platform
from trimtab.evidence.drift.finding import Finding
from trimtab.evidence.sources import ModelReport, RouterReport, SmokeReport
from trimtab.kinds import KINDS, Ports, watched
from trimtab.kinds.abtest.observe import EventsError
from trimtab.kinds.mlmodel.observe import RegistryError
from trimtab.kinds.modeldeployment.observe import Watch
from trimtab.kinds.retrainschedule.observe import Tracked, TrackingError
from trimtab.runtime import events
from trimtab.runtime.cluster import ApiError, NotLeader
from trimtab.runtime.effects import Effects
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.picture import Picture
from trimtab.runtime.reconciler import Reconciler, Refused, Shell
from trimtab.runtime.store import Store

T = TypeVar("T")
PLATFORM = Platform(
    server_image="registry.example/trimtab-server:1",
    toolbox_image="registry.example/trimtab-toolbox:1",
    store_uri="http://mlflow.trimtab.svc:5000/api/2.0/mlflow-artifacts/artifacts/bundles",
    tracking_uri="http://mlflow.trimtab.svc:5000",
)
START = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    coroutine.close()
    raise AssertionError("the coroutine waits for something")


class MemoryRegistry:
    """Versions by model and alias; None stands for a registry that is down."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str | None], str] = {}
        self.tags: dict[tuple[str, str], dict[str, str]] = {}
        self.changes = 0
        self.down = False

    async def version(self, name: str, alias: str | None, max_age_seconds: float) -> str:
        if self.down:
            raise RegistryError("RegistryUnreachable", "MLflow does not answer: timed out; it is asked again")
        if (name, alias) not in self.versions:
            raise RegistryError("SourceNotFound", f"MLflow has no models:/{name}@{alias}; set the alias")
        return self.versions[name, alias]

    async def set_alias(self, model: str, alias: str, version: str, seconds: float) -> None:
        self._change()
        self.versions[model, alias] = version

    async def set_tags(self, model: str, version: str, tags: Mapping[str, str], seconds: float) -> None:
        self._change()
        self.tags.setdefault((model, version), {}).update(tags)

    def _change(self) -> None:
        if self.down:
            raise MlflowError("RegistryUnreachable", "MLflow does not answer: timed out; it is asked again")
        self.changes += 1


class MemoryTracking:
    """Runs by experiment and name, beside what the registry says of versions."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self.registry = registry
        self.runs: dict[tuple[str, str], Tracked] = {}

    async def tracked(self, experiment: str, model: str, run: str, max_age_seconds: float) -> Tracked | None:
        self._answer()
        return self.runs.get((experiment, run))

    async def alias(self, model: str, alias: str, max_age_seconds: float) -> str:
        self._answer()
        return self.registry.versions.get((model, alias), "")

    async def tags(self, model: str, version: str, max_age_seconds: float) -> Mapping[str, str]:
        self._answer()
        return self.registry.tags.get((model, version), {})

    def _answer(self) -> None:
        if self.registry.down:
            raise TrackingError("RegistryUnreachable", "MLflow does not answer: timed out; it is asked again")


class MemoryNotifier:
    """Messages that were handed over, by key."""

    def __init__(self) -> None:
        self.sent: dict[str, Notice] = {}
        self.names = frozenset({"slack"})
        self.silent = False

    def channels(self) -> frozenset[str]:
        return self.names

    def delivered(self, keys: Iterable[str]) -> frozenset[str]:
        return frozenset() if self.silent else frozenset(self.sent) & frozenset(keys)

    def send(self, notice: Notice, look_again: Callable[[], None]) -> None:
        if notice.channel not in self.names:
            raise NotifyError(f"there is no usable channel {notice.channel}")
        if notice.key not in self.sent:
            self.sent[notice.key] = notice
            look_again()


class MemorySources:
    """What pods answer, by uid; a pod that is not here does not answer."""

    def __init__(self) -> None:
        self.router_reports: dict[str, RouterReport] = {}
        self.model_reports: dict[str, ModelReport] = {}
        self.smoke_reports: dict[str, SmokeReport] = {}

    async def routers(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, RouterReport]:
        return _of(self.router_reports, pods)

    async def models(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, ModelReport]:
        return _of(self.model_reports, pods)

    async def smoke(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, SmokeReport]:
        return _of(self.smoke_reports, pods)


def _of(reports: Mapping[str, T], pods: Sequence[Object]) -> Mapping[str, T]:
    uids = {pod["metadata"]["uid"] for pod in pods}
    return {uid: report for uid, report in reports.items() if uid in uids}


class MemoryMonitor:
    """Findings by the uid of the deployment; one that is not here is not watched."""

    def __init__(self) -> None:
        self.findings: dict[str, Finding] = {}
        self.watches: list[Watch] = []

    async def finding(self, watch: Watch) -> Finding | None:
        self.watches.append(watch)
        return self.findings.get(watch.deployment)


class MemoryEvents:
    """Numbers by query; a query that is not known fails."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}

    async def count(self, query: str, max_age_seconds: float) -> float:
        if query not in self.numbers:
            raise EventsError("the query gives 0 series, and must give one: sum() them")
        return self.numbers[query]


class Clock:
    """Wall-clock time that moves when told."""

    def __init__(self) -> None:
        self.now = START

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class MemoryOperator:
    """One life of the operator: what it has seen, and what it still wants to look at; it looks at no other `kinds`."""

    def __init__(
        self,
        cluster: MemoryCluster,
        registry: MemoryRegistry | None = None,
        clock: Clock | None = None,
        platform: Platform = PLATFORM,
        counts: MemorySources | None = None,
        notifier: MemoryNotifier | None = None,
        tracking: MemoryTracking | None = None,
        monitor: MemoryMonitor | None = None,
        kinds: Collection[str] = tuple(KINDS),
    ) -> None:
        self.cluster = cluster
        self.kinds = kinds
        self.clock = clock or Clock()
        self.metrics = Metrics()
        self.store = Store.of(KINDS)
        self.dirty: set[Ref] = set()
        self.appointments: dict[Ref, datetime] = {}
        self._heard = len(cluster.log)
        self.picture = Picture(
            cluster, self.store, self.metrics, watched(gateway_api=platform.gateway_api), (), self.enqueue
        )
        registry, notifier = registry or MemoryRegistry(), notifier or MemoryNotifier()
        effects = Effects(
            registry,
            notifier,
            self.metrics,
            cluster.may_write,
            lambda obj, event: events.emit(cluster, obj, event, "test"),
        )
        shell = Shell(
            store=self.store,
            cluster=cluster,
            platform=platform,
            effects=effects,
            ports=Ports(
                registry=registry,
                counts=counts or MemorySources(),
                events=MemoryEvents(),
                monitor=monitor or MemoryMonitor(),
                tracking=tracking or MemoryTracking(registry),
                notifier=notifier,
            ),
            metrics=self.metrics,
            enqueue=self.enqueue,
            now=lambda: self.clock.now,
            instance="test",
        )
        self.reconcilers = {name: Reconciler(kind, shell) for name, kind in KINDS.items()}

    def enqueue(self, refs: Iterable[Ref]) -> None:
        self.dirty |= {ref for ref in refs if ref.kind in self.kinds}

    def look(self) -> None:
        """List everything, as at the start and at each resync."""
        drive(self.picture.check())

    def hear(self, events: int | None = None) -> None:
        """Take in what the watches tell, or only the next few events."""
        until = len(self.cluster.log) if events is None else min(self._heard + events, len(self.cluster.log))
        for happening in self.cluster.log[self._heard : until]:
            self.picture.absorb(happening.obj, happening.gone)
        self._heard = until

    def miss(self) -> None:
        """Lose what the watches would have told."""
        self._heard = len(self.cluster.log)

    def reconcile(self, ref: Ref) -> timedelta | None:
        """One pass; whatever it raises is the caller's to judge."""
        self.dirty.discard(ref)
        return drive(self.reconcilers[ref.kind].reconcile(ref))

    def work(self, passes: int = 200) -> None:
        """Pass over everything that is due, until nothing is; failed passes wait for their next cause."""
        failed: set[Ref] = set()
        while due := sorted(self.dirty - failed):
            ref = due[0]
            try:
                again = self.reconcile(ref)
            except (ApiError, Refused, NotLeader):
                failed.add(ref)
                continue
            self.appointments.pop(ref, None)
            if again is not None:
                self.appointments[ref] = self.clock.now + again
            passes -= 1
            assert passes > 0, f"it never comes to rest: {self.cluster.calls[-8:]}"
            self.hear()
        self.dirty |= failed

    def wait(self, seconds: float) -> None:
        """Let time pass, and keep the appointments that fall due."""
        self.clock.advance(seconds)
        self.enqueue(ref for ref, due in self.appointments.items() if due <= self.clock.now)
        self.work()

    def held(self, ref: Ref) -> Object:
        """An object as the API server has it."""
        return self.cluster.objects[ref]
