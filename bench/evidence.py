"""How often the statistics are wrong, how soon they see what is there, and how rival tests do on the same streams.

    python -m bench.evidence [--runs 2000] [--seed 1]

Every table is simulated; "peeked" means that a test may stop at each of 200 looks. The e-process is the one that
ABTests and canaries are decided by, with the significance they use.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench import streams, vectorised
from bench.streams import Streams
from bench.vectorised import beyond, first, log_e, z
from trimtab.evidence import eprocess, srm
from trimtab.evidence.canary import Gates, judge_canary
from trimtab.evidence.design import Design, Objective
from trimtab.evidence.experiment import judge
from trimtab.evidence.tally import Segment, Tally

Dice = np.random.Generator
LOOKS = 200
WIN = math.log(2 / 0.05)
HARM = math.log(1 / 0.05)
RATES = (
    (0.1, 0.5),
    (0.1, 0.1),
    (0.1, 0.01),
    (0.01, 0.5),
    (0.01, 0.1),
    (0.01, 0.01),
    (0.002, 0.5),
    (0.002, 0.1),
    (0.002, 0.01),
)
RAMPS = (((0.08, 0.12), (0.05, 0.1, 0.25, 0.5)), ((0.06, 0.16), (0.05, 0.1, 0.25, 0.5)))
EFFECT = 0.1
EFFECTS = {0.1: 0.1, 0.01: 0.3, 0.002: 0.8}
"""The effects that 50,000 users are enough for, at each base rate: for others there is less to be wrong about."""


def either(found: Streams, effect: float = EFFECT) -> tuple[np.ndarray, np.ndarray]:
    """Whether an experiment is decided at each look: a win, or evidence that the candidate is worse."""
    points = eprocess.around(math.log1p(effect))
    return log_e(found, points) >= WIN, log_e(found, points, down=True) >= WIN


def no_effect(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A/A experiments: how often each test says that there is a difference."""
    for rate, share in RATES:
        found = streams.binary(dice, runs, LOOKS, 50_000, rate, share=share)
        yield f"rate {rate}, share {share:.0%}", errors(found, EFFECTS[rate])
    for rates, shares in RAMPS:
        steps = "/".join(f"{100 * share:g}" for share in shares)
        found = streams.ramp(dice, runs, LOOKS, 50_000, rates, shares)
        yield f"ramp {steps} %, rate {rates[0]} to {rates[1]}", errors(found, EFFECT)
    for correlation in (0.02, 0.1):
        yield f"20 requests a user, correlation {correlation}", repeated(dice, min(runs, 1_000), correlation)


def errors(found: Streams, effect: float) -> dict[str, float]:
    """The share of runs that each test is wrong in."""
    up, down = either(found, effect)
    statistic = z(found)
    return {
        "win or worse, peeked": float((up | down).any(axis=1).mean()),
        "win, peeked": float(up.any(axis=1).mean()),
        "harm, peeked": float((log_e(found, eprocess.HARM) >= HARM).any(axis=1).mean()),
        "z, peeked": float(beyond(statistic, 0.05).any(axis=1).mean()),
        "z, once at the end": float(beyond(statistic[:, -1], 0.05).mean()),
    }


def repeated(dice: Dice, runs: int, correlation: float, looks: int = 40, users: int = 4_000) -> dict[str, float]:
    """A/A with users who come back: errors of requests, counted by user bucket."""
    found, _ = streams.clustered(dice, runs, looks, users, 0.1, correlation)
    a, b, share, _ = vectorised.dispersion(found)
    points = eprocess.around(math.log1p(EFFECT))
    up, down = (vectorised.log_e_at(*parts, points) >= WIN for parts in ((a, b, share), (b, a, 1 - share)))
    plain = Streams(*(part.sum(-1) for part in (found.units_a, found.units_b, found.events_a, found.events_b)))
    statistic = z(plain)
    return {
        "win or worse, peeked": float((up | down).any(axis=1).mean()),
        "win, peeked": float(up.any(axis=1).mean()),
        "harm, peeked": float((vectorised.log_e_at(a, b, share, eprocess.HARM) >= HARM).any(axis=1).mean()),
        "z, peeked": float(beyond(statistic, 0.05).any(axis=1).mean()),
        "z, once at the end": float(beyond(statistic[:, -1], 0.05).mean()),
    }


