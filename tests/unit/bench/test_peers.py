"""The bench's own arithmetic: what it makes of the load generator's words, and of rounds."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import bench.peers.__main__
from bench.peers.cases import Case
from bench.peers.figures import middle, per_processor_second, rate, ratio
from bench.peers.install import last_words
from bench.peers.load import LoadError, Round, parsed
from bench.peers.servers import TRIMTAB, UNCOUNTED
from bench.peers.table import aims, grid, slower, times

SAID = """Running 2s test @ http://127.0.0.1:8080/predict
  1 threads and 32 connections
Requests/sec:    500.00
{"requests": 1000, "microseconds": 2000000, "p50": 1250, "p99": 9500, "refused": 0, "broken": 0}
"""
LINEAR = Case("linear", 1, 32)


def rounds(*rates: float, p50: float = 1.0, p99: float = 2.0, share: float = 0.5) -> list[Round]:
    return [Round(round(one * 2), 2.0, p50, p99, processor=2.0 * share) for one in rates]


def test_words_of_the_load_generator_become_seconds_and_milliseconds() -> None:
    one = parsed(SAID)
    assert one == Round(1000, 2.0, 1.25, 9.5)
    assert one.rate == 500


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ('"refused": 0', '"refused": 7', "of 1000 requests 7 were refused and 0 broke off"),
        ('"broken": 0', '"broken": 3', "of 1000 requests 0 were refused and 3 broke off"),
        ('"requests": 1000', '"requests": 0', "no request was answered"),
    ],
)
def test_a_round_with_a_failed_request_is_no_figure(field: str, value: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        parsed(SAID.replace(field, value))


@pytest.fixture
def rounds_asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of rounds that were asked for; a server that answers 8 requests a second."""
    asked: list[int] = []

    def answer(core: int, url: str, body: Path, bearer: str, connections: int, seconds: int) -> Round:
        asked.append(seconds)
        return Round(8 * seconds, seconds, 1, 1)

    monkeypatch.setattr(bench.peers.__main__, "drive", answer)
    return asked


@pytest.mark.parametrize(("connections", "lengths"), [(1, [1, 4]), (32, [1, 4, 16])])
def test_a_round_is_repeated_until_each_connection_had_its_turns(
    connections: int, lengths: list[int], rounds_asked: list[int]
) -> None:
    server = SimpleNamespace(name="slow", url="", bearer="", processor_seconds=lambda: 0.0)
    one = bench.peers.__main__._measured(server, Path("body"), Case("forest", 1, connections))  # type: ignore[arg-type]
    assert rounds_asked == lengths
    assert one.seconds == lengths[-1]


def test_a_load_generator_without_figures_is_quoted() -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        parsed("unable to connect to 127.0.0.1:1 Connection refused")


def test_requests_for_each_second_of_processor_time() -> None:
    assert Round(1000, 2.0, 1, 1, processor=0.5).per_processor_second == 2000
    nothing = Round(1000, 2.0, 1, 1).per_processor_second
    assert nothing != nothing


def test_ratio_is_of_pairs_so_that_a_slow_minute_does_not_matter() -> None:
    ours, theirs = rounds(1000, 100, 1000), rounds(500, 50, 400)
    assert ratio(ours, theirs, rate) == 2
    assert middle(ours, rate) == 1000


def test_ratio_by_processor_time() -> None:
    assert ratio(rounds(1000, share=0.5), rounds(500, share=1.0), per_processor_second) == 4


def test_rounds_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio(rounds(1, 2), rounds(1), rate)


def test_a_server_that_was_not_measured_has_a_dash() -> None:
    found = {LINEAR: {TRIMTAB: rounds(10), "KServe": rounds(5)}, Case("strings", 1, 1): {TRIMTAB: rounds(4)}}
    lines = grid(found, {"KServe": "0.21.0"}, lambda of, name: str(round(middle(of[name], rate))))
    assert lines == [
        "| server | linear, c=32 | strings, c=1 |",
        "|---|---|---|",
        "| Trimtab | 10 | 4 |",
        "| KServe 0.21.0 | 5 | - |",
    ]


def test_aims_are_held_against_the_clock_and_against_processor_time() -> None:
    found = {LINEAR: {TRIMTAB: rounds(800, share=0.2), "FastAPI": rounds(200), UNCOUNTED: rounds(900)}}
    assert list(aims(found))[2:] == [
        "| linear: of FastAPI | 5.00× | 4.00× | 10.0× | missed |",
        "| linear: of Trimtab, counting off | 0.80× | 0.89× | 2.22× | reached |",
    ]


def test_a_case_slower_than_a_peer_is_named_with_what_is_slower() -> None:
    found = {LINEAR: {TRIMTAB: rounds(10, p99=3.0), "KServe": rounds(5), "FastAPI": rounds(20, p50=0.5)}}
    assert slower(found) == [
        "slower than FastAPI: linear, c=32, p50",
        "slower than FastAPI: linear, c=32, p99",
        "slower than FastAPI: linear, c=32, rate",
        "slower than KServe: linear, c=32, p99",
    ]


def test_counting_off_is_no_peer_to_lose_against() -> None:
    assert slower({LINEAR: {TRIMTAB: rounds(10), UNCOUNTED: rounds(20)}})[0].startswith("No case is slower")


@pytest.mark.parametrize(("value", "text"), [(0.876, "0.88×"), (9.996, "10.00×"), (14.96, "15.0×"), (145.4, "145×")])
def test_ratios_keep_the_digits_that_mean_something(value: float, text: str) -> None:
    assert times(value) == text


def test_the_reason_of_a_failed_installation_is_its_last_line() -> None:
    assert last_words("Collecting kserve\nERROR: No matching distribution found\n\n") == (
        "ERROR: No matching distribution found"
    )
    assert last_words("\n") == "it said nothing"
