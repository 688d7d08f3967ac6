"""`replay` on damaged experiments: an answer or one line, and never a traceback."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from typing import Any

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli.commands import main

EXPERIMENT = {
    "spec": {
        "arms": [{"name": "a", "deployment": "x", "weight": 50}, {"name": "b", "deployment": "y", "weight": 50}],
        "control": "a",
        "objective": {"metric": "Outcome", "direction": "Increase", "minimumEffectPercent": "5", "alpha": "0.05"},
        "guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}],
        "minSeconds": 60,
        "maxSeconds": 6_000,
    },
    "segments": [
        {
            "seconds": 100,
            "weights": {"a": 50, "b": 50},
            "counts": {
                arm: {
                    "users": 500,
                    "requests": 600,
                    "errors": 3,
                    "outcomes": 50,
                    "outcomeSum": 60,
                    "outcomeSumSquares": 90,
                    "latencyAbove": 7,
                }
                for arm in ("a", "b")
            },
        }
    ],
}
NUMBERS = st.one_of(
    st.integers(-3, 10**9), st.floats(allow_nan=False, allow_infinity=False), st.just(10**400), st.just(1e308)
)
VALUES = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.text(max_size=8),
    st.sampled_from(["OutcomeMean", "Errors", "Latency", "Prometheus", "Decrease", "a", "b", "0.5", "1e400", "nan"]),
    st.lists(st.nothing()),
    st.just({}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key in keys for place in places(value[key], (*path, key)))]


PLACES = places(EXPERIMENT)


def damaged(damages: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """The experiment with some of its parts replaced; a place that an earlier damage took away stays away."""
    document = copy.deepcopy(EXPERIMENT)
    for (*way, last), value in damages:
        inner: Any = document
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for key in way:
                inner = inner[key]
            inner[last] = copy.copy(value)
    return document


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), max_size=4).map(damaged))
def test_a_damaged_experiment_is_judged_or_refused_in_one_line(document: Any) -> None:
    result = CliRunner().invoke(main, ["replay", "-"], input=json.dumps(document))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    if result.exit_code == 0:
        (line,) = result.stdout.splitlines()
        for verdict in json.loads(line, parse_constant=lambda name: math.nan):
            numbers = [value for arm in verdict["arms"].values() for value in arm.values()]
            assert all(value is None or math.isfinite(value) for value in [*numbers, verdict["srm"]["eValue"]])
    else:
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
