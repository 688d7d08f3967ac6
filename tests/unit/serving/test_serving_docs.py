"""What the server says of its model to people and tools: valid, complete, and made of nothing from elsewhere."""

import json
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.docs import openapi, page
from trimtab_serving.docs.examples import v1_request, v2_request
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v1 import V1Codec
from trimtab_serving.protocol.v2 import ModelMetadata
from trimtab_serving.protocol.v2_codec import V2Codec

OUTPUTS = (Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2)))
INPUTS = {
    "matrix": (Tensor("X", "FP32", (-1, 3)),),
    "table": (Tensor("X", "FP64", (-1, 2), ("age", "in<come>"), ("age",)),),
    "columns": (Tensor("age", "INT64", (-1, 1)), Tensor("city", "BYTES", (-1, 1), missing=True)),
    "truths": (Tensor("yes", "BOOL", (-1,)),),
    "images": (Tensor("pixels", "UINT8", (-1, 28, 28)),),
    "fixed": (Tensor("x", "FP32", (2, 2)),),
}


def described(name: str) -> tuple[ModelMetadata, Signature]:
    info = BundleInfo(format="ONNX", flavor="onnx", runtime="onnx", inputs=INPUTS[name], outputs=OUTPUTS)
    known = Signature(info)
    digest = {"digest": "sha256:" + "ab" * 32}
    return ModelMetadata("risk", ["7"], "onnx_onnxv1", *known.metadata(), digest), known


@pytest.mark.parametrize("name", INPUTS)
def test_examples_fit_the_document_and_the_model(name: str) -> None:
    metadata, known = described(name)
    document = json.loads(msgspec.json.encode(openapi.document(metadata, known)))
    for path, codec, example in (
        ("/v2/models/risk/infer", V2Codec("risk", "7", known), v2_request(metadata)),
        ("/v1/models/risk:predict", V1Codec(known), v1_request(metadata)),
    ):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert content["example"] == example
        schema = content["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(example)
        if name != "fixed":
            codec.decode(json.dumps(example).encode())  # type: ignore[attr-defined]


def test_the_document_knows_null_only_where_values_may_be_missing() -> None:
    schemas = openapi.document(*described("columns"))["components"]["schemas"]
    assert schemas["BYTESData"]["items"]["anyOf"][0] == {"type": ["string", "null"]}
    assert schemas["INT64Data"]["items"]["anyOf"][0] == {"type": "integer"}
    names = schemas["InferRequest"]["properties"]["outputs"]["items"]["properties"]["name"]["enum"]
    assert names == ["label", "probabilities", "predict", "predict_proba"]


def test_both_forms_of_a_table_are_described() -> None:
    schemas = openapi.document(*described("table"))["components"]["schemas"]
    forms = schemas["InferRequest"]["properties"]["inputs"]["items"]["anyOf"]
    assert [form["properties"]["name"]["const"] for form in forms] == ["X", "age", "in<come>"]


@pytest.mark.parametrize("name", INPUTS)
def test_the_page_needs_nothing_from_elsewhere_and_escapes_names(name: str) -> None:
    text = page.render(*described(name))
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["openapi.json"]
    assert "in<come>" not in text
    assert ("in&lt;come&gt;" in text) == (name == "table")


def test_the_protocols_document_is_valid_and_has_our_datatypes() -> None:
    import yaml

    from trimtab_serving.protocol.datatypes import DATATYPES

    document = yaml.safe_load((Path(__file__).parents[3] / "docs" / "open-inference-protocol.yaml").read_text())
    assert set(document["components"]["schemas"]["Datatype"]["enum"]) == set(DATATYPES)
