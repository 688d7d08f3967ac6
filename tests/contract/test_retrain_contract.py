"""What the operator tells trainers and evaluators is what the toolbox reads, and what they answer is what it reads."""

from __future__ import annotations

import pytest

from tests.unit.kinds.builders import digest
from tests.unit.kinds.retrain_lab import GATE, schedule_object
from tests.unit.kinds.test_retrain_children import EVERY, env_of, grading, training
from trimtab.kinds.retrainschedule.gate import METRICS
from trimtab.kinds.retrainschedule.grade import read
from trimtab_toolbox.evaluation.check import Check
from trimtab_toolbox.evaluation.metrics import METRICS as KNOWN
from trimtab_toolbox.evaluation.settings import read_settings
from trimtab_toolbox.evaluation.verdict import Verdict
from trimtab_toolbox.job import read_job

NUMBERS = {
    "metric": "roc_auc",
    "champion": "0.901",
    "challenger": "0.9",
    "difference": "-0.001",
    "lower": "-0.009",
    "upper": "0.007",
    "rows": 2000,
    "chanceIfWorse": "0.05",
}


@pytest.mark.parametrize("metric", METRICS)
def test_the_evaluator_reads_its_environment(metric: str) -> None:
    settings = read_settings(env_of(grading(schedule_object(gate={**GATE, "metric": metric}))))
    assert (settings.gate.metric, settings.gate.margin, settings.gate.superior) == (METRICS[metric], 0.01, False)
    assert (settings.champion, settings.challenger) == ("models:/credit/1", "models:/credit/2")
    assert (settings.digest, settings.target) == (digest(99).removeprefix("sha256:"), "y")
    assert METRICS[metric] in KNOWN


def test_the_evaluator_reads_every_field() -> None:
    gate = read_settings(env_of(grading(schedule_object(**EVERY)))).gate
    assert (gate.superior, gate.slices, gate.slice_margin, gate.class_floor) == (True, ("region",), 0.03, 0.5)
    assert (gate.fair_column, gate.max_gap, gate.max_latency_ratio) == ("sex", 0.1, 1.5)


def test_the_trainer_reads_its_environment() -> None:
    env = env_of(training(schedule_object(**EVERY)))
    job = read_job(env)
    assert (job.experiment, job.model_name, job.champion_uri) == ("team-a/weekly", "credit", "models:/credit/1")
    assert (str(job.checkpoint_dir), job.deadline_seconds) == (env["TRIMTAB_CHECKPOINT_DIR"], 7200)


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize("count", [0, 3, 200])
def test_the_operator_reads_every_verdict(passed: bool, count: int) -> None:
    checks = tuple(
        Check(
            f"slice {number}", (True, None, False)[number % 3 if not passed else number % 2], "1" * 300, "2", "Unfair"
        )
        for number in range(count)
    )
    verdict = read(Verdict(passed, "NonInferior" if passed else "Unfair", "m" * 900, NUMBERS, checks).result())
    assert (verdict.verdict, verdict.rows, verdict.lower) == ("Passed" if passed else "Rejected", 2000, "-0.009")
    assert count == 0 or verdict.checks


def test_the_operator_reads_a_verdict_without_a_champion() -> None:
    numbers = {"metric": "roc_auc", "challenger": "0.9", "rows": 2000}
    verdict = read(Verdict(True, "FloorsMet", "", numbers, ()).result())
    assert (verdict.champion, verdict.difference, verdict.challenger) == ("", "", "0.9")
