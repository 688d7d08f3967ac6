"""From scikit-learn, XGBoost and LightGBM to ONNX, kept only when it is proven to answer the same.

There is no single right way to convert. FP32 is the fastest; FP64 is needed where numbers are large; where a
scaler feeds trees, scikit-learn itself computes the one in FP64 and the other in FP32, and so must the graph. So
the ways are tried one after the other, the one most like scikit-learn first, and the first that agrees on the
whole sample is taken. If none does, the model is served by its own library, and the bundle says why.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trimtab_serving.bundle import Datatype, Parity, Tensor
from trimtab_serving.runtimes.boosters import LightgbmBooster
from trimtab_toolbox.boosters import bare_graph, is_bare
from trimtab_toolbox.converters import complete_converters
from trimtab_toolbox.evidence import has_trees_behind_steps, last_step, selects_by_name
from trimtab_toolbox.graph import (
    canonical_bytes,
    declare_inputs,
    declare_outputs,
    label_by_best_score,
)
from trimtab_toolbox.parity import Agreement, compare
from trimtab_toolbox.predictions import LABEL, PROBABILITIES, Outputs, is_classifier, predict
from trimtab_toolbox.preparation import prepared
from trimtab_toolbox.session import open_session, run
from trimtab_toolbox.table import Tensors, column_names, is_matrix, to_features
from trimtab_toolbox.unseen import disagreement, unseen_rows

TARGET_OPSET = {"": 18, "ai.onnx.ml": 3}
LIBRARIES = {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn", "xgboost": "XGBoost", "lightgbm": "LightGBM"}
MIN_ROWS = 200
"""Fewer different rows than these prove nothing."""
MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to convert.

    `number` is the type of numbers in the graph. `narrow_last` gives the last step of a pipeline FP32 whatever the
    others have. `label_by_score` chooses labels from the scores instead of taking the converter's.
    """

    number: Datatype
    narrow_last: bool = False
    label_by_score: bool = False

    def __str__(self) -> str:
        last = ", FP32 in the last step" if self.narrow_last else ""
        return f"{self.number}{last}{', labels by score' if self.label_by_score else ''}"


@dataclass(frozen=True, slots=True)
class Conversion:
    """The evidence for the graph that was written, or the reason why there is none."""

    parity: Parity | None = None
    fallback: str | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A model to convert, the rows to prove it on, and what the model itself answers to them."""

    model: Any
    inputs: tuple[Tensor, ...]
    outputs: Outputs
    rows: Tensors
    expected: Tensors


def convert(task: Task, target: Path) -> Conversion:
    """Write an ONNX graph that answers as the model does to `target`, or say why that is not possible."""
    rows = len(task.expected[task.outputs.names[0]])
    if rows < MIN_ROWS:
        reason = (
            f"{type(task.model).__name__} was not converted to ONNX: it can predict only {rows} of the rows that could "
            f"be tried, and {MIN_ROWS} are needed as proof; log it with an input example of so many; "
        )
        return Conversion(fallback=f"{reason}served by {library(task.model)}")
    attempts: list[tuple[Recipe, Agreement | str]] = []
    for recipe in recipes(task):
        outcome = _attempt(task, recipe, target)
        if isinstance(outcome, Agreement) and outcome.holds:
            return Conversion(parity=outcome.parity(), recipe=recipe)
        attempts.append((recipe, outcome))
    target.unlink(missing_ok=True)
    return Conversion(fallback=_reason(task, attempts))


def recipes(task: Task) -> list[Recipe]:
    """The ways to try, best first."""
    if is_bare(task.model):
        return [Recipe("FP64" if isinstance(task.model, LightgbmBooster) else "FP32")]
    plain = [Recipe("FP32"), Recipe("FP64")]
    if has_trees_behind_steps(task.model):
        plain.insert(0, Recipe("FP64", narrow_last=True))
    if not _label_is_best_score(task):
        return plain
    # Sums of FP32 break ties between classes by chance; a few sampled rows may well miss that. So this goes first.
    return [replace(recipe, label_by_score=by_score) for recipe in plain for by_score in (True, False)]


def _label_is_best_score(task: Task) -> bool:
    """Whether the model's own labels are always the first class with the highest probability."""
    scores, classes = task.expected.get(PROBABILITIES), task.outputs.classes
    if scores is None or classes is None:
        return False
    labels = np.array(classes, dtype=object)[scores.argmax(axis=1)]
    return bool((labels == task.expected[LABEL]).all())


