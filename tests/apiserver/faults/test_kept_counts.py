"""The windows of drift outlive operators: one that ends, one that is killed, and one that takes over.

The API server, the Lease and all operators are real; the pods' counts are told by this test. A week is 2,016 periods of
5 seconds, and rows are so few that it is always the longest window that status tells of.
"""

from __future__ import annotations

import base64
import zlib

from tests.apiserver.faults.test_handover import pair
from tests.counting_pods import CountingPods
from tests.faultproxy import FaultProxy
from tests.kube import Kube, Object, until
from tests.kubelet import imports
from tests.life import deployment, model
from tests.operators import Nest
from trimtab.runtime.archive import ABOUT, KEY, SELECTOR

PERIOD = 5
WEEK = 2_016 * PERIOD


async def test_whoever_takes_over_has_the_rows_from_before_each_once(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    pods = CountingPods(kube, namespace)
    async with imports(kube), pods.alive(), pair(nest, proxy, namespace) as (first, second):
        await kube.create(model(namespace))
        await kube.create(deployment(namespace, monitoring={"drift": {"periodSeconds": PERIOD}}))
        await pods.looked_at_twice()
        pods.count(40)
        await until(lambda: _rows(kube, namespace, 80), 60, "the first one has counted")
        assert await first.stop() == 0
        (kept,) = await kube.list("ConfigMap", namespace, SELECTOR)
        assert kept["metadata"]["annotations"][ABOUT] == f"{namespace}/d"
        await second.said('"leading"')
        pods.count(5)
        await until(lambda: _rows(kube, namespace, 90), 60, "the second one goes on")
        third = nest.start(proxy, namespace, caller=nest.caller("third"), settings={"TRIMTAB_LEASE_RETRY_SECONDS": "1"})
        second.kill()
        pods.count(5)
        await third.said('"leading"')
        await pods.looked_at_twice()
        # What was counted meanwhile belongs to a time that status has been told of; the next rows make it look again.
        pods.count(1)
        await until(lambda: _rows(kube, namespace, 102), 60, "the third one counts again what the second had not kept")
        assert await third.stop() == 0
        records = [r for r in proxy.calls(resource="configmaps") if r.call.verb not in ("get", "list")]
        assert [(r.call.caller, r.call.verb) for r in records] == [(first.caller, "create"), (third.caller, "update")]


async def test_a_document_that_is_of_no_use_is_told_of_and_written_anew(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    pods = CountingPods(kube, namespace)
    async with imports(kube), pods.alive():
        await kube.create(model(namespace))
        await kube.create(deployment(namespace, monitoring={"drift": {"periodSeconds": PERIOD}}))
        operator = nest.start(proxy, namespace)
        await pods.looked_at_twice()
        pods.count(40)
        await pods.looked_at_twice()
        assert await operator.stop() == 0
        (kept,) = await kube.list("ConfigMap", namespace, SELECTOR)
        older = zlib.compress(b'{"schema": 0}')
        change = {"binaryData": {KEY: base64.b64encode(older).decode()}}
        await kube.patch("ConfigMap", namespace, kept["metadata"]["name"], change)
        operator = nest.start(proxy, namespace)
        await operator.said("the document of a deployment's counts is of no use")
        await pods.looked_at_twice()
        pods.count(7)
        await until(lambda: _rows(kube, namespace, 14), 60, "the windows begin anew")
        assert await operator.stop() == 0
        (again,) = await kube.list("ConfigMap", namespace, SELECTOR)
        assert again["binaryData"][KEY] not in (kept["binaryData"][KEY], change["binaryData"][KEY])


async def _rows(kube: Kube, namespace: str, rows: int) -> bool:
    """Whether the longest window has exactly so many rows; never more."""
    obj: Object = await kube.get("ModelDeployment", namespace, "d") or {}
    drift = obj.get("status", {}).get("drift", {})
    assert drift.get("rows", 0) <= rows, "rows are counted twice"
    assert (drift.get("rows"), drift.get("windowSeconds")) == (rows, WEEK), drift
    return True
