"""For people who train models: one call that logs all that Trimtab later needs to serve and to watch a model.

Nothing heavy is imported before the call, because the import Job imports this package too.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from trimtab_toolbox import tracking

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Rows: TypeAlias = "pd.DataFrame | NDArray[Any]"
Targets: TypeAlias = "pd.Series[Any] | NDArray[Any]"
Times: TypeAlias = "pd.Series[Any] | NDArray[Any] | str"
Holdout: TypeAlias = tuple[Rows, Targets] | tuple[Rows, Targets, Times]

EXAMPLE_ROWS = 100
_PACKAGES = {"imblearn": "imbalanced-learn", "lightgbm": "lightgbm", "xgboost": "xgboost"}
_made: set[tuple[str, str]] = set()  # what this process registered: a name, and the training run it was for


class Logged(NamedTuple):
    """Where a model went: its URI, and its version in the registry (empty when it was not registered)."""

    uri: str
    version: str


class _Rows(NamedTuple):
    """Features and targets [n], and the hour of the day, UTC, of each where times are known."""

    features: Rows
    targets: Any
    hours: NDArray[Any] | None = None


def log_model(
    model: Any,
    X: Rows,  # noqa: N803 - the name all of scikit-learn uses
    y: Targets,
    *,
    name: str = "model",
    registered_model_name: str | None = None,
    alias: str | None = None,
    holdout: Holdout | None = None,
    times: Times | None = None,
) -> Logged:
    """Log a fitted model to MLflow with its signature, an example, a drift profile and a calibration table.

    Parameters
    ----------
    model : estimator
        A fitted estimator of scikit-learn, imbalanced-learn, XGBoost or LightGBM, a pipeline that ends in one, or a
        bare ``Booster`` of the last two.
    X : DataFrame or ndarray of shape (n_samples, n_features)
        The rows the model was fitted with, in the units in which requests will give them, before any preprocessing
        that is part of the model. Missing values are NaN. 100 of the rows are stored as the input example.
    y : Series or ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The targets, in the units of the predictions.
    name : str
        The model's name in the run.
    registered_model_name : str, optional
        The name in the registry under which a new version is made. In a training Job (TRIMTAB_RUN_ID is set) the
        version is tagged with the run's id, and when another attempt of the run has made one, that is the answer.
    alias : str, optional
        The alias to point at the new version; needs `registered_model_name`.
    holdout : tuple (X, y) or (X, y, times), optional
        Rows that the model was not fitted with, shapes as above. Scores and calibration are measured on them; without
        them, by 5-fold cross-validation on at most 20,000 rows, which fits the model five times more.
    times : Series, ndarray of shape (n_samples,) or str, optional
        When the rows were seen: dates and times, ISO 8601 texts (UTC where they do not say), or seconds, milliseconds
        or microseconds since 1970. With them traffic is compared with the same hours of the day, so that a daily cycle
        is no drift. A text names a column of `X`, and of the holdout's; it is taken out of both unless the model was
        fitted with it. Otherwise the holdout needs its times as a third part.

    Returns
    -------
    Logged
        ``uri`` (``models:/…``) and ``version``, both texts.

    Raises
    ------
    ValueError
        If `alias` is given without `registered_model_name`, `X` and `y` differ in length, times are missing, or a
        training Job makes a second version of a model.
    """
    if alias and not registered_model_name:
        raise ValueError("alias is given without registered_model_name: only registered versions have aliases")
    if len(X) != len(y):
        raise ValueError(f"X has {len(X)} rows and y has {len(y)}: each row needs its target")
    run = os.environ.get("TRIMTAB_RUN_ID", "")
    if made := _already_made(registered_model_name, run):
        return _registered(made, alias)
    import mlflow

    rows = _dated(model, X, y, times, "times")
    kept = _dated(model, *holdout[:2], _times_of(holdout, times), "the holdout's times") if holdout else None
    # Registered last: whoever sees the version sees the profile too.
    uri = _log_all(model, rows.features, name, _profile(model, rows, kept))
    if not registered_model_name:
        return Logged(uri, "")
    if run:
        _made.add((registered_model_name, run))
        return _registered(tracking.register(uri, registered_model_name, run, len(X)), alias)
    return _registered(mlflow.register_model(uri, registered_model_name), alias)


def _times_of(holdout: tuple[Any, ...], times: Times | None) -> Times | None:
    """The times of the holdout's rows, where those of the others are known; ValueError when they are not given."""
    own: Times | None = holdout[2] if len(holdout) > 2 else None
    if own is not None or times is None or isinstance(times, str):
        return times if own is None else own
    raise ValueError("times are given for X and not for the holdout: give holdout=(X, y, times) as well")


