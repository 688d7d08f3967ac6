"""A model behind plain FastAPI: what one writes in ten minutes, in its quicker form (no thread pool)."""

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

TABLE = os.environ["BENCH_FORM"] == "table"
model = joblib.load(os.environ["BENCH_MODEL"])
app = FastAPI()


class Matrix(BaseModel):
    """Rows of numbers."""

    rows: list[list[float]]


class Records(BaseModel):
    """Rows by column."""

    rows: list[dict[str, float | str]]


if TABLE:

    @app.post("/predict")
    async def predict(asked: Records) -> dict[str, list[str]]:
        """One answer."""
        return {"predictions": model.predict(pd.DataFrame(asked.rows)).tolist()}

else:

    @app.post("/predict")
    async def predict(asked: Matrix) -> dict[str, list[int]]:
        """One answer."""
        return {"predictions": model.predict(asked.rows).tolist()}
