"""Trains a real model on real data and registers it in MLflow: what the demo's training Job runs.

The data are the breast cancer biopsies that come with scikit-learn (569 rows, 30 measurements). 100 rows are held
out, always the same ones, so anybody can ask a served model for them and compare: see `holdout`. `log_model` makes of
rows and labels what is logged with the model: signature, example, drift profile and calibration.

    MLFLOW_TRACKING_URI=http://localhost:5000 python train.py --model logistic --name tumour --alias champion

Flags may be given as the variables MODEL, MODEL_NAME and MODEL_ALIAS. It prints one JSON line.
"""

import argparse
import json
import os

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab_toolbox import log_model

HELD_OUT_ROWS = 100
SEED = 20240229


def split() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, pd.Series]:
    """Training rows, held-out rows, and the labels of both (0 malignant, 1 benign)."""
    rows, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    parts = train_test_split(rows, labels, test_size=HELD_OUT_ROWS, random_state=SEED, stratify=labels)
    return parts[0], parts[1], parts[2], parts[3]


def holdout() -> tuple[pd.DataFrame, pd.Series]:
    """The 100 rows no model was trained on [100, 30], in the units of the data set, and their labels [100]."""
    _, rows, _, labels = split()
    return rows, labels


def build(kind: str) -> Pipeline | RandomForestClassifier:
    """The model to fit: `logistic` (scaled logistic regression) or `forest` (100 trees)."""
    if kind == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return RandomForestClassifier(n_estimators=100, random_state=SEED)


def main() -> None:
    """Fit, measure, log and register; optionally point an alias at the new version."""
    options = arguments()
    train_rows, test_rows, train_labels, test_labels = split()
    model = build(options.model).fit(train_rows, train_labels)
    accuracy = float(model.score(test_rows, test_labels))
    mlflow.set_experiment("trimtab-examples")
    with mlflow.start_run(run_name=options.model):
        mlflow.log_params({"model": options.model, "seed": SEED, "rows": len(train_rows)})
        mlflow.log_metric("accuracy", accuracy)
        logged = log_model(
            model,
            train_rows,
            train_labels,
            registered_model_name=options.name,
            alias=options.alias or None,
            holdout=(test_rows, test_labels),
        )
    version = logged.version
    result = {"name": options.name, "version": version, "model": options.model, "accuracy": round(accuracy, 4)}
    print(json.dumps({**result, "alias": options.alias or None}))


def arguments() -> argparse.Namespace:
    """The flags, with the environment as their defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["logistic", "forest"], default=os.environ.get("MODEL", "logistic"))
    parser.add_argument("--name", default=os.environ.get("MODEL_NAME", "tumour"))
    parser.add_argument("--alias", default=os.environ.get("MODEL_ALIAS", ""))
    return parser.parse_args()


if __name__ == "__main__":
    main()
