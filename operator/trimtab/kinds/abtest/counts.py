"""What routers and pods have counted, as readings of the ledger.

Routers tell what happened to requests, also to those that never reached a pod. Model pods tell what came of
predictions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from trimtab.core.conditions import parse_time
from trimtab.core.objects import Object
from trimtab.evidence.ledger import Key, Ledger, Reading
from trimtab.evidence.sketch import distinct, joined
from trimtab.evidence.sources import ModelReport, RouterReport
from trimtab.evidence.tally import Bucket, Tally
from trimtab.kinds.abtest.api import Spec
from trimtab.kinds.abtest.arms import Resolved
from trimtab.kinds.abtest.design import slow_seconds
from trimtab.kinds.abtest.observe import Observed

DIGEST_DIGITS = 8
EVENTS, GUARDED = "events", "guarded"
"""The queries of the objective and of a guardrail, as sources."""


def readings(spec: Spec, seen: Observed, arms: Sequence[Resolved], since: str, ledger: Ledger) -> list[Reading]:
    """One for each router and each model pod that answered, and one for the objective's query.

    What pods older than the run, which began at `since`, had counted before it is not its own.
    """
    slow, queried = slow_seconds(spec), spec.objective.query is not None
    owners, names = _owners(arms), {arm.name for arm in arms}
    found = [
        _router(pod, seen.router_reports[uid], names, slow, since)
        for pod in seen.routers
        if (uid := pod["metadata"]["uid"]) in seen.router_reports
    ]
    for arm in arms:
        for pod in seen.pods.get(arm.name, ()):
            report = seen.model_reports.get(pod["metadata"]["uid"])
            if report is not None:
                tallies = _model(arm.name, report, owners, queried=queried)
                found.append(Reading(f"model:{report.pod}", report.epoch, tallies, baseline=_older(pod, since)))
    answers = {
        EVENTS: {name: Tally(outcomes=count) for name, count in seen.events.items()},
        GUARDED: {name: Tally(guarded=count) for name, count in seen.guarded.items()},
    }
    return [*found, *(_events(source, tallies, ledger) for source, tallies in answers.items() if tallies)]


def users(seen: Observed, arm: str) -> int:
    """How many users the arm's pods have answered since they started, as well as it can be told."""
    reports = (seen.model_reports.get(pod["metadata"]["uid"]) for pod in seen.pods.get(arm, ()))
    seen_by = distinct(joined(report.sketch for report in reports if report is not None))
    return round(seen_by) if math.isfinite(seen_by) else 0


def before(seen: Observed, arm: str, slow_seconds: float | None) -> Tally:
    """What the arm's pods have counted since they started, whoever asked them."""
    total = Tally(users=users(seen, arm))
    for pod in seen.pods.get(arm, ()):
        report = seen.model_reports.get(pod["metadata"]["uid"])
        if report is not None:
            slow = report.latency.above(slow_seconds) if slow_seconds is not None else 0
            total += _outcomes(report.buckets) + Tally(
                requests=report.requests, errors=report.errors, latency_above=slow
            )
    return total


def _router(
    pod: Object, report: RouterReport, names: Collection[str], slow_seconds: float | None, since: str
) -> Reading:
    tallies = {
        name: Tally(
            requests=counts.requests,
            errors=counts.errors,
            latency_above=counts.latency.above(slow_seconds) if slow_seconds is not None else 0,
        )
        for name, counts in report.arms.items()
        if name in names
    }
    return Reading(f"router:{report.pod}", report.epoch, tallies, baseline=_older(pod, since))


def _events(source: str, events: Mapping[str, Tally], ledger: Ledger) -> Reading:
    """What a query gives. Where that is less than before, counters were lost: what is left is where to go on from."""
    lives = [int(key.epoch) for key in ledger.cursors if key.source == source and key.epoch.isdecimal()]
    epoch = max(lives, default=0)
    known = ledger.cursors.get(Key(source, str(epoch)), {})
    fewer = any(_fewer(count, known[name]) for name, count in events.items() if name in known)
    return Reading(source, str(epoch + fewer), events, baseline=True)


def _fewer(now: Tally, before: Tally) -> bool:
    return now.outcomes < before.outcomes or now.guarded < before.guarded


def _model(arm: str, report: ModelReport, owners: Mapping[str, str], *, queried: bool) -> dict[str, Tally]:
    """Outcomes of another revision's predictions go to the arm that made them, if exactly one arm serves it.

    Where a query counts the events, rows are all that pods have to tell.
    """
    if queried:
        rows = tuple(Bucket(rows=bucket.rows) for bucket in report.buckets)
        return {arm: Tally(answered=report.answered, buckets=rows)}
    tallies = {arm: _outcomes(report.buckets) + Tally(answered=report.answered)}
    for digest, buckets in report.others.items():
        owner = owners.get(digest[:DIGEST_DIGITS])
        if owner is not None:
            tallies[owner] = tallies.get(owner, Tally()) + _outcomes(buckets)
    return tallies


def _older(pod: Object, since: str) -> bool:
    return parse_time(pod["metadata"].get("creationTimestamp", since)) <= parse_time(since)


def _outcomes(buckets: Sequence[Bucket]) -> Tally:
    total = sum(bucket.total for bucket in buckets)
    squares = sum(bucket.squares for bucket in buckets)
    return Tally(outcomes=total, outcome_sum=total, outcome_squares=squares, buckets=tuple(buckets))


def _owners(arms: Sequence[Resolved]) -> dict[str, str]:
    """The arm behind each digest that only one arm serves."""
    digests = {arm.name: arm.digest.removeprefix("sha256:")[:DIGEST_DIGITS] for arm in arms if arm.digest}
    often = Counter(digests.values())
    return {digest: name for name, digest in digests.items() if often[digest] == 1}
