"""An ABTest and a ModelDeployment as the API server gives them, in the middle of what they do."""

from __future__ import annotations

from typing import Any

from trimtab.core.objects import API_VERSION, Object
from trimtab.evidence.ledger import Ledger, Reading
from trimtab.evidence.tally import Bucket, Tally

CONDITIONS = [
    {
        "type": "Ready",
        "status": "True",
        "reason": "Running",
        "message": "users are split as the weights say",
        "observedGeneration": 2,
        "lastTransitionTime": "2030-01-02T03:04:05Z",
    }
]


def meta(name: str, **annotations: str) -> dict[str, Any]:
    return {"name": name, "namespace": "ml", "uid": "u", "generation": 2, "annotations": annotations}


def abtest(**annotations: str) -> Object:
    """Two arms, one of which is ahead and has not won yet."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ABTest",
        "metadata": meta("credit", **annotations),
        "spec": {
            "arms": [
                {"name": "control", "deployment": "credit", "weight": 50},
                {"name": "gbm", "deployment": "credit-gbm", "weight": 50},
            ],
            "control": "control",
            "objective": {"metric": "Outcome", "direction": "Increase"},
            "guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}],
        },
        "status": {
            "observedGeneration": 2,
            "conditions": CONDITIONS,
            "url": "http://credit.ml.svc",
            "weights": "50/50",
            "users": 81_000,
            "run": {
                "id": "0123456789",
                "definition": "9876543210",
                "startedAt": "2030-01-01T03:04:05Z",
                "arms": [
                    {"name": "control", "revision": "1a2b3c4d", "slots": 0},
                    {"name": "gbm", "revision": "5e6f7a8b", "slots": 10_000},
                ],
            },
            "arms": [
                {
                    "name": "control",
                    "deployment": "credit",
                    "revision": "1a2b3c4d",
                    "available": 2,
                    "weight": 50,
                    "applied": 50,
                    "users": 40_000,
                    "requests": 90_000,
                    "errors": 40,
                    "outcomes": 4_000,
                    "mean": "0.1",
                },
                {
                    "name": "gbm",
                    "deployment": "credit-gbm",
                    "revision": "5e6f7a8b",
                    "available": 2,
                    "weight": 50,
                    "applied": 50,
                    "users": 41_000,
                    "requests": 92_000,
                    "errors": 55,
                    "outcomes": 4_300,
                    "mean": "0.1049",
                },
            ],
            "verdict": {
                "decision": "Running",
                "reason": "at least 3600 s more are needed; gbm: Outcome +4.9%",
                "at": "2030-01-01T03:05:05Z",
            },
            "evidence": {
                "measuredAt": "2030-01-02T03:04:05Z",
                "summary": "gbm +4.9 % (-1.2 to +11.4)",
                "rule": "None",
                "reason": "at least 3600 s more are needed; gbm: Outcome +4.9%",
                "arms": [
                    {"name": "control", "lift": "0", "lower": "0", "upper": "0", "eValue": "1"},
                    {"name": "gbm", "lift": "4.9", "lower": "-1.2", "upper": "11.4", "eValue": "7.31"},
                ],
                "srm": {"eValue": "0.4", "mismatch": False},
            },
            "power": {"neededUsers": 58_000, "days": "1.5"},
            "segments": [
                {
                    "number": 0,
                    "weights": [{"name": "control", "percent": 90}, {"name": "gbm", "percent": 10}],
                    "seconds": 3_600,
                },
                {
                    "number": 1,
                    "weights": [{"name": "control", "percent": 50}, {"name": "gbm", "percent": 50}],
                    "seconds": 82_800,
                },
            ],
            "router": {
                "salt": "9876543210",
                "header": "x-user-id",
                "control": "control",
                "arms": [
                    {"name": "control", "host": "credit-1a2b3c4d.ml.svc", "port": 8080, "weight": 5_000},
                    {
                        "name": "gbm",
                        "host": "credit-gbm-5e6f7a8b.ml.svc",
                        "port": 8080,
                        "reserved": 10_000,
                        "weight": 5_000,
                    },
                ],
            },
            "history": [
                {
                    "id": "1111111111",
                    "startedAt": "2029-12-01T00:00:00Z",
                    "endedAt": "2029-12-24T00:00:00Z",
                    "decision": "StopFutile",
                    "winner": "control",
                    "reason": "no arm can still reach an effect of 0.05; over because arm gbm serves another revision",
                    "summary": "gbm +0.3 % (-1.1 to +1.7)",
                }
            ],
        },
    }


def counted() -> Object:
    """The same with counts: an hour at 90 to 10, then most of a day at 50 to 50."""
    hour = {"control": _tally(9_000, 900), "gbm": _tally(1_000, 110)}
    day = {"control": _tally(49_000, 4_900), "gbm": _tally(41_000, 4_500)}
    ledger = Ledger().begin({"control": 90, "gbm": 10}, [])
    ledger = ledger.read([Reading("model:a", "1", hour)], 3_600)
    ledger = ledger.begin({"control": 50, "gbm": 50}, []).read([Reading("model:a", "1", day)], 82_800)
    obj = abtest()
    obj["status"]["ledger"] = ledger.status().dump()
    for arm, users in zip(obj["status"]["arms"], (24_500, 20_500), strict=True):
        arm["users"] = users
    return obj


def _tally(requests: int, outcomes: int) -> Tally:
    buckets = [Bucket(requests // 100, outcomes // 100, outcomes // 100, outcomes // 100)] * 100
    return Tally(
        requests=requests,
        errors=requests // 1_000,
        outcomes=outcomes,
        outcome_sum=outcomes,
        outcome_squares=outcomes,
        buckets=tuple(buckets),
    )


def compared() -> Object:
    """A canary with counts of its first two shares."""
    first = {"r1a2b3c4d": Tally(requests=900, errors=6), "r5e6f7a8b": Tally(requests=100, errors=1)}
    both = {"r1a2b3c4d": Tally(requests=1_400, errors=9), "r5e6f7a8b": Tally(requests=312, errors=3)}
    ledger = Ledger().begin({"r1a2b3c4d": 95, "r5e6f7a8b": 5}, []).read([Reading("router/a", "1", first)], 60)
    ledger = (
        ledger.begin({}, []).begin({"r1a2b3c4d": 75, "r5e6f7a8b": 25}, []).read([Reading("router/a", "1", both)], 90)
    )
    obj = modeldeployment()
    obj["status"]["rollout"]["evidence"] = ledger.status().dump()
    return obj


def modeldeployment(stage: str = "Stepping", **annotations: str) -> Object:
    """A canary at a quarter of the traffic."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": meta("tumour", **annotations),
        "spec": {"model": {"name": "tumour"}, "replicas": 2, "rollout": {"strategy": "Canary"}},
        "status": {
            "observedGeneration": 2,
            "conditions": [{**CONDITIONS[0], "message": "step 2 of 3"}],
            "url": "http://tumour.ml.svc",
            "serving": "1a2b3c4d",
            "version": "3",
            "replicas": 2,
            "available": 2,
            "revisions": [
                {
                    "name": "1a2b3c4d",
                    "digest": "sha256:" + "1" * 64,
                    "version": "3",
                    "runtime": "onnx",
                    "weight": 75,
                    "replicas": 2,
                    "available": 2,
                },
                {
                    "name": "5e6f7a8b",
                    "digest": "sha256:" + "2" * 64,
                    "version": "4",
                    "runtime": "onnx",
                    "weight": 25,
                    "replicas": 1,
                    "available": 1,
                },
            ],
            "rollout": {
                "revision": "5e6f7a8b",
                "previous": "1a2b3c4d",
                "strategy": "Canary",
                "stage": stage,
                "step": 2,
                "steps": 3,
                "weight": 25,
                "verdict": "Stepping",
                "reason": "MoreRequestsNeeded",
                "message": "112 of 200 requests at this share",
                "startedAt": "2030-01-02T03:00:00Z",
                "clockAt": "2030-01-02T03:03:00Z",
                "activeSeconds": 180,
                "compared": [
                    {
                        "metric": "Errors",
                        "candidate": 3,
                        "candidateRequests": 312,
                        "current": 9,
                        "currentRequests": 1_400,
                        "eValue": "1.21",
                        "limitEValue": "0.4",
                    }
                ],
            },
            "history": [
                {
                    "revision": "0f0f0f0f",
                    "version": "2",
                    "strategy": "Canary",
                    "outcome": "RolledBack",
                    "reason": "HarmProven",
                    "message": "errors of the candidate 31 of 400 against 12 of 3600",
                    "weight": 5,
                    "startedAt": "2030-01-01T00:00:00Z",
                    "endedAt": "2030-01-01T00:12:00Z",
                }
            ],
        },
    }
