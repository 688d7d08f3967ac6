"""The second half of the demo: the loop that closes itself, step by step and timed."""

from __future__ import annotations

import time
from typing import Any

from hack.command import Failure
from hack.demo import release
from hack.demo.loop import NAME, Loop
from hack.demo.stage import Object
from hack.progress import say, step

NAMESPACE = "demo-flights"
STAGES = {
    "Training": "a Job trains on the last month",
    "Grading": "another Job grades the result beside the champion",
    "RollingOut": "the new version is imported, and a canary tries it",
    "Ended": "all traffic is its own, and the alias moves",
}


def tell() -> None:
    """The story, once Trimtab is installed."""
    loop = Loop(NAMESPACE)
    with step("clear what an earlier demo left of the flights"):
        release.restricted(NAMESPACE)
        loop.stage.kubectl("delete", "rts,mdep,mlm", "--all", "--wait", "--timeout=60s", timeout=90)
    with step("put the flights that left New York in 2013 where Jobs can read them"):
        loop.prepare()
    with step("train on January to March which of them come late, and serve that as the champion"):
        version = loop.train_champion()["version"]
        loop.serve(version)
    _shift(loop)
    _careless(loop)
    _slow(loop)
    loop.end("july")
    say(f"  {loop.asked} requests in all that time, {loop.failed} failed")
    if loop.failed:
        raise Failure(f"{loop.failed} of {loop.asked} requests failed")
    say(loop.stage.kubectl("get", "rts,mdep,mlm"))


def _shift(loop: Loop) -> None:
    """Winter, then July: each leg of the loop with the seconds since the traffic changed."""
    with step("send flights of the winter: nothing to see"):
        loop.send("winter")
        loop.drift(lambda drift: drift.get("state") == "OK")
    loop.schedule(NAME)
    with step("send flights of July, and wait until the drift is found"):
        loop.send("july")
        shifted = time.monotonic()
        loop.end("winter")
        drift = loop.drift(lambda drift: drift.get("level") == "Critical")
    say(f"  {time.monotonic() - shifted:.0f} s: {_worst(drift)}")
    for stage, what in STAGES.items():
        with step(what):
            run = loop.reached(NAME, stage)
        say(f"  {time.monotonic() - shifted:.0f} s: {_said(run)}")
    _expect(run, "Promoted")
    with step("see whether that helped"):
        run = loop.run(NAME, lambda run: run.get("effect") in ("Recovered", "NotRecovered"))
    say(f"  {time.monotonic() - shifted:.0f} s: {run['effect']}")


def _careless(loop: Loop) -> None:
    loop.schedule("careless", "careless")
    with step("train a careless model by hand: the gate must stop it"):
        loop.ask_for("careless")
        run = loop.reached("careless", "Ended")
    say(f"  {run['outcome']}: {run['message']}")
    _expect(run, "Rejected")


def _slow(loop: Loop) -> None:
    loop.schedule("neighbours", "neighbours", margin="0.05", maxLatencyRatio="")
    with step("train a slow one that is as good: its gate has no eye on the clock, the canary has"):
        loop.ask_for("neighbours")
        run = loop.reached("neighbours", "Ended")
    say(f"  {run['outcome']}: {run['message']}")
    _expect(run, "RolledBack")


def _expect(run: Object, outcome: str) -> None:
    if run["outcome"] != outcome:
        raise Failure(f"the run ended as {run['outcome']}, not as {outcome}: {run}")


def _said(run: Object) -> str:
    gate: dict[str, Any] = run.get("gate", {})
    words = f"{run['stage']} {run['outcome'] if run.get('outcome') else ''}".strip()
    return f"{words}; gate: {gate['message']}" if gate and run["stage"] == "RollingOut" else words


def _worst(drift: Object) -> str:
    worst = drift["features"][0]
    return f"{worst['name']} drifts, excess PSI {worst['excess']}, {drift['rows']} rows in {drift['windowSeconds']} s"
