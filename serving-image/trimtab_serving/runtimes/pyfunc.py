"""MLflow's `pyfunc`: any Python model behind MLflow's own loader, for what no other format describes.

Loading one runs code of whoever logged it; the import refuses that unless the owner of the MLModel allows it. The
folder in the bundle is the one that was logged, without what differs from one logging to the next.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

MLMODEL = "MLmodel"


class Pyfunc:
    """A loaded pyfunc. `predict` takes a table or matrix and answers a table or an array."""

    library = "MLflow"

    def __init__(self, folder: Path) -> None:
        for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("GIT_PYTHON_REFRESH", "quiet")):
            os.environ.setdefault(name, value)
        from mlflow.pyfunc import load_model

        self._model = load_model(str(folder), suppress_warnings=True)
        schema = self._model.metadata.get_input_schema()
        typed = schema is not None and not schema.is_tensor_spec() and schema.has_input_names()
        # The protocol has one datatype a matrix, MLflow insists on the logged one of each column.
        self._kinds = dict(zip(schema.input_names(), schema.numpy_types(), strict=True)) if typed else {}

    def predict(self, rows: Any) -> Any:
        """The model's answer: a table as it is, everything else as an array of one entry a row."""
        import pandas as pd

        if isinstance(rows, pd.DataFrame):
            kinds = {name: kind for name, kind in self._kinds.items() if np.dtype(kind).kind in "iufb"}
            rows = rows.astype(kinds)
        answer = self._model.predict(rows)
        return answer if isinstance(answer, pd.DataFrame) else np.asarray(answer)
