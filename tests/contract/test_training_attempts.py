"""`training_run()` against a real MLflow: whatever kills an attempt, its training ends in one run and one version."""

import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.mlflow_server import LossyWay
from tests.thorough import THOROUGH
from tests.trainers import NAME, STEPS, Attempt

TAG = "trimtab.dev/run-id"
SEED, OTHERS = 6, 4


@pytest.fixture(scope="module")
def server(mlflow_uri: str) -> str:
    return mlflow_uri


@pytest.fixture
def way(server: str) -> Iterator[LossyWay]:
    with LossyWay(server) as proxy:
        yield proxy


class Ledger:
    """What MLflow has of one training."""

    def __init__(self, uri: str, run: str) -> None:
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name("team/irises")
        self.runs: list[Any] = []
        if experiment is not None:
            self.runs = list(client.search_runs([experiment.experiment_id], f"tags.`{TAG}` = '{run}'"))
        mine = {entry.info.run_id for entry in self.runs}
        self.tagged = list(client.search_model_versions(f"name = '{NAME}' and tags.`{TAG}` = '{run}'"))
        self.of_run = [v for v in client.search_model_versions(f"name = '{NAME}'") if v.run_id in mine]

    def is_whole(self) -> None:
        """One run, finished, and one version of it."""
        assert len(self.runs) == 1
        assert [version.version for version in self.tagged] == [version.version for version in self.of_run]
        assert len(self.tagged) == 1
        assert self.tagged[0].run_id == self.runs[0].info.run_id
        assert self.runs[0].info.status == "FINISHED"


def finish(home: Path, uri: str, **environ: str) -> Attempt:
    attempt = Attempt(home, uri, **environ)
    assert attempt.ended() == 0, attempt.log()
    return attempt


def test_a_training_says_what_it_made(server: str, tmp_path: Path) -> None:
    attempt = finish(tmp_path / "weekly-1", server)
    ledger = Ledger(server, "weekly-1")
    ledger.is_whole()
    assert attempt.result == {
        "schema": 1,
        "version": str(ledger.tagged[0].version),
        "runId": ledger.runs[0].info.run_id,
        "metrics": {"accuracy": pytest.approx(0.97, abs=0.03)},
        "rows": 150,
    }
    assert ledger.runs[0].data.tags["trimtab.dev/progress"] == f"{STEPS} of {STEPS}"
    assert not (tmp_path / "weekly-1" / "checkpoints" / "weekly-1").exists()


def test_killed_in_the_middle(server: str, tmp_path: Path) -> None:
    home = tmp_path / "killed"
    first = Attempt(home, server, "hang 2")
    first.reached(2)
    first.signal(signal.SIGKILL)
    assert first.ended() == -signal.SIGKILL
    (run,) = Ledger(server, "killed").runs
    second = finish(home, server)
    assert "begins at 1\nstep 2\nstep 3\n" in second.log()
    ledger = Ledger(server, "killed")
    ledger.is_whole()
    assert ledger.runs[0].info.run_id == run.info.run_id


def test_sigterm_is_a_stop_at_the_next_checkpoint(server: str, tmp_path: Path) -> None:
    home = tmp_path / "evicted"
    first = Attempt(home, server, "wait 2")
    first.reached(2)
    first.signal(signal.SIGTERM)
    assert first.ended() == 75, first.log()
    assert first.result["reason"] == "Stopped"
    assert (home / "checkpoints" / "evicted" / "checkpoint").read_text() == "2"
    assert Ledger(server, "evicted").runs[0].info.status == "KILLED"
    second = finish(home, server)
    assert "begins at 2\nstep 3\n" in second.log()
    Ledger(server, "evicted").is_whole()


@pytest.mark.parametrize(
    ("behaviour", "code", "result"),
    [
        ("skip", 3, {"schema": 1, "skipped": "no new rows since Monday"}),
        ("data", 10, {"schema": 1, "reason": "BadData", "message": "the column petal is empty"}),
        ("check", 12, {"schema": 1, "reason": "SelfCheckFailed", "message": "all predictions are the same"}),
        ("again", 75, {"schema": 1, "reason": "TryAgain", "message": "the feature store is busy"}),
    ],
)
def test_how_a_training_may_end(server: str, tmp_path: Path, behaviour: str, code: int, result: object) -> None:
    attempt = Attempt(tmp_path / f"ends-{behaviour}", server, behaviour)
    assert (attempt.ended(), attempt.result) == (code, result), attempt.log()
    (run,) = Ledger(server, f"ends-{behaviour}").runs
    assert run.info.status == ("FINISHED" if behaviour == "skip" else "FAILED")


def test_a_bug_is_said_with_its_place(server: str, tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "bug", server, "bug")
    assert attempt.ended() == 11
    assert attempt.result["reason"] == "TrainingFailed"
    assert attempt.result["message"].startswith("KeyError at trainers.py:")
    assert "Traceback" in attempt.log()


def test_a_training_that_registers_nothing(server: str, tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "nothing", server, "nothing")
    assert attempt.ended() == 11
    assert attempt.result["reason"] == "NothingRegistered"
    assert "call log_model(..., registered_model_name=run.model_name), or raise Skip" in attempt.result["message"]


