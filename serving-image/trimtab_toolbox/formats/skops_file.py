"""Scikit-learn models saved with skops: data, and the names of the types to put it into.

Loading such a file is safe as long as all the types are harmless ones. skops trusts the public types of
scikit-learn, numpy and scipy; many everyday models (forests, boosting) also hold private classes of
scikit-learn, so those are trusted here too, looked up in the scikit-learn of this image, and with them the
estimators of imbalanced-learn, XGBoost and LightGBM. A list of trusted types that came with the model is not
believed: its author could trust himself.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.opened import Estimator
from trimtab_toolbox.request import Request

_HARMLESS = frozenset(
    {"numpy.dtype", "collections.OrderedDict", "lightgbm.basic.Booster", "xgboost.core.Booster"},
)
"""The two boosters check what they load. Other classes beside them hold bare addresses of memory."""
_HARMLESS_MODULES = ("sklearn.", "imblearn.", "lightgbm.sklearn.", "xgboost.sklearn.")


def recognises(path: Path) -> bool:
    """Whether `path` is a zip with skops' schema in it."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "schema.json" in archive.namelist()


def open_source(path: Path, request: Request) -> Estimator:
    """The estimator in the file; PickleRefused for types that may run code, LoadFailed for a damaged file."""
    model = load(path, allow_any_type=request.allow_pickle)
    return Estimator(format="Sklearn", flavor="sklearn", model=model, files={"model.skops": path})


def load(path: Path, *, allow_any_type: bool) -> Any:
    """The object in the skops file at `path`, if all its types are harmless or any type is allowed."""
    import skops.io

    try:
        untrusted = skops.io.get_untrusted_types(file=path)
    except Exception as error:
        raise load_failed(path, error) from error
    suspicious = [name for name in untrusted if not _is_harmless(name)]
    if suspicious and not allow_any_type:
        raise _refused(path, suspicious)
    try:
        return skops.io.load(path, trusted=untrusted)
    except Exception as error:
        raise load_failed(path, error) from error


def load_failed(path: Path, error: Exception, made_with: str = "") -> Failure:
    """LoadFailed for an exception of a library, with the versions that may explain it."""
    import sklearn

    made = f", it was saved with {made_with}" if made_with else ""
    text = " ".join(str(error).split())[:400]
    return Failure(
        Reason.LOAD_FAILED,
        f"{path.name} cannot be loaded: {type(error).__name__}: {text} (this image has scikit-learn "
        f"{sklearn.__version__}{made}); save the model again with this version, or check that the file is whole",
    )


def _is_harmless(name: str) -> bool:
    """Whether `name` is a class (never a function: skops may call those) of the trusted libraries themselves."""
    if name in _HARMLESS:
        return True
    module, _, attribute = name.rpartition(".")
    if not name.startswith(_HARMLESS_MODULES) or "test" in module:
        return False
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    # What a module imported from elsewhere is not its own.
    return isinstance(found, type) and f"{found.__module__}.".startswith(_HARMLESS_MODULES)


def _refused(path: Path, names: Sequence[str]) -> Failure:
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Failure(
        Reason.PICKLE_REFUSED,
        f"{path.name} holds types that do not belong to scikit-learn and may run code when they are loaded: "
        f"{listed}; log the model without them, or set spec.allowPickle: true if you trust its author",
    )
