"""The alert rules, by Prometheus' own test tool: what fires, when, for whom, and above all what does not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.chart import CHART
from trimtab.traffic.bootstrap import LATENCY_EDGES_MILLISECONDS
from trimtab_serving.counting.layout import LATENCY_EDGES

RULES = CHART / "files/alerts.yaml"
INTERVAL = "30s"
OF = 'namespace="shop",name="credit"'
LEADER = 'leader_election_master_status{namespace="trimtab-system",name="trimtab-operator",pod="a"}'
REQUESTS = f"trimtab_requests_total{{{OF},pod=%s,code=%s}}"
ROUTER = f'envoy_http_downstream_rq_%s{{{OF},pod="r",envoy_http_conn_manager_prefix="router"%s}}'
ERRORS = ',envoy_response_code_class="5"'
BUCKET = f'trimtab_request_duration_seconds_bucket{{{OF},le="%s"}}'
ARM_BUCKET = f'envoy_cluster_upstream_rq_time_bucket{{{OF},envoy_cluster_name="%s_a",le="%s"}}'
BOTH = ("TrimtabErrorsCritical", "critical"), ("TrimtabErrorsHigh", "warning")
SLOW = ("TrimtabLatencyCritical", "critical"), ("TrimtabLatencyHigh", "warning")
DRIFT = f'trimtab_drift_state{{{OF},model="m",version="7",pod=%s}}'
RETRAIN = f'trimtab_retrain_%s{{{OF},model="m"}}'
CONDITION = 'trimtab_condition{namespace="shop",name="credit",kind="%s",type="%s",reason="%s",pod="a"}'


class Case(NamedTuple):
    """Series of one value each 30 s, in promtool's notation, and the alerts that fire at some minute."""

    series: dict[str, str]
    minute: int
    firing: tuple[tuple[str, str], ...] = ()
    namespace: str = "shop"
    name: str = "credit"


def requests(good: str, bad: str, pods: int = 1) -> dict[str, str]:
    """Counters of successes and failures at each of some pods."""
    found = {}
    for pod in range(pods):
        found |= {REQUESTS % (f'"{pod}"', '"200"'): good, REQUESTS % (f'"{pod}"', '"500"'): bad}
    return found


def latencies(template: str, **buckets: str) -> dict[str, str]:
    """Cumulative buckets by edge, whose names begin with an underscore and have `p` for the point."""
    return {template % edge[1:].replace("p", "."): values for edge, values in buckets.items()}


def arms(kind: str, **buckets: str) -> dict[str, str]:
    return {ARM_BUCKET % (kind, edge[1:]): values for edge, values in buckets.items()}


def up(*values: str) -> dict[str, str]:
    return {f'trimtab_endpoint_up{{{OF},pod="{pod}"}}': value for pod, value in enumerate(values)}


