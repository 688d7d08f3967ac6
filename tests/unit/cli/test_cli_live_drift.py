"""`kubectl trimtab drift mdep/NAME`: what status says, what pods add to it, and what cannot be read."""

import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from tests.unit.adapters.test_models import OWN, document
from tests.unit.cli.objects import modeldeployment
from trimtab.cli import distribution, driftview, live
from trimtab.cli.commands import main
from trimtab.cli.errors import Failure
from trimtab.evidence.drift.reference import Feature
from trimtab.kinds.modeldeployment.template import DIGEST

EDGES = [10.0 * place for place in range(1, 12)]
AGE = {
    "name": "age",
    "input": "age",
    "kind": "numeric",
    "n": 1_000,
    "edges": EDGES,
    "counts": [0, *[100] * 10, 0],
    "missing": 0,
    "deciles": list(range(1, 10)),
    "inside": [1, 10],
    "mean": 60.0,
    "deviation": 29.0,
}
PLAN = {
    "name": "plan <b>",
    "input": "plan",
    "n": 1_000,
    "kind": "category",
    "categories": ["a", "b"],
    "counts": [600, 400, 0, 0],
    "missing": 0,
}
PROFILE = json.dumps({"schema": 1, "rows": 1_000, "features": [AGE, PLAN]}).encode()


def drifting():
    obj = modeldeployment()
    age = {"name": "age", "level": "Critical", "excess": "0.61", "psi": "0.63", "pValue": "1e-12", "ks": "0.31"}
    obj["status"]["drift"] = {
        "state": "Critical",
        "level": "Critical",
        "revision": "1a2b3c4d",
        "digest": "sha256:" + "1" * 64,
        "windowSeconds": 3600,
        "rows": 1_000,
        "effectiveRows": 812,
        "neededRows": 0,
        "score": "1.2",
        "features": [{**age, "wasserstein": "0.8", "weight": "0.6"}],
        "problems": [{"feature": "plan", "problem": "Unseen", "share": "0.08", "message": "8.0% are new"}],
        "episode": {"id": "0123456789ab", "begunAt": "2030-01-01T00:00:00Z"},
        "checkedAt": "2030-01-01T01:00:00Z",
    }
    metric = {"name": "Accuracy", "realised": "0.78", "estimated": "0.91", "lower": "0.76", "upper": "0.8"}
    obj["status"]["quality"] = {
        "state": "Degraded",
        "revision": "1a2b3c4d",
        "digest": "sha256:" + "1" * 64,
        "labels": 2_400,
        "metrics": [metric],
    }
    return obj


def pod(name, phase="Running"):
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, "annotations": {DIGEST: OWN}},
        "status": {"phase": phase},
    }


