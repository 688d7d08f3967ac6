"""The part of a kubelet that KWOK does not play: Jobs end, and their pods have last words.

What a real import would print is what docs/contract.md promises; everything else about the pods (creation, scheduling,
the Job's verdict) is the control plane's own work.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import aiohttp

from tests.kube import Kube, Object, RefusedError

IMPORTS = "app.kubernetes.io/component=import"
LastWords = Callable[[Object], tuple[int, Object]]


def digest_of(uri: str) -> str:
    """The digest of the bundle that an import of this reference makes."""
    return "sha256:" + hashlib.sha256(uri.encode()).hexdigest()


def succeed(pod: Object) -> tuple[int, Object]:
    """The exit code and last words of an import that worked."""
    tensor = {"datatype": "FP32", "shape": [-1, 4]}
    words = {
        "schema": 1,
        "digest": digest_of(source(pod)),
        "format": "MLflow",
        "flavor": "sklearn",
        "runtime": "onnx",
        "parity": {"rows": 100, "maxAbsDiff": "1e-7", "mismatchPercent": "0"},
        "inputs": [{"name": "input", **tensor}],
        "outputs": [{"name": "output", **tensor}],
        "sizeBytes": 1234,
    }
    return 0, words


def source(pod: Object) -> str:
    """The reference that a pod was told to import."""
    return variable(pod, "TRIMTAB_SOURCE_URI")


def variable(pod: Object, name: str) -> str:
    """What the first container of a pod was told."""
    entries = pod["spec"]["containers"][0]["env"]
    return next(str(entry["value"]) for entry in entries if entry["name"] == name)


@contextlib.asynccontextmanager
async def imports(kube: Kube, words: LastWords = succeed, selector: str = IMPORTS) -> AsyncIterator[None]:
    """End the pods of all import Jobs, or of others, as long as the context lasts."""
    task = asyncio.create_task(_end_all(kube, words, selector))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error


async def _end_all(kube: Kube, words: LastWords, selector: str) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientError):  # the API server is being restarted
            async with await kube.events("Pod", selector) as watch:
                async for line in watch.content:
                    event = json.loads(line)
                    if event["type"] in ("ADDED", "MODIFIED"):
                        await _end(kube, event["object"], words)
        await asyncio.sleep(0.1)


async def _end(kube: Kube, pod: Object, words: LastWords) -> None:
    meta = pod["metadata"]
    if pod.get("status", {}).get("phase") != "Running" or "deletionTimestamp" in meta:
        return
    code, message = words(pod)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    terminated = {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "message": json.dumps(message),
        "startedAt": now,
        "finishedAt": now,
    }
    statuses = [
        {**item, "ready": False, "state": {"terminated": terminated}} for item in pod["status"]["containerStatuses"]
    ]
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": now}
    others = [item for item in pod["status"]["conditions"] if item["type"] != "Ready"]
    change = {
        "status": {
            "phase": "Failed" if code else "Succeeded",
            "conditions": [*others, ready],
            "containerStatuses": statuses,
        }
    }
    with contextlib.suppress(RefusedError):  # the pod was deleted meanwhile
        await kube.patch("Pod", meta["namespace"], meta["name"], change, sub="status", manager="kubelet")