ALL = ("_1p0", "_2p0", "_5p0", "_Inf")
CASES = {
    "nothing at all but a leader": Case({}, 10),
    "a pod is ready": Case(up("1x40", "1x40"), 20),
    "no pod is ready": Case(up("1x10 0x30", "1x10 0x30"), 10, (("TrimtabEndpointDown", "critical"),)),
    "no pod has been ready yet": Case(up("0x40"), 20),
    "no pod is ready for half a minute": Case(up("1x10 0 1x30"), 7),
    "a replica of the operator lags behind": Case(up("0x40", "1x40"), 10),
    "traffic without errors": Case(requests("0+100x40", "0x40"), 20),
    "no traffic at all": Case(requests("100x40", "7x40"), 20),
    "0.9 % fail": Case(requests("0+991x40", "0+9x40"), 20),
    "2 % fail": Case(requests("0+98x40", "0+2x40"), 20, (BOTH[1],)),
    "2 % fail, for four minutes": Case(requests("0+98x40", "0+2x8 16x32"), 8),
    "10 % fail, at both of two pods": Case(requests("0+90x40", "0+10x40", pods=2), 20, BOTH),
    "10 % fail, for three minutes so far": Case(requests("0+90x40", "0x20 10+10x20"), 13, (BOTH[0],)),
    "all fail": Case(requests("0x40", "0+1x40"), 20, BOTH),
    "one of few failed, once": Case(requests("0+1x40", "0x10 1x30"), 8),
    "one of few failed, once, and was seen long enough to be sure": Case(requests("0+1x40", "0x10 1x30"), 10),
    "a pod restarts": Case(requests("0+100x20 0+100x20", "0x40"), 12),
    "routers answer what pods failed to": Case(
        requests("0+90x40", "0+10x40") | {ROUTER % ("completed", ""): "0+100x40", ROUTER % ("xx", ERRORS): "0x40"}, 20
    ),
    "routers find nobody": Case(
        requests("0+90x40", "0x40") | {ROUTER % ("completed", ""): "0+100x40", ROUTER % ("xx", ERRORS): "0+10x40"},
        20,
        BOTH,
    ),
    "quick answers": Case(latencies(BUCKET, **dict.fromkeys(ALL, "0+100x40")), 20),
    "6 % take up to 2 s": Case(
        latencies(BUCKET, _1p0="0+94x40", _2p0="0+100x40", _5p0="0+100x40", _Inf="0+100x40"), 20, (SLOW[1],)
    ),
    "10 % take up to 5 s": Case(
        latencies(BUCKET, _1p0="0+90x40", _2p0="0+90x40", _5p0="0+100x40", _Inf="0+100x40"), 20, SLOW
    ),
    "no request, slow ones before": Case(latencies(BUCKET, _1p0="0x40", _2p0="90x40", _5p0="90x40", _Inf="90x40"), 20),
    "slow arms": Case(arms("arm", _1000="0x40", _2000="0x40", _5000="0+9x40", **{"_+Inf": "0+9x40"}), 20, SLOW),
    "slow copies": Case(arms("shadow", _1000="0x40", _2000="0x40", _5000="0+9x40", **{"_+Inf": "0+9x40"}), 20),
    "drift is not known": Case({DRIFT % '"a"': "0x40"}, 20),
    "no drift": Case({DRIFT % '"a"': "1x40"}, 20),
    "drift": Case({DRIFT % '"a"': "2x40", DRIFT % '"b"': "2x40"}, 20, (("TrimtabDrift", "warning"),)),
    "critical drift": Case({DRIFT % '"a"': "3x40"}, 20, (("TrimtabDriftCritical", "critical"),)),
    "drift that has ended": Case({DRIFT % '"a"': "3x10 1x30"}, 20),
    "no broken data": Case({f'trimtab_data_problems{{{OF},problem="Missing"}}': "0x40"}, 20),
    "broken data": Case(
        {f'trimtab_data_problems{{{OF},problem="Missing"}}': "2x40"}, 20, (("TrimtabDataProblem", "warning"),)
    ),
    "good predictions": Case({f"trimtab_quality_state{{{OF}}}": "1x40"}, 20),
    "bad predictions": Case({f"trimtab_quality_state{{{OF}}}": "2x40"}, 20, (("TrimtabQualityDegraded", "warning"),)),
    "a run in an hour": Case({RETRAIN % "next_run_timestamp_seconds": "3600x80", RETRAIN % "suspended": "0x80"}, 40),
    "a run that is late by five minutes": Case({RETRAIN % "next_run_timestamp_seconds": "600x80"}, 15),
    "a run that was missed": Case(
        {RETRAIN % "next_run_timestamp_seconds": "600x80", RETRAIN % "suspended": "0x80"},
        40,
        (("TrimtabRetrainMissed", "critical"),),
    ),
    "a run that was given up": Case(
        {RETRAIN.replace("}", ',reason="DeadlineMissed"}') % "passed_over": "1x80"},
        40,
        (("TrimtabRetrainMissed", "critical"),),
    ),
    "a run that found another under way": Case(
        {RETRAIN.replace("}", ',reason="RunUnderWay"}') % "passed_over": "1x80"}, 40
    ),
    "a run that is suspended": Case(
        {RETRAIN % "next_run_timestamp_seconds": "600x80", RETRAIN % "suspended": "1x80"}, 40
    ),
    "a closed circuit": Case({RETRAIN % "circuit_open": "0x40"}, 20),
    "an open circuit": Case({RETRAIN % "circuit_open": "1x40"}, 20, (("TrimtabRetrainCircuitOpen", "critical"),)),
    "retraining does not help": Case(
        {CONDITION % ("RetrainSchedule", "RetrainIneffective", "RetrainIneffective"): "1x40"},
        20,
        (("TrimtabRetrainBlocked", "warning"),),
    ),
    "broken data are not learned from": Case(
        {CONDITION % ("RetrainSchedule", "RetrainBlocked", "DataQualityBreach"): "1x40"},
        20,
        (("TrimtabRetrainBlocked", "warning"),),
    ),
    "retraining waits a while": Case({CONDITION % ("RetrainSchedule", "RetrainBlocked", "CoolingDown"): "1x40"}, 20),
    "another operator leads elsewhere": Case(
        {LEADER: "0x40", LEADER.replace("trimtab-system", "other"): "1x40"},
        10,
        (("TrimtabNoLeader", "critical"),),
        "trimtab-system",
        "trimtab-operator",
    ),
    "leadership changes hands": Case({LEADER: "1x8 0x40", LEADER.replace('"a"', '"b"'): "0x9 1x40"}, 5),
    "operators that are not scraped": Case(
        {LEADER: "1x4 stale"}, 20, (("TrimtabNoLeader", "critical"),), "", "trimtab-operator"
    ),
    "passes that fail": Case(
        {'controller_runtime_reconcile_errors_total{namespace="shop",controller="ABTest"}': "0+1x80"},
        40,
        (("TrimtabReconcilesFail", "warning"),),
        "shop",
        "ABTest",
    ),
    "passes of others that fail": Case(
        {'controller_runtime_reconcile_errors_total{namespace="shop",controller="certificate"}': "0+1x80"}, 40
    ),
    "ready": Case({CONDITION % ("MLModel", "Ready", "Reconciled"): "1x80"}, 40),
    "on its way": Case({CONDITION % ("MLModel", "Ready", "Importing"): "-1x80"}, 40),
    "not ready": Case(
        {CONDITION % ("MLModel", "Ready", "SourceNotFound"): "0x80"}, 40, (("TrimtabNotReady", "warning"),)
    ),
    "not ready for changing reasons": Case(
        {
            CONDITION % ("MLModel", "Ready", "SourceNotFound"): "0x15 stale",
            CONDITION % ("MLModel", "Ready", "LoadFailed"): "_x16 0x80",
        },
        20,
        (("TrimtabNotReady", "warning"),),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_fires(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    series = {LEADER: "1x100", **case.series}
    firing = 'count by (alertname, severity, namespace, name) (ALERTS{alertstate="firing"})'
    test = {
        "interval": INTERVAL,
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": firing,
                "eval_time": f"{case.minute}m",
                "exp_samples": [{"labels": labels(case, *alert), "value": 1} for alert in case.firing],
            }
        ],
    }
    content = {"rule_files": [str(RULES)], "evaluation_interval": INTERVAL, "tests": [test]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(content))
    command = ["promtool", "test", "rules", "test.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def labels(case: Case, alert: str, severity: str) -> str:
    """The labels of an alert, as promtool writes them; Prometheus knows no empty ones."""
    named = {"alertname": alert, "name": case.name, "namespace": case.namespace, "severity": severity}
    return "{" + ", ".join(f"{key}={json.dumps(value)}" for key, value in named.items() if value) + "}"


def test_every_alert_fires_in_some_case_and_the_tool_accepts_the_file() -> None:
    rules = yaml.safe_load(RULES.read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert alerts == {alert for case in CASES.values() for alert, _ in case.firing}
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_pods_and_routers_count_at_the_limits(seconds: float) -> None:
    """Between two edges a quantile is a guess: 6 % of requests at 1.1 s would page somebody for 2 s."""
    assert seconds in LATENCY_EDGES
    assert seconds * 1_000 in LATENCY_EDGES_MILLISECONDS
