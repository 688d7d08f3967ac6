"""The names and labels of all series that tell of findings; what they are read from is in runtime.findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

OF_DEPLOYMENT = ("namespace", "name", "model", "version")
OF_SCHEDULE = ("namespace", "name", "model")
OF_ANY = ("namespace", "name")


class Family(NamedTuple):
    """The series of one name."""

    help: str
    labels: tuple[str, ...]


def _families(labels: tuple[str, ...], described: Mapping[str, tuple[str, ...]]) -> dict[str, Family]:
    return {name: Family(text, (*labels, *more)) for name, (text, *more) in described.items()}


FAMILIES = (
    _families(
        OF_DEPLOYMENT,
        {
            "trimtab_drift_state": ("0 not known, 1 OK, 2 Warning, 3 Critical.",),
            "trimtab_drift_score": ("Weighted excess PSI in units of the warning threshold.",),
            "trimtab_drift_effective_samples": ("Independent rows in the window.",),
            "trimtab_drift_needed_samples": ("Rows missing before drift can be judged.",),
            "trimtab_drift_window_seconds": ("Length of the window.",),
            "trimtab_drift_episode_start_timestamp_seconds": ("When the episode began.",),
            "trimtab_drift_last_check_timestamp_seconds": ("When drift was last judged.",),
            "trimtab_drift_psi_excess": ("PSI beyond its noise floor, worst features.", "feature"),
            "trimtab_drift_pvalue": ("Chi-squared, corrected for dependent rows, worst features.", "feature"),
            "trimtab_drift_statistic": ("Distances from training, worst features.", "feature", "statistic"),
            "trimtab_feature_missing_ratio": ("Share of missing values, where it is a problem.", "feature"),
            "trimtab_feature_unseen_ratio": ("Share of unseen categories, where it is a problem.", "feature"),
            "trimtab_feature_out_of_range_ratio": ("Share beyond training's range, where it is a problem.", "feature"),
            "trimtab_data_problems": ("Features with a problem of their data.", "problem"),
            "trimtab_quality_state": ("0 not known, 1 OK, 2 Degraded.",),
            "trimtab_model_quality": ("Quality from labels, or estimated without.", "metric", "kind"),
            "trimtab_model_quality_bound": ("Confidence limits of realised quality.", "metric", "bound"),
            "trimtab_quality_labels": ("The newest labels, those that were judged together.",),
        },
    )
    | _families(
        OF_SCHEDULE,
        {
            "trimtab_retrain_runs": ("Runs that status remembers.", "trigger", "outcome"),
            "trimtab_retrain_awaiting_approval": ("1 while a run waits for approval.",),
            "trimtab_retrain_queued": ("1 while a run waits for its turn in its namespace.",),
            "trimtab_retrain_suspended": ("1 while no run may start.",),
            "trimtab_retrain_circuit_open": ("1 while runs are held back after failures.",),
            "trimtab_retrain_consecutive_failures": ("Runs in a row that failed.",),
            "trimtab_retrain_next_run_timestamp_seconds": ("The next slot of the calendar.",),
            "trimtab_retrain_last_start_timestamp_seconds": ("When the last run began.",),
            "trimtab_retrain_last_end_timestamp_seconds": ("When a run last ended.",),
            "trimtab_retrain_last_promotion_timestamp_seconds": ("When a run last replaced the champion.",),
            "trimtab_retrain_last_duration_seconds": ("How long the last run that ended took.",),
            "trimtab_retrain_gate_passed": ("1 when the last graded run passed.",),
            "trimtab_gate_delta": ("Challenger less champion in the last graded run.", "metric"),
            "trimtab_gate_delta_bound": ("Confidence limits of the delta.", "metric", "bound"),
        },
    )
    | _families(
        OF_ANY,
        {
            "trimtab_condition": ("1 True, 0 False, -1 Unknown.", "kind", "type", "reason"),
            "trimtab_endpoint_up": ("1 while a pod of what has traffic is ready.",),
            "trimtab_traffic_weight": ("Share of the traffic in percent, by revision or arm.", "kind", "arm"),
            "trimtab_retrain_passed_over": ("1 while the calendar's last slot brought no run.", "reason"),
            "trimtab_rollouts": ("Ended rollouts that status remembers.", "outcome"),
            "trimtab_rollout_under_way": ("1 while a newcomer has not proven itself.",),
            "trimtab_rollout_e_value": ("Evidence that the newcomer does harm.", "metric", "against"),
            "trimtab_abtest_users": ("Users of an arm in this run.", "arm"),
            "trimtab_abtest_requests": ("Requests to an arm in this run.", "arm"),
            "trimtab_abtest_errors": ("Of these, the ones that failed.", "arm"),
            "trimtab_abtest_outcomes": ("Outcomes reported for an arm in this run.", "arm"),
            "trimtab_abtest_mean": ("The objective's mean.", "arm"),
            "trimtab_abtest_lift_percent": ("Difference from the control.", "arm"),
            "trimtab_abtest_lift_percent_bound": ("Confidence sequence of the lift.", "arm", "bound"),
            "trimtab_abtest_e_value": ("Evidence for an effect in the wanted direction.", "arm"),
            "trimtab_abtest_sample_ratio_e_value": ("Evidence that users did not arrive as the weights say.",),
            "trimtab_abtest_needed_users": ("Users that a test of fixed size would need.",),
        },
    )
)
