"""What Helm says after an install: commands that work with these very values."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import CHART, EXTERNAL, VALUES, one, render
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.modeldeployment.api import ModelDeployment

# `helm template` leaves the notes out, so they are rendered as part of an object.
SHOWN = """{{{{- define "shown" }}}}{notes}{{{{ end }}}}
apiVersion: v1
kind: ConfigMap
metadata: {{name: shown}}
data: {{notes: {{{{ include "shown" . | quote }}}}}}
"""


def notes(values: dict[str, Any], folder: Path) -> str:
    chart = folder / "trimtab"
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("crds", "dashboards"))
    text = (chart / "templates/NOTES.txt").read_text()
    (chart / "templates/shown.yaml").write_text(SHOWN.format(notes=text))
    few = {**values, "crds": {"enabled": False}}  # the definitions are most of what there is to parse
    found: str = one(render(few, chart=chart), "ConfigMap", "shown")["data"]["notes"]
    return found


def first_model(text: str) -> MLModel:
    manifests = text.partition("<<EOF\n")[2].partition("\nEOF")[0]
    model, deployment = yaml.safe_load_all(manifests)
    assert ModelDeployment.parse({**deployment, "metadata": {**deployment["metadata"], "namespace": "ml"}})
    return MLModel.parse({**model, "metadata": {**model["metadata"], "namespace": "ml"}})


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_first_model_is_one_that_can_be_imported(values: dict[str, Any], tmp_path: Path) -> None:
    assert first_model(notes(values, tmp_path)).spec.source.uri == "models:/my-model@champion"


def test_without_mlflow_the_first_model_does_not_come_from_it(tmp_path: Path) -> None:
    text = notes({"mlflow": {"enabled": False}, "store": {"uri": "s3://models"}}, tmp_path)
    assert "none: models:/ sources cannot be used" in text
    assert first_model(text).spec.source.uri == "https://example.com/my-model.onnx"
    assert "port-forward" not in text


def test_commands_name_a_namespace_that_is_watched(tmp_path: Path) -> None:
    text = notes(VALUES["two namespaces"], tmp_path)
    assert "kubectl --namespace team-a apply -f -" in text
    assert "kubectl --namespace team-a get mlmodels" in text


def test_what_is_lost_with_a_pod_is_said(tmp_path: Path) -> None:
    assert "runs and models are lost when its pod goes" in notes(VALUES["one replica, nothing kept"], tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, True),
        ({"imageRegistry": "registry.example.com/ml"}, False),
        ({"image": {"repository": "localhost/trimtab-operator"}}, False),
    ],
)
def test_images_that_no_node_could_pull_are_pointed_at(values: dict[str, Any], said: bool, tmp_path: Path) -> None:
    assert ("names no registry: set imageRegistry" in notes(values, tmp_path)) is said


def test_an_external_mlflow_is_named_and_no_port_of_it_forwarded(tmp_path: Path) -> None:
    text = notes(EXTERNAL, tmp_path)
    assert "MLflow     https://mlflow.example.com\n" in text
    assert "port-forward" not in text
