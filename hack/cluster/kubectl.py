"""kubectl, against the local cluster and no other."""

from __future__ import annotations

import json
import time
from typing import Any

from hack.cluster import binaries, paths
from hack.command import Failure, run

_INTERVAL_SECONDS = 0.2


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 60, check: bool = True) -> str:
    """Run kubectl and return what it prints; `timeout` in seconds."""
    program = binaries.ensure("kubectl")["kubectl"]
    # KUBECONFIG is passed as a flag: a flag cannot be overridden by whatever the user's environment points at.
    return run([program, f"--kubeconfig={paths.KUBECONFIG}", *arguments], stdin=stdin, timeout=timeout, check=check)


def read(*arguments: str) -> Any:
    """Run `kubectl get … -o json` and return the parsed answer."""
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def apply(manifest: str) -> None:
    """Apply YAML or JSON server-side under one field manager, taking over fields from earlier versions of itself."""
    flags = ("--server-side", "--force-conflicts", "--field-manager=trimtab-hack")
    kubectl("apply", *flags, "-f", "-", stdin=manifest)


def wait_for(*arguments: str, seconds: float) -> None:
    """Wait until `kubectl get` of the arguments prints something, then return."""
    deadline = time.monotonic() + seconds
    while not kubectl("get", "--ignore-not-found", *arguments, check=False).strip():
        if time.monotonic() > deadline:
            raise Failure(f"`kubectl get {' '.join(arguments)}` still found nothing after {seconds:.0f} s")
        time.sleep(_INTERVAL_SECONDS)
