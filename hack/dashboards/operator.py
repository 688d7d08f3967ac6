"""The operator itself: who leads, what it does, what it waits for, and whether its picture of the cluster is fresh."""

from __future__ import annotations

from hack.dashboards.panels import Board, Panel

OURS = "and on (instance) trimtab_build_info"
"""Other controllers and processes use the same names; ours are those that tell the build, too."""


def rate(metric: str, *by: str) -> str:
    """Events per second."""
    return f"sum by ({', '.join(by)}) (rate({metric}[$__rate_interval]) {OURS})"


def quantile(metric: str, label: str) -> str:
    """The 99th percentile of a time, in seconds."""
    return f"histogram_quantile(0.99, {rate(f'{metric}_bucket', label, 'le')})"


BOARD = Board(
    "Operator",
    "Whether the operator leads, keeps up, and gets through to the API server.",
    {
        "Now": (
            Panel(
                "Leaders",
                {"leaders": 'sum(leader_election_master_status{name="trimtab-operator"})'},
                "Replicas that hold the lease: one for each installation.",
                kind="stat",
                width=6,
                below=1,
            ),
            Panel(
                "Replicas",
                {"{{version}}": "count by (version) (trimtab_build_info)"},
                "By version.",
                kind="stat",
                width=6,
            ),
            Panel(
                "Objects",
                {"{{kind}}": "max by (kind) (trimtab_store_objects)"},
                "Held in memory.",
                kind="stat",
                width=6,
            ),
            Panel(
                "Not ready",
                {
                    "{{kind}}": "sum by (kind) (max by (kind, namespace, name) "
                    '(trimtab_condition{type="Ready"} == bool 0))'
                },
                "Resources whose condition Ready is False.",
                kind="stat",
                width=6,
                above=1,
            ),
        ),
        "Work": (
            Panel(
                "Passes",
                {"{{controller}} {{result}}": rate("controller_runtime_reconcile_total", "controller", "result")},
                "Reconciliations per second by result.",
                "ops",
            ),
            Panel(
                "99th percentile of a pass",
                {"{{controller}}": quantile("controller_runtime_reconcile_time_seconds", "controller")},
                "How long a reconciliation takes.",
                "s",
            ),
            Panel(
                "Errors",
                {"{{controller}}": rate("controller_runtime_reconcile_errors_total", "controller")},
                "Passes that failed and are repeated.",
                "ops",
            ),
            Panel("Waiting", {"{{name}}": f"max by (name) (workqueue_depth {OURS})"}, "Keys in the queues."),
            Panel(
                "99th percentile of waiting",
                {"{{name}}": quantile("workqueue_queue_duration_seconds", "name")},
                "How long a key waits for a worker.",
                "s",
            ),
            Panel(
                "Longest pass under way",
                {"{{name}}": f"max by (name) (workqueue_longest_running_processor_seconds {OURS})"},
                "A pass that hangs grows here.",
                "s",
            ),
        ),
        "API server": (
            Panel(
                "Requests",
                {"{{method}} {{code}}": rate("rest_client_requests_total", "method", "code")},
                "By method and answer.",
                "reqps",
            ),
            Panel(
                "Children",
                {"{{kind}} changed={{changed}}": rate("trimtab_children_applied_total", "kind", "changed")},
                "Server-side applies. A settled cluster has none.",
                "ops",
            ),
            Panel(
                "Since the last event",
                {"{{kind}}": "time() - max by (kind) (trimtab_watch_last_event_timestamp_seconds > 0)"},
                "A busy kind that falls silent hints at a watch that stalls.",
                "s",
            ),
            Panel(
                "Changes that no watch told of",
                {"{{kind}}": rate("trimtab_relist_repairs_total", "kind")},
                "Found by comparing everything, each resync period.",
                "ops",
            ),
            Panel(
                "Pods that give no counts",
                {"{{source}} {{kind}}": rate("trimtab_poll_failures_total", "source", "kind")},
                "Answers of pods that were not used; the log names each once.",
                "ops",
            ),
        ),
        "Outside": (
            Panel(
                "Changes outside the cluster",
                {"{{kind}} {{result}}": rate("trimtab_effects_total", "kind", "result")},
                "Aliases and tags in MLflow, and messages; what failed is tried again.",
                "ops",
                width=12,
            ),
            Panel(
                "Messages",
                {"{{channel}} {{result}}": rate("trimtab_notifications_total", "channel", "result")},
                "To people, by channel. What is lost was given up after a day.",
                "ops",
                width=12,
            ),
        ),
        "Process": (
            Panel("Memory", {"{{pod}}": f"process_resident_memory_bytes {OURS}"}, "Resident.", "bytes", width=12),
            Panel(
                "CPU",
                {"{{pod}}": f"rate(process_cpu_seconds_total[$__rate_interval]) {OURS}"},
                "Cores in use.",
                width=12,
            ),
        ),
    },
)
