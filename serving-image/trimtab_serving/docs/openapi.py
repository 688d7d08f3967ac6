"""The OpenAPI 3.1 document of the very model that is served: its names, types and columns, not any model's.

What JSON Schema cannot say (that `data` has as many values as `shape` needs, that all inputs have the same number of
rows) is said in words; such a request is answered with 400.
"""

from __future__ import annotations

from typing import Any

from trimtab_serving import __version__
from trimtab_serving.docs.examples import v1_request, v2_request
from trimtab_serving.protocol.datatypes import DATATYPES
from trimtab_serving.protocol.reader import InputReader
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v2 import ModelMetadata

Schema = dict[str, Any]

_NAMED: Schema = {
    "name": {"type": "string"},
    "datatype": {"type": "string"},
    "shape": {"$ref": "#/components/schemas/Shape"},
}
_FAULTS = {
    "400": "The request is at fault; the message names the field.",
    "408": "The request was not complete in time.",
    "413": "The body is too large, as sent or unpacked.",
    "415": "The body's type or encoding is not read here.",
    "431": "The request's head is too large.",
    "500": "The server or the model is at fault.",
    "503": "The model is loading, or there are too many requests.",
}
_SHARED: dict[str, Schema] = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "Shape": {"type": "array", "items": {"type": "integer"}},
    "Parameters": {"type": ["object", "null"]},
    "Live": {"type": "object", "required": ["live"], "properties": {"live": {"type": "boolean"}}},
    "Ready": {
        "type": "object",
        "required": ["ready"],
        "properties": {"name": {"type": "string"}, "live": {"type": "boolean"}, "ready": {"type": "boolean"}},
    },
    "Models": {
        "type": "object",
        "required": ["models"],
        "properties": {"models": {"type": "array", "items": {"type": "string"}}},
    },
    "Server": {
        "type": "object",
        "required": ["name", "version", "extensions"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Model": {
        "type": "object",
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": {"type": "object", "required": list(_NAMED), "properties": _NAMED}},
            "outputs": {"type": "array", "items": {"type": "object", "required": list(_NAMED), "properties": _NAMED}},
        },
    },
    "Index": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "state"],
            "properties": {name: {"type": "string"} for name in ("name", "version", "state", "reason")},
        },
    },
    "IndexRequest": {"type": "object", "properties": {"ready": {"type": ["boolean", "null"]}}},
}


def document(metadata: ModelMetadata, signature: Signature) -> Schema:
    """The document for one loaded model."""
    name, version = metadata.name, metadata.versions[0]
    paths: dict[str, Schema] = {
        "/v2/health/live": {"get": _get("serverLive", "Whether the server runs", "Live")},
        "/v2/health/ready": {"get": _get("serverReady", "Whether requests should be sent here", "Ready", unready=True)},
        "/v2": {"get": _get("serverMetadata", "Name, version and extensions of the server", "Server")},
        "/v2/models": {"get": _get("listModels", "The names of the models", "Models")},
        "/v2/repository/index": {"post": _index()},
        "/v1/models": {"get": _get("listModelsV1", "The names of the models", "Models")},
        f"/v1/models/{name}": {"get": _get("modelReadyV1", "Whether the model is ready", "Ready", unready=True)},
        f"/v1/models/{name}:predict": {"post": _predict(metadata, signature)},
    }
    for suffix, mark in (("", ""), (f"/versions/{version}", "OfVersion")):
        model = f"/v2/models/{name}{suffix}"
        paths[model] = {"get": _get(f"modelMetadata{mark}", "Inputs and outputs of the model", "Model")}
        ready = _get(f"modelReady{mark}", "Whether the model is ready", "Ready", unready=True)
        paths[f"{model}/ready"] = {"get": ready}
        paths[f"{model}/infer"] = {"post": _infer(f"modelInfer{mark}", metadata)}
    schemas = _SHARED | _model_schemas(metadata, signature)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Model {name}", "version": version, "x-server": f"trimtab {__version__}"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _model_schemas(metadata: ModelMetadata, signature: Signature) -> dict[str, Schema]:
    readers = _every_form(signature)
    kinds = sorted({reader.datatype.name for reader in readers})
    lacking = {reader.datatype.name for reader in readers if reader.takes_missing}
    outputs = [*signature.outputs, *signature.aliases]
    wanted = {"name": {"enum": outputs}, "parameters": {"$ref": "#/components/schemas/Parameters"}}
    return {
        "InferRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": ["string", "null"]},
                "parameters": {"$ref": "#/components/schemas/Parameters"},
                "inputs": {"type": "array", "minItems": 1, "items": {"anyOf": [_input(one) for one in readers]}},
                "outputs": {
                    "type": ["array", "null"],
                    "items": {"type": "object", "required": ["name"], "properties": wanted},
                },
            },
        },
        "InferResponse": _answer(metadata),
        **{f"{kind}Data": _data(kind, kind in lacking) for kind in kinds},
    }


