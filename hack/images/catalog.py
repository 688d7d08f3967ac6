"""The project's images: where each is described, what goes into it, how it is called.

An image's tag is the digest of everything that goes into it. So a Pod's image changes exactly when its content does,
nothing is built or loaded twice, and `imagePullPolicy: IfNotPresent` is always right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import paths
from hack.command import Failure

REGISTRY = "localhost"
_EPOCH = 1577836800
"""Modification time of every staged file (2020-01-01): builders count it as content, and a checkout changes it."""
_NO_SOURCE = ("__pycache__", ".mypy_cache", ".ruff_cache")


@dataclass(frozen=True)
class Image:
    """One image. Paths are relative to the repository; `helm` is the chart value that holds its repository and tag."""

    name: str
    helm: str
    containerfile: str
    target: str
    requirements: str
    sources: tuple[str, ...]

    @property
    def repository(self) -> str:
        """The image's name without its tag."""
        return f"{REGISTRY}/{self.name}"


_SERVING = "serving-image/Containerfile"
IMAGES = {
    image.name: image
    for image in (
        Image(
            "trimtab-operator",
            "image",
            "operator/Containerfile",
            "",
            "requirements/operator.txt",
            ("operator/trimtab",),
        ),
        Image(
            "trimtab-server",
            "servingImage",
            _SERVING,
            "server",
            "serving-image/requirements/server.txt",
            ("serving-image/trimtab_serving",),
        ),
        Image(
            "trimtab-toolbox",
            "toolboxImage",
            _SERVING,
            "toolbox",
            "serving-image/requirements/toolbox.txt",
            ("serving-image/trimtab_serving", "serving-image/trimtab_toolbox"),
        ),
        Image("trimtab-router", "router.image", "router/Containerfile", "", "requirements/router.txt", ()),
    )
}


def select(names: tuple[str, ...]) -> list[Image]:
    """Return the images of these names, with or without `trimtab-` in front; all of them for no name."""
    chosen = []
    for name in names or tuple(IMAGES):
        full = name if name.startswith("trimtab-") else f"trimtab-{name}"
        if full not in IMAGES:
            raise Failure(f"no image {name!r}: there are {', '.join(IMAGES)}")
        chosen.append(IMAGES[full])
    return chosen


def reference(image: Image, base: str, root: Path = paths.REPOSITORY) -> str:
    """Return an image's full name: its repository, and as tag the digest of its inputs and of the base below it."""
    digest = hashlib.sha256(f"{image.target}\0{base}".encode())
    for path in inputs(image, root):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return f"{image.repository}:{digest.hexdigest()[:16]}"


def inputs(image: Image, root: Path = paths.REPOSITORY) -> Iterator[Path]:
    """Yield the files that go into an image, sorted by path."""
    for name in sorted((image.containerfile, image.requirements, *image.sources)):
        path = root / name
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _walk(path)
        else:
            raise Failure(f"{image.name} needs {path}, which does not exist")


def stage(image: Image, into: Path, root: Path = paths.REPOSITORY) -> None:
    """Copy an image's inputs, and nothing else, to a build context with the repository's layout."""
    for path in inputs(image, root):
        target = into / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o644)
        os.utime(target, (_EPOCH, _EPOCH))
    for folder, _, _ in os.walk(into):
        Path(folder).chmod(0o755)
        os.utime(folder, (_EPOCH, _EPOCH))


def _walk(folder: Path) -> Iterator[Path]:
    for current, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NO_SOURCE)
        yield from (Path(current) / name for name in sorted(files) if not name.endswith(".pyc"))
