"""Servers that other people wrote, and that the contract tests start: installed where they are missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hack.cluster import packages
from tests.mlflow_server import mlflow_server
from tests.prometheus import PACKAGES

SERVERS = {
    "postgresql": "pg_ctlcluster",
    "docker-registry": "docker-registry",
    **PACKAGES,
}


@pytest.fixture(scope="session", autouse=True)
def servers() -> None:
    """A database, an image registry, and what watches over clusters, from Debian."""
    packages.install_missing(SERVERS)


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One MLflow for all tests that use names of their own in it and leave it alive."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri
