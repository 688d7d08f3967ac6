"""One of the two models, loaded as an import loads it and asked as a server asks it.

The same openers and the same rule about pickles apply, so that nothing is graded that could not be imported, and rows
go through the tensors of a request, so that they are rounded as in a pod.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.describe import Described, describe_estimator, describe_graph
from trimtab_toolbox.evaluation.settings import Settings
from trimtab_toolbox.formats import open_model
from trimtab_toolbox.opened import Graph, Opened
from trimtab_toolbox.predictions import Outputs, predict
from trimtab_toolbox.session import open_session, run
from trimtab_toolbox.sources import fetch
from trimtab_toolbox.table import Tensors, column_datatypes, column_names, is_matrix, to_features, to_tensors

BATCH_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that can be asked. `role` is champion or challenger, `size_bytes` that of its files."""

    role: str
    uri: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    classes: tuple[str, ...] | None
    size_bytes: int
    profile: bytes | None
    answer: Callable[[Tensors], Tensors]

    @property
    def texts(self) -> frozenset[str]:
        """The columns that are text to this model."""
        pairs = zip(column_names(self.inputs), column_datatypes(self.inputs), strict=True)
        return frozenset(name for name, datatype in pairs if datatype == "BYTES")

    def tensors(self, table: pd.DataFrame, target: str, aside: frozenset[str]) -> Tensors:
        """The rows as a request would bring them; HoldoutInvalid for columns that lack or hold something else.

        A matrix whose columns have no names takes all but the `target` and what is `aside`, in their order.
        """
        rows = self._unnamed(table, target, aside) if self._nameless() else self._named(table)
        try:
            return to_tensors(rows, self.inputs)
        except (ValueError, TypeError) as error:
            problem = " ".join(str(error).split())[:300]
            raise self._unfit(f"its columns do not have the types that it takes: {problem}") from error

    def ask(self, tensors: Tensors) -> Tensors:
        """The answers to all rows, in batches; LoadFailed when the model cannot answer them."""
        rows = len(next(iter(tensors.values())))
        try:
            batches = [
                self.answer({name: values[start : start + BATCH_ROWS] for name, values in tensors.items()})
                for start in range(0, rows, BATCH_ROWS)
            ]
        except Exception as error:
            problem = " ".join(str(error).split())[:400]
            message = f"the {self.role} {self.uri} cannot answer the holdout: {type(error).__name__}: {problem}"
            raise Failure(Reason.LOAD_FAILED, f"{message}; check that it was trained on the same columns") from error
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def _nameless(self) -> bool:
        return is_matrix(self.inputs) and self.inputs[0].columns is None and len(self.inputs[0].shape) > 1

    def _named(self, table: pd.DataFrame) -> pd.DataFrame:
        names = column_names(self.inputs)
        lacking = [name for name in names if name not in table.columns]
        if lacking:
            listed = ", ".join(repr(name) for name in lacking[:10])
            raise self._unfit(f"it lacks the columns {listed} ({len(lacking)} of {len(names)})")
        return table[names]

    def _unnamed(self, table: pd.DataFrame, target: str, aside: frozenset[str]) -> pd.DataFrame:
        width = self.inputs[0].shape[-1]
        for left_out in (aside | {target}, {target}):
            rows = table[[name for name in table.columns if name not in left_out]]
            if width in (-1, rows.shape[1]):
                return rows
        raise self._unfit(f"it has {rows.shape[1]} columns beside the target, and the model takes {width}")

    def _unfit(self, problem: str) -> Failure:
        message = f"the holdout does not fit the {self.role} {self.uri}: {problem}"
        return Failure(Reason.HOLDOUT_INVALID, message)


def load(role: str, uri: str, settings: Settings, workdir: Path) -> Contender:
    """Fetch, open and describe the model at `uri`; the Failure of an import, with the role in its message."""
    home = workdir / role
    try:
        source = fetch(settings.request(uri), home)
        opened = open_model(source, settings.request(uri))
        described, answer = _described(opened, home)
    except Failure as failure:
        raise Failure(failure.reason, f"the {role} {uri}: {failure.message}") from failure
    classes = None if described.classes is None else tuple(str(name) for name in described.classes)
    sizes = (path.stat().st_size for path in (source, *source.rglob("*")) if path.is_file())
    return Contender(role, uri, described.inputs, described.outputs, classes, sum(sizes), opened.profile, answer)


def _described(opened: Opened, home: Path) -> tuple[Described, Callable[[Tensors], Tensors]]:
    if isinstance(opened, Graph):
        described = describe_graph(opened, home / "graph.onnx")
        session = open_session(home / "graph.onnx")
        names = [tensor.name for tensor in described.outputs]
        return described, lambda rows: run(session, rows, names)
    described = describe_estimator(opened)
    outputs = Outputs(described.outputs, described.classes)
    model, inputs = opened.model, described.inputs
    return described, lambda rows: predict(model, to_features(rows, inputs), outputs)
