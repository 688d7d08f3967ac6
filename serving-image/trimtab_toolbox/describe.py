"""What a client must know of an opened model, and the rows that everything else is tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.convert import Task
from trimtab_toolbox.evidence import takes_missing
from trimtab_toolbox.graph import inputs_of, outputs_of, strip_zipmaps
from trimtab_toolbox.large_nodes import let_go_of_large_nodes
from trimtab_toolbox.opened import Estimator, Graph
from trimtab_toolbox.predictions import ask, describe_outputs, predict
from trimtab_toolbox.sample import EXAMPLE_ROWS, example_rows, sample_rows
from trimtab_toolbox.session import open_session, run
from trimtab_toolbox.signature import schema_of_estimator, with_missing
from trimtab_toolbox.table import NUMPY_TYPES, Tensors, to_features, to_request, to_tensors


@dataclass(frozen=True, slots=True)
class Described:
    """The signature of a model, its example request, and for an estimator the conversion to try."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    classes: tuple[str | int, ...] | None
    example: bytes
    task: Task | None = None


def describe_estimator(opened: Estimator) -> Described:
    """Describe a model that predicts in this process, from its real answers to the sample's rows.

    Raises LoadFailed when it cannot predict its own example, or nothing is known of its inputs.
    """
    model = opened.model
    if not hasattr(model, "predict"):
        message = f"{type(model).__name__} has no predict method, so there is nothing to serve; log the whole pipeline"
        raise Failure(Reason.LOAD_FAILED, message)
    schema = with_missing(opened.schema or schema_of_estimator(model, opened.example), everywhere=takes_missing(model))
    inputs = schema.inputs
    rows = sample_rows(opened, schema, lambda table: ask(model.predict, to_features(to_tensors(table, inputs), inputs)))
    tensors = to_tensors(rows, inputs)
    features = to_features(tensors, inputs)
    outputs = describe_outputs(model, features)
    task = Task(model, inputs, outputs, tensors, predict(model, features, outputs))
    example = to_request(to_tensors(example_rows(opened, schema, rows), inputs), inputs)
    return Described(inputs, outputs.tensors, outputs.classes, example, task)


def describe_graph(opened: Graph, target: Path) -> Described:
    """Write the ONNX graph to `target`, and describe it after it has answered an example."""
    classes = strip_zipmaps(opened.model)
    inputs, outputs = inputs_of(opened.model), outputs_of(opened.model)
    let_go_of_large_nodes(opened.model)
    target.write_bytes(opened.model.SerializeToString(deterministic=True))
    rows = _logged_tensors(opened, inputs) or _made_up_tensors(inputs)
    try:
        run(open_session(target), rows, [tensor.name for tensor in outputs])
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        message = (
            f"ONNX Runtime cannot run the graph: {type(error).__name__}: {text}; export it with operators that ONNX "
            "Runtime has, and log it to MLflow with an input example if it needs special values"
        )
        raise Failure(Reason.LOAD_FAILED, message) from error
    return Described(inputs, outputs, classes, to_request(rows, inputs))


def _logged_tensors(opened: Graph, inputs: Sequence[Tensor]) -> Tensors | None:
    """The first rows of the logged example, if it has the graph's inputs and nothing JSON cannot say."""
    example = opened.example
    if not isinstance(example, Mapping):
        example = {inputs[0].name: example} if example is not None and len(inputs) == 1 else {}
    tensors: Tensors = {}
    for tensor in inputs:
        try:
            array = np.asarray(example[tensor.name]).astype(NUMPY_TYPES[tensor.datatype])
        except (KeyError, ValueError, TypeError):
            return None
        if array.ndim != len(tensor.shape) or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            return None
        tensors[tensor.name] = array[:EXAMPLE_ROWS] if tensor.shape and tensor.shape[0] < 0 else array
    return tensors


def _made_up_tensors(inputs: Sequence[Tensor]) -> Tensors:
    """One row of ones (or of one text): the value that most graphs take, where nothing better is known."""
    return {
        tensor.name: np.full(
            [max(length, 1) for length in tensor.shape],
            "example" if tensor.datatype == "BYTES" else 1,
            dtype=NUMPY_TYPES[tensor.datatype],
        )
        for tensor in inputs
    }
