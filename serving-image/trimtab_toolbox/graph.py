"""ONNX graphs as a server wants them: with the declared inputs and outputs, and always the same bytes.

Only operators whose meaning never changed between opsets are added (Cast, Gather, Reshape, …), because a
converter picks the lowest opset that will do and a graph has one opset for all its nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trimtab_serving.bundle import Datatype, Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.large_nodes import let_go_of_large_nodes

NAME = "trimtab"

_TYPES: Mapping[Datatype, int] = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
_DATATYPES: Mapping[int, Datatype] = {code: name for name, code in _TYPES.items()}

LABEL_GRID = float(1 << 20)
"""Scores that round to the same multiple of 1/2^20 count as tied when a label is chosen."""


def inputs_of(model: onnx.ModelProto) -> tuple[Tensor, ...]:
    """The inputs a client must give, in the graph's order; weights with default values are not among them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return tuple(_tensor(value) for value in model.graph.input if value.name not in weights)


def outputs_of(model: onnx.ModelProto) -> tuple[Tensor, ...]:
    """The outputs in the graph's order. UnsupportedFormat for sequences, maps and odd number types."""
    return tuple(_tensor(value) for value in model.graph.output)


def canonical_bytes(model: onnx.ModelProto) -> bytes:
    """The graph without what varies between two conversions of the same model: names, texts, orders."""
    model.graph.name = NAME
    model.doc_string = model.graph.doc_string = ""
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    copies = [helper.make_opsetid(opset.domain, opset.version) for opset in opsets]
    del model.opset_import[:]
    model.opset_import.extend(copies)
    let_go_of_large_nodes(model)
    return bytes(model.SerializeToString(deterministic=True))


def declare_inputs(model: onnx.ModelProto, declared: Sequence[Tensor], number: Datatype) -> None:
    """Put the declared inputs in front of the converted graph, whose own take `number` or text.

    The graph has either as many inputs as are declared, or one for each column of the one declared matrix.
    """
    inner = [f"{NAME}.input.{index}" for index in range(len(model.graph.input))]
    _clear_names(model, [value.name for value in model.graph.input], inner, declared)
    nodes: list[onnx.NodeProto] = []
    if len(declared) == len(inner):
        for tensor, name in zip(declared, inner, strict=True):
            kind = "BYTES" if tensor.datatype == "BYTES" else number
            nodes.append(_cast(tensor.name, name, tensor.datatype, kind))
    else:
        whole = f"{NAME}.matrix"
        nodes.append(_cast(declared[0].name, whole, declared[0].datatype, number))
        for index, name in enumerate(inner):
            which = _constant(model, f"{NAME}.column.{index}", np.array([index], dtype=np.int64))
            nodes.append(helper.make_node("Gather", [whole, which], [name], name=name, axis=1))
    _replace(model.graph.input, [_value(tensor) for tensor in declared])
    _replace(model.graph.node, [*nodes, *model.graph.node])
    _need_core_opset(model)


def declare_outputs(model: onnx.ModelProto, declared: Sequence[Tensor]) -> None:
    """Give the first outputs of the graph the declared names, types and ranks, and drop the others."""
    before = list(model.graph.output)[: len(declared)]
    inner = [f"{NAME}.output.{index}" for index in range(len(before))]
    _clear_names(model, [value.name for value in before], inner, declared)
    for value, name, tensor in zip(before, inner, declared, strict=True):
        found = value.type.tensor_type
        cast = f"{name}.cast"
        model.graph.node.append(_cast(name, cast, _DATATYPES[found.elem_type], tensor.datatype))
        # [rows, 1] and [rows] are the same numbers; the declared rank decides.
        shape = _constant(model, f"{name}.shape", np.array(tensor.shape, dtype=np.int64))
        node = helper.make_node("Reshape", [cast, shape], [tensor.name], name=f"{name}.reshape")
        model.graph.node.append(node)
    _replace(model.graph.output, [_value(tensor) for tensor in declared])
    _need_core_opset(model)


