"""The V1 protocol: `{"instances": […]}` in, `{"predictions": […]}` out.

An instance is a row: a list of its features, an object of them by name, or the bare value of a model of one feature.
A prediction is what `predict` gives for the row; `outputs` may name others, which is ours and not of the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trimtab_serving.protocol import finite
from trimtab_serving.protocol.datatypes import Array, to_list
from trimtab_serving.protocol.errors import RequestError, quoted
from trimtab_serving.protocol.reader import InputReader
from trimtab_serving.protocol.signature import Selection, Signature
from trimtab_serving.protocol.v2 import RequestedOutput, decoded, encode
from trimtab_serving.protocol.v2_codec import Call, Encoded

PREDICT = "predict"


class PredictRequest(msgspec.Struct):
    """The body of a V1 request. What else it holds is for other servers."""

    instances: list[Any]
    outputs: list[str] | None = None


_decode = msgspec.json.Decoder(PredictRequest).decode


class _Column(msgspec.Struct):
    """The values of one feature over all instances."""

    name: str
    values: list[Any]


class V1Codec:
    """Between V1 messages and calls of one model."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._default = self._usual_outputs()

    def _usual_outputs(self) -> Selection:
        known = self._signature
        name = PREDICT if PREDICT in known.outputs else known.aliases.get(PREDICT)
        return known.selected(None) if name is None else Selection((name,), (name,))

    def decode(self, body: bytes) -> Call:
        """The call that `body` asks for; RequestError names the instance at fault."""
        request = decoded(_decode, body)
        if not request.instances:
            raise RequestError("instances is empty; send one row at least")
        if request.outputs:
            outputs = self._signature.selected([RequestedOutput(name) for name in request.outputs])
        else:
            outputs = self._default
        return Call(self._arrays(request.instances), outputs)

    def _arrays(self, instances: list[Any]) -> dict[str, Array]:
        inputs = self._signature.inputs
        if isinstance(instances[0], dict):
            columns = self._columns_of_objects(instances)
        elif len(inputs) == 1:
            columns = [_Column(next(iter(inputs)), instances)]
        else:
            columns = self._columns_of_rows(instances)

        def read(reader: InputReader, index: int) -> Array:
            column = columns[index]
            return reader.read_values(column.values, "instances" if len(columns) == 1 else f"instances.{column.name}")

        return self._signature.arrays(columns, read)

    def _columns_of_objects(self, instances: list[Any]) -> list[_Column]:
        known = self._signature.inputs
        wanted = known if not instances[0].keys().isdisjoint(known) else self._signature.columns or known
        for index, instance in enumerate(instances):
            if not isinstance(instance, dict):
                raise RequestError(f"instances[{index}]: expected an object like the first one")
            if instance.keys() != wanted.keys():
                raise RequestError(_wrong_names(index, instance, list(wanted)))
        return [_Column(name, [instance[name] for instance in instances]) for name in wanted]

    def _columns_of_rows(self, instances: list[Any]) -> list[_Column]:
        names = list(self._signature.inputs)
        for index, row in enumerate(instances):
            if not isinstance(row, list):
                raise RequestError(f"instances[{index}]: expected an array of {quoted(names)}, or an object of them")
            if len(row) != len(names):
                message = f"instances[{index}] has {len(row)} values; the model takes {len(names)}: {quoted(names)}"
                raise RequestError(message)
        return [_Column(name, list(values)) for name, values in zip(names, zip(*instances, strict=True), strict=True)]

    def encode(self, call: Call, results: Sequence[Array]) -> Encoded:
        """The answer to `call`; RequestError when JSON cannot say it."""
        asked, names = call.outputs
        columns = [self._rows(name, array) for name, array in zip(names, results, strict=True)]
        if len(columns) == 1:
            predictions = columns[0]
        elif len(set(map(len, columns))) > 1:
            told = f"the outputs {quoted(asked)} are not one answer for each row, which V1 has no form for"
            raise RequestError(f"{told}; name one of them in outputs, or ask over V2")
        else:
            predictions = [dict(zip(asked, row, strict=True)) for row in zip(*columns, strict=True)]
        body = encode({"predictions": predictions})
        if finite.SUSPECT in body:
            finite.check(asked, results, call.arrays)
        return Encoded(body)

    def _rows(self, name: str, array: Array) -> list[Any]:
        datatype = self._signature.output_types[name]
        if datatype.element is not str:
            rows: list[Any] = array.reshape(array.shape or (1,)).tolist()
            return rows
        values = to_list(array, datatype)
        width = len(values) // max(len(array), 1) if array.ndim > 1 else 0
        return [values[start : start + width] for start in range(0, len(values), width)] if width else values


def _wrong_names(index: int, instance: dict[str, Any], wanted: list[str]) -> str:
    missing = [name for name in wanted if name not in instance]
    if missing:
        return f"instances[{index}]: {quoted(missing)} is missing; the model takes {quoted(wanted)}"
    unknown = [name for name in instance if name not in wanted]
    return f"instances[{index}]: {quoted(unknown)} is unknown; the model takes {quoted(wanted)}"
