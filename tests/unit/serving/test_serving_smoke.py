"""The smoke test: the whole path of a prediction, for whoever asks, and without a trace."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.unit.serving.test_serving_app import Answer, Server, body


@pytest.fixture
def server() -> Server:
    return Server()


async def smoke(server: Server, *rows: float) -> Answer:
    """The smoke test, were this the bundle's example."""
    assert server.lifecycle.model is not None
    server.lifecycle.model.example = body(*rows)
    return await server.call("POST", "/trimtab/v1/smoke")


async def test_the_smoke_test_answers_the_example_and_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    server = Server(tokens_dir=tmp_path / "tokens")
    before = json.loads(server.metrics.counts())
    answer = await smoke(server, 1, 2, 3, 4)
    assert (answer.status, answer.json["ok"]) == (200, True)
    assert answer.json.keys() == {"ok", "seconds"}
    assert json.loads(server.metrics.counts()) == before


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ((3e38, 3e38), "the output 'sum' is not finite"),
        ((-1, 0), "the model refused the input: unknown category -1"),
        ((-2, 0), "KeyError; the server's log says more"),
        ((), "inputs[0].shape is [0, 2]; the model takes [-1, 2] for input 'x' (-1 is any length from 1)"),
    ],
)
async def test_a_smoke_test_that_fails_says_why(server: Server, rows: tuple[float, ...], why: str) -> None:
    answer = await smoke(server, *rows)
    assert (answer.status, answer.json) == (503, {"error": f"the bundle's own example was not answered: {why}"})


async def test_a_smoke_test_waits_for_the_model_to_be_loaded() -> None:
    answer = await Server(loaded=False).call("POST", "/trimtab/v1/smoke")
    assert answer.status == 503
    assert answer.json == {"error": "model 'adder' is still loading; try again"}


async def test_those_who_ask_while_a_smoke_test_runs_get_its_answer(server: Server) -> None:
    first = asyncio.create_task(smoke(server, -3, 0))
    await asyncio.to_thread(server.runtime.waiting.wait, 10)
    others = [asyncio.create_task(smoke(server, -2, 0)) for _ in range(20)]
    await asyncio.sleep(0)  # all of them have asked now
    server.runtime.gate.set()
    answers = await asyncio.gather(first, *others)
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
