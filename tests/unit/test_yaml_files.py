"""YAML that people write by hand names each key once."""

from __future__ import annotations

from hack import ROOT
from tests.yaml_keys import repeated

PLACES = (".github", "charts/trimtab/files", "docs", "examples", "tests/samples")
FILES = [ROOT / "charts/trimtab/Chart.yaml", ROOT / "charts/trimtab/values.yaml"]
FILES += [path for place in PLACES for path in sorted((ROOT / place).rglob("*.y*ml"))]


def test_no_file_names_a_key_twice() -> None:
    assert len(FILES) > 30
    found = {str(path.relative_to(ROOT)): twice for path in FILES if (twice := repeated(path.read_text()))}
    assert found == {}


def test_a_repeated_key_is_found_at_any_depth_and_in_any_document() -> None:
    assert repeated("a: 1\nb: [{c: 1, c: 2}]\n---\na: 1\na: 2\n") == ["c (line 2)", "a (line 5)"]
    assert repeated("a: 1\nb: {a: 1}\n---\na: 1\n") == []
