"""Monitors, alert rules and dashboards: what Prometheus and Grafana are handed, with the operator or without."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
import yaml

from tests.chart import CHART, EVERYTHING, VALUES, one, render
from trimtab.core import metadata
from trimtab.core.platform import Platform
from trimtab.evidence.drift.quality import BROKEN, Problem
from trimtab.kinds.modeldeployment.template import RUNTIME
from trimtab.traffic import router
from trimtab.traffic.bootstrap import REPORT_PORT
from trimtab.traffic.state import RouterArm, RouterStatus

RULES = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
SCRAPE = {job["job_name"]: job for job in yaml.safe_load((CHART / "files/scrape.yaml").read_text())}
PAGE = (CHART.parents[1] / "docs/alerts.md").read_text()
DASHBOARDS = sorted((CHART / "files/dashboards").glob("*.json"))
META = "__meta_kubernetes_pod_"


def alerts(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


def meta(kind: str, name: str) -> str:
    """The label by which Prometheus knows a label or an annotation of a pod."""
    return f"{META}{kind}_" + "".join(c if c.isalnum() else "_" for c in name)


@pytest.mark.parametrize("values", [values for name, values in VALUES.items() if name != "everything"])
def test_nothing_that_needs_other_projects_is_made_unasked(values: dict[str, Any]) -> None:
    assert not {o["kind"] for o in render(values)} & {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"}


def test_both_forms_of_the_rules_are_the_file_with_the_address_of_the_page() -> None:
    objects = render(EVERYTHING)
    rule = one(objects, "PrometheusRule", "trimtab-tt-alerts")
    plain = one(objects, "ConfigMap", "trimtab-tt-alerts")
    text = json.dumps(RULES).replace("docs/alerts.md", "https://runbooks.example.com/trimtab")
    assert rule["spec"] == json.loads(text) == yaml.safe_load(plain["data"]["trimtab.yaml"])
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert plain["metadata"]["labels"]["prometheus_rule"] == "1"


@pytest.mark.parametrize("name", alerts(RULES))
def test_every_alert_says_how_bad_what_and_where_to_read_on(name: str) -> None:
    rule = alerts(RULES)[name]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    assert f"\n## {name}\n" in PAGE
    assert "name" in rule["expr"] or "name" in rule["labels"]


def test_the_page_explains_no_alert_that_is_gone() -> None:
    titles = {line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## Trimtab")}
    assert titles == set(alerts(RULES))


def test_alerts_ask_for_conditions_and_reasons_that_there_are() -> None:
    told = yaml.safe_load((CHART.parents[1] / "docs/reasons.yaml").read_text())
    known = {part: {name for found in told[part].values() for name in found} for part in ("conditions", "reasons")}
    asked = [rule["expr"] for rule in alerts(RULES).values() if "trimtab_condition" in rule["expr"]]
    types = set(re.findall(r'type="(\w+)"', " ".join(asked)))
    reasons = {name for found in re.findall(r'reason=~"([\w|]+)"', " ".join(asked)) for name in found.split("|")}
    assert types
    assert types <= known["conditions"]
    assert reasons <= known["reasons"]


def test_the_alert_of_broken_data_says_which_problems_hold_back_retraining() -> None:
    described = alerts(RULES)["TrimtabDataProblem"]["annotations"]["description"]
    (sentence,) = re.findall(r"([\w, ]+) hold back retraining .*; ([\w ]+) do not", described)
    held, others = (re.findall(r"[A-Z]\w+", part) for part in sentence)
    assert set(held) == set(BROKEN)
    assert set(held) | set(others) == set(get_args(Problem))


def test_no_alert_can_fire_for_what_happened_once() -> None:
    """An event is in a rate for as long as its window, so `for` must not be shorter."""
    minutes = {rule["alert"]: int(rule["for"].removesuffix("m")) for rule in alerts(RULES).values()}
    for name, rule in alerts(RULES).items():
        windows = [int(window) for window in re.findall(r"\[(\d+)m\]", rule["expr"])]
        assert all(minutes[name] >= window for window in windows), name
        assert len(windows) == rule["expr"].count("rate("), name


def test_monitors_label_as_the_plain_configuration_does() -> None:
    objects = render(EVERYTHING)
    for part in ("server", "router"):
        job = SCRAPE[f"trimtab-{part}s"]
        monitor = one(objects, "PodMonitor", f"trimtab-tt-{part}s")
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        plain = [
            {
                {"sourceLabels": "source_labels", "targetLabel": "target_label"}.get(key, key): value
                for key, value in row.items()
            }
            for row in endpoint["relabelings"]
        ]
        assert plain == job["relabel_configs"]
        assert endpoint.get("params") == job.get("params")
        assert endpoint["path"] == job.get("metrics_path", "/metrics")
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert monitor["spec"]["namespaceSelector"] == {"any": True}


def test_pods_are_looked_for_where_the_operator_makes_them() -> None:
    objects = render({**VALUES["two namespaces"], "metrics": {"podMonitor": {"enabled": True}}})
    selector = one(objects, "PodMonitor", "trimtab-servers")["spec"]["namespaceSelector"]
    assert selector == {"matchNames": ["team-a", "123"]}


def test_series_of_resources_keep_their_namespace() -> None:
    (endpoint,) = one(render(EVERYTHING), "ServiceMonitor", "trimtab-tt-operator")["spec"]["endpoints"]
    assert endpoint["honorLabels"] is SCRAPE["trimtab-operator"]["honor_labels"] is True


def test_relabelings_name_what_pods_carry() -> None:
    """Labels, annotations and ports are the operator's choice: a typing error would leave every alert silent."""
    servers, routers = (json.dumps(SCRAPE[f"trimtab-{part}"]) for part in ("servers", "routers"))
    assert meta("label", metadata.DEPLOYMENT) in servers
    assert meta("annotation", RUNTIME) in servers
    assert meta("label", metadata.ROUTER) in routers
    managed = meta("label", metadata.MANAGED_BY)
    assert managed in servers
    assert managed in routers
    owner = {"kind": "ABTest", "metadata": {"name": "choice", "namespace": "shop", "uid": "u1"}}
    told = RouterStatus(salt="s", control="a", arms=[RouterArm(name="a", host="h", port=8080)])
    (pod,) = [
        child["spec"]["template"]
        for child in router.children(owner, "choice", Platform("", "", "", xds_address="operator:18000"), told)
        if child["kind"] == "Deployment"
    ]
    assert (
        pod["metadata"]["labels"].items()
        >= {metadata.MANAGED_BY: "trimtab", "app.kubernetes.io/component": "router"}.items()
    )
    assert {"name": "report", "containerPort": REPORT_PORT, "protocol": "TCP"} in pod["spec"]["containers"][0]["ports"]


def test_the_operators_pods_are_found() -> None:
    pod = one(render({}), "Deployment", "trimtab-operator")["spec"]["template"]
    labels = pod["metadata"]["labels"]
    named = {meta("label", key): value for key, value in labels.items()}
    keep = SCRAPE["trimtab-operator"]["relabel_configs"][0]
    ports = [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
    found = [";".join(named.get(key, port) for key in keep["source_labels"]) for port in ports]
    assert found.count(keep["regex"]) == 1


def test_dashboards_come_as_they_are() -> None:
    assert [path.stem for path in DASHBOARDS] == ["drift", "operator", "rollouts", "serving"]
    objects = render(EVERYTHING)
    for path in DASHBOARDS:
        found = one(objects, "ConfigMap", f"trimtab-tt-dashboard-{path.stem}")
        assert found["data"] == {f"trimtab-{path.name}": path.read_text()}
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"] == {"grafana_folder": "Models"}
