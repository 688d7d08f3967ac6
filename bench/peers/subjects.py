"""The models: trained here once, logged as a trainer would, and left as files for every server.

Linear and forest stand on iris, the wide one on the products of breast cancer's measurements, the one with texts is the
example `credit-risk`. All data come with scikit-learn or are drawn by the example itself; nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 3
WIDE = 200
BATCH = 1000
CHECKED = 20
"""Rows that are asked one by one before anything is measured."""


@dataclass(frozen=True)
class Subject:
    """A fitted model and 1,000 rows of its data: an array [1000, n], or a table when columns have types."""

    name: str
    title: str
    model: Any
    rows: Any
    targets: Any

    @property
    def form(self) -> str:
        """How rows are sent: as a `matrix` of numbers, or as a `table` with named columns."""
        return "table" if hasattr(self.rows, "columns") else "matrix"

    def labels(self, count: int) -> list[Any]:
        """What scikit-learn itself says of the first rows."""
        found: list[Any] = self.model.predict(self.rows[:count]).tolist()
        return found


@dataclass(frozen=True)
class Files:
    """Where a subject lies: for those who read joblib, for those who read MLflow, and its URI in the registry."""

    joblib: Path
    mlflow: Path
    uri: str
    registry: str


def linear() -> Subject:
    """Logistic regression on iris: 4 features."""
    from sklearn.linear_model import LogisticRegression

    rows, targets = _iris()
    return Subject(
        "linear", "LogisticRegression, 4 features", _fitted(LogisticRegression(), rows, targets), rows, targets
    )


def forest() -> Subject:
    """100 trees on iris."""
    from sklearn.ensemble import RandomForestClassifier

    rows, targets = _iris()
    model = _fitted(RandomForestClassifier(100, random_state=SEED), rows, targets)
    return Subject("forest", "RandomForest(100), 4 features", model, rows, targets)


def wide() -> Subject:
    """Logistic regression on 200 features: breast cancer's 30, scaled, and products of two of them."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    rows, targets = load_breast_cancer(return_X_y=True)
    products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    many = products.fit_transform(StandardScaler().fit_transform(rows))[:, :WIDE].round(4)
    rows, targets = _drawn(many, targets)
    title = f"LogisticRegression, {WIDE} features"
    return Subject("wide", title, _fitted(LogisticRegression(max_iter=2000), rows, targets), rows, targets)


def strings() -> Subject:
    """The example credit-risk: imputation, scaling and encoding of 4 numbers and 2 texts before a forest."""
    path = Path(__file__).parents[2] / "examples" / "credit-risk" / "train.py"
    spec = importlib.util.spec_from_file_location("credit_risk", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    rows, targets = example.applicants(4000, SEED)
    model = _fitted(example.build(), rows, targets)
    whole = rows.notna().all(axis=1).to_numpy()  # a gap is spelled differently in every protocol
    rows, targets = rows[whole][:BATCH].reset_index(drop=True), targets[whole][:BATCH]
    return Subject("strings", "pipeline: 4 numbers, 2 texts, RandomForest(100)", model, rows, targets)


SUBJECTS = {"linear": linear, "forest": forest, "wide": wide, "strings": strings}


def written(subject: Subject, directory: Path) -> Files:
    """Leave the subject in `directory` as a joblib file, and logged and registered by `log_model`."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    import joblib
    import mlflow

    from trimtab_toolbox import log_model

    directory.mkdir(parents=True)
    joblib.dump(subject.model, directory / "model.joblib")
    registry = f"sqlite:///{directory}/mlflow.db"
    mlflow.set_tracking_uri(registry)
    experiment = mlflow.create_experiment("bench", artifact_location=(directory / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        holdout = (subject.rows, subject.targets)
        logged = log_model(subject.model, *holdout, registered_model_name=subject.name, holdout=holdout)
    folder = mlflow.artifacts.download_artifacts(logged.uri, dst_path=str(directory / "mlflow"))
    return Files(directory / "model.joblib", Path(folder), f"models:/{subject.name}/{logged.version}", registry)


def _iris() -> tuple[Any, Any]:
    from sklearn.datasets import load_iris

    return _drawn(*load_iris(return_X_y=True))


def _drawn(rows: Any, targets: Any) -> tuple[Any, Any]:
    import numpy as np

    chosen = np.random.default_rng(SEED).choice(len(rows), BATCH)
    return rows[chosen], targets[chosen]


def _fitted(model: Any, rows: Any, targets: Any) -> Any:
    return model.fit(rows, targets)
