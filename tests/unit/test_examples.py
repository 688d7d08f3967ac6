"""The examples hold what the API server would accept, and refer to each other as their comments say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from tests import argocd
from tests.crdcheck import definitions
from trimtab.core import metadata
from trimtab.kinds.abtest.api import ABTest
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.retrainschedule.api import RetrainSchedule

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PARSE: dict[str, Callable[[Any], MLModel | ModelDeployment | ABTest | RetrainSchedule]] = {
    "MLModel": MLModel.parse,
    "ModelDeployment": ModelDeployment.parse,
    "ABTest": ABTest.parse,
    "RetrainSchedule": RetrainSchedule.parse,
}
DOCUMENTS = {
    f"{path.relative_to(EXAMPLES)}:{document['kind']}": document
    for path in sorted(EXAMPLES.glob("**/*.yaml"))
    for document in yaml.load_all(path.read_text(), yaml.CSafeLoader)
    if document and document.get("apiVersion", "").startswith("trimtab.dev/")
}


def strict(schema: Any) -> Any:
    """A CRD's schema as JSON Schema that refuses unknown fields, as server-side apply does."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed


def check(document: dict[str, Any]) -> None:
    (version,) = definitions()[document["kind"]]["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    assert document["apiVersion"] == f"trimtab.dev/{version['name']}"
    jsonschema.Draft202012Validator(strict(schema["properties"]["spec"])).validate(document["spec"])


def example(folder: str, kind: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [
        d for name, d in DOCUMENTS.items() if name.startswith(f"{folder}/") and d["kind"] == kind
    ]
    assert len(found) == 1
    return found[0]


def test_all_examples_were_found() -> None:
    assert {name.partition("/")[0] for name in DOCUMENTS} == {
        *("quickstart", "https-model", "rollback", "autoscaling", "ab-test", "container"),
        *("credit-risk", "fraud", "forecast", "dna", "retraining", "flights"),
    }


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_an_example_fits_its_definition(document: dict[str, Any]) -> None:
    check(document)
    assert PARSE[document["kind"]](document).metadata == document["metadata"]


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_misspelt_field_in_an_example_would_be_seen(document: dict[str, Any]) -> None:
    misspelt = copy.deepcopy(document)
    misspelt["spec"]["replica"] = 2
    with pytest.raises(jsonschema.ValidationError, match="'replica' was unexpected"):
        check(misspelt)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_an_example_fits_any_namespace(document: dict[str, Any]) -> None:
    assert "namespace" not in document["metadata"]


@pytest.mark.parametrize(
    "folder", ["quickstart", "https-model", "credit-risk", "fraud", "forecast", "dna", "retraining"]
)
def test_a_deployment_follows_the_model_beside_it(folder: str) -> None:
    model, deployment = example(folder, "MLModel"), example(folder, "ModelDeployment")
    assert deployment["spec"]["model"] == {"name": model["metadata"]["name"]}


@pytest.mark.parametrize("folder", ["credit-risk", "fraud", "forecast", "dna"])
def test_an_example_to_train_is_told_from_training_to_answers(folder: str) -> None:
    model = example(folder, "MLModel")
    script, page = ((EXAMPLES / folder / name).read_text() for name in ("train.py", "README.md"))
    assert model["spec"]["source"]["uri"] == f"models:/{folder}@champion"
    assert f'"--name", default="{folder}"' in script
    assert model["spec"].get("allowPickle", False) is ("pyfunc" in script), "only code of one's own has to be allowed"
    assert "python train.py --alias champion" in page
    assert f"/v2/models/{folder}/infer" in page


def test_a_page_whose_model_waits_for_approval_approves_it_before_it_waits() -> None:
    waiting = [name for name, document in DOCUMENTS.items() if document["spec"].get("approval") == "Required"]
    assert waiting == ["credit-risk/mlmodel.yaml:MLModel"]
    steps = (EXAMPLES / "credit-risk" / "README.md").read_text().partition("kubectl apply")[2]
    assert f"kubectl annotate mlmodel credit-risk {metadata.APPROVE}=" in steps.partition("kubectl wait")[0]


@pytest.mark.parametrize("folder", ["rollback", "autoscaling"])
def test_a_variant_changes_the_quickstart_in_place(folder: str) -> None:
    first, variant = example("quickstart", "ModelDeployment"), example(folder, "ModelDeployment")
    assert variant["metadata"] == first["metadata"]
    assert variant["spec"]["model"]["name"] == first["spec"]["model"]["name"]


def test_the_arms_of_the_experiment_stand_beside_it_and_count_the_same_users() -> None:
    test = example("ab-test", "ABTest")["spec"]
    beside = {
        document["metadata"]["name"]: document["spec"]["feedback"]
        for name, document in DOCUMENTS.items()
        if name.startswith("ab-test/") and document["kind"] == "ModelDeployment"
    }
    assert [arm["deployment"] for arm in test["arms"]] == ["tumour-control", "tumour-challenger"]
    assert all(arm["deployment"] in beside for arm in test["arms"])
    (feedback,) = {tuple(sorted(given.items())) for given in beside.values()}
    assert dict(feedback)["userHeader"] == test["assignment"]["header"]
    assert dict(feedback)["keySecretName"]


def test_each_variant_shows_what_it_is_for() -> None:
    assert example("rollback", "ModelDeployment")["spec"]["model"]["revision"].startswith("sha256:")
    scaled = example("autoscaling", "ModelDeployment")["spec"]
    assert "replicas" not in scaled
    (spread,) = scaled["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == {metadata.DEPLOYMENT: "tumour"}
    pinned = example("https-model", "MLModel")["spec"]
    assert (pinned["format"], pinned["source"]["digest"][:7]) == ("ONNX", "sha256:")


def test_the_argo_cd_application_points_at_an_example_whose_health_is_known() -> None:
    application = yaml.safe_load((EXAMPLES / "argocd/application.yaml").read_text())
    spec = application["spec"]
    folder = ROOT / spec["source"]["path"]
    kinds = {yaml.safe_load(path.read_text())["kind"] for path in folder.glob("*.yaml")}
    assert kinds <= {name.partition("/")[2] for name in argocd.scripts()}
    assert {"ServerSideApply=true", "CreateNamespace=true"} <= set(spec["syncPolicy"]["syncOptions"])
    # The operator never writes a spec, so nothing has to be left out of comparisons.
    assert "ignoreDifferences" not in spec
