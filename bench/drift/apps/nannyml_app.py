"""NannyML's univariate drift with its defaults, of each column in each chunk; and its estimates of performance."""

import json
import logging
import sys
import warnings

import numpy as np
import pandas as pd

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")


def windows(frame, reference, bounds, categorical, size):
    """A list for each window, which is a chunk by itself: the columns with an alert."""
    import nannyml

    names = list(frame)
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=names, treat_as_categorical=categorical, chunk_size=size
    )
    calculator.fit(reference)
    found = []
    for start, stop in bounds:
        chunk = frame.iloc[start:stop].reset_index(drop=True)
        calculator.chunker = nannyml.SizeBasedChunker(chunk_size=len(chunk))
        told = calculator.calculate(chunk).filter(period="analysis").to_df()
        alerts = told.loc[:, [column for column in told.columns if column[2] == "alert"]]
        found.append([bool(alerts[name].to_numpy().any()) for name in names])
    return found


def estimates(frame, reference, size):
    """Estimated accuracy and area under the curve of each chunk."""
    import nannyml

    estimator = nannyml.CBPE(
        metrics=["roc_auc", "accuracy"],
        y_pred_proba="score",
        y_pred="predicted",
        y_true="truth",
        problem_type="classification_binary",
        chunk_size=size,
    )
    estimator.fit(reference)
    told = estimator.estimate(frame).filter(period="analysis").to_df()
    return told[[("accuracy", "value"), ("roc_auc", "value")]].to_numpy().tolist()


def main():
    asked = json.loads(sys.argv[1])
    tables = {name: pd.read_pickle(path) for name, path in asked["tables"].items()}
    if asked["what"] == "estimates":
        found = estimates(tables["current"], tables["reference"], asked["size"])
    else:
        found = [
            windows(tables[f"current {i}"], tables[f"reference {i}"], **stream)
            for i, stream in enumerate(asked["streams"])
        ]
    print(json.dumps(found, default=np.generic.item))


main()
