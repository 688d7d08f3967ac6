"""Counts of model pods: what a sound document says, and each way in which a document is not believed."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.evidence.test_evidence_sketch import sketch_of
from trimtab.adapters.models import read_counts, read_smoke
from trimtab.adapters.polling import Distrusted
from trimtab.core.objects import Object
from trimtab.evidence.sources import Cells, SmokeReport
from trimtab.evidence.tally import Bucket
from trimtab.kinds.modeldeployment.template import DIGEST

OWN = "sha256:" + "ab" * 32
POD: Object = {"kind": "Pod", "metadata": {"name": "p", "namespace": "ml", "uid": "u1", "annotations": {DIGEST: OWN}}}
Change = Callable[[dict[str, Any]], Any]


def row(revision: str, n: int, total: float, squares: float) -> dict[str, Any]:
    """One revision's outcomes, all in the first bucket."""
    rest = [0] * 99
    return {"revision": revision, "outcomes": {"n": [n, *rest], "sum": [total, *rest], "squares": [squares, *rest]}}


def document() -> dict[str, Any]:
    latency = {"edges": [0.1, 0.2], "2xx": [5, 2, 1], "4xx": [1, 0, 0], "5xx": [0, 0, 3]}
    return {
        "schema": 1,
        "epoch": "00ff",
        "model": "credit",
        "version": "3",
        "revision": "abababababab",
        "digest": OWN,
        "workers": 2,
        "requests": {
            "classes": {"2xx": 8, "4xx": 1, "5xx": 3},
            "codes": {"200": 8},
            "latency": latency,
            "seconds": 1.5,
        },
        "rows": 10,
        "buckets": {"n": 100, "rows": [4, *[0] * 98, 2]},
        "users": {"registers": base64.b64encode(sketch_of(range(6))).decode()},
        "outcomes": {"revisions": [row("abababab", 3, 2.0, 2.0), row("cdcdcdcd", 1, -4.5, 20.25)]},
    }


def text(change: Change = lambda told: None) -> bytes:
    told = copy.deepcopy(document())
    change(told)
    return json.dumps(told).encode()


def test_a_sound_document_becomes_a_report() -> None:
    report = read_counts(POD, 200, text(), None)
    assert (report.pod, report.epoch, report.revision) == ("u1", "00ff", "abababababab")
    assert (report.requests, report.errors, report.rows, report.users) == (12, 3, 10, 6)
    assert report.latency == Cells((0.1, 0.2), (6, 2, 4))
    assert report.buckets == (Bucket(4, 3, 2.0, 2.0), *[Bucket()] * 98, Bucket(2))
    assert report.others == {"cdcdcdcd": (Bucket(0, 1, -4.5, 20.25), *[Bucket()] * 99)}
    assert report.sketch == sketch_of(range(6))


def test_without_counting_there_are_requests_and_nothing_else() -> None:
    def bare(told: dict[str, Any]) -> None:
        del told["users"], told["outcomes"]
        told["rows"], told["buckets"]["rows"] = 0, [0] * 100

    report = read_counts(POD, 200, text(bare), None)
    assert (report.requests, report.users, report.sketch, report.others) == (12, 0, b"", {})
    assert report.buckets == (Bucket(),) * 100


def test_a_pod_that_was_not_made_for_a_digest_may_serve_any() -> None:
    pod = {**POD, "metadata": {**POD["metadata"], "annotations": {}}}
    assert read_counts(pod, 200, text(), None).requests == 12


def requests(**change: Any) -> Change:
    return lambda told: told["requests"].update(change)


def latency(**change: Any) -> Change:
    return lambda told: told["requests"]["latency"].update(change)


def outcomes(*rows: dict[str, Any]) -> Change:
    return lambda told: told["outcomes"].update(revisions=list(rows))


def registers(value: bytes) -> Change:
    return lambda told: told["users"].update(registers=base64.b64encode(value).decode())


