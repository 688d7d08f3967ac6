"""How often drift is claimed where there is none, how soon a real one is seen, and rival rules on the same streams.

    python -m bench.drift [--months 3] [--runs 20] [--seed 1]

Twenty features, counts in deciles, a look every 5 minutes; every stream is simulated.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from bench.drift.show import show
from bench.drift.simulated import apart, cost, cycles, delays, stationary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=3, help="simulated months for each of the mixes")
    parser.add_argument("--runs", type=int, default=20, help="simulated shifts for each delay")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    dice, began = np.random.default_rng(given.seed), time.process_time()
    show("False episodes a month (share of the time in alarm), without drift", stationary(dice, given.months))
    show("Minutes from a shift to the alarm, median", delays(dice, given.runs))
    show("A daily cycle of 0.5 sd: alarms without a shift, and minutes to one", cycles(dice, given.months, given.runs))
    show("Alarms a month where five features hang on slow weather", apart(dice, given.months))
    show("Looks at 20 numbers, of one deployment and of many", cost(dice))
    print(f"\n{time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
