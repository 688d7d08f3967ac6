"""A whole retraining on a real control plane, with a real MLflow and a receiver of messages: by hand, killed or not.

Trainer, evaluator and imports are pretended by ending their pods; that a version is registered, an alias moved and a
message posted is real, and counted where it arrives. Operators die of the writes that are drawn, or of every one with
TRIMTAB_THOROUGH=1.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.apiserver.faults.test_kills import Reaper, Write
from tests.faultproxy import FaultProxy
from tests.kube import Kube, Object, condition, until
from tests.kubelet import digest_of, imports, variable
from tests.life import deployment, model
from tests.mlflow_server import LossyWay, mlflow_server
from tests.operators import Nest
from tests.thorough import THOROUGH

SECONDS = 300.0
PART = "app.kubernetes.io/component"
HOLDOUT = {"uri": "s3://data/holdout.parquet", "digest": f"sha256:{'d' * 64}", "target": "default"}
MOVES = "POST /api/2.0/mlflow/registered-models/alias"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


class Drawn:
    """The first write to each object, and a third of those that follow: always the same ones."""

    def __contains__(self, write: object) -> bool:
        assert isinstance(write, Write)
        sort = f"{write.verb} {write.resource}/{write.subresource} {write.nth}"  # names hold hashes of uids
        return write.nth == 1 or zlib.crc32(sort.encode()) % 3 == 0


class Receiver(ThreadingHTTPServer):
    """Where messages arrive."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.titles: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *arguments: object) -> None:
        self.shutdown()
        super().__exit__(*arguments)


