"""Trains one of the models of the flights demo, in a Job of a RetrainSchedule or by hand.

    MLFLOW_TRACKING_URI=http://localhost:5000 python train.py --data july.csv --kind logistic --name flights

`logistic` is the one that should win. `careless` looks at nothing but the airline and the distance, which a gate must
notice. `neighbours` answers about as well as the logistic regression, by comparing with thousands of flights eight
times over: a gate that does not look at the clock lets it pass, and the canary finds out.
"""

import argparse
import json

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trimtab_toolbox import log_model, training_run

TARGET = "late"
NAMES = ["carrier", "origin"]
NUMBERS = ["hour", "distance", "temp", "wind_speed", "precip", "visib"]


def build(kind: str, seed: int) -> Pipeline:
    """The model to fit, with its preprocessing."""
    names = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    if kind == "careless":
        seen = make_column_transformer((names, ["carrier"]), (StandardScaler(), ["distance"]))
        return make_pipeline(seen, HistGradientBoostingClassifier(random_state=seed))
    seen = make_column_transformer((names, NAMES), (StandardScaler(), NUMBERS))
    if kind == "neighbours":
        return make_pipeline(seen, BaggingClassifier(KNeighborsClassifier(100), n_estimators=8, random_state=seed))
    return make_pipeline(seen, LogisticRegression(max_iter=1000))


def main() -> None:
    """Fit on the older four fifths, measure on the rest, log and register."""
    options = arguments()
    with training_run() as run:
        rows = pd.read_csv(options.data).sort_values("date", kind="stable")
        cut = len(rows) * 4 // 5
        features = rows[NAMES + NUMBERS].astype(dict.fromkeys(NUMBERS, float))
        model = build(options.kind, run.seed).fit(features[:cut], rows[TARGET][:cut])
        logged = log_model(
            model,
            features[:cut],
            rows[TARGET][:cut],
            registered_model_name=run.model_name or options.name,
            alias=options.alias or None,
            holdout=(features[cut:], rows[TARGET][cut:]),
        )
    print(json.dumps({"version": logged.version, "kind": options.kind}))


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a CSV file or its address")
    parser.add_argument("--kind", choices=["logistic", "careless", "neighbours"], default="logistic")
    parser.add_argument("--name", default="flights", help="the registered model, outside a Job of a RetrainSchedule")
    parser.add_argument("--alias", default="")
    return parser.parse_args()


if __name__ == "__main__":
    main()
