"""The README claims no figure that the pages of measurements do not have, and no command that is not there."""

from __future__ import annotations

import re

from hack import ROOT

README = (ROOT / "README.md").read_text()
MEASURED = {
    "bench.gate": "docs/gate.md",
    "bench.peers.conformance": "docs/conformance.md",
}
"""Where the figures of a command are; those of all others are in bench/README.md."""
CLAIMS = re.findall(r"^\|(.+)\| `python -m (bench[\w.]*)` \|$", README, re.MULTILINE)
NUMBER = r"(?<![\w.])\d*[.,]?\d+(?: %)?"


def test_each_figure_of_the_comparison_is_on_the_page_of_its_command() -> None:
    assert len(CLAIMS) > 4
    for claim, command in CLAIMS:
        page = (ROOT / MEASURED.get(command, "bench/README.md")).read_text()
        ours, others = claim.split("|")[1:3]
        figures = re.findall(NUMBER, ours + others)
        assert len(figures) > 1, claim
        assert [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", page)] == [], (
            claim
        )


def test_each_command_of_the_readme_is_described_among_the_benchmarks() -> None:
    page = (ROOT / "bench/README.md").read_text()
    named = set(re.findall(r"python -m (bench[\w.]*\w)", README))
    assert len(named) > 5
    assert [command for command in sorted(named) if f"| `python -m {command}" not in page] == []
