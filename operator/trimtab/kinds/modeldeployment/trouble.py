"""What keeps the pods of one revision from running, by their own words, their Deployment's, or its patience."""

from __future__ import annotations

from trimtab.core import metadata, pods
from trimtab.core.objects import condition
from trimtab.core.pods import Trouble
from trimtab.kinds.modeldeployment.observe import Observed


def trouble(seen: Observed, revision: str) -> Trouble | None:
    """The most telling trouble of a revision, or None."""
    # A pod that failed as a whole was evicted: another took its place, and its words are of yesterday.
    alive = (pod for pod in seen.pods if pod["status"].get("phase") not in ("Failed", "Succeeded"))
    own = [pod for pod in alive if pod["metadata"]["labels"].get(metadata.REVISION) == revision]
    workload = dict(seen.deployment(revision))
    found = [item for item in (pods.trouble(own), pods.refusal(workload)) if item]
    if found:
        return min(found, key=lambda item: item.rank)
    if late(seen, revision):
        message = condition(workload, "Progressing").get("message", "the pods were not ready in time")
        return Trouble(9, "ProgressDeadlineExceeded", message)
    return None


def late(seen: Observed, revision: str) -> bool:
    """Whether the Deployment of a revision gave up waiting for its pods."""
    return condition(seen.deployment(revision), "Progressing").get("reason") == "ProgressDeadlineExceeded"
