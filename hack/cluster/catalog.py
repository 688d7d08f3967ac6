"""The programs of the local cluster, at exactly one version each, and where each can be had.

Versions come from `hack/tools/go.mod`, which is also what builds them; the few that need newer Kubernetes libraries
than the rest cannot share that module and are pinned here.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from functools import cache

from hack.cluster import paths
from hack.command import Failure

TOOLS_MODULE = paths.REPOSITORY / "hack" / "tools"
KUBERNETES = "k8s.io/kubernetes"
_DL = "https://dl.k8s.io/release/{version}/bin/linux/{arch}/{name}"
_GITHUB = "https://github.com/{repository}/releases/download/{{version}}/"
_KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)


@dataclass(frozen=True)
class Release:
    """An official download: a program or an archive with it inside, and the file that lists its sha256."""

    url: str
    checksums: str
    member: str = ""


@dataclass(frozen=True)
class Program:
    """One program: its name, version, the Go package that is its source, and its release if there is one.

    `shared` programs are built together from `hack/tools`; the others stand alone (`go install package@version`).
    """

    name: str
    version: str
    package: str
    shared: bool
    release: Release | None = None

    @property
    def built_as(self) -> str:
        """The file name the Go tool gives it: the last part of the package's path that is not a major version."""
        parts = self.package.split("/")
        return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


@dataclass(frozen=True)
class NodePackage:
    """A program from npm: its package and version, and the day (ISO 8601) after which no dependency may be younger."""

    name: str
    version: str
    before: str


AZURITE = NodePackage("azurite", "3.35.0", "2025-11-01")
"""Azure's own storage server for tests. Later versions want Node.js 21, where Debian 12 and 13 have 18 and 20."""


def pinned(module: str, go_mod: str) -> str:
    """Return the version that the text of a go.mod requires of `module`."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise Failure(f"{TOOLS_MODULE / 'go.mod'} does not require {module}: run `go mod tidy` there")
    return found[1]


@cache
def catalog() -> dict[str, Program]:
    """Return every program by name."""
    go_mod = (TOOLS_MODULE / "go.mod").read_text()
    kubernetes = pinned(KUBERNETES, go_mod)
    programs = [
        Program(name, kubernetes, f"{KUBERNETES}/cmd/{name}", True, _release(_DL, kubernetes, name, ".sha256"))
        for name in _KUBERNETES_PROGRAMS
    ]
    programs += [_etcd(go_mod), _coredns(go_mod), _helm(go_mod), _kind()]
    programs += [
        Program("metrics-server", "v0.9.0", "sigs.k8s.io/metrics-server/cmd/metrics-server", False),
        Program("kwok", "v0.8.0", "sigs.k8s.io/kwok/cmd/kwok", False),
        Program("versitygw", "v1.8.0", "github.com/versity/versitygw/cmd/versitygw", False),
        Program("fake-gcs-server", "v1.56.1", "github.com/fsouza/fake-gcs-server", False),
        Program("actionlint", "v1.7.8", "github.com/rhysd/actionlint/cmd/actionlint", False),
    ]
    return {program.name: program for program in programs}


def architecture() -> str:
    """Return this machine's architecture as Go and the release sites name it."""
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    machine = platform.machine()
    if machine not in known:
        raise Failure(f"the local cluster runs on {' and '.join(known)}, not on {machine}")
    return known[machine]


def _etcd(go_mod: str) -> Program:
    module = "go.etcd.io/etcd/server/v3"
    version = pinned(module, go_mod)
    base = _GITHUB.format(repository="etcd-io/etcd")
    archive = f"etcd-{version}-linux-{architecture()}"
    release = Release(f"{base}{archive}.tar.gz".format(version=version), f"{base}SHA256SUMS".format(version=version))
    return Program("etcd", version, module, True, Release(release.url, release.checksums, f"{archive}/etcd"))


def _coredns(go_mod: str) -> Program:
    module = "github.com/coredns/coredns"
    version = pinned(module, go_mod)
    url = _GITHUB.format(repository="coredns/coredns") + f"coredns_{version[1:]}_linux_{{arch}}.tgz"
    return Program("coredns", version, module, True, _release(url, version, "coredns", ".sha256", "coredns"))


def _helm(go_mod: str) -> Program:
    version = pinned("helm.sh/helm/v3", go_mod)
    url = "https://get.helm.sh/helm-{version}-linux-{arch}.tar.gz"
    release = _release(url, version, "helm", ".sha256sum", f"linux-{architecture()}/helm")
    return Program("helm", version, "helm.sh/helm/v3/cmd/helm", True, release)


def _kind() -> Program:
    # The version belongs together with the node image in kind.py: an image is only promised to work with its release.
    version = "v0.33.0"
    url = _GITHUB.format(repository="kubernetes-sigs/kind") + "kind-linux-{arch}"
    return Program("kind", version, "sigs.k8s.io/kind", False, _release(url, version, "kind", ".sha256sum"))


def _release(template: str, version: str, name: str, checksums: str, member: str = "") -> Release:
    url = template.format(version=version, arch=architecture(), name=name)
    return Release(url, url + checksums, member)
