"""Writes everything that follows from the kinds' `api.py`: CRDs, the chart's copy of them, reference pages. And
Grafana's dashboards, from `hack/dashboards`.

`python -m hack.generate` writes; with `--check` it writes nothing and fails when a file is not what it
would write, so that neither a forgotten run nor an edit of a generated file survives `make verify`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hack import ROOT, dashboards, reference
from trimtab import kinds
from trimtab.core.objects import GROUP
from trimtab.core.schema import Definition, crd

CRD_DIR = Path("crds")
CHART_DIR = Path("charts/trimtab/templates/crds")
DOCS_DIR = Path("docs")
CHART_HEAD = "{{- if .Values.crds.enabled }}\n"
CHART_KEEP = "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
CHART_TAIL = "{{- end }}\n"


class _Dumper(yaml.SafeDumper):
    """Block YAML as a person would write it: lists indented below their key, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def to_yaml(value: Mapping[str, Any]) -> str:
    """Stable YAML: keys in the order given, every text on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)


def definitions() -> dict[str, Definition]:
    """The definition of every kind, by the name of the package that holds its `api.py`."""
    names = sorted(module.name for module in pkgutil.iter_modules(kinds.__path__) if module.ispkg)
    return {name: importlib.import_module(f"trimtab.kinds.{name}.api").DEFINITION for name in names}


def crd_text(package: str, definition: Definition) -> str:
    """The CustomResourceDefinition as a file."""
    source = f"operator/trimtab/kinds/{package}/api.py"
    return f"# Generated from {source}: edit that, then run `make generate`.\n{to_yaml(crd(definition))}"


def chart_text(crd_file: str) -> str:
    """The same file as a chart template, which may be left out, and which an uninstall may leave in place."""
    return CHART_HEAD + crd_file.replace("metadata:\n", "metadata:\n" + CHART_KEEP, 1) + CHART_TAIL


def outputs(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file, by its path below the checkout; examples for the pages are read from `root`."""
    files: dict[Path, str] = {}
    for package, definition in definitions().items():
        text = crd_text(package, definition)
        files[CRD_DIR / f"{GROUP}_{definition.names.plural}.yaml"] = text
        files[CHART_DIR / f"{definition.names.plural}.yaml"] = chart_text(text)
        files[DOCS_DIR / f"{package}.md"] = reference.page(package, definition, root / "examples")
    return files | dashboards.outputs()


def stale(root: Path = ROOT) -> list[str]:
    """A diff for each file that is not what would be written, and a line for each that is left over."""
    wanted = outputs(root)
    report = []
    for path, text in wanted.items():
        found = (root / path).read_text() if (root / path).exists() else ""
        if found != text:
            lines = difflib.unified_diff(
                found.splitlines(), text.splitlines(), str(path), f"{path} (generated)", n=1, lineterm=""
            )
            report.append("\n".join(list(lines)[:40]))
    folders = ((CRD_DIR, "*.yaml"), (CHART_DIR, "*.yaml"), (dashboards.FOLDER, "*.json"))
    present = (path.relative_to(root) for folder, names in folders for path in (root / folder).glob(names))
    extra = sorted(path for path in present if path not in wanted)
    return report + [f"{path}: nothing makes this file any more; delete it" for path in extra]


def main() -> int:
    """Write all files, or with --check report those that are out of date; the exit code says which it was."""
    parser = argparse.ArgumentParser(prog="python -m hack.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    if parser.parse_args().check:
        report = stale()
        for item in report:
            print(item)
        if report:
            print(f"\n{len(report)} generated files are out of date: run `make generate`, commit the result")
        return 1 if report else 0
    for path, text in outputs().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
