"""schemathesis against a real process: by the document it serves of itself, and by that of the protocol."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.test_server_process import NAME, fetched_environment, serving, train

PROTOCOL = Path(__file__).parents[2] / "docs" / "open-inference-protocol.yaml"
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    trained = train("onnx", tmp_path_factory.mktemp("openapi"))
    with serving(fetched_environment(trained, tmp_path_factory.mktemp("server"))) as server:
        yield server.url


def attempt(schema: Any, check: Callable[[schemathesis.Case], None]) -> int:
    """Try right and wrong requests of every operation; returns how many were sent."""
    sent = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.path_parameters):
                continue

            @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(generation_mode=mode))
            def one(case: schemathesis.Case) -> None:
                nonlocal sent
                sent += 1
                check(case)

            one()
    return sent


def test_the_server_is_as_it_describes_itself(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    checks = [*CHECKS, negative_data_rejection]
    assert attempt(schema, lambda case: case.call_and_validate(checks=checks, timeout=10)) > 300


def test_the_server_is_as_the_protocol_describes_it(url: str) -> None:
    def check(case: schemathesis.Case) -> None:
        for name, value in (("model_name", NAME), ("model_version", "3")):
            if name in case.path_parameters:
                case.path_parameters[name] = value
        case.call_and_validate(base_url=url, checks=CHECKS, timeout=10)

    assert attempt(schemathesis.openapi.from_path(str(PROTOCOL)), check) > 300


def test_the_documents_examples_are_answered(url: str) -> None:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as response:
        paths = json.load(response)["paths"]
    contents = [item["post"]["requestBody"]["content"]["application/json"] for item in paths.values() if "post" in item]
    assert sum("example" in content for content in contents) == 3
    for path, item in paths.items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            body = json.dumps(content["example"]).encode()
            request = urllib.request.Request(url + path, body, {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=10) as response:
                assert response.status == 200


@pytest.mark.parametrize("wrong", ["answer", "request"])
def test_a_document_that_is_wrong_is_found_out(url: str, wrong: str) -> None:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as response:
        document = json.load(response)
    if wrong == "answer":
        document["components"]["schemas"]["Live"]["required"].append("nowhere")
    else:
        document["components"]["schemas"]["IndexRequest"]["required"] = ["ready"]
    schema = schemathesis.openapi.from_dict(document)
    checks = [*CHECKS, negative_data_rejection]
    with pytest.raises(FailureGroup):
        attempt(schema, lambda case: case.call_and_validate(base_url=url, checks=checks, timeout=10))
