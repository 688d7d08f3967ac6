"""The loop that closes itself, on real flights: nobody does anything but send traffic, and no request fails.

Winter's model serves, July comes, drift is found, a Job trains, another one grades, a canary tries, the alias moves.
Then a careless candidate is stopped at the gate, and one that is as good but slow in the canary.
"""

from __future__ import annotations

import json

import pytest

from hack.cluster import kubectl
from hack.demo import release
from hack.demo.loop import NAME, Loop, newest
from hack.demo.stage import Stage

MODEL = "e2e-flights"
READ = """
import json, urllib.request
def get(path):
    with urllib.request.urlopen("http://127.0.0.1:5000/api/2.0/mlflow" + path, timeout=10) as answer:
        return json.load(answer)["model_version"]
found = get("/registered-models/alias?name={model}&alias=champion")
print(json.dumps({{"version": found["version"], **{{tag["key"]: tag["value"] for tag in found.get("tags", [])}}}}))
"""


@pytest.fixture
def loop(stage: Stage) -> Loop:
    """The winter's model, served."""
    made = Loop(stage.namespace, MODEL)
    made.prepare()
    made.serve(made.train_champion()["version"])
    return made


def champion() -> dict[str, str]:
    """What MLflow says of the champion."""
    where = ("-n", release.NAMESPACE, "exec", f"deploy/{release.NAME}-mlflow", "--")
    found: dict[str, str] = json.loads(kubectl.kubectl(*where, "python", "-c", READ.format(model=MODEL)))
    return found


@pytest.mark.timeout(1_200)
def test_the_loop_closes_and_lets_nothing_bad_through(loop: Loop) -> None:
    loop.send("winter")
    calm = loop.drift(lambda drift: drift.get("state") == "OK")
    assert (calm["level"], calm["episode"].get("id", "")) == ("OK", ""), calm
    loop.schedule(NAME)
    assert newest(loop.stage.read("rts", NAME)) == {}, "nothing happens without a reason"

    loop.send("july")
    loop.end("winter")
    drift = loop.drift(lambda drift: drift.get("level") == "Critical")
    assert drift["features"][0]["name"] == "temp", drift
    run = loop.reached(NAME, "Ended")
    assert (run["trigger"], run["outcome"], run["gate"]["verdict"]) == ("Drift", "Promoted", "Passed"), run
    assert float(run["gate"]["lower"]) > 0, "the model of the last month is better, and proven to be"
    run = loop.run(NAME, lambda run: run.get("effect") in ("Recovered", "NotRecovered"))
    assert run["effect"] == "Recovered", (run, loop.stage.read("mdep", NAME)["status"]["drift"])
    told = champion()
    assert (told["version"], told["trimtab.dev/run-id"]) == (run["version"], run["name"]), told
    assert {"trimtab.dev/promoted-at", "trimtab.dev/promoted-from", "trimtab.dev/promoted-by"} <= set(told)

    loop.schedule("careless", "careless")
    loop.ask_for("careless")
    careless = loop.reached("careless", "Ended")
    assert (careless["outcome"], careless["gate"]["verdict"]) == ("Rejected", "Rejected"), careless

    loop.schedule("neighbours", "neighbours", margin="0.05", maxLatencyRatio="")
    loop.ask_for("neighbours")
    slow = loop.reached("neighbours", "Ended")
    assert (slow["outcome"], slow["gate"]["verdict"], slow["reason"]) == ("RolledBack", "Passed", "HarmProven"), slow

    assert champion()["version"] == run["version"], "neither became the champion"
    serving = loop.stage.read("mdep", NAME)["status"]
    assert (serving["version"], len(loop.stage.read("rts", NAME)["status"]["runs"])) == (run["version"], 1), serving
    loop.end("july")
    assert (loop.asked > 1_000, loop.failed) == (True, 0)
