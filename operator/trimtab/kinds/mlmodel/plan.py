"""The decision about an MLModel.

    source ──resolve──► immutable reference ──import Job──► revision ──approve──► current
      │ fails                                   │ fails
      ▼                                         ▼
    Resolved=False, what is current stays     Ready=False with the Job's last words, what is current stays

While a RetrainSchedule tries a candidate, the source stands for that; when it is withdrawn, for the alias again.
Whatever goes wrong, `status.current` keeps its value: a model that served yesterday serves today.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from trimtab.core import conditions, metadata, pods
from trimtab.core.conditions import Condition
from trimtab.core.objects import Object, condition, ref_of
from trimtab.core.plan import Plan
from trimtab.kinds.mlmodel import children
from trimtab.kinds.mlmodel.api import MLModel, Revision, Status
from trimtab.kinds.mlmodel.observe import Observed, moving

RETRY_AFTER = timedelta(seconds=60)
# Jobs and their pods come over two watches: a finished Job may be seen before the last words of its pod.
WORDS_AFTER = timedelta(seconds=10)
MOST_REVISIONS = 98  # the status holds 100, and two stay however many there are
# Trying these again later can succeed without anybody changing anything.
PASSING = frozenset({"SourceUnreachable", "StoreUnreachable", "Timeout", "ImportResultLost", "DeadlineExceeded"})


@dataclass(frozen=True)
class Import:
    """How the import of the wanted reference stands."""

    revision: Revision | None = None
    job: Object | None = None
    failure: pods.Trouble | None = None
    failed_at: datetime | None = None
    words_by: datetime | None = None

    @property
    def may_retry(self) -> bool:
        """True when the failure may pass by itself."""
        return self.failure is not None and self.failure.reason in PASSING


def plan(model: MLModel, seen: Observed, now: datetime) -> Plan:
    """Judge one MLModel; the same input gives the same plan."""
    uri = seen.resolution.uri
    progress = _progress(model, seen, now) if uri else Import()
    revisions = _revisions(model, seen, progress.revision)
    current = _current(model, revisions, progress.revision)
    judged = tuple(_judge(model, seen, progress, current))
    generation = model.metadata["generation"]
    merged = conditions.merge([c.dump() for c in model.status.conditions], judged, generation, now)
    status = Status.model_validate(
        {
            "observed_generation": generation,
            "conditions": merged,
            "current": current.digest if current else "",
            "version": current.version if current else "",
            "runtime": current.runtime if current else "",
            "resolved_uri": uri or model.status.resolved_uri,
            "revisions": revisions,
        }
    ).dump()
    retry = _retry_in(progress, now)
    drop = retry is not None and retry <= timedelta(0)
    job = progress.job
    return Plan(
        apply=() if job is None or drop or not _repairable(job, seen) else (job,),
        keep=frozenset() if job is None or drop else frozenset({ref_of(job)}),
        status=status,
        requeue_after=_requeue(model, retry, progress.words_by - now if progress.words_by else None),
    )


def _progress(model: MLModel, seen: Observed, now: datetime) -> Import:
    key = children.import_key(model, seen.resolution.uri)
    wanted = children.import_job(model, seen.resolution.uri, seen.platform)
    known = next((r for r in model.status.revisions if r.import_key == key), None)
    if known is not None:
        return Import(revision=known)
    job = next((j for j in seen.jobs if j["metadata"]["name"] == wanted["metadata"]["name"]), None)
    if job is None:
        return Import(job=wanted)
    own = [p for p in seen.pods if p["metadata"]["labels"].get(children.IMPORT_KEY) == key]
    ended = condition(job, "Failed")
    if ended.get("status") == "True":
        failure = pods.trouble(own) or pods.Trouble(9, ended.get("reason", "ImportFailed"), ended.get("message", ""))
        return Import(job=wanted, failure=failure, failed_at=conditions.parse_time(ended["lastTransitionTime"]))
    done = condition(job, "Complete")
    if done.get("status") == "True":
        return _finished(model, seen.resolution.uri, wanted, own, done["lastTransitionTime"], now)
    # Still trying: trouble is worth telling, but the Job has not given up.
    return Import(job=wanted, failure=pods.trouble(own) or pods.refusal(job))


def _finished(model: MLModel, uri: str, job: Object, own: Iterable[Object], at: str, now: datetime) -> Import:
    """The revision a finished Job reports. Its message is only a hint: if it is lost, importing again is harmless."""
    ended = conditions.parse_time(at)
    spoken = next((words for pod in own if "digest" in (words := pods.last_words(pod, children.CONTAINER))), None)
    if spoken is None and now < ended + WORDS_AFTER:
        return Import(job=job, words_by=ended + WORDS_AFTER)
    try:
        return Import(revision=_revision(model, uri, spoken or {}, at), job=job)
    except (ValidationError, KeyError, TypeError) as error:
        what = f"the import Job {job['metadata']['name']} finished, but its result cannot be read"
        detail = json.dumps(spoken)[:200] if spoken else "its pod is gone"
        failure = pods.Trouble(9, "ImportResultLost", f"{what} ({detail}): {type(error).__name__}; importing again")
        return Import(job=job, failure=failure, failed_at=ended)


def _revision(model: MLModel, uri: str, spoken: Mapping[str, Any], at: str) -> Revision:
    digest = spoken["digest"]
    return Revision.model_validate(
        {
            **{k: v for k, v in spoken.items() if k != "schema"},
            "importKey": children.import_key(model, uri),
            "uri": uri,
            "version": uri.rpartition("/")[2] if uri.startswith("models:/") else digest[7:19],
            "importedAt": at,
            "approved": model.spec.approval == "Auto",
        }
    )


def _revisions(model: MLModel, seen: Observed, found: Revision | None) -> list[Revision]:
    """Newest first, within the history limit; what is current and what was just found always stay.

    Nothing is forgotten while it is open what the alias stands for: a candidate may be withdrawn, and what served
    before it must not have to be imported again.
    """
    known = list(model.status.revisions)
    if found is not None and all(r.import_key != found.import_key for r in known):
        known.insert(0, found)
    # A model is its digest: what was approved once needs no second word when another version has the same bytes.
    approved = {r.digest for r in known if r.approved} | {
        model.metadata.get("annotations", {}).get(metadata.APPROVE, "")
    }
    known = [
        r.model_copy(update={"approved": True})
        if not r.approved and (model.spec.approval == "Auto" or r.digest in approved)
        else r
        for r in known
    ]
    settled = seen.resolution.uri and not seen.resolution.candidate
    limit = model.spec.revision_history_limit if settled else MOST_REVISIONS
    must = {model.status.current, found.digest if found else ""}
    return [r for i, r in enumerate(known) if i < limit or r.digest in must]


def _current(model: MLModel, revisions: list[Revision], found: Revision | None) -> Revision | None:
    """The revision to serve: the one the source stands for, once approved; until then the one before."""
    wanted = next((r for r in revisions if found and r.import_key == found.import_key and r.approved), None)
    return wanted or next((r for r in revisions if r.digest == model.status.current), None)


def _judge(model: MLModel, seen: Observed, progress: Import, current: Revision | None) -> Iterable[Condition]:
    stays = f"; {_name(current)} stays current" if current else ""
    yield _resolved(seen)
    if not seen.resolution.uri:
        yield from _unresolved(seen, current)
    elif progress.failure and progress.job:
        final = progress.failed_at is not None
        message = progress.failure.message + stays
        if final and not progress.may_retry:
            yield from conditions.failing(progress.failure.reason, message)
        else:
            yield Condition("Ready", "False", progress.failure.reason, message)
            yield Condition("Reconciling", "True", "Importing", "the import is tried again")
    elif progress.revision is None:
        yield from _importing(seen, current)
    elif current is None or current.import_key != progress.revision.import_key:
        yield from _waiting_for_approval(model.metadata["name"], progress.revision, current)
    else:
        yield from conditions.ready("Reconciled", f"{_name(current)} is current")


def _resolved(seen: Observed) -> Condition:
    found = seen.resolution
    also = f"; {found.ignored}" if found.ignored else ""
    if found.candidate:
        message = f"the source stands for {found.uri}, the candidate of RetrainSchedule {found.candidate}{also}"
        return Condition("Resolved", "True", "CandidateFollowed", message)
    if found.uri:
        return Condition("Resolved", "True", "ReferenceFound", f"the source stands for {found.uri}{also}")
    return Condition("Resolved", "False", found.reason, found.message + also)


def _unresolved(seen: Observed, current: Revision | None) -> Iterable[Condition]:
    """A silent registry is no reason to call a serving model broken; a first import cannot go on without it."""
    found = seen.resolution
    if current:
        message = f"{_name(current)} is current; its source cannot be looked at: {found.message}"
        yield Condition("Ready", "True", "Reconciled", message)
    else:
        yield Condition("Ready", "False", found.reason, found.message)
        yield Condition("Reconciling", "True", found.reason, "the registry is asked again")


def _importing(seen: Observed, current: Revision | None) -> Iterable[Condition]:
    message = f"importing {seen.resolution.uri}"
    if current is None:
        yield from conditions.progressing("Importing", message)
    else:
        yield Condition("Ready", "True", "Reconciled", f"{_name(current)} is current")
        yield Condition("Reconciling", "True", "Importing", message)


def _waiting_for_approval(name: str, revision: Revision, current: Revision | None) -> Iterable[Condition]:
    how = f"kubectl annotate --overwrite mlm {name} {metadata.APPROVE}={revision.digest}"
    message = f"{_name(revision)} waits for approval: {how}"
    if current:
        yield Condition("Ready", "True", "ApprovalPending", f"{_name(current)} is current; {message}")
    else:
        yield Condition("Ready", "False", "ApprovalPending", message)


def _name(revision: Revision) -> str:
    return f"version {revision.version} ({revision.digest[:19]})"


def _repairable(job: Object, seen: Observed) -> bool:
    """A Job's template cannot be changed: one made from another template (an older operator's) is left to finish."""
    there = next((j for j in seen.jobs if j["metadata"]["name"] == job["metadata"]["name"]), None)
    return there is None or metadata.desired_hash(there) == metadata.desired_hash(job)


def _retry_in(progress: Import, now: datetime) -> timedelta | None:
    if not progress.may_retry or progress.failed_at is None:
        return None
    return progress.failed_at + RETRY_AFTER - now


def _requeue(model: MLModel, *waits: timedelta | None) -> timedelta | None:
    soon = [wait for wait in waits if wait is not None and wait > timedelta(0)]
    if moving(model.spec.source.uri):
        soon.append(timedelta(seconds=model.spec.source.poll_seconds))
    return min(soon, default=None)
