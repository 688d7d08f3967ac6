"""XGBoost and LightGBM in their own file formats, as objects with `predict`.

Both formats are data, not code, so they are loaded without anybody's permission. A file that scikit-learn's interface
of XGBoost saved is loaded as that again, with labels and probabilities. Every other file is a bare booster, which
answers what the library answers: the probability for a binary objective, a column a class for several classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

XGBOOST_FILES = ("model.ubj", "model.json")
LIGHTGBM_FILE = "model.lgb"
_WRAPPERS = {"classifier": "XGBClassifier", "regressor": "XGBRegressor", "ranker": "XGBRanker"}


class Predictor(Protocol):
    """What the Python runtime calls."""

    def predict(self, rows: Any) -> Any:
        """One answer a row."""
        ...


class XgboostBooster:
    """A bare booster of XGBoost on one thread; pods scale by processes."""

    library = "XGBoost"

    def __init__(self, booster: Any) -> None:
        booster.set_param({"nthread": 1})
        self.booster = booster
        self.n_features_in_ = int(booster.num_features())
        if booster.feature_names:
            self.feature_names_in_ = np.array(booster.feature_names, dtype=object)

    def predict(self, rows: Any) -> NDArray[Any]:
        """What `Booster.predict` answers for rows [n, features]; NaN is missing."""
        import xgboost

        matrix = xgboost.DMatrix(
            np.asarray(rows, dtype=np.float32),
            feature_names=self.booster.feature_names,
            feature_types=self.booster.feature_types,
            nthread=1,
        )
        return np.asarray(self.booster.predict(matrix))


class LightgbmBooster:
    """A bare booster of LightGBM on one thread."""

    library = "LightGBM"

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        self.n_features_in_ = int(booster.num_feature())
        names = list(booster.feature_name())
        if names != [f"Column_{index}" for index in range(len(names))]:
            self.feature_names_in_ = np.array(names, dtype=object)

    def predict(self, rows: Any) -> NDArray[Any]:
        """What `Booster.predict` answers for rows [n, features]; NaN is missing."""
        matrix = np.asarray(rows, dtype=np.float64)
        return np.asarray(self.booster.predict(matrix, num_threads=1, validate_features=False))


def load_xgboost(path: Path) -> Any:
    """The model in an XGBoost file (JSON or UBJSON): its scikit-learn wrapper if it was saved by one."""
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(path)
    meta = booster.attr("scikit_learn")
    wrapper = _WRAPPERS.get(json.loads(meta).get("_estimator_type", "")) if meta else None
    if wrapper is None:
        return XgboostBooster(booster)
    model = getattr(xgboost, wrapper)(n_jobs=1)
    model.load_model(path)
    return model


def load_lightgbm(path: Path) -> LightgbmBooster:
    """The booster in a LightGBM text file."""
    import lightgbm

    return LightgbmBooster(lightgbm.Booster(model_str=path.read_text()))


def load_booster(directory: Path) -> Any | None:
    """The booster in a bundle's `model/` folder, or None when there is none."""
    for name in XGBOOST_FILES:
        if (directory / name).exists():
            return load_xgboost(directory / name)
    if (directory / LIGHTGBM_FILE).exists():
        return load_lightgbm(directory / LIGHTGBM_FILE)
    return None