def _answer(metadata: ModelMetadata) -> Schema:
    tensor = {"type": "object", "required": ["name", "shape", "datatype"], "properties": _NAMED}
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"const": metadata.name},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": tensor},
        },
    }


def _every_form(signature: Signature) -> list[InputReader]:
    """All tensors a client may send: the model's own inputs, and the other form of its table."""
    readers = [*signature.inputs.values(), *signature.columns.values()]
    return readers if signature.matrix is None else [*readers, signature.matrix]


def _input(reader: InputReader) -> Schema:
    kind = reader.datatype.name
    taken = [name for name, datatype in DATATYPES.items() if kind in datatype.widens_to]
    properties: Schema = {
        "name": {"const": reader.name},
        "datatype": {"enum": sorted(taken)},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "description": str(list(reader.shape))},
        "data": {"$ref": f"#/components/schemas/{kind}Data"},
        "parameters": {"$ref": "#/components/schemas/Parameters"},
    }
    if reader.columns:
        properties["data"]["description"] = "Columns: " + ", ".join(reader.columns)
    return {"type": "object", "required": ["name", "shape", "datatype", "data"], "properties": properties}


def _data(kind: str, missing: bool) -> Schema:
    element = {float: "number", int: "integer", bool: "boolean", str: "string"}[DATATYPES[kind].element]
    value: Schema = {"type": [element, "null"] if missing else element}
    told = "Row-major, flat or nested as its shape says" + ("; null is a missing value" if missing else "")
    items = {"anyOf": [value, {"$ref": f"#/components/schemas/{kind}Data"}]}
    return {"type": "array", "items": items, "description": told}


def _infer(operation: str, metadata: ModelMetadata) -> Schema:
    body = {"schema": {"$ref": "#/components/schemas/InferRequest"}, "example": v2_request(metadata)}
    post = _post(operation, "Predict", {"application/json": body}, {"$ref": "#/components/schemas/InferResponse"})
    post["description"] = (
        "With the header Inference-Header-Content-Length the body is JSON of that length followed by the bytes of the "
        "inputs that have parameters.binary_data_size. Outputs are binary when parameters.binary_data_output or an "
        "output's parameters.binary_data is true."
    )
    return post


def _predict(metadata: ModelMetadata, signature: Signature) -> Schema:
    outputs = {"type": ["array", "null"], "items": {"enum": [*signature.outputs, *signature.aliases]}}
    instances = {"type": "array", "minItems": 1, "items": {}}
    request: Schema = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": instances, "outputs": outputs},
    }
    answer = {"type": "object", "required": ["predictions"], "properties": {"predictions": {"type": "array"}}}
    body = {"schema": request, "example": v1_request(metadata)}
    return _post("predictV1", "Predict, one row an instance", {"application/json": body}, answer)


def _index() -> Schema:
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/IndexRequest"}}}
    post = _post("repositoryIndex", "The models and their states", body, {"$ref": "#/components/schemas/Index"})
    post["requestBody"]["required"] = False
    return post


def _post(operation: str, summary: str, content: Schema, answer: Schema) -> Schema:
    responses = {"200": {"description": "The answer", "content": {"application/json": {"schema": answer}}}}
    return {
        "operationId": operation,
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": responses | {code: _fault(text) for code, text in _FAULTS.items()},
    }


def _get(operation: str, summary: str, schema: str, unready: bool = False) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    responses: Schema = {"200": {"description": summary, "content": content}}
    responses["503"] = {"description": "Not ready", "content": content} if unready else _fault(_FAULTS["503"])
    return {"operationId": operation, "summary": summary, "responses": responses}


def _fault(text: str) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
