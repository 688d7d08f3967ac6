"""Ask a served model for the held-out rows, ask scikit-learn for the same rows in this process, and compare.

Runs in the toolbox image beside train.py, whose split it repeats. Exits with 1 unless all labels are the same.
"""

from __future__ import annotations

import argparse
import json
import urllib.request

import mlflow
import numpy as np
from train import holdout


def predict(url: str, model: str, rows: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    """The served model's outputs by name, and the revision that answered; the input is named by its metadata."""
    with urllib.request.urlopen(f"{url}/v2/models/{model}", timeout=10) as answer:
        tensor = json.load(answer)["inputs"][0]
    values = {
        "name": tensor["name"],
        "datatype": tensor["datatype"],
        "shape": list(rows.shape),
        "data": rows.tolist(),
    }
    request = urllib.request.Request(
        f"{url}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [values]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        outputs = json.load(answer)["outputs"]
        revision = answer.headers["x-trimtab-revision"]
    return {o["name"]: np.asarray(o["data"]).reshape(o["shape"]) for o in outputs}, revision


def main() -> None:
    """Print one JSON object with what was compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True, help="the same version in MLflow, as models:/NAME/VERSION")
    options = parser.parse_args()
    features, truth = holdout()
    local = mlflow.sklearn.load_model(options.source)
    served, revision = predict(options.url, options.model, np.asarray(features, dtype=float))
    label, probabilities = served["label"].ravel(), served["probabilities"]
    expected = local.predict(features)
    same = int((label == expected).sum())
    print(
        json.dumps(
            {
                "rows": len(expected),
                "same": same,
                "largest_difference": float(np.abs(probabilities - local.predict_proba(features)).max()),
                "accuracy": float((label == np.asarray(truth)).mean()),
                "revision": revision,
            }
        )
    )
    raise SystemExit(0 if same == len(expected) else 1)


if __name__ == "__main__":
    main()
