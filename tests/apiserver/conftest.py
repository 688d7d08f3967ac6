"""Real control planes for the tests of this folder, each started once and only when asked for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.controlplane import ControlPlane


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """etcd and an API server with the project's definitions; nothing acts on what is stored."""
    control_plane = ControlPlane.start()
    try:
        control_plane.install_crds()
        yield control_plane
    finally:
        control_plane.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    """The same with controllers, scheduler and a pretended node: Deployments come to life, Jobs get pods."""
    control_plane = ControlPlane.start(controllers=True, kwok=True)
    try:
        control_plane.install_crds()
        yield control_plane
    finally:
        control_plane.stop()


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace of the test's own in `plane`; nobody deletes it, because nothing there could."""
    return _namespace(plane)


@pytest.fixture
def cluster_namespace(cluster: ControlPlane) -> str:
    """A namespace of the test's own in `cluster`."""
    return _namespace(cluster)


def _namespace(control_plane: ControlPlane) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    made = control_plane.kubectl("create", "namespace", name)
    assert made.returncode == 0, made.stderr
    return name
