"""The Pod Security Standard "restricted", and what this project asks beyond it, as a list of violations.

The API server enforces the standard in the end-to-end tests; this says the same about a manifest in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
CONFINED = {"RuntimeDefault", "Localhost"}
Spec = Mapping[str, Any]


def violations(pod: Spec) -> list[str]:
    """Each way in which a pod's spec falls short, with the place; empty when it passes."""
    found = [*_pod(pod)]
    for group in ("initContainers", "containers"):
        for container in pod.get(group, []):
            found += [f"{group}/{container['name']}: {text}" for text in _container(container, pod)]
    return found


def _pod(pod: Spec) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    if pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls are set"
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds or not kinds <= VOLUMES:
            yield f"volume {volume['name']} is of kind {', '.join(sorted(kinds)) or '(none)'}"
    if not pod.get("containers"):
        yield "there is no container"
    if pod.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is not false"


def _container(container: Spec, pod: Spec) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "the root file system can be written"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is not Default"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "a hostPort is used"
    yield from _capabilities(own.get("capabilities", {}))
    yield from _confinement({**pod.get("securityContext", {}), **own})
    yield from _resources(container.get("resources", {}))


def _confinement(context: Spec) -> Iterator[str]:
    """What a container may set itself or have from its pod."""
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if not isinstance(context.get("runAsUser"), int) or context["runAsUser"] == 0:
        yield f"runAsUser is {context.get('runAsUser')}, not a number above 0"
    if (context.get("seccompProfile") or {}).get("type") not in CONFINED:
        yield "there is no seccomp profile"
    if (context.get("appArmorProfile") or {"type": "RuntimeDefault"}).get("type") not in CONFINED:
        yield "AppArmor is off"


def _capabilities(capabilities: Spec) -> Iterator[str]:
    if "ALL" not in capabilities.get("drop", []):
        yield "not all capabilities are dropped"
    extra = set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}
    if extra:
        yield f"capabilities are added: {', '.join(sorted(extra))}"


def _resources(resources: Spec) -> Iterator[str]:
    missing = {"cpu", "memory"} - set(resources.get("requests", {}))
    if missing:
        yield f"requests lack {' and '.join(sorted(missing))}"
    if "memory" not in resources.get("limits", {}):
        yield "there is no memory limit"
