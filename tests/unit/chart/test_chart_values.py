"""Values: all documented, none unknown, and what cannot work refused with a sentence that says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from tests.chart import CHART, VALUES, RefusedError, render

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
# Helm's own, and parts of Kubernetes objects that only the API server can check.
OPEN = {"global", "kubernetesObject"}


def refusal(values: Mapping[str, Any]) -> str:
    """What Helm says of values that must not be rendered."""
    with pytest.raises(RefusedError) as refused:
        render(values)
    return str(refused.value)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    found: dict[str, Any] = SCHEMA["$defs"][reference.rpartition("/")[2]] if reference else schema
    return found


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object, with its path."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, value in schema.items():
            yield from objects(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from objects(value, f"{path}/{index}")


def test_the_schema_is_a_schema_and_accepts_the_defaults() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(DEFAULTS)


def test_no_object_in_the_schema_is_open() -> None:
    seen = list(objects(SCHEMA))
    assert len(seen) > 30
    for path, schema in seen:
        if path.rpartition("/")[2] in OPEN:
            assert schema["description"]
        else:
            assert schema["additionalProperties"] is not True, path


# Parts of Kubernetes objects: a default names what it needs of them, not every field there is.
PARTS = {"podSecurityContext", "securityContext", "resources", "affinity"}


def test_values_and_schema_name_the_same_things() -> None:
    def compare(values: Any, schema: dict[str, Any], path: str) -> None:
        properties = resolved(schema).get("properties")
        if properties is None or path.rpartition("/")[2] in PARTS:
            return
        assert set(values) == set(properties) - {"global"}, path
        for key, value in values.items():
            compare(value, properties[key], f"{path}/{key}")

    compare(DEFAULTS, SCHEMA, "")


def test_every_value_is_documented() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    document = yaml.compose((CHART / "values.yaml").read_text())
    undocumented = []

    def comment_above(line: int) -> str:
        start = line
        while start and lines[start - 1].lstrip().startswith("#"):
            start -= 1
        return "\n".join(lines[start:line])

    def visit(node: yaml.MappingNode, path: str) -> None:
        for key, value in node.value:
            here = f"{path}.{key.value}".lstrip(".")
            if "# -- " in comment_above(key.start_mark.line):
                continue
            if isinstance(value, yaml.MappingNode) and value.value:
                visit(value, here)
            else:
                undocumented.append(here)

    assert isinstance(document, yaml.MappingNode)
    visit(document, "")
    assert undocumented == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
        ({"mlflow": {"presistence": {}}}, "at '/mlflow': additional properties 'presistence' not allowed"),
        ({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed"),
        ({"replicaCount": "two"}, "at '/replicaCount': got string, want integer"),
        ({"replicaCount": 0}, "at '/replicaCount': minimum: got 0, want 1"),
        ({"image": {"pullPolicy": "Sometimes"}}, "value must be one of 'Always', 'IfNotPresent', 'Never'"),
        ({"image": {"digest": "latest"}}, "at '/image/digest': 'latest' does not match pattern"),
        ({"image": {"repository": "Trimtab Operator"}}, "at '/image/repository'"),
        ({"logLevel": "info"}, "value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["a", "a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
        ({"watchNamespaces": ["Team A"]}, "at '/watchNamespaces/0'"),
        ({"watchNamespaces": [""]}, "at '/watchNamespaces/0'"),
        ({"resources": {"limit": {}}}, "additional properties 'limit' not allowed"),
        ({"resources": {"limits": {"memory": "lots"}}}, "at '/resources/limits/memory'"),
        ({"nodeSelector": {"gpu": True}}, "at '/nodeSelector/gpu': got boolean, want string"),
        ({"securityContext": {"privileged": True}}, "additional properties 'privileged' not allowed"),
        ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "value must be one of 'RuntimeDefault'"),
        ({"extraEnv": [{"value": "x"}]}, "missing property 'name'"),
        ({"networkPolicy": {"from": [{"cidr": "10.0.0.0/8"}]}}, "additional properties 'cidr' not allowed"),
        ({"mlflow": {"extraAllowedHosts": ["a,b"]}}, "at '/mlflow/extraAllowedHosts/0'"),
        ({"mlflow": {"artifactsDestination": "/srv"}}, "at '/mlflow/artifactsDestination'"),
        ({"metrics": {"serviceMonitor": {"interval": "30"}}}, "at '/metrics/serviceMonitor/interval'"),
        ({"metrics": {"podMonitor": {"interval": "now"}}}, "at '/metrics/podMonitor/interval'"),
        ({"metrics": {"alerts": {"runbookUrl": "the wiki"}}}, "at '/metrics/alerts/runbookUrl'"),
        ({"metrics": {"alerts": {"enabled": True}}}, "additional properties 'enabled' not allowed"),
        ({"jobSecretName": "My_Secret"}, "at '/jobSecretName'"),
        ({"resources": {"limits": {"memory": "1 Gi"}}}, "at '/resources/limits/memory'"),
        ({"resources": {"requests": {"cpu": -1}}}, "at '/resources/requests/cpu': minimum"),
        ({"podLabels": {"team": "m" * 64}}, "at '/podLabels/team'"),
        ({"podLabels": {"team": "machine learning"}}, "at '/podLabels/team'"),
    ],
)
def test_the_schema_refuses(values: dict[str, Any], words: str) -> None:
    message = refusal(values)
    assert "values don't meet the specifications of the schema" in message
    assert words in message


@pytest.mark.parametrize("quantity", [1, 0.5, "0.5", ".5", "1.", "100m", "1e9", "12E6", "512Mi", "1.5Gi", "5n", "10u"])
def test_the_schema_accepts_what_kubernetes_takes_for_a_quantity(quantity: Any) -> None:
    values = {"resources": {"requests": {"cpu": quantity}}, "mlflow": {"persistence": {"size": quantity}}}
    jsonschema.Draft7Validator(SCHEMA).validate(values)


EXTERNAL_URI = {"enabled": False, "trackingUri": "https://mlflow.example.com"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlflow": {"enabled": False}}, ["nowhere to keep models", "mlflow.enabled=true", "store.uri"]),
        ({"mlflow": {"trackingUri": "https://m"}}, ["set mlflow.enabled=false", '"https://m"']),
        ({"mlflow": {**EXTERNAL_URI, "trackingUri": "mlflow:5000"}}, ['"mlflow:5000"', "such as https://"]),
        ({"mlflow": {**EXTERNAL_URI, "trackingUri": "https://u:p@m"}}, ["no password", "mlflow.existingSecret"]),
        ({"mlflow": {"existingSecret": "s"}}, ["set mlflow.trackingUri", "embedded server asks for none"]),
        ({"mlflow": {"image": {"repository": "mlflow"}}}, ["set mlflow.image.tag or mlflow.image.digest"]),
        ({"mlflow": {"image": {"tag": "v3"}}}, ["without mlflow.image.repository", "toolboxImage"]),
        (
            {"mlflow": {"persistence": {"enabled": False, "existingClaim": "c"}}},
            ["mlflow.persistence.existingClaim is set", "leave existingClaim empty"],
        ),
        ({"mlflow": {"serviceAccount": {"create": False}}}, ["set mlflow.serviceAccount.name"]),
        ({"serviceAccount": {"create": False}}, ["set serviceAccount.name"]),
        ({"store": {"uri": "file:///models"}}, ['"file:///models"', "use s3://, gs://, az://"]),
        ({"store": {"uri": "s3://key:secret@bucket"}}, ["no password", "jobSecretName"]),
        ({"store": {"uri": "s3://"}}, ["use s3://"]),
        ({"leaderElection": {"leaseDurationSeconds": 10}}, ["retryPeriodSeconds < renewDeadlineSeconds", "2, 10, 10"]),
        ({"leaderElection": {"retryPeriodSeconds": 10}}, ["two replicas could lead at once", "10, 10, 15"]),
        ({"podDisruptionBudget": {"minAvailable": 2}}, ["minAvailable is 2 with replicaCount 2", "drained"]),
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, ['"app.kubernetes.io/name" is one that the chart sets']),
        ({"commonLabels": {"app.kubernetes.io/managed-by": "x"}}, ["take it out of commonLabels, podLabels"]),
        ({"mlflow": {"podLabels": {"app.kubernetes.io/instance": "x"}}}, ["take it out"]),
        ({"metrics": {"serviceMonitor": {"enabled": True, "labels": {"helm.sh/chart": "x"}}}}, ["below metrics"]),
    ],
)
def test_combinations_that_cannot_work_are_refused(values: dict[str, Any], words: list[str]) -> None:
    message = refusal(values)
    assert "execution error" in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("release", ["1st", "team.trimtab"])
def test_a_release_name_that_services_may_not_have_is_refused(release: str) -> None:
    words = f'"{release}" cannot begin .*: set fullnameOverride to lower-case letters, digits and hyphens'
    with pytest.raises(RefusedError, match=words):
        render({}, release=release)
    assert render({"fullnameOverride": "first"}, release=release)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_schema_accepts_what_the_other_tests_render(values: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(values)
