"""How traffic is divided and what that shows: canaries and A/B tests, by the routers' counts and by what was found."""

from __future__ import annotations

from hack.dashboards.panels import Board, Panel

OF = 'namespace=~"$namespace",name=~"$name"'
ARM = f'{{{OF},envoy_cluster_name=~"arm_.*"}}'
FAILED = f'{{{OF},envoy_cluster_name=~"arm_.*",envoy_response_code_class="5"}}'
BY = "namespace, name, envoy_cluster_name"
ROUTER = f'{{{OF},envoy_http_conn_manager_prefix="router"}}'
ROUTER_FAILED = f'{{{OF},envoy_http_conn_manager_prefix="router",envoy_response_code_class="5"}}'
LEGEND, OWN = "{{name}} {{envoy_cluster_name}}", "{{name}} {{arm}}"
LOST = f"sum by ({BY}) (rate(envoy_cluster_upstream_rq_xx{FAILED}[$__rate_interval]))"
DONE = f"sum by ({BY}) (rate(envoy_cluster_upstream_rq_completed{ARM}[$__rate_interval]))"
USERS = f"sum by (namespace, name) (rate(envoy_http_downstream_rq_completed{ROUTER}[$__rate_interval]))"


def told(metric: str, *by: str) -> str:
    """A figure from status, which every replica of the operator tells."""
    return f"max by ({', '.join(('namespace', 'name', *by))}) ({metric}{{{OF}}})"


BOARD = Board(
    "Rollouts and experiments",
    "Shares, requests and evidence of every revision and arm. Arms are Envoy's clusters arm_…, copies shadow_….",
    {
        "Shares": (
            Panel(
                "Share of the traffic",
                {"{{kind}} {{name}} {{arm}}": told("trimtab_traffic_weight", "kind", "arm")},
                "As status has it: of revisions as told to routers, of arms as all routers confirm it.",
                "percent",
            ),
            Panel("Requests by arm", {LEGEND: DONE}, "Final answers, as routers counted them.", "reqps"),
            Panel(
                "Rollouts under way",
                {"{{name}}": told("trimtab_rollout_under_way")},
                "1 while a newcomer has not proven itself.",
            ),
        ),
        "What users see": (
            Panel("Requests", {"{{name}}": USERS}, "At the routers, whoever answered.", "reqps"),
            Panel(
                "Errors",
                {
                    "{{name}}": "sum by (namespace, name) "
                    f"(rate(envoy_http_downstream_rq_xx{ROUTER_FAILED}[$__rate_interval])) / ({USERS} > 0)"
                },
                "Share of 5xx after all retries.",
                "percentunit",
                above=0.01,
            ),
            Panel(
                "Connections",
                {"{{name}}": f"sum by (namespace, name) (envoy_http_downstream_cx_active{ROUTER})"},
                "Open at the routers.",
            ),
        ),
        "Arms": (
            Panel(
                "Errors by arm",
                {LEGEND: f"{LOST} / ({DONE} > 0)"},
                "Share of 5xx.",
                "percentunit",
            ),
            Panel(
                "95th percentile by arm",
                {
                    LEGEND: f"histogram_quantile(0.95, sum by ({BY}, le) "
                    f"(rate(envoy_cluster_upstream_rq_time_bucket{ARM}[$__rate_interval]))) / 1000"
                },
                "Latency as routers measure it.",
                "s",
            ),
            Panel(
                "Pods by arm",
                {LEGEND: f"min by ({BY}) (envoy_cluster_membership_total{ARM})"},
                "The fewest that any router knows.",
            ),
            Panel(
                "Copies",
                {
                    LEGEND: f"sum by ({BY}) (rate(envoy_cluster_upstream_rq_completed"
                    f'{{{OF},envoy_cluster_name=~"shadow_.*"}}[$__rate_interval]))'
                },
                "Requests copied to a shadow, which count for nobody.",
                "reqps",
            ),
            Panel(
                "Evidence of harm",
                {"{{name}} {{metric}} than {{against}}": told("trimtab_rollout_e_value", "metric", "against")},
                "E-values of the rollout: 20 and more is harm at 95 %.",
                above=20,
            ),
            Panel(
                "Ended rollouts",
                {"": told("trimtab_rollouts", "outcome")},
                "As status remembers them.",
                kind="table",
            ),
        ),
        "Experiments": (
            Panel(
                "Lift",
                {
                    OWN: told("trimtab_abtest_lift_percent", "arm"),
                    f"{OWN} {{{{bound}}}}": told("trimtab_abtest_lift_percent_bound", "arm", "bound"),
                },
                "Against the control, with the confidence sequence, which holds at any time.",
                "percent",
            ),
            Panel("Evidence", {OWN: told("trimtab_abtest_e_value", "arm")}, "E-values: at least 1/alpha wins."),
            Panel(
                "Sample ratio",
                {"{{name}}": told("trimtab_abtest_sample_ratio_e_value")},
                "Evidence that users did not arrive as the weights say. Nothing can be trusted when it is large.",
            ),
            Panel(
                "Users",
                {
                    OWN: told("trimtab_abtest_users", "arm"),
                    "{{name}} needed": told("trimtab_abtest_needed_users"),
                },
                "In this run, and what a test of fixed size would need.",
            ),
            Panel("Objective", {OWN: told("trimtab_abtest_mean", "arm")}, "Its mean, by arm."),
            Panel(
                "Requests and outcomes",
                {
                    f"{OWN} requests": told("trimtab_abtest_requests", "arm"),
                    f"{OWN} errors": told("trimtab_abtest_errors", "arm"),
                    f"{OWN} outcomes": told("trimtab_abtest_outcomes", "arm"),
                },
                "Counted in this run.",
            ),
        ),
    },
    {
        "namespace": "label_values(trimtab_traffic_weight, namespace)",
        "name": 'label_values(trimtab_traffic_weight{namespace=~"$namespace"}, name)',
    },
)
