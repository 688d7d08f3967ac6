"""Evidently's default choice of test and threshold, of each column in each window; or the time that a preset takes."""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType

warnings.filterwarnings("ignore")


def drifted(reference, current, categorical):
    """Whether each column is claimed to have drifted."""
    found = []
    for name in current:
        kind = ColumnType.Categorical if name in categorical else ColumnType.Numerical
        if not current[name].notna().any():
            found.append(True)
            continue
        test = get_stattest(reference[name], current[name], kind, None)
        chosen = test(reference[name].dropna(), current[name].dropna(), kind, None)
        found.append(bool(chosen.drifted))
    return found


def windows(frame, reference, bounds, categorical):
    """A list for each window: the columns that drifted."""
    return [drifted(reference, frame.iloc[start:stop], categorical) for start, stop in bounds]


def preset(reference, current):
    """Seconds of processor and clock that the preset for drift takes."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    processor, clock = time.process_time(), time.perf_counter()
    Report([DataDriftPreset()]).run(current, reference).dict()
    return {"processor": time.process_time() - processor, "clock": time.perf_counter() - clock}


def main():
    asked = json.loads(sys.argv[1])
    tables = {name: pd.read_pickle(path) for name, path in asked["tables"].items()}
    if asked["what"] == "preset":
        found = preset(tables["reference"], tables["current"])
    else:
        found = [
            windows(tables[f"current {i}"], tables[f"reference {i}"], stream["bounds"], set(stream["categorical"]))
            for i, stream in enumerate(asked["streams"])
        ]
    print(json.dumps(found, default=np.generic.item))


main()
