"""What the chart's pods may do to their nodes, to the API server and to the network."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import DATABASE, EVERYTHING, EXTERNAL, VALUES, names, one, pod_specs, render
from tests.pod_security import violations
from trimtab.core.metadata import MANAGED_BY, MANAGER
from trimtab.kinds.modeldeployment.template import PORT

WRITE = ["list", "watch", "create", "patch", "delete"]
OPERATOR_MAY: dict[tuple[str, str], list[str]] = {
    ("trimtab.dev", "mlmodels"): ["list", "watch"],
    ("trimtab.dev", "modeldeployments"): ["list", "watch"],
    ("trimtab.dev", "abtests"): ["list", "watch"],
    ("trimtab.dev", "retrainschedules"): ["list", "watch"],
    ("trimtab.dev", "mlmodels/status"): ["patch"],
    ("trimtab.dev", "modeldeployments/status"): ["patch"],
    ("trimtab.dev", "abtests/status"): ["patch"],
    ("trimtab.dev", "retrainschedules/status"): ["patch"],
    ("trimtab.dev", "mlmodels/finalizers"): ["update"],
    ("trimtab.dev", "modeldeployments/finalizers"): ["update"],
    ("trimtab.dev", "abtests/finalizers"): ["update"],
    ("trimtab.dev", "retrainschedules/finalizers"): ["update"],
    ("apps", "deployments"): WRITE,
    ("", "services"): WRITE,
    ("autoscaling", "horizontalpodautoscalers"): WRITE,
    ("policy", "poddisruptionbudgets"): WRITE,
    ("networking.k8s.io", "networkpolicies"): WRITE,
    ("batch", "jobs"): WRITE,
    ("", "pods"): ["list", "watch"],
    ("events.k8s.io", "events"): ["create"],
}


def rights(role: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """A role's verbs by group and resource; each pair may be named once."""
    found: dict[tuple[str, str], list[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert (group, resource) not in found
                found[group, resource] = rule["verbs"]
    return found


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_pod_passes_the_restricted_standard(values: dict[str, Any]) -> None:
    pods = pod_specs(render(values))
    assert len(pods) >= 2
    assert {name: found for name, pod in pods.items() if (found := violations(pod))} == {}


def test_pods_run_as_the_user_of_the_images_with_the_runtimes_seccomp_profile() -> None:
    for pod in pod_specs(render({})).values():
        context = pod["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (65532, 65532)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_only_the_operator_holds_a_token(values: dict[str, Any]) -> None:
    objects = render(values)
    with_token = [name for name, pod in pod_specs(objects).items() if pod["automountServiceAccountToken"]]
    assert len(with_token) == 1
    assert with_token[0].endswith("-operator")
    accounts = [o for o in objects if o["kind"] == "ServiceAccount"]
    assert accounts
    assert all(account["automountServiceAccountToken"] is False for account in accounts)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_no_role_has_a_wildcard_or_touches_secrets(values: dict[str, Any]) -> None:
    objects = render(values)
    assert "Secret" not in {o["kind"] for o in objects}
    for role in (o for o in objects if o["kind"] in {"Role", "ClusterRole"}):
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"], *rule.get("resourceNames", [])]
            assert not [word for word in words if "*" in word]
            assert not {"secrets", "serviceaccounts/token", "pods/exec"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_the_operator_may_do_exactly_this_everywhere() -> None:
    objects = render({})
    assert rights(one(objects, "ClusterRole", "trimtab-operator")) == OPERATOR_MAY
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "ClusterRoleBinding"] == ["trimtab-operator"]
    own = one(objects, "Role", "trimtab-leader")["rules"]
    assert [(rule["resources"], rule["verbs"], rule.get("resourceNames")) for rule in own] == [
        (["leases"], ["create"], None),
        (["leases"], ["get", "update"], ["trimtab-operator"]),
        (["configmaps"], ["list", "create", "update", "delete"], None),
    ]


def test_routes_of_the_gateway_api_are_its_business_only_where_they_are_asked_for() -> None:
    allowed = rights(one(render({"gatewayApi": {"enabled": True}}), "ClusterRole", "trimtab-operator"))
    more = {key: verbs for key, verbs in allowed.items() if key not in OPERATOR_MAY}
    assert more == {("gateway.networking.k8s.io", "httproutes"): ["list", "watch", "create", "patch", "delete"]}
    assert {key: allowed[key] for key in OPERATOR_MAY} == OPERATOR_MAY


def test_with_namespaces_given_the_operator_may_do_it_only_there() -> None:
    objects = render(VALUES["two namespaces"])
    assert not names(objects) & {"ClusterRole/trimtab-operator", "ClusterRoleBinding/trimtab-operator"}
    roles = [o for o in objects if o["kind"] == "Role" and o["metadata"]["name"] == "trimtab-operator"]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "123"]
    assert all(rights(role) == OPERATOR_MAY for role in roles)
    bindings = [o for o in objects if o["kind"] == "RoleBinding" and o["metadata"]["name"] == "trimtab-operator"]
    assert [binding["metadata"]["namespace"] for binding in bindings] == ["team-a", "123"]


@pytest.mark.parametrize("values", [{}, VALUES["two namespaces"], EVERYTHING])
def test_every_binding_gives_an_existing_role_to_the_operators_account(values: dict[str, Any]) -> None:
    objects = render(values)
    (operator,) = [o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"].endswith("-operator")]
    account = operator["spec"]["template"]["spec"]["serviceAccountName"]
    bindings = [o for o in objects if o["kind"].endswith("RoleBinding")]
    assert len(bindings) >= 2
    for binding in bindings:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": "trimtab-system"}
        assert binding["subjects"] == [subject]
        role = (binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"])
        assert role in {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects}


def test_users_gain_the_kinds_through_the_clusters_own_roles() -> None:
    objects = render({})
    view, edit = one(objects, "ClusterRole", "trimtab-view"), one(objects, "ClusterRole", "trimtab-edit")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key for key in view["metadata"]["labels"] if key.startswith(aggregate)} == {
        aggregate + name for name in ("view", "edit", "admin")
    }
    assert {key for key in edit["metadata"]["labels"] if key.startswith(aggregate)} == {
        aggregate + name for name in ("edit", "admin")
    }
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    assert not writes & {verb for verbs in rights(view).values() for verb in verbs}
    # The status is the operator's alone.
    assert not [resource for _, resource in (*rights(view), *rights(edit)) if resource.endswith("/status")]


def test_the_operator_reaches_dns_the_api_server_its_own_pods_and_mlflow_only() -> None:
    policy = one(render({}), "NetworkPolicy", "trimtab-operator")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    routers = {"app.kubernetes.io/component": "router", MANAGED_BY: MANAGER}
    assert policy["ingress"] == [
        {"ports": [{"protocol": "TCP", "port": 8080}]},
        {
            "ports": [{"protocol": "TCP", "port": 18_000}],
            "from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": routers}}],
        },
    ]
    dns, api_server, counts, mlflow = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert {port["port"] for port in api_server["ports"]} == {443, 6443}
    assert counts["to"] == [{"namespaceSelector": {}, "podSelector": {"matchLabels": {MANAGED_BY: MANAGER}}}]
    assert {port["port"] for port in counts["ports"]} == {PORT, 9902}
    assert mlflow["ports"] == [{"protocol": "TCP", "port": 5000}]
    assert mlflow["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "mlflow"


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("https://mlflow.example.com", 443),
        ("http://mlflow.example.com/prefix/", 80),
        ("http://mlflow.ml.svc:5000", 5000),
        ("http://[fd00::1]:8080", 8080),
    ],
)
def test_the_operator_reaches_the_port_of_an_external_mlflow(uri: str, port: int) -> None:
    objects = render({"mlflow": {"enabled": False, "trackingUri": uri}})
    egress = one(objects, "NetworkPolicy", "trimtab-operator")["spec"]["egress"]
    assert egress[-1] == {"ports": [{"protocol": "TCP", "port": port}]}