def _attempt(task: Task, recipe: Recipe, target: Path) -> Agreement | str:
    try:
        target.write_bytes(_graph(task, recipe))
        # Read back from the bundle: what is compared is what will be served.
        session = open_session(target)
        agreement = compare(task.expected, run(session, task.rows, task.outputs.names), task.outputs.tensors)
    except Exception as error:  # every converter and every kernel has its own ways to give up
        return f"{type(error).__name__}: {_stable(error, target)}"
    return (_unlike_on_unseen(task, session) or agreement) if agreement.holds else agreement


def _unlike_on_unseen(task: Task, session: Any) -> str | None:
    return disagreement(
        unseen_rows(task.model, task.inputs, task.rows),
        lambda row: predict(task.model, to_features(row, task.inputs), task.outputs),
        lambda row: run(session, row, task.outputs.names),
        lambda expected, given: compare(expected, given, task.outputs.tensors).holds,
    )


def _graph(task: Task, recipe: Recipe) -> bytes:
    complete_converters()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _converted(task, recipe)
    if recipe.label_by_score and task.outputs.classes is not None:
        label_by_best_score(model, task.outputs.classes)
    declare_inputs(model, task.inputs, recipe.number)
    declare_outputs(model, task.outputs.tensors)
    return canonical_bytes(model)


def _converted(task: Task, recipe: Recipe) -> Any:
    from skl2onnx import convert_sklearn

    if is_bare(task.model):
        return bare_graph(task.model)
    types = _initial_types(task, recipe)
    model = prepared(task.model, narrow_last=recipe.narrow_last)
    return convert_sklearn(
        model, name="trimtab", initial_types=types, options=_options(model), target_opset=TARGET_OPSET
    )


def _options(model: Any) -> dict[int, dict[str, Any]]:
    """Probabilities as a matrix and not as a list of dictionaries."""
    from sklearn.svm import LinearSVC

    last = last_step(model)
    if not is_classifier(last):
        return {}
    # The converter of LinearSVC knows no such option, and fails unless it is told that it has none.
    return {id(last): {} if isinstance(last, LinearSVC) else {"zipmap": False}}


def _initial_types(task: Task, recipe: Recipe) -> list[tuple[str, Any]]:
    """What the converter is told about the inputs: a matrix, or columns where the model tells them apart."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = FloatTensorType if recipe.number == "FP32" else DoubleTensorType
    if not is_matrix(task.inputs):
        kinds = [StringTensorType if tensor.datatype == "BYTES" else number for tensor in task.inputs]
        return [(tensor.name, kind([None, 1])) for tensor, kind in zip(task.inputs, kinds, strict=True)]
    if task.inputs[0].columns is not None and selects_by_name(task.model):
        return [(name, number([None, 1])) for name in column_names(task.inputs)]
    kind = StringTensorType if task.inputs[0].datatype == "BYTES" else number
    return [("matrix", kind([None, task.inputs[0].shape[-1]]))]


def _reason(task: Task, attempts: Sequence[tuple[Recipe, Agreement | str]]) -> str:
    compared = [(recipe, outcome) for recipe, outcome in attempts if isinstance(outcome, Agreement)]
    name, served_by = type(task.model).__name__, f"served by {library(task.model)}"
    if not compared:
        return f"{name} could not be converted to ONNX: {attempts[0][1]}; {served_by}"
    recipe, best = min(compared, key=lambda pair: (pair[1].mismatched, pair[1].excess))
    return f"{name} as ONNX ({recipe}) does not answer as {library(task.model)} does: {best}; {served_by}"


def library(model: Any) -> str:
    """The name of the library that serves `model` if ONNX does not."""
    known = getattr(model, "library", None) or LIBRARIES.get(type(model).__module__.split(".")[0])
    return str(known) if known else "Python"


def _stable(error: Exception, target: Path) -> str:
    """The message of `error` on one line, without what varies (paths, addresses): it becomes part of the bundle."""
    text = re.sub(r"\bat 0x[0-9a-fA-F]+", "", " ".join(str(error).split())).replace(str(target), target.name)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
