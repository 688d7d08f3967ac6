"""`explain`: all of it in 100 columns, as JSON, and as one page that asks nobody for anything."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.unit.cli.objects import abtest, compared, counted, modeldeployment
from trimtab.cli import chart
from trimtab.cli.commands import main
from trimtab.cli.findings import findings
from trimtab.core import metadata
from trimtab.core.objects import Object

VOID = {"meta", "br", "hr", "img", "link", "input"}


def explain(tmp_path: Path, obj: Object, *words: str) -> str:
    result = run(tmp_path, obj, *words)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def run(tmp_path: Path, obj: Any, *words: str) -> Result:
    file = tmp_path / "object.json"
    file.write_text(obj if isinstance(obj, str) else json.dumps(obj))
    return CliRunner().invoke(main, ["explain", "-f", str(file), *words])


class Page(HTMLParser):
    """Whether tags are closed in order, and where a page would go for more."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "xlink:href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


SAMPLES = {
    "running": abtest(),
    "counted": counted(),
    "new": {**abtest(), "status": {}},
    "rollout": modeldeployment(),
    "compared": compared(),
    "new deployment": {**modeldeployment(), "status": {}},
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_is_told_in_every_form(tmp_path: Path, sample: str) -> None:
    obj = SAMPLES[sample]
    text = explain(tmp_path, obj)
    assert max(map(len, text.splitlines())) <= 100
    assert all(line == line.rstrip() for line in text.splitlines())
    assert json.loads(explain(tmp_path, obj, "-o", "json")) == json.loads(json.dumps(findings(obj)))
    page = Page(explain(tmp_path, obj, "-o", "html"))
    assert not page.addresses
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert obj["metadata"]["name"] in "".join(page.text)


def test_a_page_forbids_itself_to_load_anything(tmp_path: Path) -> None:
    page = explain(tmp_path, counted(), "-o", "html")
    assert "default-src &#x27;none&#x27;; style-src &#x27;unsafe-inline&#x27;" in page
    assert not re.search(r"url\(|@import|https?://(?!credit\.ml\.svc)", page)


def test_an_experiment_in_words(tmp_path: Path) -> None:
    lines = explain(tmp_path, abtest()).splitlines()
    assert lines[0] == "ABTest ml/credit"
    said = "\n".join(lines)
    for expected in (
        "Ready:        True, Running: users are split as the weights say",
        "Question:     Outcome, increase is better; a change of 5 % matters; alpha 0.05, power 0.8",
        "Guardrail:    Errors at most 50 % above the control's",
        "Decision:     Running, since 2030-01-01T03:05:05Z",
        "Rule:         none; it goes on: at least 3600 s more are needed; gbm: Outcome +4.9%",
        "Sample ratio: users come as the weights say (e-value 0.4 against them)",
        "Users needed: 58,000 of all arms together, 1.5 days at the traffic so far",
        "    kubectl trimtab assign --salt 9876543210 --weights control=50,gbm=50/100 --control control \\\n    USER",
    ):
        assert expected in said
    rows = [re.split(r"  +", line) for line in lines if line.startswith(("ARM", "control ", "gbm "))]
    assert rows == [
        ["ARM", "WEIGHT", "USERS", "REQUESTS", "ERRORS", "OUTCOMES", "MEAN", "LIFT (INTERVAL)", "E-VALUE"],
        ["control", "50 %", "40,000", "90,000", "40", "4,000", "0.1", "control"],
        ["gbm", "50 %", "41,000", "92,000", "55", "4,300", "0.1049", "+4.9 % (-1.2 to +11.4)", "7.31"],
    ]
    assert "  2029-12-01T00:00:00Z to 2029-12-24T00:00:00Z" in lines
    assert "    StopFutile, control. gbm +0.3 % (-1.1 to +1.7). no arm can still reach an effect of 0.05; over" in lines


def test_the_printed_weights_assign_as_the_routers_do(tmp_path: Path) -> None:
    told = findings(abtest())["assignment"]
    file = tmp_path / "abt.json"
    file.write_text(json.dumps(abtest()))
    users = [f"user-{n}" for n in range(200)]
    by_object = CliRunner().invoke(main, ["assign", "-f", str(file), *users]).stdout
    offline = ["--salt", told["salt"], "--weights", told["weights"], "--control", told["control"]]
    assert CliRunner().invoke(main, ["assign", *offline, *users]).stdout == by_object


def test_the_evidence_after_each_segment_is_computed_by_the_operator_s_own_code(tmp_path: Path) -> None:
    first, second = findings(counted())["segments"]
    assert (first["until"], second["until"]) == (3_600, 86_400)
    assert first["weights"] == {"control": 90, "gbm": 10}
    assert second["counts"]["gbm"] == {
        "requests": 40_000,
        "errors": 40,
        "latencyAbove": 0,
        "guardedEvents": 0,
        "outcomes": 4_400,
        "outcomeSum": 4_390,
    }
    width = {
        key: value["arms"]["gbm"]["upper"] - value["arms"]["gbm"]["lower"] for key, value in _bounded(first, second)
    }
    assert width["second"] < width["first"], "more counts, narrower"
    text = explain(tmp_path, counted())
    assert re.search(r"^1 h +control 90, gbm 10 +\w+ +gbm \+", text, re.MULTILINE)
    assert re.search(r"^1 d +control 50, gbm 50 +\w+ +gbm \+", text, re.MULTILINE)


def _bounded(first: Any, second: Any) -> list[tuple[str, Any]]:
    return [("first", first), ("second", second)]


def test_the_page_draws_what_was_found(tmp_path: Path) -> None:
    whole = Page(explain(tmp_path, counted(), "-o", "html"))
    assert whole.tags.count("svg") == 2
    assert "polyline" in whole.tags
    text = "".join(whole.text)
    assert "Evidence over time" in text
    assert "what was known between the ends of two segments is not kept and not shown" in text
    without = Page(explain(tmp_path, {**abtest(), "status": {}}, "-o", "html"))
    assert "svg" not in without.tags


def test_a_rollout_in_words(tmp_path: Path) -> None:
    said = explain(tmp_path, modeldeployment())
    for expected in (
        "ModelDeployment ml/tumour",
        "Strategy:     Canary by 5, 25, 50 and 100 %",
        "Rollout:      revision 5e6f7a8b in place of 1a2b3c4d",
        "Stage:        Stepping, step 2 of 3, 25 % of the traffic",
        "Reason:       MoreRequestsNeeded: 112 of 200 requests at this share",
        "Errors:       candidate 3 of 312 (0.962 %), current 9 of 1,400 (0.643 %)",
        "Evidence:     e-value 1.21 that it is worse, 0.4 that it breaks the limit",
        "    RolledBack, revision 0f0f0f0f (version 2) at 5 %. HarmProven: errors of the candidate 31 of 400",
    ):
        assert expected in said


def test_a_rollout_s_counts_are_told_by_share(tmp_path: Path) -> None:
    lines = explain(tmp_path, compared()).splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("WEIGHTS"))
    assert [re.split(r"  +", line.strip()) for line in lines[begin : begin + 5]] == [
        ["WEIGHTS", "FOR", "ARM", "REQUESTS", "ERRORS", "SLOW", "OUTCOMES"],
        ["r1a2b3c4d 95, r5e6f7a8b 5", "1 min", "r1a2b3c4d", "900", "6", "0", "0"],
        ["r5e6f7a8b", "100", "1", "0", "0"],
        ["r1a2b3c4d 75, r5e6f7a8b 25", "1.5 min", "r1a2b3c4d", "500", "3", "0", "0"],
        ["r5e6f7a8b", "212", "2", "0", "0"],
    ]
    assert "Counts by share" in explain(tmp_path, compared(), "-o", "html")


