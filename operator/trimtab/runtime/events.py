"""Kubernetes Events for people, one per transition.

The name is a hash of what is said about whom, so saying it twice is a conflict that means "already said", and an
operator that restarts in the middle repeats nothing.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from trimtab.core.metadata import fingerprint
from trimtab.core.objects import GROUP, Object, Resource
from trimtab.core.plan import Event
from trimtab.runtime.cluster import ApiError, Cluster

EVENT = Resource("events.k8s.io/v1", "Event", "events")
log = logging.getLogger(__name__)


async def emit(cluster: Cluster, obj: Object, event: Event, instance: str) -> None:
    """Publish one event about an object. Losing one is worth a log line, not a retry."""
    meta = obj["metadata"]
    said = fingerprint([meta["uid"], meta["generation"], event.reason, event.note], 16)
    regarding = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": meta["name"],
        "namespace": meta["namespace"],
        "uid": meta["uid"],
    }
    body = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{meta['name']}.{said}", "namespace": meta["namespace"]},
        "regarding": regarding,
        "type": event.type,
        "reason": event.reason,
        "note": event.note,
        "action": "Reconcile",
        "reportingController": f"{GROUP}/operator",
        "reportingInstance": instance[:128],
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    try:
        await cluster.create(EVENT, meta["namespace"], body)
    except ApiError as error:
        if not error.conflict:
            log.warning("an event was not published", extra={"reason": event.reason, "error": str(error)})
