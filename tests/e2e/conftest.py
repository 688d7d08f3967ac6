"""The real cluster with Trimtab installed, and a namespace of its own for each test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from hack import images
from hack.cluster import engine, kubectl
from hack.demo import release
from hack.demo.stage import Stage
from tests.e2e import backends

SHARED = "e2e-tumour"
CHANNELS = "e2e-channels"
INBOX = "e2e-inbox"
"""The only channel's name, and the namespace of who listens to it."""


def install(full_names: Mapping[str, str]) -> None:
    """Install or upgrade with these images, and with one channel for messages."""
    release.restricted(release.NAMESPACE)
    url = f"json://{backends.INBOX}.{INBOX}.svc:8000/"
    backends.secret(Stage(release.NAMESPACE, ""), CHANNELS, {INBOX: url})
    release.install(full_names, f"notifications.secretName={CHANNELS}", "notifications.ports={8000}")


@pytest.fixture(scope="session", autouse=True)
def installed() -> dict[str, str]:
    """The release made from this checkout (its images); quick when `make demo` was here before."""
    engine.up()
    built = images.build_all()
    install(built)
    return built


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A namespace that enforces the restricted Pod Security Standard, gone after the test."""
    name = "e2e-" + re.sub("[^a-z0-9]+", "-", request.node.name.lower())[5:45].strip("-")
    kubectl.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait", timeout=120)
    release.restricted(name)
    yield Stage(name, SHARED)
    kubectl.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def versions(installed: dict[str, str]) -> dict[str, str]:
    """Two versions of one registered model, trained in the cluster: kind of model → version."""
    release.restricted("e2e-training")
    trainer = Stage("e2e-training", SHARED)
    return {kind: str(trainer.train(kind, "--alias", kind)["version"]) for kind in ("logistic", "forest")}
