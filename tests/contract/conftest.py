"""Servers that other people wrote, and that the contract tests start: installed where they are missing."""

from __future__ import annotations

import pytest

from hack.cluster import packages

SERVERS = {
    "postgresql": "pg_ctlcluster",
    "docker-registry": "docker-registry",
    "prometheus": "promtool",
    "prometheus-alertmanager": "prometheus-alertmanager",
}


@pytest.fixture(scope="session", autouse=True)
def servers() -> None:
    """A database, an image registry, and what watches over clusters, from Debian."""
    packages.install_missing(SERVERS)