def label_by_best_score(model: onnx.ModelProto, classes: Sequence[str | int]) -> None:
    """Choose the label (first output) from the scores (second): the first class among those tied for best.

    Sums of FP32 differ in their last digit where the estimator's sums are equal, as in a forest with as many
    trees for as against; on a coarse grid they are equal again.
    """
    label, scores = model.graph.output[0], model.graph.output[1]
    grid = _constant(model, f"{NAME}.grid", np.array([LABEL_GRID], dtype=np.float32))
    half = _constant(model, f"{NAME}.half", np.array([0.5], dtype=np.float32))
    text = isinstance(classes[0], str)
    values = np.array(classes, dtype=object if text else np.int64)
    table = _constant(model, f"{NAME}.classes", values)
    found: Datatype = _DATATYPES[scores.type.tensor_type.elem_type]
    model.graph.node.extend(
        [
            _cast(scores.name, f"{NAME}.scores", found, "FP32"),
            helper.make_node("Mul", [f"{NAME}.scores", grid], [f"{NAME}.scaled"], name=f"{NAME}.scale"),
            helper.make_node("Add", [f"{NAME}.scaled", half], [f"{NAME}.shifted"], name=f"{NAME}.shift"),
            helper.make_node("Floor", [f"{NAME}.shifted"], [f"{NAME}.rounded"], name=f"{NAME}.round"),
            helper.make_node(
                "ArgMax", [f"{NAME}.rounded"], [f"{NAME}.best"], name=f"{NAME}.argmax", axis=1, keepdims=0
            ),
            helper.make_node("Gather", [table, f"{NAME}.best"], [f"{NAME}.label"], name=f"{NAME}.take", axis=0),
        ]
    )
    label.name = f"{NAME}.label"
    label.type.tensor_type.elem_type = _TYPES["BYTES" if text else "INT64"]
    _need_core_opset(model)


def strip_zipmaps(model: onnx.ModelProto) -> tuple[str | int, ...] | None:
    """Replace outputs that are lists of {class: probability} by the matrix they are made from.

    scikit-learn's converter adds them by default, and no inference protocol can carry them. Returns the classes
    in the order of the matrix's columns, or None when there was nothing to do.
    """
    classes: tuple[str | int, ...] | None = None
    for node in [node for node in model.graph.node if node.op_type == "ZipMap"]:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        texts = [label.decode() for label in attributes.get("classlabels_strings", [])]
        classes = tuple(texts or [int(label) for label in attributes.get("classlabels_int64s", [])])
        for value in model.graph.output:
            if value.name == node.output[0]:
                value.CopyFrom(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [None, len(classes)]))
        identity = helper.make_node("Identity", node.input, node.output, name=node.name or node.output[0])
        node.CopyFrom(identity)
        _need_core_opset(model)
    return classes


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.WhichOneof("value")
    found = value.type.tensor_type
    if kind != "tensor_type" or found.elem_type not in _DATATYPES:
        what = TensorProto.DataType.Name(found.elem_type) if kind == "tensor_type" else str(kind)
        message = (
            f"the graph's {value.name!r} is of the type {what}, which cannot be served; export the model with "
            f"tensors of {', '.join(_TYPES)}"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    lengths = [length.dim_value if length.HasField("dim_value") else -1 for length in found.shape.dim]
    return Tensor(value.name, _DATATYPES[found.elem_type], tuple(lengths))


def _value(tensor: Tensor) -> onnx.ValueInfoProto:
    shape = [length if length >= 0 else "rows" for length in tensor.shape]
    return helper.make_tensor_value_info(tensor.name, _TYPES[tensor.datatype], shape)


def _cast(source: str, target: str, found: Datatype, wanted: Datatype) -> onnx.NodeProto:
    if found == wanted:
        return helper.make_node("Identity", [source], [target], name=target)
    return helper.make_node("Cast", [source], [target], name=target, to=_TYPES[wanted])


def _constant(model: onnx.ModelProto, name: str, values: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    return name


def _clear_names(
    model: onnx.ModelProto, outer: Sequence[str], inner: Sequence[str], declared: Sequence[Tensor]
) -> None:
    """Rename the values `outer` to `inner`, and all others that happen to have a declared name out of the way."""
    away = {tensor.name: f"{NAME}.was.{tensor.name}" for tensor in declared}
    _rename(model.graph, away | dict(zip(outer, inner, strict=True)))


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values, also where a nested graph (a loop's body) uses them."""
    for node in graph.node:
        _replace(node.input, [names.get(name, name) for name in node.input])
        _replace(node.output, [names.get(name, name) for name in node.output])
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs):
                shadowed = {value.name for value in nested.input}
                _rename(nested, {old: new for old, new in names.items() if old not in shadowed})
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)


def _replace(repeated: Any, items: Iterable[Any]) -> None:
    kept = list(items)
    del repeated[:]
    repeated.extend(kept)


def _need_core_opset(model: onnx.ModelProto) -> None:
    if not any(opset.domain == "" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 18))