LIES: dict[str, tuple[Change, str]] = {
    "negative": (lambda t: t.update(rows=-1), "rows: Input should be greater than or equal to 0"),
    "fraction": (lambda t: t.update(rows=1.5), "rows: Input should be a valid integer"),
    "number as text": (lambda t: t.update(rows="10"), "rows: Input should be a valid integer"),
    "astronomic": (lambda t: t.update(rows=1 << 60), "rows: Input should be less than or equal to 9007199254740992"),
    "missing part": (lambda t: t.pop("requests"), "requests: Field required"),
    "other schema": (lambda t: t.update(schema=2), "schema: Input should be 1"),
    "no epoch": (lambda t: t.update(epoch=""), "epoch: String should have at least 1 character"),
    "null": (lambda t: t.update(rows=None), "rows: Input should be a valid integer"),
    "classes without cells": (
        requests(classes={"2xx": 9, "4xx": 1, "5xx": 3}),
        "requests.latency and requests.classes differ",
    ),
    "short cells": (
        latency(**{"2xx": [5, 3]}),
        "requests.latency needs one more cell than edges in each class",
    ),
    "falling edges": (latency(edges=[0.2, 0.1]), "requests.latency.edges do not grow"),
    "negative edge": (latency(edges=[-1.0, 0.1]), "requests.latency.edges.0: Input should be greater than or equal"),
    "infinite edge": (latency(edges=[0.1, float("inf")]), "requests.latency.edges.1: Input should be a finite number"),
    "many edges": (latency(edges=[0.1] * 65), "requests.latency.edges: Tuple should have at most 64 items"),
    "short buckets": (lambda t: t["buckets"].update(rows=[0] * 99), "buckets.rows: Tuple should have at least 100"),
    "rows of nobody": (lambda t: t.update(rows=5), "buckets.rows has more rows than rows"),
    "nan": (outcomes(row("abababab", 1, float("nan"), 1)), "outcomes.revisions.0.outcomes.sum.0: Input should be a"),
    "squares below zero": (outcomes(row("abababab", 1, 0, -1)), "outcomes: sums and squares contradict each other"),
    "sum of nothing": (outcomes(row("abababab", 0, 5, 25)), "outcomes: sums and squares contradict each other"),
    "sum above squares": (outcomes(row("abababab", 2, 5, 12)), "outcomes: sums and squares contradict each other"),
    "overflow": (outcomes(row("abababab", 2, 1e200, 1)), "outcomes.revisions.0.outcomes.sum.0: Input should be less"),
    "same revision twice": (outcomes(*[row("abababab", 0, 0, 0)] * 2), "outcomes has a revision twice"),
    "odd revision": (outcomes(row("../../etc", 0, 0, 0)), "outcomes.revisions.0.revision: String should match pattern"),
    "nine revisions": (outcomes(*[row("abababab", 0, 0, 0)] * 9), "outcomes.revisions: Tuple should have at most 8"),
    "short sketch": (registers(bytes(1023)), "users.registers must be 1024 ranks of at most 55 in base64"),
    "rank too high": (registers(bytes([56]) + bytes(1023)), "users.registers must be 1024 ranks of at most 55 in bas"),
    "no base64": (lambda t: t["users"].update(registers="*" * 9), "users.registers must be 1024 ranks of at most 55"),
    "invented users": (registers(sketch_of(range(40))), "users.registers has seen more users than there were requests"),
    "endless users": (registers(bytes([55]) * 1024), "users.registers has seen more users than there were requests"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_document_that_contradicts_itself_is_not_believed(lie: str) -> None:
    change, message = LIES[lie]
    with pytest.raises(Distrusted) as caught:
        read_counts(POD, 200, text(change), None)
    assert caught.value.kind == "invalid"
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"1", b"\xff", b"[" * 100_000, text()[:-1]])
def test_what_is_no_document_is_not_believed(body: bytes) -> None:
    with pytest.raises(Distrusted) as caught:
        read_counts(POD, 200, body, None)
    assert caught.value.kind == "invalid"
    assert str(caught.value).startswith("the document: ")


@pytest.mark.parametrize("status", [201, 204, 302, 401, 404, 500, 503])
def test_another_status_is_no_report(status: int) -> None:
    with pytest.raises(Distrusted, match=f"it answered HTTP {status}") as caught:
        read_counts(POD, status, text(), None)
    assert caught.value.kind == "status"


