"""The loop that closes itself, on real flights: nobody does anything but send traffic, and no request fails.

Winter's model serves, July comes, drift is found, a Job trains, another one grades, a canary tries, the alias moves.
Then a careless candidate is stopped at the gate, and one that is as good but slow in the canary.

Prometheus watches by the chart's scrape configuration, rules and dashboards, and people are told by a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import packages
from hack.demo import release
from hack.demo.loop import NAME, Loop, newest
from hack.demo.stage import Stage
from tests.e2e import backends, tracked
from tests.e2e.conftest import INBOX
from tests.e2e.watched import Watch
from tests.prometheus import PACKAGES

MODEL = "e2e-flights"


TOLD = [{"channel": INBOX, "events": ["RunFailed", "Promoted", "Rejected", "RolledBack"]}]
EMPTY = {
    *("rollouts / Copies", "rollouts / Lift", "rollouts / Evidence", "rollouts / Sample ratio"),
    *("rollouts / Users", "rollouts / Objective", "rollouts / Requests and outcomes"),
    *("rollouts / Errors by arm", "drift / Realised and estimated", "drift / Shares of broken values"),
    *("drift / Slots without a run",),
    *("operator / Errors", "operator / Changes that no watch told of", "operator / Pods that give no counts"),
}
"""Panels that may be empty, or a part of them: about shadows, experiments and outcomes that users report, which are not
here, and about what need not go wrong."""


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Prometheus and Alertmanager at work."""
    packages.install_missing(PACKAGES)
    with Watch(tmp_path).running() as found:
        yield found


@pytest.fixture
def inbox() -> Stage:
    """Where messages are taken."""
    release.restricted(INBOX)
    made = Stage(INBOX, "")
    backends.inbox(made)
    return made


@pytest.fixture
def loop(stage: Stage) -> Loop:
    """The winter's model, served."""
    made = Loop(stage.namespace, MODEL, TOLD)
    made.prepare()
    made.serve(made.train_champion()["version"])
    return made


@pytest.mark.timeout(1_200)
def test_the_loop_closes_and_lets_nothing_bad_through(loop: Loop, watch: Watch, inbox: Stage) -> None:
    first = loop.stage.read("mdep", NAME)["status"]["version"]
    loop.send("winter")
    watch.scraped()
    calm = loop.drift(lambda drift: drift.get("state") == "OK")
    assert (calm["level"], calm["episode"].get("id", "")) == ("OK", ""), calm
    loop.schedule(NAME)
    assert newest(loop.stage.read("rts", NAME)) == {}, "nothing happens without a reason"

    loop.send("july")
    loop.end("winter")
    drift = loop.drift(lambda drift: drift.get("level") == "Critical")
    assert drift["features"][0]["name"] == "temp", drift
    alert = watch.alert("TrimtabDriftCritical", loop.stage.namespace)
    assert (alert["name"], alert["version"], alert["severity"]) == (NAME, first, "critical")
    run = loop.reached(NAME, "Ended")
    assert (run["trigger"], run["outcome"], run["gate"]["verdict"]) == ("Drift", "Promoted", "Passed"), run
    assert float(run["gate"]["lower"]) > 0, "the model of the last month is better, and proven to be"
    run = loop.run(NAME, lambda run: run.get("effect") in ("Recovered", "NotRecovered"))
    assert run["effect"] == "Recovered", (run, loop.stage.read("mdep", NAME)["status"]["drift"])
    watch.alert("TrimtabDriftCritical", loop.stage.namespace, "resolved")
    told = tracked.champion(MODEL)
    assert (told["version"], told["trimtab.dev/run-id"]) == (run["version"], run["name"]), told
    assert {"trimtab.dev/promoted-at", "trimtab.dev/promoted-from", "trimtab.dev/promoted-by"} <= set(told)

    loop.schedule("careless", "careless")
    loop.ask_for("careless")
    careless = loop.reached("careless", "Ended")
    assert (careless["outcome"], careless["gate"]["verdict"]) == ("Rejected", "Rejected"), careless

    loop.schedule("neighbours", "neighbours", margin="0.05", maxLatencyRatio="")
    loop.ask_for("neighbours")
    slow = loop.reached("neighbours", "Ended", 600)
    assert (slow["outcome"], slow["gate"]["verdict"], slow["reason"]) == ("RolledBack", "Passed", "HarmProven"), slow

    assert tracked.champion(MODEL)["version"] == run["version"], "neither became the champion"
    serving = loop.stage.read("mdep", NAME)["status"]
    assert (serving["version"], len(loop.stage.read("rts", NAME)["status"]["runs"])) == (run["version"], 1), serving
    loop.end("july")
    assert (loop.asked > 1_000, loop.failed) == (True, 0)
    assert watch.empty_panels(loop.stage.namespace) <= EMPTY
    ends = [(NAME, "Promoted"), ("careless", "Rejected"), ("neighbours", "RolledBack")]
    assert backends.titles(inbox, 3) >= {f"{loop.stage.namespace}/{name}: {event}" for name, event in ends}