def test_a_version_registered_without_our_help_is_tagged(server: str, tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "plain", server, "plain")
    assert attempt.ended() == 0, attempt.log()
    ledger = Ledger(server, "plain")
    ledger.is_whole()
    assert attempt.result["version"] == str(ledger.tagged[0].version)


def test_killed_between_registering_and_saying_so(way: LossyWay, server: str, tmp_path: Path) -> None:
    home = tmp_path / "mute"
    made = threading.Event()

    def lose(number: int, call: str) -> bool:
        if call.endswith("/model-versions/create"):
            made.set()
            first.signal(signal.SIGKILL)
        return False

    way.lose = lose
    first = Attempt(home, way.uri)
    assert first.ended() == -signal.SIGKILL
    assert made.is_set()
    way.heal()
    second = finish(home, way.uri)
    assert '"already registered"' in second.log()
    assert second.log().count("begins at") == 1
    assert second.result["rows"] == 150
    Ledger(server, "mute").is_whole()


def test_two_attempts_at_once_end_in_one(way: LossyWay, server: str, tmp_path: Path) -> None:
    """Both have found no run when both make one, and both have found no version when both register."""
    barriers = {name: threading.Barrier(2, timeout=240) for name in ("runs/create", "model-versions/create")}

    def refuse(number: int, call: str) -> bool:
        for name, barrier in barriers.items():
            if call.endswith(name):
                barrier.wait()
        return False

    way.refuse = refuse
    homes = [tmp_path / part / "twins" for part in "ab"]
    attempts = [Attempt(home, way.uri) for home in homes]
    codes = {attempt.ended() for attempt in attempts}
    assert 0 in codes, attempts[0].log() + attempts[1].log()
    assert codes <= {0, 75}, attempts[0].log() + attempts[1].log()
    way.heal()
    for home in homes:
        finish(home, way.uri)
    Ledger(server, "twins").is_whole()


def calls_of_a_training(uri: str, home: Path) -> list[str]:
    with LossyWay(uri) as way:
        finish(home, way.uri)
        return list(way.calls)


def distinct(calls: list[str], fault: str) -> list[int]:
    """The numbers of the calls to try: of uploads in a row the first, and answers of calls that change something."""
    kinds = [call.partition("/artifacts/")[0] for call in calls]
    chosen = [number for number, kind in enumerate(kinds, 1) if number == 1 or kinds[number - 2] != kind]
    return [number for number in chosen if fault == "refuse" or not calls[number - 1].startswith("GET")]


def down_from(uri: str, home: Path, fault: str, number: int, calls: list[str]) -> None:
    with LossyWay(uri) as way:
        setattr(way, fault, lambda count, call: count >= number)
        attempt = Attempt(home, way.uri)
        code = attempt.ended()
        where = f"{number}: {calls[number - 1]}\n{attempt.log()}"
        assert code in (0, 75), where
        if code == 75:
            assert attempt.result["reason"] == "TrackingUnreachable", where
            assert attempt.result["message"].endswith("; it will be tried again"), where
        way.heal()
        finish(home, way.uri)
    Ledger(uri, home.name).is_whole()


def tried(numbers: list[int], calls: list[str]) -> list[int]:
    """The calls that make something, and some of the others by a fixed seed; all where tests are thorough."""
    others = [number for number in numbers if not calls[number - 1].endswith("/create")]
    drawn = others if THOROUGH else random.Random(SEED).sample(others, OTHERS)
    return sorted({*numbers} - {*others} | {*drawn})


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_mlflow_is_down_from_a_call_on(server: str, tmp_path: Path, fault: str) -> None:
    """From the n-th call on nobody answers; the attempt after that ends well.

    For each n with TRIMTAB_THOROUGH=1. Otherwise for each call that makes something and for `OTHERS` more: what goes
    wrong at one of the others alone may be missed.
    """
    calls = calls_of_a_training(server, tmp_path / f"{fault}-none")
    numbers = distinct(calls, fault)
    assert len(numbers) > 10
    numbers = tried(numbers, calls)
    with ThreadPoolExecutor(3) as pool:
        trials = [
            pool.submit(down_from, server, tmp_path / f"{fault}-{number}", fault, number, calls) for number in numbers
        ]
        for trial in trials:
            trial.result()


@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_one_lost_call_is_made_up_for(way: LossyWay, server: str, tmp_path: Path, fault: str) -> None:
    """MLflow's client repeats a call whose answer was lost, also one that had made something."""
    calls = calls_of_a_training(server, tmp_path / f"once-{fault}-none")
    making = [number for number, call in enumerate(calls, 1) if call.endswith("/create")]
    assert len(making) >= 3
    for number in making:
        way.heal()
        setattr(way, fault, lambda count, call, number=number: count == number)
        home = tmp_path / f"once-{fault}-{number}"
        finish(home, way.uri, MLFLOW_HTTP_REQUEST_MAX_RETRIES="2", MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="0")
        Ledger(server, home.name).is_whole()
