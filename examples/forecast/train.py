"""Sales forecast with prediction intervals: for each shop and day the 10 %, 50 % and 90 % quantiles.

A forest grown for three targets at once would give means. Here each quantile has a boosted model of its own, and a
`MultiOutput` of scikit-learn cannot hold three different ones, so `Quantiles` does: an MLflow pyfunc that answers a
table, whose columns become the outputs `low`, `median` and `high`. The data are made by `sales`: trend, week, season,
promotions, and noise that grows with the level.

    MLFLOW_TRACKING_URI=http://localhost:5000 python train.py

The model is code, so its MLModel needs spec.allowPickle: true.
"""

import argparse
import json
import os

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

SEED = 3
LEVELS = {"low": 0.1, "median": 0.5, "high": 0.9}


class Quantiles(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """One booster for each quantile; a higher quantile never lies below a lower one."""

    def __init__(self, boosters: dict[str, lightgbm.LGBMRegressor]) -> None:
        self.boosters = boosters

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Pieces sold [rows] at each level, for rows of (shop, day, weekday, promotion)."""
        columns = [booster.predict(model_input) for booster in self.boosters.values()]
        return pd.DataFrame(np.sort(np.column_stack(columns), axis=1), columns=list(self.boosters))


def sales(days: int, seed: int, first: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Shops × days: shop number, day since the start, weekday 0-6, promotion 0/1; and pieces sold."""
    rng = np.random.default_rng(seed)
    shop, day = (axis.ravel() for axis in np.meshgrid(np.arange(5), np.arange(first, first + days)))
    promotion = (rng.random(len(day)) < 0.15).astype(float)
    level = 40 + 8 * shop + 12 * (day % 7 >= 5) + 10 * np.sin(day / 58.1) + 25 * promotion
    table = {"shop": shop, "day": day % 365, "weekday": day % 7, "promotion": promotion}
    return pd.DataFrame(table).astype(float), np.maximum(level + rng.normal(0, 0.15 * level), 0)


def build(rows: pd.DataFrame, pieces: np.ndarray) -> Quantiles:
    """The fitted model."""
    common: dict[str, Any] = {"n_estimators": 150, "num_leaves": 15, "n_jobs": 1, "verbose": -1, "random_state": SEED}
    make = lightgbm.LGBMRegressor
    return Quantiles(
        {name: make(objective="quantile", alpha=q, **common).fit(rows, pieces) for name, q in LEVELS.items()}
    )


def main() -> None:
    """Fit on three years, measure the interval's coverage in the fourth, log and register."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="forecast")
    parser.add_argument("--alias", help="point this alias at the new version")
    options = parser.parse_args()
    name = options.name
    rows, pieces = sales(3 * 365, SEED)
    model = build(rows, pieces)
    later, sold = sales(365, SEED + 1, first=3 * 365)
    answer = model.predict(None, later)
    covered = float(((answer["low"] <= sold) & (sold <= answer["high"])).mean())
    mlflow.set_experiment("trimtab-examples")
    with mlflow.start_run(run_name=name):
        mlflow.log_metric("coverage", covered)
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=model,
            signature=infer_signature(rows, model.predict(None, rows)),
            input_example=rows.head(20),
            registered_model_name=name,
            pip_requirements=[f"lightgbm=={lightgbm.__version__}"],
        )
    version = str(logged.registered_model_version)
    if options.alias:
        mlflow.MlflowClient().set_registered_model_alias(name, options.alias, version)
    print(json.dumps({"name": name, "version": version, "coverage": round(covered, 4)}))


if __name__ == "__main__":
    main()