def power(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Rate .1, planned for +10 %: a test of fixed size needs 29,497 users."""
    planned = 29_497
    for lift in (0.0, 0.05, 0.1, 0.15, 0.2, -0.1):
        found = streams.binary(dice, runs, LOOKS, int(2.5 * planned), 0.1, lift)
        units = found.users_a[0] + found.users_b[0]
        up, down = either(found)
        when = first(up | down, units)
        statistic = z(found)
        at = int(np.searchsorted(units, planned))
        yield (
            f"{lift:+.0%}",
            {
                "found within the fixed size": float((when <= planned).mean()),
                "found within 2.5 times that": float(np.isfinite(when).mean()),
                "users on average": float(np.minimum(when, units[-1]).mean()),
                "fixed test": float(beyond(statistic[:, at], 0.05).mean()),
            },
        )


HARMS = ((0.01, 0.05), (0.005, 0.02), (0.001, 0.01), (0.01, 0.02), (0.01, 0.5), (0.01, 0.025), (0.01, 0.01))


def harm(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A canary with 10 % of the requests, looked at after every 20 of them."""
    for before, after in HARMS:
        looks = 200
        own = np.cumsum(dice.binomial(20, after, size=(runs, looks)), axis=1)
        other = np.cumsum(dice.binomial(180, before, size=(runs, looks)), axis=1)
        units = 20 * np.arange(1, looks + 1)
        whole = np.broadcast_to(units, own.shape)
        when = first(log_e(Streams(9 * whole, whole, other, own, (0.1,)), eprocess.HARM) >= HARM, units)
        yield (
            f"{before:.1%} to {after:.1%}",
            {
                "stopped after, median": float(np.median(when)),
                "95 % within": float(np.quantile(when, 0.95, method="higher")),
                "stopped within 2,000": float((when <= 2_000).mean()),
            },
        )


RATIOS = ((0.5, 0.5), (0.5, 0.52), (0.1, 0.1), (0.1, 0.09))


def sample_ratio(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Users that arrive in another ratio than planned, beside a chi-squared test at each look."""
    for planned, real in RATIOS:
        arriving = np.full(LOOKS, 250)
        own = np.cumsum(dice.binomial(arriving, real, size=(runs, LOOKS)), axis=1)
        units = np.cumsum(arriving)
        found = Streams(units - own, own, units - own, own, (planned,))
        both = [log_e(found, srm.PRIOR, down=down) for down in (False, True)]
        joint = np.logaddexp(*both) - math.log(2)
        score = np.logaddexp(joint + math.log(0.75), math.log(0.25))
        when = first(score >= -math.log(srm.ALPHA), units)
        naive = beyond((own - planned * units) / np.sqrt(units * planned * (1 - planned)), 0.05)
        yield (
            f"{planned:.0%} planned, {real:.0%} seen",
            {
                "found": float(np.isfinite(when).mean()),
                "users, median": float(np.median(when)),
                "chi-squared at .05, peeked": float(naive.any(axis=1).mean()),
            },
        )


def canaries(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Identical revisions at 50 %, looked at each of 25 minutes, and the rule of Flagger on the same counts."""
    gates = Gates(max_error_percent=1.0, confidence_percent=95.0, min_requests=200)
    for success, rate in ((0.995, 60), (0.995, 300), (0.99, 60), (0.99, 10)):
        own, other = (dice.binomial(rate, 1 - success, size=(runs, 25)) for _ in range(2))
        failed = np.cumsum((rate - own) / rate < 0.99, axis=1).max(axis=1) >= 5
        back = [_rolled_back(gates, a, b, rate) for a, b in zip(np.cumsum(other, 1), np.cumsum(own, 1), strict=True)]
        yield (
            f"{success:.1%} success, {rate} requests a minute",
            {
                "rolled back": float(np.mean(back)),
                "rolled back by Flagger's rule": float(failed.mean()),
            },
        )


def _rolled_back(gates: Gates, current: np.ndarray, candidate: np.ndarray, rate: int) -> bool:
    for look, (a, b) in enumerate(zip(current.tolist(), candidate.tolist(), strict=True), start=1):
        tallies = {"old": Tally(requests=look * rate, errors=a), "new": Tally(requests=look * rate, errors=b)}
        segment = Segment(60.0 * look, {"old": 50, "new": 50}, tallies)
        if judge_canary(gates, [segment], candidate="new", current="old").decision == "StopHarm":
            return True
    return False


def speed() -> float:
    """Milliseconds of the processor for one verdict on a segment with two arms."""
    design = Design(("a", "b"), "a", Objective(minimum_effect=0.1))
    tallies = {"a": Tally(users=9_000, outcomes=900), "b": Tally(users=9_000, outcomes=950)}
    segments = [Segment(86_400, {"a": 50, "b": 50}, tallies)]
    started = time.process_time()
    for _ in range(200):
        judge(design, segments)
    return (time.process_time() - started) / 200 * 1e3


TABLES: tuple[tuple[str, Callable[[Dice, int], Iterator[tuple[str, dict[str, float]]]]], ...] = (
    ("no effect", no_effect),
    ("power, rate .1, planned for +10 %", power),
    ("harm at 10 % of the requests", harm),
    ("sample ratio, 200 looks to 50,000 users", sample_ratio),
    ("identical canaries", canaries),
)


def table(title: str, rows: Sequence[tuple[str, dict[str, float]]]) -> Iterator[str]:
    """A Markdown table; shares have three digits, counts none."""
    yield from (f"| {title} | {' | '.join(rows[0][1])} |", "|---|" + "---|" * len(rows[0][1]))
    for name, values in rows:
        cells = (
            f"{v:,.0f}" if v > 1 and math.isfinite(v) else "never" if v > 1 else f"{v:.3f}" for v in values.values()
        )
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2_000, help="experiments in each row (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default 1)")
    chosen = parser.parse_args()
    dice = np.random.default_rng(chosen.seed)
    for title, rows in TABLES:
        print("\n".join(table(title, list(rows(dice, chosen.runs)))), "\n", flush=True)
    print(f"one verdict takes {speed():.2f} ms of the processor")


if __name__ == "__main__":
    main()
