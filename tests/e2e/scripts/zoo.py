"""Models of several libraries: train one, put one into a bucket, and compare a served one with its library.

Runs in the toolbox image, beside the examples' scripts, and prints one JSON line.

    zoo.py train xgboost --name e2e-xgboost
    zoo.py upload --name forest/model.onnx
    zoo.py compare xgboost --name e2e-xgboost --version 1 --url http://xgboost.team-a.svc --model xgboost
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from typing import Any

import credit_risk
import dna
import lightgbm
import mlflow
import numpy as np
import obstore
import pandas as pd
import tumour
import xgboost
from obstore.store import S3Store
from skl2onnx import to_onnx

from trimtab_toolbox import log_model

BUCKET = "models"
BOOSTERS = {
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=40, max_depth=4, n_jobs=1, random_state=1),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=40, num_leaves=15, n_jobs=1, verbose=-1, random_state=1),
}


def train(kind: str, name: str) -> dict[str, Any]:
    """Fit a booster on the biopsies and register it, as its users do."""
    rows, held_out, labels, truth = tumour.split()
    model = BOOSTERS[kind]().fit(rows, labels)
    mlflow.set_experiment("e2e")
    with mlflow.start_run():
        logged = log_model(model, rows, labels, registered_model_name=name, holdout=(held_out, truth))
    return {"version": logged.version}


def converted() -> tuple[Any, bytes]:
    """A logistic regression, and the same as an ONNX file of one FP32 matrix."""
    rows, _, labels, _ = tumour.split()
    model = tumour.build("logistic").fit(rows.to_numpy(), labels)
    graph = to_onnx(model, rows.to_numpy(np.float32)[:1], options={"zipmap": False})
    return model, graph.SerializeToString()


def upload(name: str) -> dict[str, Any]:
    """Put the ONNX file into the bucket; address and keys are in AWS_ variables."""
    store = S3Store(BUCKET, client_options={"allow_http": True})
    obstore.put(store, name, converted()[1])
    return {"bytes": obstore.head(store, name)["size"]}


def expected(kind: str, source: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows that the model has not seen, and what its library says of them, by the name of the output."""
    if kind == "dna":
        rows = pd.DataFrame({"sequence": dna.sequences(3, 99)[0]})
        answer = mlflow.pyfunc.load_model(source).predict(rows)
        return rows, {name: answer[name].to_numpy() for name in answer}
    if kind == "double":
        rows = pd.DataFrame({"x": [1.5, -4.0, 1e9]})
        return rows, {"product": 2 * rows.to_numpy()}
    if kind == "onnx":
        rows, model = tumour.holdout()[0], converted()[0]
        return rows, {"label": model.predict(rows.to_numpy()), "probabilities": model.predict_proba(rows.to_numpy())}
    rows = credit_risk.applicants(200, 99)[0] if kind == "credit-risk" else tumour.holdout()[0]
    load = getattr(mlflow, kind if kind in BOOSTERS else "sklearn").load_model
    model = load(source)
    return rows, {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}


def served(url: str, model: str, rows: pd.DataFrame) -> dict[str, Any]:
    """What the endpoint says of the rows; its metadata tell whether it wants a matrix or a tensor for each column."""
    with urllib.request.urlopen(f"{url}/v2/models/{model}", timeout=10) as answer:
        tensors = json.load(answer)["inputs"]
    inputs = [_tensor(tensor, rows) for tensor in tensors]
    body = json.dumps({"inputs": inputs}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v2/models/{model}/infer", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        outputs = json.load(answer)["outputs"]
    return {output["name"]: np.asarray(output["data"]).reshape(output["shape"]) for output in outputs}


def _tensor(tensor: dict[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    named = tensor["name"] in rows.columns
    part = rows[[tensor["name"]]] if named else rows
    values = part.astype(object).where(part.notna(), None).to_numpy().tolist()
    return {"name": tensor["name"], "datatype": tensor["datatype"], "shape": list(part.shape), "data": values}


def compare(kind: str, source: str, url: str, model: str) -> dict[str, Any]:
    """Compare all outputs: texts and labels must be the same, numbers are told by their largest difference."""
    rows, wanted = expected(kind, source)
    found = served(url, model, rows)
    result: dict[str, Any] = {"rows": len(rows), "same": len(rows), "difference": 0.0, "outputs": sorted(found)}
    for name, values in wanted.items():
        mine, theirs = np.asarray(values), found[name].reshape(np.shape(values))
        if np.issubdtype(mine.dtype, np.floating):
            result["difference"] = max(result["difference"], float(np.abs(mine - theirs).max()))
        else:
            result["same"] = min(result["same"], int((mine == theirs).sum()))
    return result


def main() -> None:
    """Do one of the three and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "upload", "compare"])
    parser.add_argument("kind", nargs="?", default="onnx")
    for flag in ("--name", "--version", "--url", "--model"):
        parser.add_argument(flag, default="")
    asked = parser.parse_args()
    if asked.what == "train":
        result = train(asked.kind, asked.name)
    elif asked.what == "upload":
        result = upload(asked.name)
    else:
        result = compare(asked.kind, f"models:/{asked.name}/{asked.version}", asked.url, asked.model)
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