class _Taker(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.titles.append(json.loads(text)["title"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


class Loop:
    """One schedule in a namespace of its own, whose registered model has the namespace's name."""

    def __init__(self, kube: Kube, namespace: str, mlflow: str) -> None:
        self.kube, self.namespace = kube, namespace
        self.client = MlflowClient(mlflow, mlflow)
        self.trained: dict[str, str] = {}
        self.pods: Counter[str] = Counter()

    async def begin(self) -> None:
        """Version 1 is the champion, and serves."""
        self.client.create_registered_model(self.namespace)
        self.client.create_model_version(self.namespace, "s3://bucket/1")
        self.client.set_registered_model_alias(self.namespace, "champion", "1")
        source = {"source": {"uri": f"models:/{self.namespace}@champion", "pollSeconds": 5}}
        await self.kube.create({**model(self.namespace), "spec": source})
        await self.kube.create(deployment(self.namespace))
        await self.kube.create(schedule(self.namespace))
        await self.serves("1")

    async def ask(self) -> None:
        """A run by hand."""
        change = {"metadata": {"annotations": {"trimtab.dev/run": "now"}}}
        await self.kube.patch("RetrainSchedule", self.namespace, "weekly", change)

    async def serves(self, version: str) -> None:
        """Wait until the deployment serves this version, and nothing is under way."""

        async def check() -> bool:
            mdep = await self.kube.get("ModelDeployment", self.namespace, "d")
            assert mdep is not None
            assert condition(mdep, "Ready").get("status") == "True", mdep.get("status")
            digests = [row["digest"] for row in mdep["status"]["revisions"]]
            assert digests == [digest_of(f"models:/{self.namespace}/{version}")], digests
            return True

        await until(check, SECONDS, f"version {version} served in {self.namespace}")

    async def ended(self) -> Object:
        """Wait until the run has ended and its message is on record; the run."""

        async def check() -> Object:
            found = await self.kube.get("RetrainSchedule", self.namespace, "weekly")
            assert found is not None
            runs = found.get("status", {}).get("runs", [])
            assert len(runs) == 1, found.get("status")
            run = runs[0]
            assert (run.get("stage"), run.get("notified")) == ("Ended", ["Promoted/hook"]), found.get("status")
            assert "candidate" not in found["status"]
            return dict(run)

        return await until(check, SECONDS, f"the run of {self.namespace} ended")

    def words(self, pod: Object) -> tuple[int, Object]:
        """What trainer and evaluator do, and say at their end."""
        if pod["metadata"]["namespace"] != self.namespace:
            return 0, {}
        if pod["metadata"]["labels"][PART] == "evaluator":
            return 0, {"schema": 1, "verdict": "Passed", "reason": "NonInferior", "message": "it is no worse"}
        run = variable(pod, "TRIMTAB_RUN_ID")
        if run not in self.trained:
            self.pods[pod["metadata"]["name"]] += 1
            tags = {"trimtab.dev/run-id": run}
            version = self.client.create_model_version(self.namespace, "s3://bucket/2", tags=tags).version
            self.trained[run] = str(version)
        return 0, {"schema": 1, "version": self.trained[run]}


def schedule(namespace: str) -> Object:
    """A RetrainSchedule with a gate, which tells of promotions."""
    template = {"image": "registry.example.com/train:1", "command": ["python", "train.py"]}
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "RetrainSchedule",
        "metadata": {"name": "weekly", "namespace": namespace},
        "spec": {
            "model": "m",
            "job": {"template": template},
            "gate": {"metric": "Accuracy", "holdout": HOLDOUT},
            "notify": [{"channel": "hook", "events": ["Promoted", "RunFailed", "Rejected", "RolledBack"]}],
        },
    }


def settings(folder: Path, way: LossyWay, receiver: Receiver) -> dict[str, str]:
    """What the chart would tell the operator of MLflow and of channels."""
    (folder / "hook").write_text(f"json://127.0.0.1:{receiver.server_address[1]}/secret-token\n")
    return {"TRIMTAB_MLFLOW_TRACKING_URI": way.uri, "TRIMTAB_NOTIFICATIONS_DIR": str(folder)}


def promoted(loop: Loop, run: Object) -> None:
    """What must be true of MLflow and the run at the end, whatever happened on the way."""
    alias = loop.client.get_model_version_by_alias(loop.namespace, "champion")
    assert (alias.version, run["version"], run["outcome"]) == ("2", "2", "Promoted")
    assert alias.tags["trimtab.dev/run-id"] == run["name"]
    assert len(loop.client.search_model_versions(f"name='{loop.namespace}'")) == 2
    assert loop.trained == {run["name"]: "2"}
    assert set(loop.pods.values()) == {1}


async def test_a_run_by_hand_becomes_the_champion_and_everything_outside_is_done_once(
    nest: Nest, proxy: FaultProxy, kube: Kube, mlflow: str, tmp_path: Path
) -> None:
    namespace = await kube.fresh_namespace()
    loop = Loop(kube, namespace, mlflow)
    with LossyWay(mlflow) as way, Receiver() as receiver:
        operator = nest.start(proxy, namespace, settings=settings(tmp_path, way, receiver))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(imports(kube))
            await stack.enter_async_context(imports(kube, loop.words, f"{PART} in (trainer,evaluator)"))
            await loop.begin()
            await loop.ask()
            run = await loop.ended()
            await loop.serves("2")
        promoted(loop, run)
        assert Counter(way.calls)[MOVES] == 1
        assert receiver.titles == [f"{namespace}/weekly: Promoted"]
        assert await operator.metric("trimtab_effects_total", kind="Alias", result="done") == 1
        assert await operator.metric("trimtab_notifications_total", channel="hook", result="delivered") == 1
        assert "secret-token" not in operator.log


async def test_the_same_comes_of_it_when_operators_die_of_their_writes(
    nest: Nest, proxy: FaultProxy, kube: Kube, mlflow: str, tmp_path: Path
) -> None:
    namespace = await kube.fresh_namespace()
    loop, reaper = Loop(kube, namespace, mlflow), Reaper(None if THOROUGH else Drawn())
    with LossyWay(mlflow) as way, Receiver() as receiver:
        chosen = settings(tmp_path, way, receiver)
        proxy.after.append(reaper.see)

        def start() -> Any:
            return reaper.watch(nest.start(proxy, namespace, settings=chosen))

        async def live() -> Object:
            await loop.begin()
            await loop.ask()
            run = await loop.ended()
            await loop.serves("2")
            return run

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(imports(kube))
            await stack.enter_async_context(imports(kube, loop.words, f"{PART} in (trainer,evaluator)"))
            operator, living = start(), asyncio.create_task(live())
            while not living.done():
                await asyncio.wait({living}, timeout=0.1)
                if (code := operator.exit_code) is not None:
                    assert code == -signal.SIGKILL, f"{operator.caller} ended with {code}:\n{operator.log[-3_000:]}"
                    await kube.delete("Lease", namespace, "trimtab-operator")
                    operator = start()
            operator.kill()
            run = living.result()
        promoted(loop, run)
        assert len(reaper.deaths) > 10
        assert {write.resource for write in reaper.deaths} >= {"retrainschedules", "mlmodels", "jobs"}
        # Each may be done again by one who did not see it done: that is what "at least once" means.
        assert 1 <= Counter(way.calls)[MOVES] <= 3
        assert 1 <= len(receiver.titles) <= 3
