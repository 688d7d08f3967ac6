"""Objects with statuses as the operator writes them."""

import random

from trimtab.core.objects import API_VERSION


def deployment():
    """A ModelDeployment in critical drift, with broken data and degraded quality."""
    age = {"name": "age", "level": "Critical", "excess": "0.61", "psi": "0.63", "pValue": "1e-12", "ks": "0.31"}
    plan = {"name": "plan", "level": "OK", "excess": "-0.01", "psi": "0.02", "pValue": "0.4", "ks": "0.03"}
    accuracy = {"name": "accuracy", "realised": "0.78", "estimated": "0.91", "lower": "0.76", "upper": "0.8"}
    drift = {
        "state": "Critical",
        "level": "Critical",
        "revision": "aaaa1111",
        "digest": "sha256:" + "a" * 64,
        "windowSeconds": 3600,
        "rows": 1_000,
        "effectiveRows": 812,
        "neededRows": 0,
        "score": "1.2",
        "features": [{**age, "wasserstein": "0.8", "weight": "0.6"}, {**plan, "weight": "0.4"}],
        "problems": [
            {"feature": "income", "problem": "Missing", "share": "0.4", "message": "40.0% are missing"},
            {"feature": "plan", "problem": "Unseen", "share": "0.08", "message": "8.0% are new"},
        ],
        "episode": {"id": "0123456789ab", "begunAt": "2030-01-01T00:00:00Z"},
        "checkedAt": "2030-01-01T01:00:00Z",
    }
    quality = {"state": "Degraded", "revision": "aaaa1111", "labels": 2_400, "metrics": [accuracy]}
    revisions = [{"name": "aaaa1111", "version": "7"}, {"name": "bbbb2222", "version": "6"}]
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {"namespace": "shop", "name": "credit", "resourceVersion": "1"},
        "spec": {"model": {"name": "credit-risk"}},
        "status": {"drift": drift, "quality": quality, "revisions": revisions},
    }


def schedule():
    """A RetrainSchedule with a run that waits for approval, and three that ended."""
    gate = {"verdict": "Rejected", "metric": "roc_auc", "difference": "-0.02", "lower": "-0.03", "upper": "-0.01"}
    runs = [
        {"trigger": "Drift", "stage": "AwaitingApproval", "outcome": "", "startedAt": "2030-01-01T00:00:00Z"},
        _ended("Rejected", 31, gate=gate),
        _ended("Rejected", 30),
        _ended("Promoted", 29, promotedAt="2029-12-29T00:30:00Z"),
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainSchedule",
        "metadata": {"namespace": "shop", "name": "weekly", "resourceVersion": "1"},
        "spec": {"model": "credit-risk"},
        "status": {"nextScheduledAt": "2030-01-02T00:00:00Z", "circuit": {"failures": 1}, "runs": runs},
    }


def _ended(outcome, day, **more):
    times = {"startedAt": f"2029-12-{day}T00:00:00Z", "endedAt": f"2029-12-{day}T00:10:00Z"}
    return {"trigger": "Cron", "stage": "Ended", "outcome": outcome, **times, **more}


def lessened(obj, kept=frozenset()):
    """The object with ever other parts of its status missing, by fixed seeds; keys that are `kept` always stay."""
    for seed in range(200):
        yield {**obj, "status": _pruned(obj["status"], random.Random(seed), kept)}


def _pruned(part, dice, kept):
    if isinstance(part, dict):
        return {k: _pruned(v, dice, kept) for k, v in part.items() if k in kept or dice.random() < 0.8}
    return [_pruned(v, dice, kept) for v in part if dice.random() < 0.8] if isinstance(part, list) else part
