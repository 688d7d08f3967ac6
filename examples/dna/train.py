"""Nearest neighbour on DNA: the family of a sequence, by the short words that it shares with known sequences.

Nothing about it is a matrix of numbers: a request is a text, and the model compares sets of 5-letter words (Jaccard
similarity). It is a custom MLflow pyfunc and is served by the Python runtime. The data are made by evolution in small:
each family descends from one random ancestor by random substitutions.

    MLFLOW_TRACKING_URI=http://localhost:5000 python train.py

The model is code, so its MLModel needs spec.allowPickle: true.
"""

import argparse
import json
import os

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

WORD = 5
FAMILIES = 12
LETTERS = np.array(list("ACGT"))


class NearestSequence(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Known sequences and their families; the answer is that of the most similar one."""

    def __init__(self, sequences: list[str], families: list[str]) -> None:
        self.known = [
            frozenset(sequence[i : i + WORD] for i in range(len(sequence) - WORD + 1)) for sequence in sequences
        ]
        self.families = families

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """For each text in the column `sequence`: its family, and the similarity from 0 to 1."""
        nearest = [self._nearest(str(sequence)) for sequence in model_input["sequence"]]
        return pd.DataFrame(nearest, columns=["family", "similarity"])

    def _nearest(self, sequence: str) -> tuple[str, float]:
        words = {sequence[i : i + WORD] for i in range(len(sequence) - WORD + 1)}
        if not words or set(sequence) - set("ACGT"):
            raise ValueError(f"a sequence needs at least {WORD} letters of ACGT")
        similar = [len(words & known) / len(words | known) for known in self.known]
        best = int(np.argmax(similar))
        return self.families[best], similar[best]


def sequences(each: int, seed: int, substituted: float = 0.08) -> tuple[list[str], list[str]]:
    """`each` sequences of 200 letters for every family, and the families' names; the ancestors are always the same."""
    ancestors = np.random.default_rng(0).integers(0, 4, (FAMILIES, 200))
    rng = np.random.default_rng(seed)
    texts, names = [], []
    for number, ancestor in enumerate(ancestors):
        for _ in range(each):
            changed = np.where(rng.random(200) < substituted, rng.integers(0, 4, 200), ancestor)
            texts.append("".join(LETTERS[changed]))
            names.append(f"family-{number:02d}")
    return texts, names


def main() -> None:
    """Collect, measure on sequences that changed more, log and register."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="dna")
    parser.add_argument("--alias", help="point this alias at the new version")
    options = parser.parse_args()
    name = options.name
    model = NearestSequence(*sequences(20, 1))
    texts, families = sequences(10, 2, substituted=0.2)
    rows = pd.DataFrame({"sequence": texts})
    answer = model.predict(None, rows)
    accuracy = float((answer["family"] == families).mean())
    mlflow.set_experiment("trimtab-examples")
    with mlflow.start_run(run_name=name):
        mlflow.log_metric("accuracy", accuracy)
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=model,
            signature=infer_signature(rows, answer),
            input_example=rows.head(10),
            registered_model_name=name,
            pip_requirements=["numpy", "pandas"],
        )
    version = str(logged.registered_model_version)
    if options.alias:
        mlflow.MlflowClient().set_registered_model_alias(name, options.alias, version)
    print(json.dumps({"name": name, "version": version, "accuracy": round(accuracy, 4)}))


if __name__ == "__main__":
    main()
