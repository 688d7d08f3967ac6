"""How each server is asked, and where its answer holds the labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.peers.subjects import Subject

NAME = "bench"
LABELS = ("label", "predict", "output-0")
"""What servers of the protocol call the output of `predict`."""


@dataclass(frozen=True)
class Dialect:
    """A path, the body for the first so many rows, and the labels in an answer."""

    path: str
    body: Callable[[Subject, int], Any]
    labels: Callable[[Any], list[Any]]

    def encoded(self, subject: Subject, first: int, count: int) -> bytes:
        """The body for `count` rows from `first` on."""
        return json.dumps(self.body(_cut(subject, first, count), count), separators=(",", ":")).encode()


def _cut(subject: Subject, first: int, count: int) -> Subject:
    rows, targets = subject.rows[first : first + count], subject.targets[first : first + count]
    return Subject(subject.name, subject.title, subject.model, rows, targets)


def _protocol(subject: Subject, count: int) -> dict[str, Any]:
    if subject.form == "matrix":
        shape = [count, subject.rows.shape[1]]
        tensor = {"name": "input", "shape": shape, "datatype": "FP64", "data": subject.rows.ravel().tolist()}
        return {"inputs": [tensor]}
    columns = [_column(name, subject.rows[name].tolist()) for name in subject.rows.columns]
    return {"inputs": columns, "parameters": {"content_type": "pd"}}


def _labels_alone(subject: Subject, count: int) -> dict[str, Any]:
    return _protocol(subject, count) | {"outputs": [{"name": "predict"}]}


def _column(name: str, values: list[Any]) -> dict[str, Any]:
    text = isinstance(values[0], str)
    column = {"name": name, "shape": [len(values)], "datatype": "BYTES" if text else "FP64", "data": values}
    # Without it MLServer hands bytes to the model.
    return column | ({"parameters": {"content_type": "str"}} if text else {})


def _label_output(answer: Any) -> list[Any]:
    found = [output["data"] for output in answer["outputs"] if output["name"] in LABELS]
    return [value for item in found[0] for value in (item if isinstance(item, list) else [item])]


def _rows(subject: Subject, count: int) -> dict[str, Any]:
    if subject.form == "matrix":
        return {"rows": subject.rows.tolist()}
    return {"rows": subject.rows.to_dict(orient="records")}


def _mlflow(subject: Subject, count: int) -> dict[str, Any]:
    if subject.form == "matrix":
        return {"inputs": subject.rows.tolist()}
    split = subject.rows.to_dict(orient="split")
    return {"dataframe_split": {"columns": split["columns"], "data": split["data"]}}


def _predictions(answer: Any) -> list[Any]:
    found: list[Any] = answer["predictions"]
    return found


def _list(answer: Any) -> list[Any]:
    found: list[Any] = answer
    return found


PROTOCOL = Dialect(f"/v2/models/{NAME}/infer", _protocol, _label_output)
LABELS_ALONE = Dialect(f"/v2/models/{NAME}/infer", _labels_alone, _label_output)
"""The peers answer with labels; Trimtab gives probabilities as well unless it is asked for labels alone."""
ROWS = Dialect("/predict", _rows, _predictions)
BARE_ROWS = Dialect("/predict", _rows, _list)
INVOCATIONS = Dialect("/invocations", _mlflow, _predictions)