def test_restricting_who_reads_metrics_still_lets_the_release_test_itself() -> None:
    objects = render(EVERYTHING)
    policy = one(objects, "NetworkPolicy", "trimtab-tt-operator")["spec"]
    own, others = policy["ingress"][0]["from"]
    assert others == {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    labels = one(objects, "Pod", "trimtab-tt-test")["metadata"]["labels"].items()
    assert own["podSelector"]["matchLabels"].items() <= labels
    assert policy["egress"][-1] == {"ports": [{"port": 3128, "protocol": "TCP"}]}


def test_mlflow_takes_calls_from_pods_and_makes_none() -> None:
    policy = one(render({}), "NetworkPolicy", "trimtab-mlflow")["spec"]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 5000}]
    assert [set(peer) for peer in policy["ingress"][0]["from"]] == [{"podSelector"}, {"namespaceSelector"}]
    assert policy["egress"] == []


def test_mlflow_reaches_out_only_when_its_data_are_elsewhere() -> None:
    anywhere = one(render(DATABASE), "NetworkPolicy", "trimtab-mlflow")["spec"]
    assert anywhere["egress"] == [{}]
    rule = {"ports": [{"port": 5432, "protocol": "TCP"}]}
    chosen = {"mlflow": {**DATABASE["mlflow"], "networkPolicy": {"egress": [rule]}}}
    assert one(render(chosen), "NetworkPolicy", "trimtab-mlflow")["spec"]["egress"] == [rule]


def test_what_is_switched_off_is_not_there() -> None:
    objects = names(render(VALUES["one replica, nothing kept"]))
    absent = {"NetworkPolicy", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "PodDisruptionBudget"}
    assert not {name.partition("/")[0] for name in objects} & absent
    assert not [name for name in names(render(EXTERNAL)) if name.endswith("-mlflow")]