def counts(**more):
    told = document()
    new = [0, *[10] * 5, *[50] * 5, 0]
    features = [
        {"name": "age", "kind": "numeric", "counts": new, "missing": 0},
        {"name": "plan <b>", "kind": "category", "counts": [150, 140, 0, 10], "missing": 0},
    ]
    told.pop("outcomes")
    return {**told, "rows": 300, "features": features, "profile": digest(PROFILE), **more}


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Pods:
    """Pods with these answers by path; an answer that is a Failure is raised."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def pods(self, selector):
        self.asked.append(selector)
        if "refused" in self.answers:
            raise Failure("HTTP 403: pods is forbidden")
        return [pod(name) for name in self.answers] + [pod("old", "Succeeded")]

    def ask(self, name, port, path):
        self.asked.append((name, port, path))
        answer = PROFILE if path.endswith("/profile") else self.answers[name]
        if isinstance(answer, Failure):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def test_the_table_is_what_status_says():
    text = driftview.render(live.findings(drifting(), None, []))
    lines = text.splitlines()
    assert lines[0] == "ModelDeployment ml/tumour"
    assert "State:        Critical, in an episode at Critical since 2030-01-01T00:00:00Z" in lines
    assert "Window:       1 h up to 2030-01-01T01:00:00Z, 1,000 rows, worth 812 independent ones" in lines
    assert "Accuracy:     0.78 (0.76 to 0.8), estimated 0.91 without labels" in lines
    row = next(line for line in lines if line.startswith("age"))
    assert row.split() == ["age", "Critical", "0.63", "0.61", "1e-12", "0.31", "0.8", "0.6"]
    assert "plan: Unseen: 8.0% are new" in lines


def test_a_deployment_that_was_never_judged_says_so():
    text = driftview.render(live.findings(modeldeployment(), None, []))
    assert "Message:      the operator has not judged this deployment yet" in text
    assert "State:        Unknown" in text
    bare = modeldeployment()
    del bare["status"]
    assert "Revision:     none" in driftview.render(live.findings(bare, None, []))


def test_counts_of_all_pods_are_added_and_judged_by_the_operators_code():
    source = Pods(a=counts(), b=counts())
    seen, notes = live.traffic(drifting(), source)
    assert (notes, seen.pods, seen.window.rows) == ([], ("a", "b"), 600)
    assert source.asked[0] == "trimtab.dev/deployment=tumour,trimtab.dev/revision=1a2b3c4d"
    assert ("a", 8080, "/trimtab/v1/counts") in source.asked
    assert sum(1 for asked in source.asked if asked[-1].endswith("profile")) == 1
    found = live.findings(drifting(), seen, notes)
    pods = found["pods"]
    assert (pods["names"], pods["rows"], pods["worst"]) == (["a", "b"], 600, ["age"])
    assert {"psi", "excess", "pValue", "ks", "wasserstein", "jensenShannon", "drifted"} <= set(pods["features"]["age"])
    assert pods["features"]["age"]["ks"] == pytest.approx(1 / 3, abs=1e-3)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("answers", "note"),
    [
        ({"refused": b""}, "pods cannot be listed: HTTP 403: pods is forbidden"),
        ({}, "no pod of revision 1a2b3c4d runs"),
        ({"a": Failure("HTTP 403: forbidden")}, "pod a: its counts cannot be used: HTTP 403: forbidden"),
        ({"a": b"<html>"}, "pod a: its counts cannot be used: the document: "),
        ({"a": {**counts(), "profile": None}}, "pod a: its model has no drift profile"),
        ({"a": counts(digest="sha256:" + "0" * 64)}, "pod a: its counts cannot be used: it says that it serves"),
        (
            {"a": counts(profile="sha256:" + "1" * 64)},
            "pod a: its counts cannot be used: it counts by the profile sha256:1",
        ),
        ({"a": counts(features=[])}, "pod a: its model has no drift profile"),
        ({"a": counts(features=counts()["features"][:1])}, "pod a: its counts cannot be used: input plan"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_rest_is_there(answers, note):
    seen, notes = live.traffic(drifting(), Pods(**answers))
    assert seen is None
    assert any(line.startswith(note) for line in notes), notes
    found = live.findings(drifting(), seen, notes)
    assert note in driftview.render(found).replace("\n", " ")
    assert note.split("<")[0] in re.sub(r"&#?\w+;", "", driftview.render_page(found, None)).replace("&lt;", "<")


def test_pods_that_can_be_read_stand_for_those_that_cannot():
    seen, notes = live.traffic(drifting(), Pods(a=Failure("HTTP 502: no route"), b=counts()))
    assert (seen.pods, len(notes)) == (("b",), 1)


class Page(HTMLParser):
    """Which addresses a page names, and which elements it has."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "action", "xlink:href")]


def test_the_page_needs_nothing_else_and_has_a_plot_of_each_feature():
    seen, notes = live.traffic(drifting(), Pods(a=counts()))
    text = driftview.render_page(live.findings(drifting(), seen, notes), seen)
    page = Page(text)
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 2
    assert text.index("<h3>age</h3>") < text.index("<h3>plan &lt;b&gt;</h3>")
    assert "plan <b>" not in text