def _dated(model: Any, rows: Rows, targets: Any, times: Times | None, what: str) -> _Rows:
    """The rows as the model takes them, with the hours of the day of their times; ValueError names what is no time."""
    if times is None:
        return _Rows(rows, targets)
    from trimtab_toolbox.profiling.hours import hours_of_day

    if isinstance(times, str):
        if times not in getattr(rows, "columns", ()):
            raise ValueError(f"{what}: there is no column {times!r}")
        own = _table(rows)[times]
        others = rows if times in getattr(model, "feature_names_in_", ()) else _table(rows).drop(columns=[times])
        return _Rows(others, targets, hours_of_day(own, len(rows), what))
    return _Rows(rows, targets, hours_of_day(times, len(rows), what))


def _log_all(model: Any, rows: Rows, name: str, profile: bytes) -> str:
    """The address of the logged model, with its profile beside it."""
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow says of whole numbers, on each call
        uri, model_id = _log(model, rows, name)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "profile.json").write_bytes(profile)
        mlflow.MlflowClient().log_model_artifacts(model_id, folder)
    return uri


def _already_made(name: str | None, run: str) -> Any | None:
    """The version that another attempt of this run has registered; ValueError when this one has."""
    there = tracking.versions(name, run) if run and name else []
    if there and (name, run) in _made:
        raise ValueError(f"the training run {run} has made its version of {name}: it may make one")
    return there[0] if there else None


def _registered(version: Any, alias: str | None) -> Logged:
    import mlflow

    if alias:
        mlflow.MlflowClient().set_registered_model_alias(version.name, alias, version.version)
    return Logged(str(version.source), str(version.version))


def _profile(model: Any, rows: _Rows, holdout: _Rows | None) -> bytes:
    from mlflow.models import infer_signature

    from trimtab_toolbox.profiling.profile import build_profile, importance_of
    from trimtab_toolbox.profiling.scores import cross_validated, held_out
    from trimtab_toolbox.signature import schema_of_signature
    from trimtab_toolbox.table import to_tensors

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schema_of_signature(infer_signature(rows.features))
    if schema is None:
        raise ValueError("X has no columns: give the table or matrix that the model was fitted with")
    asked = _askable(model)
    verdicts = held_out(asked, *holdout) if holdout else cross_validated(asked, *rows)
    importance = importance_of(asked, *(holdout or rows)[:2])
    tensors = to_tensors(_table(rows.features), schema.inputs)
    return build_profile(asked, tensors, schema.inputs, verdicts, importance, rows.hours)


def _log(model: Any, rows: Rows, name: str) -> tuple[str, str]:
    import mlflow.lightgbm
    import mlflow.sklearn
    import mlflow.xgboost
    from mlflow.models import infer_signature

    library = type(model).__module__.split(".")[0]
    signature = infer_signature(rows, _askable(model).predict(rows[:EXAMPLE_ROWS]))
    common = {
        "name": name,
        "signature": signature,
        "input_example": rows[:EXAMPLE_ROWS],
        "pip_requirements": _requirements(model),  # finding them takes MLflow longer than all the rest
    }
    if library == "xgboost":
        logged = mlflow.xgboost.log_model(model, **common)
    elif library == "lightgbm":
        logged = mlflow.lightgbm.log_model(model, **common)
    else:
        # Data and no code, unlike a pickle; the types are the model's own.
        logged = mlflow.sklearn.log_model(
            model, serialization_format="skops", skops_trusted_types=_types(model), **common
        )
    return str(logged.model_uri), str(logged.model_id)


def _requirements(model: Any) -> list[str]:
    import sklearn

    names = {name.split(".")[0] for name in [type(model).__module__, *_types(model)]}
    found = {"scikit-learn": sklearn.__version__}
    for module in names & set(_PACKAGES):
        found[_PACKAGES[module]] = importlib.import_module(module).__version__
    return [f"{package}=={version}" for package, version in sorted(found.items())]


def _types(model: Any) -> list[str]:
    import skops.io

    return list(skops.io.get_untrusted_types(data=skops.io.dumps(model)))


def _askable(model: Any) -> Any:
    """`model`, or a bare booster behind the `predict` with which it will be served."""
    from trimtab_serving.runtimes.boosters import LightgbmBooster, XgboostBooster

    if type(model).__module__ == "xgboost.core":
        return XgboostBooster(model.copy())
    return LightgbmBooster(model) if type(model).__module__ == "lightgbm.basic" else model


def _table(rows: Any) -> pd.DataFrame:
    import pandas as pd

    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    return table.set_axis([str(name) for name in table.columns], axis=1)
