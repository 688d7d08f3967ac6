"""What users of models get: requests, errors and latency, by the pods' own counts, and what the pods use for it."""

from __future__ import annotations

from hack.dashboards.panels import Board, Panel

OF = '{namespace=~"$namespace",name=~"$name"}'
FAILED = '{namespace=~"$namespace",name=~"$name",code=~"5.."}'
SEEN = f"sum by (namespace, name) (rate(trimtab_requests_total{OF}[$__rate_interval]))"
LOST = f"sum by (namespace, name) (rate(trimtab_requests_total{FAILED}[$__rate_interval]))"
BUCKETS = f"rate(trimtab_request_duration_seconds_bucket{OF}[$__rate_interval])"
ONE, REVISION = "{{namespace}}/{{name}}", "{{name}} {{revision}}"


def quantile(share: float, *by: str) -> str:
    """A quantile of the latency, in seconds."""
    return f"histogram_quantile({share}, sum by ({', '.join((*by, 'le'))}) ({BUCKETS}))"


BOARD = Board(
    "Serving",
    "Requests to models, by the counts of their pods. Where routers stand in front, see Rollouts and experiments.",
    {
        "Now": (
            Panel("Requests per second", {ONE: SEEN}, "Inference requests of all codes.", "reqps", "stat"),
            Panel(
                "Errors",
                {ONE: f"{LOST} / ({SEEN} > 0)"},
                "Share answered with 5xx; nothing without requests.",
                "percentunit",
                "stat",
                above=0.01,
            ),
            Panel(
                "95th percentile of latency",
                {ONE: quantile(0.95, "namespace", "name")},
                "From the first byte of the body to the answer.",
                "s",
                "stat",
                above=1,
            ),
        ),
        "Requests": (
            Panel(
                "By code",
                {"{{name}} {{code}}": f"sum by (name, code) (rate(trimtab_requests_total{OF}[$__rate_interval]))"},
                "Requests per second by HTTP status.",
                "reqps",
            ),
            Panel(
                "By revision",
                {REVISION: f"sum by (name, revision) (rate(trimtab_requests_total{OF}[$__rate_interval]))"},
                "Requests per second by the revision that answered.",
                "reqps",
            ),
            Panel(
                "Rows per second",
                {REVISION: f"sum by (name, revision) (rate(trimtab_rows_total{OF}[$__rate_interval]))"},
                "Rows that were predicted; a request can hold many.",
                "ops",
            ),
        ),
        "Latency": (
            Panel(
                "Quantiles",
                {f"{{{{name}}}} p{share * 100:.0f}": quantile(share, "name") for share in (0.5, 0.95, 0.99)},
                "Interpolated between the edges of the histogram.",
                "s",
            ),
            Panel(
                "95th percentile by revision",
                {REVISION: quantile(0.95, "name", "revision")},
                "A new revision that is slower shows here first.",
                "s",
            ),
            Panel(
                "Waiting for the model",
                {"{{pod}}": f"sum by (pod) (trimtab_queue_depth{OF})"},
                "Predictions that wait for the model to be free. Standing queues want more pods.",
            ),
        ),
        "Pods": (
            Panel(
                "In flight",
                {"{{pod}}": f"sum by (pod) (trimtab_requests_in_flight{OF})"},
                "Predictions that have begun and are not answered.",
            ),
            Panel("Connections", {"{{pod}}": f"sum by (pod) (trimtab_connections{OF})"}, "Open connections."),
            Panel(
                "Memory",
                {"{{pod}}": f"sum by (pod) (trimtab_resident_memory_bytes{OF})"},
                "Of the worker processes, without their predictors.",
                "bytes",
            ),
            Panel(
                "Start",
                {
                    "{{pod}} load": f"max by (pod) (trimtab_model_load_seconds{OF})",
                    "{{pod}} start": f"max by (pod) (trimtab_startup_seconds{OF})",
                },
                "Loading and warming up the model, and the whole start of the process.",
                "s",
            ),
            Panel(
                "What is loaded",
                {"": f"max by (namespace, name, revision, digest, runtime, pod) (trimtab_model_info{OF})"},
                "Bundle and runtime of each pod.",
                kind="table",
                width=16,
            ),
        ),
    },
    {
        "namespace": "label_values(trimtab_requests_total, namespace)",
        "name": 'label_values(trimtab_requests_total{namespace=~"$namespace"}, name)',
    },
)
