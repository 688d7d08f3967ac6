"""A registry that is down, slow or talks nonsense: what serves goes on, a condition says why, and it passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.faultproxy import FaultProxy
from tests.faults import WRITES
from tests.kube import Kube, Object, condition, until
from tests.kubelet import digest_of, imports
from tests.life import Life, deployment, model
from tests.operators import Nest
from tests.registry import Registry

POLL_SECONDS = 5
# It is asked within one interval, answers or not within five seconds, and then the status is written.
NOTICED_SECONDS = 3 * POLL_SECONDS
MOODS = {
    "silent": ("RegistryUnreachable", "MLflow does not answer"),
    "page": ("RegistryConfused", "is the URL right?"),
    "number": ("RegistryConfused", "is the URL right?"),
    "broken": ("RegistryUnreachable", "MLflow answers HTTP 500"),
    "refusing": ("RegistryForbidden", "Permission denied"),
    "forgetful": ("SourceNotFound", "register it or set the alias"),
}


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


def followed(namespace: str, name: str) -> Object:
    obj = model(namespace, name)
    obj["spec"]["source"] = {"uri": f"models:/{name}@champion", "pollSeconds": POLL_SECONDS}
    return obj


async def resolved(kube: Kube, namespace: str, name: str, status: str, seconds: float = NOTICED_SECONDS) -> Object:
    """Wait until the condition has this status; the MLModel then."""

    async def check() -> Object | None:
        obj = await kube.get("MLModel", namespace, name)
        return obj if obj is not None and condition(obj, "Resolved").get("status") == status else None

    found = await until(check, seconds, f"{name}: Resolved={status}")
    assert found is not None
    return found


async def test_what_serves_goes_on_whatever_the_registry_says(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, registry: Registry
) -> None:
    nest.start(proxy, namespace, settings={"TRIMTAB_MLFLOW_TRACKING_URI": registry.url})
    registry.aliases = {f"{mood}@champion": 1 for mood in MOODS}
    async with imports(kube):
        for mood in MOODS:
            await kube.create(followed(namespace, mood))
            await kube.create(deployment(namespace, f"on-{mood}", mood))
        lives = {mood: Life(kube, namespace, mood, f"on-{mood}") for mood in MOODS}
        await asyncio.gather(*(life.settled(version=1, pods=2) for life in lives.values()))
        before = len(proxy.calls())
        registry.moods = {mood: mood for mood in MOODS if mood != "forgetful"}
        del registry.aliases["forgetful@champion"]
        await asyncio.gather(*(_wrong(kube, namespace, mood) for mood in MOODS))
        writes = [r.call for r in proxy.calls()[before:] if r.call.verb in WRITES]
        assert {call.resource for call in writes} <= {"leases", "mlmodels"}, (
            "nothing but what the models say of themselves"
        )
        # Nothing that needs no answer waits for one.
        await lives["silent"].scale(3, version=1)
        registry.moods = {}
        registry.aliases = {f"{mood}@champion": 2 for mood in MOODS}
        await asyncio.gather(
            *(life.settled(version=2, pods=3 if mood == "silent" else 2) for mood, life in lives.items())
        )


async def _wrong(kube: Kube, namespace: str, mood: str) -> None:
    """The condition says what is wrong; the model is what it was."""
    obj = await resolved(kube, namespace, mood, "False")
    reason, words = MOODS[mood]
    verdict = condition(obj, "Resolved")
    assert verdict["reason"] == reason, verdict
    assert words in verdict["message"], verdict
    ready = condition(obj, "Ready")
    assert (ready["status"], words in ready["message"]) == ("True", True), ready
    assert obj["status"]["current"] == digest_of(f"models:/{mood}/1")


async def test_a_registry_that_is_down_is_waited_for(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, registry: Registry
) -> None:
    registry.aliases["m@champion"] = 1
    registry.down()
    nest.start(proxy, namespace, settings={"TRIMTAB_MLFLOW_TRACKING_URI": registry.url})
    await kube.create(followed(namespace, "m"))
    await kube.create(deployment(namespace))
    obj = await resolved(kube, namespace, "m", "False")
    assert condition(obj, "Resolved")["reason"] == condition(obj, "Ready")["reason"] == "RegistryUnreachable"
    assert condition(obj, "Ready")["status"] == "False"
    assert not condition(obj, "Stalled"), "waiting helps"
    registry.up()
    async with imports(kube):
        await Life(kube, namespace).settled(version=1, pods=2)


async def test_a_slow_registry_delays_nobody_else(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, registry: Registry
) -> None:
    """Forty models that get no answer, and then a deployment and a model that need none."""
    nest.start(proxy, namespace, settings={"TRIMTAB_MLFLOW_TRACKING_URI": registry.url})
    registry.moods = {f"slow-{n}": "silent" for n in range(40)}
    async with imports(kube):
        await kube.create(model(namespace, "other"))
        await resolved(kube, namespace, "other", "True")
        await asyncio.gather(*(kube.create(followed(namespace, name)) for name in registry.moods))

        async def asked() -> bool:
            return len(registry.asked) >= 4

        await until(asked, 10, "the registry was asked")
        started = time.monotonic()
        await kube.create(deployment(namespace, "d", "other"))
        await Life(kube, namespace, "other").settled(version=1, pods=2)
        assert time.monotonic() - started < 10
        for n in range(3):
            started = time.monotonic()
            await kube.create(model(namespace, f"direct-{n}"))
            await resolved(kube, namespace, f"direct-{n}", "True")
            assert time.monotonic() - started < 7.5, "longer than one question may take"
        await asyncio.gather(*(resolved(kube, namespace, name, "False", 30) for name in registry.moods))
