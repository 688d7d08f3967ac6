"""Credit risk: a random forest behind imputation and encoding, over columns of numbers and texts with gaps.

The data are made, in the open: `applicants` draws people and lets their chance of default follow from debt, arrears and
housing. There is no public set that may be bundled here, and nothing is claimed about real people.

    MLFLOW_TRACKING_URI=http://localhost:5000 python train.py

prints one JSON line with the version to import, as models:/credit-risk/VERSION.
"""

import argparse
import json
import os

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trimtab_toolbox import log_model

SEED = 11
NUMBERS = ["age", "income", "debt", "months_in_arrears"]
TEXTS = ["housing", "purpose"]


def applicants(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Applicants [rows, 6]: years, currency a month, currency, months, two texts; and `good` or `bad` [rows].

    A twelfth of incomes and of purposes is not known.
    """
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, rows).astype(float),
            "income": rng.lognormal(7.9, 0.5, rows).round(2),
            "debt": rng.exponential(9000, rows).round(2),
            "months_in_arrears": rng.poisson(0.4, rows).astype(float),
            "housing": rng.choice(["rent", "own", "free"], rows, p=[0.5, 0.4, 0.1]),
            "purpose": rng.choice(["car", "furniture", "business", "studies"], rows),
        }
    )
    risk = 0.25 * table["debt"] / table["income"] + 1.1 * table["months_in_arrears"] - (table["housing"] == "own")
    bad = rng.random(rows) < 1 / (1 + np.exp(2.2 - risk))
    for column in ("income", "purpose"):
        table.loc[rng.random(rows) < 1 / 12, column] = np.nan
    return table, np.where(bad, "bad", "good")


def build() -> Pipeline:
    """The whole model: what a request gives goes in, a label and its probabilities come out."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)])
    return make_pipeline(columns, RandomForestClassifier(100, min_samples_leaf=5, random_state=SEED))


def main() -> None:
    """Fit, measure on new applicants, log and register."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="credit-risk")
    parser.add_argument("--alias", help="point this alias at the new version")
    options = parser.parse_args()
    name = options.name
    rows, labels = applicants(4000, SEED)
    new = applicants(2000, SEED + 1)
    model = build().fit(rows, labels)
    auc = float(roc_auc_score(new[1] == "bad", model.predict_proba(new[0])[:, 0]))
    mlflow.set_experiment("trimtab-examples")
    with mlflow.start_run(run_name=name):
        mlflow.log_metric("auc", auc)
        logged = log_model(model, rows, labels, registered_model_name=name, alias=options.alias, holdout=new)
    print(json.dumps({"name": name, "version": logged.version, "auc": round(auc, 4)}))


if __name__ == "__main__":
    main()
