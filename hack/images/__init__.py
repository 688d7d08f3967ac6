"""Builds the project's images and gives them to the local cluster.

references = build_all()          # {"trimtab-operator": "localhost/trimtab-operator:<digest>", ...}
arguments = helm_arguments(references)
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from hack.cluster import containerd, engine, kind, paths
from hack.exclusive import exclusive
from hack.images import base, buildah, docker
from hack.images.catalog import IMAGES, Image, reference, select, stage
from hack.progress import step

__all__ = ["IMAGES", "build", "build_all", "helm_arguments", "load", "references", "select"]

_LOCK = paths.CACHE / "images.lock"
_SCRATCH = "load-"


def references(images: Iterable[Image] = tuple(IMAGES.values())) -> dict[str, str]:
    """Return the full name each image has, or will have when it is built from the present sources."""
    return {image.name: reference(image, _below()) for image in images}


def build_all() -> dict[str, str]:
    """Build what has changed and, if a local cluster runs, load it there; returns the images' full names.

    Quick when nothing changed. Prints nothing but progress.
    """
    built = build(IMAGES.values())
    if engine.current() is not None:
        load(built.values())
    return built


def build(images: Iterable[Image]) -> dict[str, str]:
    """Build those images that neither the builder nor the cluster has; returns the full names of all."""
    chosen = list(images)
    wanted = references(chosen)
    loaded = engine.images() if engine.current() is not None else []
    absent = [image for image in chosen if wanted[image.name] not in loaded]
    if absent:
        with exclusive(_LOCK, "the images"):
            wanted.update({image.name: _build(image) for image in absent})
    return wanted


def load(full_names: Iterable[str]) -> None:
    """Copy those images that the running cluster lacks from the builder into it."""
    how, present = engine.require(), engine.images()
    absent = [name for name in full_names if name not in present]
    if absent:
        with exclusive(_LOCK, "the images"):
            for name in absent:
                with step(f"load {name}"):
                    _load(how, name)


def helm_arguments(full_names: Mapping[str, str]) -> list[str]:
    """Return the `--set` arguments that make the chart use these images."""
    arguments = []
    for name, full_name in full_names.items():
        repository, _, tag = full_name.rpartition(":")
        key = IMAGES[name].helm
        arguments += ["--set-string", f"{key}.repository={repository}", "--set-string", f"{key}.tag={tag}"]
    return arguments


def _with_docker() -> bool:
    """Kind takes its images from Docker, the processes from buildah; before there is either, whatever is there."""
    present = engine.current()
    return present == "kind" or (present is None and docker.answers())


def _below() -> str:
    return docker.PYTHON_BASE if _with_docker() else base.reference()


def _build(image: Image) -> str:
    """Build one image and return its full name, which is that of the copy built: an editor may save meanwhile."""
    with tempfile.TemporaryDirectory(prefix="trimtab-image-") as folder:
        context = Path(folder)
        stage(image, context)
        full_name = reference(image, _below(), root=context)
        builder: ModuleType = docker if _with_docker() else buildah
        if builder is buildah:
            base.ensure()
            buildah.clear_leftovers()
        if not builder.has(full_name):
            with step(f"build {full_name}"):
                log, arguments = f"image-{image.name}", {"BASE": _below()}
                containerfile = context / image.containerfile
                builder.build(containerfile, context, full_name, log=log, target=image.target, arguments=arguments)
    return full_name


def _load(how: engine.Engine, full_name: str) -> None:
    if how == "kind":
        kind.load([full_name])
        return
    for left in paths.CACHE.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=paths.CACHE, prefix=_SCRATCH) as folder:
        archive = Path(folder) / "image.tar"
        buildah.save(full_name, archive)
        containerd.import_archive(archive)