def test_a_pod_cannot_speak_for_another_revision() -> None:
    other = "sha256:" + "cd" * 32
    with pytest.raises(Distrusted) as caught:
        read_counts(POD, 200, text(lambda told: told.update(digest=other)), None)
    assert caught.value.kind == "revision"
    assert str(caught.value) == f"it says that it serves {other}, but was made for {OWN}"


def fewer_requests(told: dict[str, Any]) -> None:
    told["requests"]["classes"]["2xx"] = 7
    told["requests"]["latency"]["2xx"] = [4, 2, 1]


def errors_made_good(told: dict[str, Any]) -> None:
    told["requests"].update(classes={"2xx": 11, "4xx": 1, "5xx": 0})
    told["requests"]["latency"].update({"2xx": [5, 2, 4], "5xx": [0, 0, 0]})


def other_bucket(told: dict[str, Any]) -> None:
    told["buckets"]["rows"] = [3, *[0] * 98, 3]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (fewer_requests, "requests"),
        (errors_made_good, "requests"),
        (latency(**{"2xx": [4, 3, 1]}), "requests"),
        (lambda t: t.update(rows=9), "rows"),
        (other_bucket, "rows"),
        (registers(sketch_of(range(5))), "users"),
        (lambda t: t.pop("users"), "users"),
        (outcomes(row("abababab", 2, 2, 2), row("cdcdcdcd", 1, -4.5, 20.25)), "outcomes"),
        (outcomes(row("abababab", 3, 2, 2)), "outcomes of cdcdcdcd"),
    ],
)
def test_counts_that_shrink_without_a_new_epoch_are_not_believed(change: Change, what: str) -> None:
    before = read_counts(POD, 200, text(), None)
    with pytest.raises(Distrusted) as caught:
        read_counts(POD, 200, text(change), before)
    assert caught.value.kind == "shrank"
    assert str(caught.value) == f"{what} became smaller without a new epoch"

    def anew(told: dict[str, Any]) -> None:
        change(told)
        told["epoch"] = "0100"

    assert read_counts(POD, 200, text(anew), before).epoch == "0100"


def test_counts_that_stay_or_grow_are_believed() -> None:
    before = read_counts(POD, 200, text(), None)
    assert read_counts(POD, 200, text(), before) == before

    def grown(told: dict[str, Any]) -> None:
        told["requests"]["classes"]["2xx"] = 9
        told["requests"]["latency"]["2xx"] = [5, 2, 2]
        told["outcomes"]["revisions"].append(row("efefefef", 1, 1, 1))

    assert read_counts(POD, 200, text(grown), before).requests == 13


@pytest.mark.parametrize(
    ("status", "body", "ok", "error"),
    [
        (200, b'{"ok": true, "seconds": 0.25}', True, ""),
        (503, b'{"error": "prediction: the output is not finite"}', False, "prediction: the output is not finite"),
        (404, b'{"error": "there is no such path"}', False, "HTTP 404: there is no such path"),
        (404, b"<html>", False, "HTTP 404: its server has no smoke test"),
        (302, b"", False, "HTTP 302: its server has no smoke test"),
        (200, b'{"ok": false, "seconds": 1}', False, "HTTP 200: its server has no smoke test"),
        (200, b'{"ok": true, "seconds": -1}', False, "HTTP 200: its server has no smoke test"),
        (200, b'{"ok": true, "seconds": NaN}', False, "HTTP 200: its server has no smoke test"),
        (200, b'{"ok": true}', False, "HTTP 200: its server has no smoke test"),
        (200, b"[" * 100_000, False, "HTTP 200: its server has no smoke test"),
        (503, b'{"error": ["a"]}', False, "its server has no smoke test"),
        (503, json.dumps({"error": "x" * 999}).encode(), False, "x" * 300),
    ],
)
def test_a_smoke_test_is_passed_or_says_what_is_wrong(status: int, body: bytes, ok: bool, error: str) -> None:
    assert read_smoke(POD, status, body, None) == SmokeReport("u1", ok, 0.25 if ok else 0.0, error)
