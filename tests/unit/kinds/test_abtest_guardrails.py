"""A guardrail by a query: what it counts stops an arm, and its silence neither stops nor frees one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kinds.abtest_lab import Lab

QUERY = 'sum(complaints_total{arm="$arm"})'
A, B = (QUERY.replace("$arm", arm) for arm in "ab")
GUARDED = {"guardrails": [{"metric": "Prometheus", "query": QUERY, "maxIncreasePercent": "50"}]}
BETTER = {"a": 0.10, "b": 0.15}


def begun(**spec: Any) -> Lab:
    """An experiment whose query has counted before it began."""
    lab = Lab(**{**GUARDED, **spec})
    lab.events.numbers = {A: 5_000.0, B: 9_000.0}
    lab.settle()
    return lab


def minute(lab: Lab, more: tuple[int, int], **rates: Any) -> None:
    """A thousand requests, and so many events of each arm if the query answers at all."""
    lab.traffic(1_000, **rates)
    for query, count in zip((A, B), more, strict=True):
        if query in lab.events.numbers:
            lab.events.numbers[query] += count
    lab.wait(60)


def test_an_arm_whose_events_grow_too_much_is_stopped_whatever_it_gains() -> None:
    lab = begun(minSeconds=86_400)
    for _ in range(20):
        minute(lab, (5, 15), yes=BETTER)
    assert (lab.verdict(), lab.weights()) == ("StopHarm", {"a": 100, "b": 0})
    assert "Prometheus of b exceed control's by more than 50 %" in lab.status["verdict"]["reason"]


def test_events_from_before_the_run_and_equal_ones_are_no_harm() -> None:
    lab = begun(minSeconds=86_400)
    for _ in range(20):
        minute(lab, (10, 10), yes=BETTER)
    assert (lab.verdict(), lab.reason("Measured")) == ("Running", "Counting")


@pytest.mark.parametrize("silent", [(A, B), (B,)])
def test_silence_is_named_and_is_neither_good_nor_bad_news(silent: tuple[str, ...]) -> None:
    """The other arm's events do not count alone, and nobody wins unguarded; once it speaks again, the winner does."""
    lab = begun()
    known = {query: lab.events.numbers.pop(query) for query in silent}
    for _ in range(30):
        minute(lab, (50, 50), yes=BETTER)
    assert (lab.verdict(), lab.reason("Measured")) == ("Running", "QueryFailed")
    first = "a" if A in silent else "b"
    assert f"the guardrail's query gives nothing: {first}: the query gives 0" in lab.condition("Measured")["message"]
    assert lab.weights() == {"a": 50, "b": 50}
    lab.events.numbers = {A: 6_500.0, B: known[B] + 1_500.0}
    minute(lab, (0, 0), yes=BETTER)
    assert (lab.verdict(), lab.status["verdict"]["winner"]) == ("Win", "b")


def test_a_query_of_each_has_its_own_counts() -> None:
    """Objective and guardrail: the first one wants fewer refunds, the second one no more complaints."""
    refunds = 'sum(refunds_total{arm="$arm"})'
    lab = begun(objective={"metric": "Prometheus", "direction": "Decrease", "query": refunds})
    for turn in range(30):
        lab.events.numbers |= {
            refunds.replace("$arm", arm): rate * turn for arm, rate in {"a": 50.0, "b": 25.0}.items()
        }
        minute(lab, (10, 10))
    assert (lab.verdict(), lab.status["verdict"]["winner"]) == ("Win", "b")


def test_counters_that_were_lost_are_gone_on_from() -> None:
    lab = begun(minSeconds=86_400)
    for turn in range(20):
        if turn == 3:
            lab.events.numbers = {A: 0.0, B: 0.0}
        minute(lab, (10, 10), yes=BETTER)
    assert lab.verdict() == "Running"
