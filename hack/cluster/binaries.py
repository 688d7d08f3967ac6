"""Finds the cluster's programs: in the cache, else as an official release, else built from Go modules.

    kubectl = ensure("kubectl")["kubectl"]

The last way needs nothing but Go and its module proxy, so a machine that cannot reach the release sites still gets
the same versions. A cached program lies in a folder that carries its version: a bump is a different path, never a
stale hit, and a program appears there in one rename, never half.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from hack.cluster import download, gobuild, paths
from hack.cluster.catalog import Program, catalog
from hack.command import Failure, run
from hack.progress import step

_SCRATCH = ".making-"


def path_of(program: Program) -> Path:
    """Return where the cache keeps this version of a program, whether it is there or not."""
    return paths.BIN / f"{program.name}-{program.version}" / program.name


def ensure(*names: str) -> dict[str, Path]:
    """Return the path of each program by name, fetching or building what the cache lacks (minutes when all do)."""
    programs = [_known(name) for name in names]
    if any(_cached(program) is None for program in programs):
        paths.BIN.mkdir(parents=True, exist_ok=True)
        with (paths.BIN / ".lock").open("w") as lock:
            # Two commands that start together must not build the same thing twice; the second finds it in the cache.
            fcntl.flock(lock, fcntl.LOCK_EX)
            _provide([program for program in programs if _cached(program) is None])
    return {program.name: _cached(program) or path_of(program) for program in programs}


def install(program: Program, built: Path) -> None:
    """Move a finished program into the cache, in one step."""
    target = path_of(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    built.chmod(0o755)
    built.replace(target)


def _known(name: str) -> Program:
    programs = catalog()
    if name not in programs:
        raise Failure(f"no program {name!r} in the catalog: it knows {', '.join(sorted(programs))}")
    return programs[name]


def _cached(program: Program) -> Path | None:
    path = path_of(program)
    if path.exists():
        return path
    own = shutil.which("kind") if program.name == "kind" else None
    if own and f" {program.version} " in run([own, "version"], check=False):
        return Path(own)
    return None


def _provide(programs: Iterable[Program]) -> None:
    for left in paths.BIN.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=paths.BIN, prefix=_SCRATCH) as folder:
        scratch = Path(folder)
        to_build = []
        for program in programs:
            downloaded = download.fetch(program, scratch)
            if downloaded:
                install(program, downloaded)
            else:
                to_build.append(program)
        _build(to_build, scratch)


def _build(programs: list[Program], scratch: Path) -> None:
    shared = [program for program in programs if program.shared]
    if shared:
        with step(f"build {', '.join(program.name for program in shared)} from Go modules"):
            for program, built in gobuild.build_shared(shared, scratch):
                install(program, built)
    for program in programs:
        if not program.shared:
            with step(f"build {program.name} from Go modules"):
                install(program, gobuild.build_alone(program, scratch))
