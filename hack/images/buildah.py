"""Builds images with buildah: no daemon, no privileges beyond root's, its layers in the project's own cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hack.cluster import paths
from hack.command import run, run_logged

_BUILD_SECONDS = 3600
_PUSH_SECONDS = 600
_CERTIFICATES = Path("/etc/ssl/certs")
_PIP_CONFIGURATIONS = (Path("/etc/pip.conf"), Path("~/.config/pip/pip.conf").expanduser())
_STORAGE = ("--root", str(paths.BUILDAH / "root"), "--runroot", str(paths.BUILDAH / "run"))


def has(reference: str) -> bool:
    """Say whether an image has been built."""
    return bool(run(["buildah", *_STORAGE, "images", "--quiet", "--filter", f"reference={reference}"]).strip())


def build(
    containerfile: Path,
    context: Path,
    reference: str,
    *,
    log: str,
    target: str = "",
    arguments: Mapping[str, str] | None = None,
) -> None:
    """Build an image; unchanged layers are reused. The output goes to the log of that name."""
    # `chroot` isolation: a build inside a container or a small VM may not make the namespaces that others need.
    argv = ["buildah", *_STORAGE, "build", "--isolation", "chroot", "--layers", "--pull-never"]
    for source, inside in _mounts():
        argv += ["--volume", f"{source}:{inside}:ro"]
    for name, value in (arguments or {}).items():
        argv += ["--build-arg", f"{name}={value}"]
    argv += ["--target", target] if target else []
    argv += ["--file", str(containerfile), "--tag", reference, str(context)]
    run_logged(argv, paths.LOGS / f"{log}.log", timeout=_BUILD_SECONDS)


def save(reference: str, archive: Path) -> None:
    """Write an image as a `docker save` archive."""
    run(["buildah", *_STORAGE, "push", reference, f"docker-archive:{archive}:{reference}"], timeout=_PUSH_SECONDS)


def clear_leftovers() -> None:
    """Remove the working containers of builds that were killed; ours alone, since the storage is ours alone."""
    run(["buildah", *_STORAGE, "rm", "--all"], check=False)


def _mounts() -> list[tuple[Path, str]]:
    """Return what pip needs from this machine to reach an index as we do: authorities, and where the index is.

    As mounts, not build arguments: those are recorded in the image, and an index address may carry a password.
    """
    mounts = [(_CERTIFICATES, str(_CERTIFICATES))] if _CERTIFICATES.is_dir() else []
    pip = [path for path in _PIP_CONFIGURATIONS if path.is_file()]
    return mounts + [(path, "/etc/pip.conf") for path in pip[-1:]]
