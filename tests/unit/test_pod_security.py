"""The checker of pod security sees each single weakening of a pod that passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.pod_security import violations

GOOD: dict[str, Any] = {
    "enableServiceLinks": False,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "server",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def container(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: pod["containers"][0].update(changes)


def own(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: pod["containers"][0]["securityContext"].update(changes)


def shared(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: pod["securityContext"].update(changes)


def top(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: pod.update(changes)


def test_a_good_pod_passes() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("weaken", "word"),
    [
        (top(hostNetwork=True), "hostNetwork"),
        (top(hostPID=True), "hostPID"),
        (top(hostIPC=True), "hostIPC"),
        (top(enableServiceLinks=True), "enableServiceLinks"),
        (top(containers=[]), "no container"),
        (top(volumes=[{"name": "x", "hostPath": {"path": "/"}}]), "hostPath"),
        (top(volumes=[{"name": "x"}]), "(none)"),
        (shared(sysctls=[{"name": "a", "value": "b"}]), "sysctls"),
        (shared(runAsNonRoot=False), "runAsNonRoot"),
        (shared(runAsUser=0), "runAsUser is 0"),
        (shared(runAsUser=None), "runAsUser is None"),
        (shared(seccompProfile={"type": "Unconfined"}), "seccomp"),
        (shared(seccompProfile=None), "seccomp"),
        (shared(appArmorProfile={"type": "Unconfined"}), "AppArmor"),
        (own(runAsUser=0), "runAsUser is 0"),
        (own(seccompProfile={"type": "Unconfined"}), "seccomp"),
        (own(privileged=True), "privileged"),
        (own(allowPrivilegeEscalation=True), "allowPrivilegeEscalation"),
        (own(readOnlyRootFilesystem=False), "root file system"),
        (own(procMount="Unmasked"), "procMount"),
        (own(capabilities={}), "dropped"),
        (own(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "SYS_ADMIN"),
        (container(ports=[{"containerPort": 1, "hostPort": 1}]), "hostPort"),
        (container(resources={"requests": {"cpu": "1", "memory": "1"}}), "memory limit"),
        (container(resources={"limits": {"memory": "1"}}), "cpu and memory"),
    ],
)
def test_each_weakening_is_seen(weaken: Callable[[dict[str, Any]], None], word: str) -> None:
    pod = copy.deepcopy(GOOD)
    weaken(pod)
    found = violations(pod)
    assert len(found) == 1
    assert word in found[0]


def test_init_containers_count_too() -> None:
    pod = copy.deepcopy(GOOD)
    pod["initContainers"] = [{"name": "fetch"}]
    assert [text for text in violations(pod) if text.startswith("initContainers/fetch")]