def test_what_holds_an_object_is_said(tmp_path: Path) -> None:
    paused = explain(tmp_path, modeldeployment(**{metadata.ROLLOUT_PAUSED: "true"}))
    assert "Paused:       the annotation trimtab.dev/rollout-paused is true: rollouts do not go on" in paused
    still = explain(tmp_path, modeldeployment(**{metadata.PAUSED: "true"}))
    assert "Paused:       the annotation trimtab.dev/paused is true: nothing is changed" in still
    obj = abtest()
    obj["spec"]["suspend"] = True
    assert "Paused:       spec.suspend is true: nothing is decided" in explain(tmp_path, obj)


def test_a_mismatch_is_named_with_segment_and_arm(tmp_path: Path) -> None:
    obj = abtest()
    obj["status"]["evidence"]["srm"] = {"eValue": "1.2e+05", "mismatch": True, "segment": 1, "arm": "gbm"}
    assert "Sample ratio: MISMATCH: arm gbm in segment 1 shows it most (e-value 1.2e+05)" in explain(tmp_path, obj)


def test_weights_that_are_not_in_effect_yet_show_both(tmp_path: Path) -> None:
    obj = abtest()
    obj["status"]["arms"][1]["applied"] = 10
    assert re.search(r"^gbm +10 > 50 %", explain(tmp_path, obj), re.MULTILINE)


