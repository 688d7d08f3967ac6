"""Drift and quality of real servers: what is sent is what the status says, over shifts, restarts and lies."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests.contract.served import INFER, environment, make_bundle, request
from tests.contract.test_server_process import serving
from trimtab.adapters.monitor.watcher import Watcher
from trimtab.core.objects import Object
from trimtab.evidence.drift.finding import Finding
from trimtab.evidence.drift.judge import Policy
from trimtab.kinds.modeldeployment.degrading import degrading
from trimtab.kinds.modeldeployment.episodes import drifting
from trimtab.kinds.modeldeployment.monitoring import QualitySpec
from trimtab.kinds.modeldeployment.observe import Watch
from trimtab.kinds.modeldeployment.template import DIGEST
from trimtab.kinds.modeldeployment.vitals import DriftStatus, QualityStatus
from trimtab_serving.bundle import Tensor
from trimtab_serving.counting.profile import Predictions, Profile, Score
from trimtab_toolbox.profiling.features import profile_features
from trimtab_toolbox.profiling.profile import moments_of

PERIOD = 10
INPUTS = (Tensor("age", "FP32", (-1, 1)), Tensor("income", "FP32", (-1, 1)), Tensor("city", "BYTES", (-1, 1)))
EDGES = tuple(i / 32 for i in range(1, 32))
QUALITY = QualitySpec(warn_below="0.6", min_labels=300)


def rows_of(dice: np.random.Generator, count: int, shift: float = 0.0) -> list[tuple[float | None, float, str]]:
    """People: ages around 25 give or take 8, incomes around 800; `shift` moves the ages, in deviations."""
    ages, incomes = dice.normal(25 + 8 * shift, 8, count), dice.normal(800, 300, count)
    cities = dice.choice(["Bonn", "Ulm", "Rom"], count, p=[0.6, 0.3, 0.1])
    return list(zip(ages.tolist(), incomes.tolist(), cities.tolist(), strict=True))


def chance(row: tuple[float | None, float, str]) -> float:
    """What the model of `served` answers."""
    return 1 / (1 + math.exp(3 - 0.1 * (row[0] or 40.0) - 0.001 * row[1]))


def trained(rows: list[tuple[float | None, float, str]], dice: np.random.Generator) -> Profile:
    """The profile of these rows, by the toolbox."""
    ages, incomes, cities = zip(*rows, strict=True)
    tensors = {
        "age": np.array(ages, np.float32)[:, None],
        "income": np.array(incomes, np.float32)[:, None],
        "city": np.array(cities, object)[:, None],
    }
    features = profile_features(tensors, INPUTS)
    chances = np.array([chance(row) for row in rows])
    cells = np.searchsorted(EDGES, chances, side="right")
    true = dice.random(len(rows)) < chances
    counts, right = (np.bincount(part, minlength=len(EDGES) + 1).tolist() for part in (cells, cells[true]))
    score = Score("positive", EDGES, tuple(counts), tuple(right))
    positive = int((chances >= 0.5).sum())
    predicted = Predictions((len(rows) - positive, positive))
    return Profile(
        len(rows), features, score=score, predictions=predicted, moments=moments_of(features, tensors, INPUTS)
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("watched") / "bundle"
    directory.mkdir()
    dice = np.random.default_rng(1)
    return directory, make_bundle(directory, trained(rows_of(dice, 5_000), dice))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


class Life:
    """One deployment, its users, the operator's eyes on it, and a clock that moves when told."""

    def __init__(self, session: aiohttp.ClientSession, given: dict[str, str], digest: str) -> None:
        self.session, self.url, self.digest = session, f"http://127.0.0.1:{given['TRIMTAB_PORT']}", digest
        self.time, self.failures = 1_800_000_000.0, Counter[tuple[str, str]]()
        self.watcher = Watcher(
            session, lambda: self.time, lambda: self.time, lambda *kind: self.failures.update([kind]),
            int(given["TRIMTAB_PORT"]),
        )  # fmt: skip
        self.pods = [self.pod("first", old=True)]
        self.drift: DriftStatus | None = None
        self.quality: QualityStatus | None = None
        self.written: list[tuple[Any, Any]] = []
        self.dice = np.random.default_rng(7)

    def pod(self, uid: str, *, old: bool = False) -> Object:
        made = datetime.fromtimestamp(self.time - 1_000 if old else self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        meta = {"name": uid, "namespace": "ml", "uid": uid, "annotations": {DIGEST: self.digest}}
        meta["creationTimestamp"] = made
        return {"kind": "Pod", "metadata": meta, "status": {"phase": "Running", "podIP": "127.0.0.1"}}

    async def look(self) -> Finding:
        """One pass, two seconds after the last one."""
        self.time += PERIOD / 5
        watch = Watch("deployment", self.digest, self.pods, PERIOD, Policy(), QUALITY.limit)
        found = await self.watcher.finding(watch)
        now = datetime.fromtimestamp(self.time, UTC)
        before = self.drift, self.quality
        self.drift = drifting(self.drift, found, "abc", now)
        self.quality = degrading(self.quality, found, "abc", QUALITY, now)
        if (self.drift, self.quality) != before:
            self.written.append((self.drift, self.quality))
        return found

    async def period(self, count: int = 0, shift: float = 0.0, labelled: int = 0, *, flipped: bool = False) -> None:
        """So many rows, and labelled ones, in a period of five passes."""
        for part in range(5):
            if count:
                await self.predict(rows_of(self.dice, count // 5, shift))
            if labelled and part == 2:
                await self.label(rows_of(self.dice, labelled, shift), flipped=flipped)
            await self.look()

    async def predict(self, rows: list[tuple[float | None, float, str]]) -> list[str]:
        async with self.session.post(self.url + INFER, json=request(rows)) as answer:
            assert answer.status == 200, await answer.text()
            return answer.headers.get("x-trimtab-token", "").split(",")

    async def label(self, rows: list[tuple[float | None, float, str]], *, flipped: bool) -> None:
        told = []
        for start in range(0, len(rows), 16):
            part = rows[start : start + 16]
            truth = [int(self.dice.random() < chance(row)) for row in part]
            tokens = await self.predict(part)
            told += [{"token": t, "label": 1 - y if flipped else y} for t, y in zip(tokens, truth, strict=True)]
        async with self.session.post(self.url + "/trimtab/v1/feedback", json=told) as answer:
            assert (await answer.json())["accepted"] == len(rows)


async def test_a_shift_is_found_and_its_end_too(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2")
    life = Life(session, given, bundle[1])
    with serving(given):
        await life.look()
        assert life.drift is not None
        assert (life.drift.state, life.drift.level) == ("InsufficientData", "OK")
        await life.period(100)
        await life.period(100)
        assert "more are needed before anything can be said" in life.drift.message
        for _ in range(12):
            await life.period(200)
        assert (life.drift.state, life.drift.level, life.drift.problems) == ("OK", "OK", [])
        assert len(life.written) <= 14 + 2, "at most once a period, and before the first has ended"
        idle = list(life.written)
        for _ in range(5):
            await life.period()
        assert len(life.written) <= len(idle) + 1, "an idle deployment writes nothing"
        begun = life.time
        for _ in range(14):
            await life.period(200, shift=1.2)
        assert life.drift.level == "Critical"
        assert life.drift.features[0].name in ("age", "score")
        assert life.drift.episode.id
        first = life.drift.episode
        assert first.begun_at is not None
        assert datetime.fromisoformat(first.begun_at.replace("Z", "+00:00")).timestamp() > begun
        for _ in range(18):
            await life.period(200)
        assert (life.drift.level, life.drift.episode.id) == ("OK", "")
    assert life.failures == Counter()


async def test_restarts_and_new_pods_neither_lose_nor_double_rows(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1")
    life = Life(session, given, bundle[1])
    with serving(given):
        await life.predict(rows_of(life.dice, 400))
        await life.look()
        for _ in range(3):
            await life.period(100)
    with serving(given):
        await life.period(100)
    with serving(given | {"TRIMTAB_STATE_DIR": str(tmp_path / "other")}):
        await life.period(100)
    life.pods = [life.pod("second")]
    with serving(given | {"TRIMTAB_STATE_DIR": str(tmp_path / "third")}):
        await life.predict(rows_of(life.dice, 50))
        await life.period(100)
        await life.period(100)
        await life.period()
    assert life.drift is not None
    # What was there before the watch began is not counted; what the second pod did, which was made later, is.
    assert life.drift.rows == 3 * 100 + 100 + 100 + 50 + 100 + 100


async def test_broken_data_is_told_apart_from_drift(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1")
    life = Life(session, given, bundle[1])
    with serving(given):
        await life.look()
        for _ in range(4):
            for _ in range(5):
                rows = [(None if i % 2 else a, m * 10, "Atlantis" if i % 3 else c) for i, (a, m, c) in
                        enumerate(rows_of(life.dice, 40))]  # fmt: skip
                await life.predict(rows)
                await life.look()
    assert life.drift is not None
    found = {(problem.feature, problem.problem) for problem in life.drift.problems}
    assert found == {("age", "Missing"), ("income", "Unit"), ("income", "Range"), ("city", "Unseen")}


async def test_quality_follows_the_labels_and_the_estimate_does_not(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_TOKEN_KEY="k" * 32)
    life = Life(session, given, bundle[1])
    with serving(given):
        await life.look()
        assert life.quality is not None
        assert (life.quality.state, life.quality.labels) == ("InsufficientData", 0)
        for _ in range(10):
            await life.period(100, labelled=160)
        assert life.quality.state == "OK"
        told = {metric.name: metric for metric in life.quality.metrics}
        assert set(told) == {"Accuracy", "RocAuc", "Brier", "Recall of 0", "Recall of 1"}
        assert float(told["Accuracy"].realised) == pytest.approx(float(told["Accuracy"].estimated), abs=0.05)
        assert float(told["RocAuc"].realised) == pytest.approx(float(told["RocAuc"].estimated), abs=0.06)
        assert float(told["Accuracy"].lower) < float(told["Accuracy"].realised) < float(told["Accuracy"].upper)
        before = float(told["Accuracy"].estimated)
        for _ in range(4):
            await life.period(100, labelled=160, flipped=True)
        assert life.quality.state == "Degraded"
        told = {metric.name: metric for metric in life.quality.metrics}
        assert float(told["Accuracy"].realised) < 0.5
        assert float(told["Accuracy"].estimated) == pytest.approx(before, abs=0.02), "it is blind to concept drift"
        for _ in range(8):
            await life.period(100, labelled=160)
        assert life.quality.state == "OK"


async def test_a_bundle_without_a_profile_has_no_reference(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    directory = tmp_path / "bare" / "bundle"
    directory.mkdir(parents=True)
    make_bundle(directory)
    (directory / "profile.json").unlink()
    info = json.loads((directory / "bundle.json").read_text())
    del info["profile"]
    (directory / "bundle.json").write_text(json.dumps(info))
    from trimtab_serving.bundle import pack

    with (tmp_path / "bundle.tar").open("wb") as tar:
        digest = pack(directory, tar)
    given = environment(directory, digest, tmp_path / "pod", TRIMTAB_WORKERS="1")
    life = Life(session, given, digest)
    with serving(given):
        await life.predict(rows_of(life.dice, 20))
        await life.look()
        assert life.drift is not None
        assert life.drift.state == "ReferenceMissing"
        assert "log it with trimtab_toolbox.log_model" in life.drift.message
