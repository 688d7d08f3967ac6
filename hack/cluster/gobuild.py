"""Builds the cluster's programs from Go modules, where no release site can be reached."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from hack.cluster import paths
from hack.cluster.catalog import KUBERNETES, TOOLS_MODULE, Program, catalog
from hack.command import Failure, run_logged

_TIMEOUT_SECONDS = 3600
_STRIP = ("-s", "-w")


def build_shared(programs: Iterable[Program], into: Path) -> Iterator[tuple[Program, Path]]:
    """Build programs of `hack/tools` in one go, since they share most packages; yields each with its file."""
    wanted = list(programs)
    packages = [program.package for program in wanted]
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(version_flags())]
    _go(["build", *flags, "-o", f"{into}/", *packages], "go-build", cwd=TOOLS_MODULE)
    for program in wanted:
        yield program, into / program.built_as


def build_alone(program: Program, into: Path) -> Path:
    """Build a program that is a module of its own."""
    what = f"{program.package}@{program.version}"
    _go(["install", "-trimpath", "-ldflags", " ".join(_STRIP), what], f"go-{program.name}", GOBIN=str(into))
    return into / program.built_as


def version_flags() -> list[str]:
    """Return the linker flags that tell programs their own version.

    Without them the API server calls itself v0.0.0, and Helm judges a chart's `kubeVersion` against Kubernetes 1.20.
    """
    kubernetes, helm = catalog()["kube-apiserver"].version, catalog()["helm"].version
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    base = "k8s.io/component-base/version"
    values = {
        f"{base}.gitVersion": kubernetes,
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        f"{base}.gitTreeState": "clean",
        "helm.sh/helm/v3/internal/version.version": helm,
    }
    for package in ("pkg/chartutil", "pkg/lint/rules"):
        values[f"helm.sh/helm/v3/{package}.k8sVersionMajor"] = major
        values[f"helm.sh/helm/v3/{package}.k8sVersionMinor"] = minor
    return [*_STRIP, *(f"-X {name}={value}" for name, value in values.items())]


def _go(arguments: list[str], log: str, cwd: Path | None = None, **env: str) -> None:
    go = shutil.which("go")
    if go is None:
        raise Failure(
            f"the release sites cannot be reached and there is no `go` in PATH to build {KUBERNETES} from modules: "
            "install Go 1.21 or later (it fetches the version it needs), or connect to the network"
        )
    environment = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", **env}
    run_logged([go, *arguments], paths.LOGS / f"{log}.log", env=environment, cwd=cwd, timeout=_TIMEOUT_SECONDS)
