"""One import, step by step: fetch, open, describe, convert, pack, put.

Each step is a module that knows nothing of the others' insides; this one is the table of contents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from trimtab_serving.bundle import ONNX_FILE, BundleInfo, pack
from trimtab_serving.counting.profile import PROFILE_FILE
from trimtab_serving.store import open_store
from trimtab_toolbox.bundling import copy_model, write_description, write_profile
from trimtab_toolbox.convert import Conversion, convert
from trimtab_toolbox.describe import Described, describe_estimator, describe_graph
from trimtab_toolbox.formats import open_model
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.opened import Graph, Opened
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources import fetch


def run_import(request: Request, workdir: Path, journal: Journal) -> dict[str, Any]:
    """Import what `request` names, working in the empty `workdir`; the result is that of docs/contract.md.

    Every foreseen way to fail is a `Failure`.
    """
    bundle = workdir / "bundle"
    bundle.mkdir()
    store = open_store(request.store)
    with journal.record("fetch") as found:
        source = fetch(request, workdir)
        found["bytes"] = sum(path.stat().st_size for path in (source, *source.rglob("*")) if path.is_file())
    with journal.record("open") as found:
        opened = open_model(source, request)
        found["format"] = opened.format
    with journal.record("describe") as found:
        described = _describe(opened, bundle)
        found["inputs"] = [f"{tensor.name} {tensor.datatype}{list(tensor.shape)}" for tensor in described.inputs]
    with journal.record("convert") as found:
        conversion = _convert(request, described, bundle)
        found |= {"recipe": conversion.recipe, "fallback": conversion.fallback}
        found["parity"] = msgspec.to_builtins(conversion.parity)
    with journal.record("pack") as found:
        profile = _profile(opened, described, bundle, found)
        info, digest = _pack(opened, described, conversion, profile, workdir)
        found["digest"] = digest
    with journal.record("put") as found:
        found["uploaded"] = store.put(digest, workdir / "bundle.tar")
    return _result(info, digest, (workdir / "bundle.tar").stat().st_size)


def _describe(opened: Opened, bundle: Path) -> Described:
    if isinstance(opened, Graph):
        return describe_graph(opened, bundle / ONNX_FILE)
    return describe_estimator(opened)


def _convert(request: Request, described: Described, bundle: Path) -> Conversion:
    if described.task is None or not request.optimize:
        return Conversion()
    return convert(described.task, bundle / ONNX_FILE)


def _profile(opened: Opened, described: Described, bundle: Path, found: dict[str, Any]) -> str | None:
    """A profile that is wrong is no reason not to serve the model: it is left out, and the log says why."""
    try:
        return write_profile(opened.profile, described.inputs, bundle)
    except (ValueError, msgspec.DecodeError) as error:
        found["profileLeftOut"] = f"{PROFILE_FILE} cannot be used: {error}; log the model again with log_model"
        return None


def _pack(
    opened: Opened, described: Described, conversion: Conversion, profile: str | None, workdir: Path
) -> tuple[BundleInfo, str]:
    bundle = workdir / "bundle"
    if not isinstance(opened, Graph) and not (bundle / ONNX_FILE).exists():
        copy_model(opened.files, bundle)
    info = write_description(bundle, opened, described, conversion, profile)
    with (workdir / "bundle.tar").open("wb") as tar:
        return info, pack(bundle, tar)


def _result(info: BundleInfo, digest: str, size: int) -> dict[str, Any]:
    fields = {key: value for key, value in msgspec.json.decode(msgspec.json.encode(info)).items() if key != "classes"}
    return {"schema": 1, "digest": digest, **fields, "sizeBytes": size}
