"""The status of a ModelDeployment: what runs, what gets traffic, and what became of its rollouts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from trimtab.core import conditions
from trimtab.core.objects import Object
from trimtab.evidence.ledger import restore
from trimtab.kinds.modeldeployment.api import REVISION_ROWS, ModelDeployment, RevisionStatus, Status
from trimtab.kinds.modeldeployment.measure import answered
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.progress import HISTORY_ROWS, HistoryEntry, RolloutStatus
from trimtab.kinds.modeldeployment.rollout import Rollout
from trimtab.kinds.modeldeployment.sizes import available, replicas
from trimtab.kinds.modeldeployment.template import Bundle, selector
from trimtab.kinds.modeldeployment.vitals import Vitals
from trimtab.kinds.modeldeployment.words import verdict


def report(
    mdep: ModelDeployment, seen: Observed, state: Rollout, merged: list[Object], vitals: Vitals, now: datetime
) -> Object:
    """The whole status, with these conditions."""
    meta = mdep.metadata
    serving = seen.deployment(state.told)
    known = _known(mdep, seen, state)
    rows = list(_rows(mdep, seen, state, known))
    chosen = selector(meta["name"], state.told)
    record = state.record
    return Status.model_validate(
        {
            "observed_generation": meta["generation"],
            "conditions": merged,
            "url": f"http://{meta['name']}.{meta['namespace']}.svc" if state.told else "",
            "replicas": replicas(serving),
            "available": available(serving),
            "selector": ",".join(f"{k}={v}" for k, v in sorted(chosen.items())) if state.told else "",
            "serving": state.told,
            "version": next((row.version for row in rows if row.name == state.told), ""),
            "switched_at": _switched_at(mdep, state),
            "revisions": rows,
            "rollout": record.model_copy(update={"verdict": verdict(record)}) if record else None,
            "history": [*_entries(mdep, state, known, now), *mdep.status.history][:HISTORY_ROWS],
            "router": state.router,
            "drift": vitals.drift,
            "quality": vitals.quality,
        }
    ).dump()


def _switched_at(mdep: ModelDeployment, state: Rollout) -> str | None:
    if state.told != state.serving:
        return mdep.status.switched_at
    return conditions.timestamp(state.switched_at) if state.switched_at else None


def _known(mdep: ModelDeployment, seen: Observed, state: Rollout) -> dict[str, Bundle]:
    """The bundles of all revisions that anybody remembers."""
    known = {name: bundle for name, workload in seen.deployments.items() if (bundle := Bundle.of(workload))}
    known |= {r.name: Bundle(r.digest, r.version, r.runtime) for r in mdep.status.revisions}
    return known | {
        revision.name: revision.bundle for revision in (state.target, *state.wanted.values()) if revision is not None
    }


def _rows(mdep: ModelDeployment, seen: Observed, state: Rollout, known: dict[str, Bundle]) -> Iterable[RevisionStatus]:
    """A row per revision that has or will have pods, the serving one first."""
    names = [state.told, *state.wanted, *sorted(state.retiring)]
    for name in [name for name in dict.fromkeys(names) if name in known][:REVISION_ROWS]:
        yield _row(mdep, name, known[name], seen, state)


def _row(mdep: ModelDeployment, name: str, bundle: Bundle, seen: Observed, state: Rollout) -> RevisionStatus:
    workload, record = seen.deployment(name), state.record
    weight = 100 if name == state.told else 0
    if record is not None and record.exposed and state.routed and name in (record.revision, record.previous):
        weight = record.weight if name == record.revision else 100 - record.weight
    before = next((row for row in mdep.status.revisions if row.name == name), None)
    counts = before.model_dump(include={"requests", "errors", "slow"}) if before else {}
    if record is not None and record.evidence is not None and name in (record.revision, record.previous):
        total = answered(restore(record.evidence), record, name)
        counts = {"requests": int(total.requests), "errors": int(total.errors), "slow": int(total.latency_above)}
    return RevisionStatus.model_validate(
        {
            "name": name,
            "digest": bundle.digest,
            "version": bundle.version,
            "runtime": bundle.runtime,
            "weight": weight,
            "replicas": replicas(workload),
            "available": available(workload),
            **counts,
        }
    )


def _entries(mdep: ModelDeployment, state: Rollout, known: dict[str, Bundle], now: datetime) -> Iterable[HistoryEntry]:
    """What ended in this pass, the last one first."""
    for record in reversed(state.over):
        bundle = known.get(record.revision)
        yield HistoryEntry(
            revision=record.revision,
            version=bundle.version if bundle else "",
            strategy=record.strategy,
            outcome=record.outcome or "Superseded",
            reason=record.reason,
            message=record.message,
            weight=_weight_before(mdep.status.rollout, record),
            started_at=record.started_at,
            ended_at=conditions.timestamp(now),
        )


def _weight_before(before: RolloutStatus | None, record: RolloutStatus) -> int:
    """The share that the candidate had until this pass."""
    return before.weight if before is not None and before.revision == record.revision else record.weight