def test_the_command_reads_a_file_and_writes_a_page(tmp_path):
    source, page = tmp_path / "mdep.json", tmp_path / "page.html"
    obj = drifting()
    source.write_text(json.dumps(obj))
    result = CliRunner().invoke(main, ["drift", "-f", str(source), "--html", str(page), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["features"]["age"]["psi"]) == (0, 0.63)
    assert page.read_text().startswith("<!DOCTYPE html>")
    result = CliRunner().invoke(main, ["drift", "-f", str(source), "--html", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (1, f"--html {tmp_path}: it cannot be written: Is a directory\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mdep/a", "--current", "b"], "mdep/a: it is judged as it serves; leave out --current"),
        (["mdep/a", "--categorical", "b"], "mdep/a: it is judged as it serves; leave out --categorical"),
        (["--html", "p"], "--html: a page is made of a deployment alone: name mdep/NAME"),
        ([], "give either --current, to compare two files, or --replay, to go through a dated one; or name mdep/NAME"),
    ],
)
def test_options_that_do_not_go_together(words, message):
    result = CliRunner().invoke(main, ["drift", *words])
    assert (result.exit_code, result.stderr) == (2, message + "\n")


def test_experiments_have_no_drift(tmp_path):
    from tests.unit.cli.objects import abtest

    (tmp_path / "a.json").write_text(json.dumps(abtest()))
    result = CliRunner().invoke(main, ["drift", "-f", str(tmp_path / "a.json")])
    assert result.exit_code == 2
    assert "ABTest has no drift; name a ModelDeployment, as mdep/NAME" in result.stderr


NUMBER = Feature("x", "numeric", (0, *[100] * 10, 0), edges=tuple(EDGES), deciles=tuple(range(1, 10)), inside=(1, 10))


def test_bars_hold_all_rows_of_both_sides():
    for cells in ((0, *[30] * 10, 0), (50, *[0] * 10, 50), (0, 7, *[0] * 10), (0,) * 12):
        pairs = distribution.numeric(NUMBER, cells)
        assert len(pairs) == distribution.BARS + 2
        assert sum(pair.training for pair in pairs) == pytest.approx(1)
        assert sum(pair.traffic for pair in pairs) == pytest.approx(1 if any(cells) else 0)
    constant = Feature("c", "numeric", (0, 5, 0), edges=(1.0, 1.0000001), inside=(1, 1))
    assert sum(pair.traffic for pair in distribution.numeric(constant, (0, 3, 1))) == pytest.approx(1)


def test_bars_of_equal_rows_are_equal_and_outliers_are_outside():
    pairs = distribution.numeric(NUMBER, (40, *[6] * 10, 0))
    assert pairs[0].traffic == pytest.approx(0.4)
    assert {round(pair.training, 6) for pair in pairs[1:-1]} == {round(1 / distribution.BARS, 6)}


def test_categories_are_named_the_most_frequent_first_and_the_rest_together():
    names = tuple(f"c{place}" for place in range(20))
    feature = Feature("c", "category", (*range(20, 0, -1), 3, 0), categories=names)
    cells = [0] * 22
    cells[-1], cells[15] = 60, 40
    pairs = distribution.categories(feature, cells)
    assert [pair.label for pair in pairs[:2]] == ["unseen", "c15"]
    assert (len(pairs), pairs[-1].label) == (13, "the rest")
    assert sum(pair.training for pair in pairs) == pytest.approx(1)
    flag = Feature("f", "boolean", (3, 1))
    assert [pair.label for pair in distribution.categories(flag, (1, 3))] == ["false", "true"]
    told = Feature("prediction", "category", (3, 1), role="prediction", listed=False)
    assert [pair.label for pair in distribution.categories(told, (3, 1))] == ["0", "1"]
