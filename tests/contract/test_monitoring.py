"""Dashboards and alerts at a real Prometheus that scrapes real operators, model servers and routers under traffic."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.chart import CHART
from tests.contract.monitored import Prometheus, installation
from tests.prometheus import BOARDS, filled, panels
from tests.unit.kinds.builders import NAMESPACE
from tests.upstreams import until

RULES = [
    rule["alert"]
    for group in yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
QUIET = {
    "operator / Errors": "no pass fails",
    "operator / Changes that no watch told of": "every watch works",
    "operator / Pods that give no counts": "there are no pods to ask",
    "operator / Changes outside the cluster": "nobody retrains",
    "operator / Messages": "there is no channel",
}
"""Panels that stay empty here."""


class Found(NamedTuple):
    """What was seen: the pods scraped, series by query, values of variables, and the alerts that arrived."""

    pods: dict[str, set[str]]
    series: dict[str, list[Any]]
    variables: dict[str, list[Any]]
    rules: dict[str, dict[str, Any]]
    alerts: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return asyncio.run(look(tmp_path_factory.mktemp("monitored")))


async def look(folder: Path) -> Found:
    async with installation(folder) as prometheus:
        queries = {target["expr"] for board in BOARDS for panel in panels(board) for target in panel["targets"]}
        series = {query: await prometheus.value(filled(query)) for query in queries}
        variables = {}
        for board in BOARDS.values():
            for variable in board["templating"]["list"][1:]:
                query = variable["query"]["query"]
                variables[query] = await chosen(prometheus, query)
        await until(
            lambda: any(a["labels"]["alertname"] == "TrimtabNoLeader" for a in prometheus.received), "it arrived"
        )
        groups = (await prometheus.ask("rules"))["groups"]
        rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
        firing = sum(len(rule["alerts"]) for rule in rules.values())
        await until(lambda: len(prometheus.received) >= firing, "all alerts arrived")
        pods: dict[str, set[str]] = {}
        for target in (await prometheus.ask("targets", state="active"))["activeTargets"]:
            pods.setdefault(target["labels"]["job"], set()).add(target["labels"]["pod"])
        alerts = {alert["labels"]["alertname"]: alert for alert in prometheus.received}
        return Found(pods, series, variables, rules, alerts)


async def chosen(prometheus: Prometheus, query: str) -> list[Any]:
    """The choices of a variable, label_values(SERIES, LABEL), as Grafana finds them."""
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert match, query
    result: list[Any] = await prometheus.ask(f"label/{match[2]}/values", **{"match[]": filled(match[1])})
    return result


def test_each_job_finds_its_own_pods_and_nobody_elses(found: Found) -> None:
    assert found.pods == {
        "trimtab-operator": {"leads-0", "follows-0"},
        "trimtab-servers": {"credit-onnx"},
        "trimtab-routers": {"choice-router-0"},
    }


@pytest.mark.parametrize(("board", "title"), [(board, panel["title"]) for board in BOARDS for panel in panels(board)])
def test_every_panel_shows_something(found: Found, board: str, title: str) -> None:
    (panel,) = [panel for panel in panels(board) if panel["title"] == title]
    empty = [target["expr"] for target in panel["targets"] if not found.series[target["expr"]]]
    assert bool(empty) is (f"{board} / {title}" in QUIET), empty


@pytest.mark.parametrize(("board", "title"), [(board, panel["title"]) for board in BOARDS for panel in panels(board)])
def test_legends_name_labels_that_are_there(found: Found, board: str, title: str) -> None:
    (panel,) = [panel for panel in panels(board) if panel["title"] == title]
    for target in panel["targets"]:
        wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for row in found.series[target["expr"]]:
            assert wanted <= set(row["metric"]), (target["legendFormat"], row["metric"])


@pytest.mark.parametrize("board", BOARDS)
def test_variables_offer_what_there_is(found: Found, board: str) -> None:
    for variable in BOARDS[board]["templating"]["list"][1:]:
        offered = found.variables[variable["query"]["query"]]
        assert ("shop" if variable["name"] == "namespace" else "credit") in offered, variable["name"]


def of(found: Found, board: str, title: str) -> dict[str, float]:
    """The values of a panel's first query, by all labels."""
    (panel,) = [panel for panel in panels(board) if panel["title"] == title]
    rows = found.series[panel["targets"][0]["expr"]]
    return {" ".join(row["metric"].values()): float(row["value"][1]) for row in rows}


def test_figures_are_those_of_what_was_sent(found: Found) -> None:
    assert of(found, "serving", "Requests per second")["credit shop"] > 1
    assert of(found, "serving", "Errors") == {"credit shop": 0}
    codes = of(found, "serving", "By code")
    assert codes["200 credit"] > codes["400 credit"] > 0 == codes["500 credit"]
    assert of(found, "rollouts", "Share of the traffic")["bbbb2222 ModelDeployment credit shop"] == 5
    arms = of(found, "rollouts", "Errors by arm")
    assert 0 < arms["arm_gbm choice shop"] < 0.1
    assert of(found, "rollouts", "Requests")["choice shop"] > 1
    assert of(found, "drift", "State")["credit shop 7"] == 3
    assert of(found, "operator", "Leaders") == {"": 1}
    assert of(found, "operator", "Replicas").popitem()[1] == 2


def test_rules_are_sound_and_what_is_wrong_arrives_at_the_end_of_the_wire(found: Found) -> None:
    assert sorted(found.rules) == sorted(RULES)
    assert {rule["health"] for rule in found.rules.values()} == {"ok"}
    assert set(found.alerts) == {
        "TrimtabNoLeader",
        "TrimtabDriftCritical",
        "TrimtabDataProblem",
        "TrimtabQualityDegraded",
        "TrimtabRetrainCircuitOpen",
        "TrimtabRetrainBlocked",
    }
    alert = found.alerts["TrimtabNoLeader"]
    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "TrimtabNoLeader",
        "severity": "critical",
        "namespace": "follows",
        "name": "trimtab-operator",
    }
    assert alert["annotations"]["summary"] == "No operator leads"
    drift = found.alerts["TrimtabDriftCritical"]
    assert drift["labels"]["namespace"] == "shop"
    assert drift["annotations"]["description"].endswith("version 7 of shop/credit.")


def test_series_of_resources_keep_their_own_namespace(found: Found) -> None:
    """Without honor_labels they would have the operator's, and theirs under another name."""
    for query in ("trimtab_drift_state", "trimtab_retrain_suspended"):
        rows = [row for expression, rows in found.series.items() if query in expression for row in rows]
        assert "shop" in {row["metric"]["namespace"] for row in rows}
        assert {row["metric"]["namespace"] for row in rows} <= {"shop", NAMESPACE}
