"""Whether the world changed, whether models still know it, and what the loop made of that."""

from __future__ import annotations

from hack.dashboards.panels import Board, Panel

OF = '{namespace=~"$namespace",name=~"$name"}'
DEPLOYMENT, FEATURE = ("namespace", "name", "version"), "{{name}} {{feature}}"
ONE = "{{name}} {{version}}"
SINCE = "time() - max by (namespace, name) (trimtab_retrain_last_{}_timestamp_seconds{})"


def told(metric: str, *by: str) -> str:
    """A figure of a ModelDeployment, which every replica of the operator tells."""
    return f"max by ({', '.join((*DEPLOYMENT, *by))}) ({metric}{OF})"


def schedule(metric: str, *by: str) -> str:
    """A figure of a RetrainSchedule."""
    return f"max by ({', '.join(('namespace', 'name', *by))}) ({metric}{OF})"


ABOUT = 'kind=~"ModelDeployment|RetrainSchedule"'

BOARD = Board(
    "Drift and retraining",
    "Drift, data and quality of every ModelDeployment, and the runs of every RetrainSchedule.",
    {
        "Drift": (
            Panel(
                "State",
                {ONE: told("trimtab_drift_state")},
                "0 not known, 1 OK, 2 Warning, 3 Critical.",
                kind="stat",
                above=2,
            ),
            Panel(
                "Score",
                {ONE: told("trimtab_drift_score")},
                "Weighted excess in units of the warning threshold.",
                kind="stat",
                above=1,
            ),
            Panel(
                "Rows missing",
                {ONE: told("trimtab_drift_needed_samples")},
                "Before anything can be said; 0 when judged.",
                kind="stat",
            ),
            Panel(
                "Score over time",
                {ONE: told("trimtab_drift_score")},
                "From 1 on the warning threshold is passed.",
            ),
            Panel(
                "Worst features",
                {FEATURE: told("trimtab_drift_psi_excess", "feature")},
                "PSI beyond what chance makes of so few rows.",
            ),
            Panel(
                "Rows in the window",
                {ONE: told("trimtab_drift_effective_samples")},
                "Independent ones: rows of one user count for less.",
            ),
            Panel(
                "Distances",
                {
                    "{{name}} {{feature}} {{statistic}}": told("trimtab_drift_statistic", "feature", "statistic"),
                },
                "PSI, Kolmogorov-Smirnov and Wasserstein of the worst features.",
            ),
            Panel("p-values", {FEATURE: told("trimtab_drift_pvalue", "feature")}, "Chi-squared, for dependent rows."),
            Panel(
                "Age of the episode",
                {ONE: f"time() - {told('trimtab_drift_episode_start_timestamp_seconds')}"},
                "Since when drift has been going on.",
                "s",
            ),
            Panel(
                "Window",
                {ONE: told("trimtab_drift_window_seconds")},
                "Length of the window that was judged last.",
                "s",
            ),
            Panel(
                "Since the last look",
                {ONE: f"time() - {told('trimtab_drift_last_check_timestamp_seconds')}"},
                "Grows when nothing can be judged.",
                "s",
            ),
        ),
        "Data": (
            Panel(
                "Problems",
                {"{{name}} {{problem}}": told("trimtab_data_problems", "problem")},
                "Features with each problem. Retraining waits until there is none.",
                above=1,
            ),
            Panel(
                "Shares of broken values",
                {
                    f"{FEATURE} missing": told("trimtab_feature_missing_ratio", "feature"),
                    f"{FEATURE} unseen": told("trimtab_feature_unseen_ratio", "feature"),
                    f"{FEATURE} out of range": told("trimtab_feature_out_of_range_ratio", "feature"),
                },
                "Of the features that have a problem.",
                "percentunit",
                width=16,
            ),
        ),
        "Quality": (
            Panel(
                "State of quality",
                {ONE: told("trimtab_quality_state")},
                "0 not known, 1 OK, 2 Degraded.",
                kind="stat",
                above=2,
            ),
            Panel(
                "Realised and estimated",
                {
                    "{{name}} {{metric}} {{kind}}": told("trimtab_model_quality", "metric", "kind"),
                    "{{name}} {{metric}} {{bound}}": told("trimtab_model_quality_bound", "metric", "bound"),
                },
                "By labels, with limits, and estimated from scores alone, which is blind to concept drift.",
            ),
            Panel(
                "Labels",
                {ONE: told("trimtab_quality_labels")},
                "Outcomes reported for predictions of this version.",
            ),
        ),
        "Retraining": (
            Panel(
                "Circuit open",
                {"{{name}}": schedule("trimtab_retrain_circuit_open")},
                "1 after too many failures in a row.",
                kind="stat",
                width=6,
                above=1,
            ),
            Panel(
                "Waits",
                {
                    "{{name}} for approval": schedule("trimtab_retrain_awaiting_approval"),
                    "{{name}} for its turn": schedule("trimtab_retrain_queued"),
                },
                "1 while a run waits for a person, or for others of its namespace to train.",
                kind="stat",
                width=6,
            ),
            Panel(
                "Suspended",
                {"{{name}}": schedule("trimtab_retrain_suspended")},
                "1 while no run may start.",
                kind="stat",
                width=6,
            ),
            Panel(
                "Next run",
                {"{{name}}": f"{schedule('trimtab_retrain_next_run_timestamp_seconds')} - time()"},
                "Seconds until the calendar's next slot; below 0 it was missed.",
                "s",
                "stat",
                width=6,
                below=0,
            ),
            Panel(
                "Runs",
                {"": schedule("trimtab_retrain_runs", "trigger", "outcome")},
                "That status remembers, by trigger and outcome.",
                kind="table",
            ),
            Panel(
                "Slots without a run",
                {"{{name}} {{reason}}": schedule("trimtab_retrain_passed_over", "reason")},
                "1 while the calendar's last slot brought no run, and why.",
            ),
            Panel(
                "Failures in a row",
                {"{{name}}": schedule("trimtab_retrain_consecutive_failures")},
                "At failureThreshold the circuit opens.",
            ),
            Panel(
                "How long runs take",
                {"{{name}}": schedule("trimtab_retrain_last_duration_seconds")},
                "The last one that ended.",
                "s",
            ),
            Panel(
                "Since",
                {
                    f"{{{{name}}}} {what}": SINCE.format(key, OF)
                    for key, what in (("start", "a start"), ("end", "an end"), ("promotion", "a promotion"))
                },
                "Since a run last started, ended, and replaced the champion.",
                "s",
            ),
            Panel(
                "Challenger less champion",
                {
                    "{{name}} {{metric}}": schedule("trimtab_gate_delta", "metric"),
                    "{{name}} {{metric}} {{bound}}": schedule("trimtab_gate_delta_bound", "metric", "bound"),
                },
                "In the last graded run, with limits.",
            ),
            Panel(
                "Gate",
                {"{{name}}": schedule("trimtab_retrain_gate_passed")},
                "1 when the last graded run passed.",
            ),
        ),
    },
    {
        "namespace": f"label_values(trimtab_condition{{{ABOUT}}}, namespace)",
        "name": f'label_values(trimtab_condition{{{ABOUT},namespace=~"$namespace"}}, name)',
    },
)
