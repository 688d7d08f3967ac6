"""MLflow model folders without a server, made quickly."""

from pathlib import Path
from typing import Any

import mlflow.sklearn
import pandas as pd


def save(model: Any, folder: Path, rows: Any, serialization_format: str = "skops", **options: Any) -> Path:
    """A folder with signature and example, as `log_model` makes it, in `folder`."""
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=mlflow.models.infer_signature(rows, model.predict(rows)),
        input_example=rows.head(4) if isinstance(rows, pd.DataFrame) else rows[:4],
        serialization_format=serialization_format,
        pip_requirements=[],  # finding them takes longer than all the rest
        **options,
    )
    return folder
