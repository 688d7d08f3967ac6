"""The hours of the day in a drift profile: counted in its own cells, checked when read, and skipped by servers."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from trimtab_serving.bundle import Tensor
from trimtab_serving.counting.dated import DatedProfile, decode_dated
from trimtab_serving.counting.profile import Numeric, Profile, decode
from trimtab_toolbox import log_model, training
from trimtab_toolbox.bundling import write_profile
from trimtab_toolbox.profiling.hours import hours_of_day
from trimtab_toolbox.profiling.profile import build_profile
from trimtab_toolbox.profiling.scores import cross_validated, held_out

ROWS = 600
HOURS = np.arange(ROWS) % 24
MIXED = [Tensor("age", "FP64", (-1, 1)), Tensor("city", "BYTES", (-1, 1)), Tensor("member", "BOOL", (-1, 1))]


def columns(rng: np.random.Generator) -> dict[str, Any]:
    age = rng.normal(40 + HOURS, 5)
    age[::7] = np.nan
    city = np.array(rng.choice(["Ulm", "Bonn", ""], ROWS).tolist(), dtype=object)
    city[:2] = "Atlantis"
    return {"age": age, "city": city, "member": HOURS < 12}


def profiled(hours: Any = HOURS) -> DatedProfile:
    tensors = {name: values[:, None] for name, values in columns(np.random.default_rng(1)).items()}
    return decode_dated(build_profile(None, tensors, MIXED, None, None, hours))


def test_each_hour_has_the_counts_of_its_rows() -> None:
    profile = profiled()
    assert profile.hours is not None
    assert (profile.hours.score, profile.hours.predictions) == (None, None)
    assert isinstance(profile.features[0], Numeric)
    for hour in (0, 7, 23):
        tensors = columns(np.random.default_rng(1))
        own = tensors["age"][(hour == HOURS) & ~np.isnan(tensors["age"])]
        edges = np.asarray(profile.features[0].edges)
        wanted = np.bincount(np.searchsorted(edges, own, side="right"), minlength=len(edges) + 1)
        assert profile.hours.features["age"][hour] == tuple(wanted)
        assert profile.hours.features["member"][hour] == ((0, 25) if hour < 12 else (25, 0))
    assert [slot[2:] for slot in profile.hours.features["city"][:3]] == [(1, 0), (1, 0), (0, 0)]
    for feature in profile.features:
        assert tuple(map(sum, zip(*profile.hours.features[feature.name], strict=True))) == feature.counts


def test_a_profile_without_times_is_as_it_was() -> None:
    profile = profiled(None)
    assert profile.hours is None
    tensors = {name: values[:, None] for name, values in columns(np.random.default_rng(1)).items()}
    assert b'"hours"' not in build_profile(None, tensors, MIXED, None, None)


def test_a_server_skips_the_hours_and_a_bundle_keeps_them(tmp_path: Any) -> None:
    tensors = {name: values[:, None] for name, values in columns(np.random.default_rng(1)).items()}
    content = build_profile(None, tensors, MIXED, None, None, HOURS)
    assert type(decode(content)) is Profile
    write_profile(content, MIXED, tmp_path)
    assert (tmp_path / "profile.json").read_bytes() == content


def test_the_256_most_important_features_are_kept() -> None:
    rows = np.random.default_rng(1).normal(size=(48, 300)).astype(np.float32)
    tensor = Tensor("X", "FP32", (-1, 300))
    importance = [float(place) for place in range(300)]
    content = build_profile(None, {"X": rows}, [tensor], None, importance, np.arange(48) % 24)
    profile = decode_dated(content)
    assert profile.hours is not None
    assert set(profile.hours.features) == {str(place) for place in range(44, 300)}


def changed(**parts: Any) -> bytes:
    document = json.loads(_dated_content())
    document["hours"] |= parts
    return json.dumps(document).encode()


def _dated_content() -> bytes:
    rows = np.random.default_rng(1).normal(size=(48, 1)).astype(np.float32)
    return build_profile(None, {"X": rows}, [Tensor("X", "FP32", (-1, 1))], None, None, np.arange(48) % 24)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"features": {"1": []}}, "hours: the profile has no feature '1'"),
        ({"features": {"0": [[1]] * 24}}, r"hours: feature '0' needs 24 rows of \d+ counts"),
        ({"features": {"0": [[1]] * 23}}, r"hours: feature '0' needs 24 rows of \d+ counts"),
        ({"score": [[1]] * 24}, "hours: the profile has no score"),
        ({"predictions": [[1]] * 24}, "hours: the profile has no predictions"),
        ({"features": {str(place): [] for place in range(257)}}, "hours: it has 257 features; at most 256 are taken"),
    ],
)
def test_hours_that_contradict_the_profile_are_refused(parts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_dated(changed(**parts))


@pytest.mark.parametrize("change", [1, -1])
def test_hours_that_do_not_add_up_are_refused(change: int) -> None:
    document = json.loads(_dated_content())
    slots = document["hours"]["features"]["0"]
    place = next(place for place, count in enumerate(slots[0]) if count)
    slots[0][place] += change
    with pytest.raises(ValueError, match="hours: the counts of feature '0' do not add up to those of the whole day"):
        decode_dated(json.dumps(document).encode())


def fitted(kind: str) -> tuple[Any, pd.DataFrame, Any]:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"a": rng.normal(size=ROWS), "b": rng.normal(size=ROWS)})
    target = rows["a"] + rng.normal(size=ROWS)
    if kind == "value":
        return LinearRegression().fit(rows, target), rows, target
    cuts = [0.0] if kind == "positive" else [-0.5, 0.5]
    truth = np.digitize(target, cuts)
    return LogisticRegression().fit(rows, truth), rows, truth


@pytest.mark.parametrize("kind", ["positive", "largest", "value"])
@pytest.mark.parametrize("own", [True, False])
def test_scores_and_predictions_have_hours_too(kind: str, own: bool) -> None:
    model, rows, truth = fitted(kind)
    verdicts = held_out(model, rows, truth, HOURS) if own else cross_validated(model, rows, truth, HOURS)
    assert verdicts is not None
    tensors = {"X": rows.to_numpy()}
    profile = decode_dated(build_profile(model, tensors, [Tensor("X", "FP64", (-1, 2))], verdicts, None, HOURS))
    assert profile.hours is not None
    assert profile.score is not None
    assert profile.hours.score is not None
    assert profile.score.kind == kind
    assert [sum(slot) for slot in profile.hours.score] == [25] * 24
    assert (profile.hours.predictions is None) == (kind == "value")
    if profile.hours.predictions:
        assert profile.hours.predictions[5] == tuple(
            np.bincount(verdicts.answers[HOURS == 5], minlength=len(set(truth)))
        )


@pytest.mark.parametrize(
    ("times", "hours"),
    [
        (["2030-01-31T12:00:00Z", "2030-01-31T23:59:59+02:00", "2030-01-31 05:00:00"], [12, 21, 5]),
        (pd.Series(pd.to_datetime(["2030-01-31T12:00", "2030-01-31T13:00"])).dt.tz_localize("Europe/Berlin"), [11, 12]),
        (np.array(["2030-01-31T12:00", "2030-01-31T13:00"], dtype="datetime64[s]"), [12, 13]),
        ([1_893_456_000.0, 1_893_459_600.0], [0, 1]),
        ([1_893_456_000_000, 1_893_459_600_000], [0, 1]),
        ([1_893_456_000_000_000, 1_893_459_600_000_000], [0, 1]),
    ],
)
def test_times_are_read_in_utc(times: Any, hours: list[int]) -> None:
    assert hours_of_day(times, len(hours), "times").tolist() == hours


def test_what_is_no_time_is_named() -> None:
    with pytest.raises(ValueError, match="times: 2 of 3 are no times, first 'noon' in row 1"):
        hours_of_day(["2030-01-31T12:00:00Z", "noon", None], 3, "times")
    with pytest.raises(ValueError, match="times: there are 2 times for 3 rows: each row needs its own"):
        hours_of_day([1.0, 2.0], 3, "times")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, DatedProfile]]:
    """What would have been logged: the rows and their profile."""
    found: list[tuple[Any, DatedProfile]] = []

    def log_all(_: Any, rows: Any, __: str, profile: bytes) -> str:
        found.append((rows, decode_dated(profile)))
        return "models:/m-1"

    monkeypatch.setattr(training, "_log_all", log_all)
    return found


AT = pd.Series(pd.date_range("2030-01-01", periods=ROWS, freq="h", tz="UTC"))


def test_times_are_a_series_or_a_column(logged: list[tuple[Any, DatedProfile]]) -> None:
    model, rows, truth = fitted("positive")
    log_model(model, rows, truth, times=AT)
    log_model(model, rows.assign(at=AT), truth, times="at")
    log_model(model, rows, truth, times=AT, holdout=(rows, truth, AT))
    log_model(model, rows.assign(at=AT), truth, times="at", holdout=(rows.assign(at=AT), truth))
    assert [list(seen.columns) for seen, _ in logged] == [["a", "b"]] * 4
    hours = [profile.hours for _, profile in logged]
    assert (hours[0], hours[2]) == (hours[1], hours[3])
    assert all(found is not None and found.score is not None for found in hours)
    log_model(model, rows, truth)
    assert logged[-1][1].hours is None


def test_a_column_that_the_model_takes_stays(logged: list[tuple[Any, DatedProfile]]) -> None:
    _, rows, truth = fitted("positive")
    rows = rows.assign(at=3_600.0 * np.arange(ROWS))
    log_model(LogisticRegression(max_iter=5000).fit(rows, truth), rows, truth, times="at")
    seen, profile = logged[0]
    assert list(seen.columns) == ["a", "b", "at"]
    assert profile.hours is not None
    assert [sum(slot) for slot in profile.hours.features["at"]] == [25] * 24


def test_times_that_are_not_there_are_said() -> None:
    model, rows, truth = fitted("positive")
    with pytest.raises(ValueError, match=r"not for the holdout: give holdout=\(X, y, times\) as well"):
        log_model(model, rows, truth, times=AT, holdout=(rows, truth))
    with pytest.raises(ValueError, match="times: there is no column 'at'"):
        log_model(model, rows, truth, times="at")
    with pytest.raises(ValueError, match="the holdout's times: there is no column 'at'"):
        log_model(model, rows.assign(at=AT), truth, times="at", holdout=(rows, truth))
