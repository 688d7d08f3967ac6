"""The shapes of the V2 REST messages, and messages of faults that name the field at fault."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from trimtab_serving.protocol.errors import RequestError

Message = TypeVar("Message")


class RequestTensor(msgspec.Struct):
    """One input. `data` stays JSON until its datatype is known; without it the data is binary."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] | None = None


class RequestedOutput(msgspec.Struct):
    """One output the client wants."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The body of an inference request. Clients that send null for optional fields are understood."""

    inputs: list[RequestTensor]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = None


class ResponseTensor(msgspec.Struct, omit_defaults=True):
    """One output with its flat, row-major data, or the size of the binary data that follows."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any] | UnsetType = UNSET
    parameters: dict[str, int] | UnsetType = UNSET


class InferResponse(msgspec.Struct, omit_defaults=True):
    """The body of an answer; what is not there is left out, never null."""

    model_name: str
    model_version: str
    outputs: list[ResponseTensor]
    id: str | UnsetType = UNSET


class TensorMetadata(msgspec.Struct, omit_defaults=True):
    """What a client must know of one input or output; `parameters` names the columns of a table."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, list[str]] | UnsetType = UNSET


class ModelMetadata(msgspec.Struct):
    """The answer to GET /v2/models/<name>."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, str]


_decode = msgspec.json.Decoder(InferRequest).decode
encode = msgspec.json.Encoder().encode

_PLACE = re.compile(r"(?P<fault>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`$")
_TYPE = re.compile(r"Expected `([^`]*)`, got `([^`]*)`$")
_JSON_NAMES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def decode_request(body: bytes) -> InferRequest:
    """Parse a request body; RequestError with the place of the fault."""
    return decoded(_decode, body)


def decoded(decode: Callable[[bytes], Message], body: bytes) -> Message:
    """Parse a body with this decoder; RequestError with the place of the fault."""
    if not body:
        raise RequestError("the body is empty; send the request as JSON")
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise RequestError(describe(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise RequestError("the body is nested too deeply") from None


def describe(error: msgspec.ValidationError, below: str = "") -> str:
    """The validation error in words a client understands; `below` is the field that was being read."""
    match = _PLACE.match(str(error))
    fault, place = (match["fault"], match["place"] or "") if match else (str(error), "")
    where = below + (place if place.startswith("[") or not below or not place else f".{place}")
    missing = _MISSING.match(fault)
    if missing:
        field = f"{where}.{missing[1]}" if where else missing[1]
        return f"{field} is missing"
    return f"{where or 'the body'}: {_in_json_terms(fault)}"


def _in_json_terms(fault: str) -> str:
    wrong = _TYPE.match(fault)
    if wrong is None:
        return fault[:1].lower() + fault[1:]
    wanted = " or ".join(_JSON_NAMES.get(part, part) for part in wrong[1].split(" | ") if part != "null")
    return f"expected {wanted}, got {_got(wrong[2])}"


def _got(kind: str) -> str:
    return "a boolean" if kind == "bool" else _JSON_NAMES.get(kind, kind)


def encode_error(message: str) -> bytes:
    """The body of every failure."""
    return encode({"error": message})
