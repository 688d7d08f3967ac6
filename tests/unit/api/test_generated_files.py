"""What is generated from the kinds is in the repository as it would be generated now."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from hack import ROOT, generate
from trimtab.core.objects import GROUP

PLURALS = [definition.names.plural for definition in generate.definitions().values()]


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    return generate.outputs()


@pytest.fixture
def copy(generated: dict[Path, str], tmp_path: Path) -> Path:
    """A checkout with the generated files in it, to be spoilt."""
    for path, text in generated.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def test_everything_is_up_to_date() -> None:
    assert generate.stale() == []


def test_the_command_says_so_too(
    generated: dict[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hack.generate", "--check"])
    monkeypatch.setattr(generate, "outputs", lambda root: generated)
    assert (generate.main(), capsys.readouterr().out) == (0, "")
    monkeypatch.setattr(generate, "outputs", lambda root: {**generated, Path("docs/none.md"): "none"})
    assert generate.main() == 1
    assert "run `make generate`" in capsys.readouterr().out


def test_an_edit_by_hand_is_shown_as_a_diff(copy: Path) -> None:
    path = copy / "crds" / f"{GROUP}_{PLURALS[0]}.yaml"
    path.write_text(path.read_text().replace("scope: Namespaced", "scope: Cluster"))
    (report,) = generate.stale(copy)
    assert "-  scope: Cluster" in report
    assert "+  scope: Namespaced" in report


def test_a_missing_file_and_one_left_over_are_named(copy: Path) -> None:
    (copy / "docs" / "mlmodel.md").unlink()
    (copy / "crds" / f"{GROUP}_gone.yaml").write_text("")
    missing, left_over = generate.stale(copy)
    assert missing.startswith("--- docs/mlmodel.md")
    assert left_over == f"crds/{GROUP}_gone.yaml: nothing makes this file any more; delete it"


@pytest.mark.parametrize("plural", PLURALS)
def test_the_chart_installs_the_same_definition_byte_for_byte(plural: str) -> None:
    plain = (ROOT / generate.CRD_DIR / f"{GROUP}_{plural}.yaml").read_text()
    chart = (ROOT / generate.CHART_DIR / f"{plural}.yaml").read_text()
    assert chart.startswith("{{- if .Values.crds.enabled }}\n")
    assert chart.endswith("\n{{- end }}\n")
    assert chart.count("{{") == 4, "the definition itself must hold nothing that Helm would expand"
    body = chart.removeprefix(generate.CHART_HEAD).removesuffix(generate.CHART_TAIL)
    assert body.replace(generate.CHART_KEEP, "") == plain


@pytest.mark.parametrize("plural", PLURALS)
def test_definitions_are_plain_yaml(plural: str) -> None:
    text = (ROOT / generate.CRD_DIR / f"{GROUP}_{plural}.yaml").read_text()
    assert text.startswith("# Generated from operator/trimtab/kinds/")
    assert not re.search(r"(?m)^[^#'\"]*: [&*]\w+$", text), "no anchors or aliases"
    assert yaml.load(text, yaml.CSafeLoader)["kind"] == "CustomResourceDefinition"


@pytest.mark.parametrize("package", sorted(generate.definitions()))
def test_the_page_tells_every_field_rule_and_column(package: str) -> None:
    definition = generate.definitions()[package]
    page = (ROOT / "docs" / f"{package}.md").read_text()
    assert page.startswith(f"<!-- Generated from operator/trimtab/kinds/{package}/api.py")
    assert f"\n# {definition.names.kind}\n" in page
    assert f"\nkind: {definition.names.kind}\n" in page, "an example"
    for model in (definition.spec, definition.status):
        for field in model.model_fields.values():
            assert f"| `{field.alias}" in page
            if field.description:
                assert " ".join(field.description.split()).replace("|", "\\|") in page
    for column in definition.columns:
        assert f"| {column.name} | `{column.path}`" in page
    for rule in definition.rules:
        assert rule["message"] in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert widths == {3, 4, 6}
