"""A model on BentoML: one service, one method, arrays or tables by their types."""

import os

import bentoml
import joblib
import numpy as np
import pandas as pd

TABLE = os.environ["BENCH_FORM"] == "table"


@bentoml.service(workers=1)
class Predictor:
    """Loads the file and predicts."""

    def __init__(self) -> None:
        self._model = joblib.load(os.environ["BENCH_MODEL"])

    if TABLE:

        @bentoml.api
        def predict(self, rows: pd.DataFrame) -> np.ndarray:
            """One answer."""
            return self._model.predict(rows)

    else:

        @bentoml.api
        def predict(self, rows: np.ndarray) -> np.ndarray:
            """One answer."""
            return self._model.predict(rows)