def test_what_an_object_says_cannot_become_markup(tmp_path: Path) -> None:
    obj = copy.deepcopy(counted())
    obj["status"]["verdict"]["reason"] = "<script>alert(1)</script>"
    obj["metadata"]["name"] = "a\"><img src='http://evil.example/x'>"
    page = Page(explain(tmp_path, obj, "-o", "html"))
    assert not page.addresses
    assert not {"script", "img"} & set(page.tags)
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_unbounded_and_infinite_numbers_are_told_and_drawn(tmp_path: Path) -> None:
    obj = abtest()
    row = {"name": "gbm", "lift": "12", "upper": "inf", "eValue": "inf"}
    obj["status"]["evidence"]["arms"] = [row]
    assert "+12 % (unbounded to unbounded)" in explain(tmp_path, obj)
    page = explain(tmp_path, obj, "-o", "html")
    assert not re.search(r'="-?(inf|nan)"', page)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is not JSON: Expecting value: line 1 column 1 (char 0); make it with kubectl get abt/NAME -o json"),
        ("[]", "kind: it is 'list', and must be ABTest or ModelDeployment"),
        ('{"kind": "Pod"}', "kind: it is 'Pod', and must be ABTest or ModelDeployment"),
        ('{"kind": "ABTest"}', "metadata.name: it is missing"),
        ('{"kind": "ABTest", "metadata": {"name": "a"}}', "spec: Field required"),
        (
            json.dumps({**modeldeployment(), "spec": {"model": {"name": "m"}, "replicas": -1}}),
            "spec.replicas: Input should be greater than or equal to 0",
        ),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_a_file_that_holds_something_else(tmp_path: Path, content: str, message: str) -> None:
    result = run(tmp_path, content)
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/object.json: {message}\n"


def test_a_name_beside_a_file_is_refused() -> None:
    result = CliRunner().invoke(main, ["explain", "abt/credit", "-f", "x.json"])
    message = "-f: the file says which object it is; leave out abt/credit\n"
    assert (result.exit_code, result.stderr) == (2, message)


def test_a_file_that_is_not_there() -> None:
    result = CliRunner().invoke(main, ["explain", "-f", "/nowhere"])
    assert (result.exit_code, result.stderr) == (2, "/nowhere: it cannot be read: No such file or directory\n")


def test_a_long_experiment_has_no_crowd_of_hours() -> None:
    hours = [float(n) for n in range(1, 65)]
    drawn = chart.over_time(hours, {"a": [chart.Bar("a", 1.0, None, None)] * 64})
    assert re.findall(r">([0-9.]+) h<", drawn) == [f"{hour}" for hour in range(64, 0, -8)]
    assert drawn.count("<circle") == 64


@pytest.mark.parametrize("reach", [0.01, 0.5, 3.0, 40.0, 900.0])
def test_a_scale_marks_zero_and_a_few_round_values(reach: float) -> None:
    drawn = chart.intervals([chart.Bar("a", reach, -reach, 2 * reach)])
    marks = re.findall(r">([-+][0-9.e+]+) %<", drawn)
    assert "+0" in marks
    assert 3 <= len(marks) <= 11
