"""Fraud: rare events, so the training set is balanced first, and two kinds of boosting vote.

The data are made, in the open: `payments` draws card payments of which about 2 % are fraud, which comes at night, far
from home and in bursts. The samplers of imbalanced-learn work in training only; predictions are for payments as they
come.

    MLFLOW_TRACKING_URI=http://localhost:5000 python train.py
"""

import argparse
import json
import os

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline, make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from lightgbm import LGBMClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from trimtab_toolbox import log_model

SEED = 5


def payments(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Payments [rows, 5] (currency, hour of day, km from home, payments in the last hour, days) and fraud [rows]."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < 0.02
    return pd.DataFrame(
        {
            "amount": rng.lognormal(3.4 + 0.9 * fraud, 1.0).round(2),
            "hour": np.where(fraud & (rng.random(rows) < 0.6), rng.uniform(0, 5, rows), rng.uniform(6, 24, rows)),
            "km_from_home": rng.exponential(12 + 160 * fraud),
            "payments_last_hour": rng.poisson(0.3 + 1.8 * fraud).astype(float),
            "days_since_card_issued": rng.uniform(1, 1500, rows).round(),
        }
    ), fraud.astype(int)


def build() -> Pipeline:
    """Scaling, balancing one to four, and the mean of two boosted ensembles' probabilities."""
    members = [
        ("xgboost", XGBClassifier(n_estimators=120, max_depth=4, n_jobs=1, random_state=SEED)),
        ("lightgbm", LGBMClassifier(n_estimators=120, num_leaves=15, n_jobs=1, verbose=-1, random_state=SEED)),
    ]
    balance = RandomUnderSampler(sampling_strategy=0.25, random_state=SEED)
    return make_pipeline(StandardScaler(), balance, VotingClassifier(members, voting="soft"))


def main() -> None:
    """Fit, measure on new payments, log and register."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="fraud")
    parser.add_argument("--alias", help="point this alias at the new version")
    options = parser.parse_args()
    name = options.name
    rows, fraud = payments(20_000, SEED)
    new = payments(10_000, SEED + 1)
    model = build().fit(rows, fraud)
    precision = float(average_precision_score(new[1], model.predict_proba(new[0])[:, 1]))
    mlflow.set_experiment("trimtab-examples")
    with mlflow.start_run(run_name=name):
        mlflow.log_metric("average_precision", precision)
        logged = log_model(model, rows, fraud, registered_model_name=name, alias=options.alias, holdout=new)
    print(json.dumps({"name": name, "version": logged.version, "averagePrecision": round(precision, 4)}))


if __name__ == "__main__":
    main()
