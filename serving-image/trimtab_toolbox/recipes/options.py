"""What a recipe is asked to do, by flags or variables, and the run it does it in.

The variables are not called TRIMTAB_…: those are the operator's, and a RetrainSchedule refuses them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.running import training_run

DEFAULT_MAX_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Flag:
    """A number that one recipe alone takes: its flag, its variable, its default, and what it is."""

    name: str
    variable: str
    default: int
    text: str


@dataclass(frozen=True, slots=True)
class Options:
    """Where the rows are, what is learnt from them, and `numbers`, the recipe's own flags by name."""

    data: str
    target: str
    metric: str
    model_name: str
    time: str = ""
    until: str = ""
    drop: tuple[str, ...] = ()
    holdout_percent: int = 20
    max_bytes: int = DEFAULT_MAX_BYTES
    numbers: Mapping[str, int] = field(default_factory=dict)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _invalid(f"{message}; see --help")


@contextmanager
def recipe(description: str, *flags: Flag) -> Iterator[tuple[TrainingRun, Options]]:
    """The run of this process and what it is asked to do; wrong flags are an outcome of the run like others."""
    wrong: Failure | None = None
    options = Options("", "", "", "")
    try:
        options = read_options(description, flags, sys.argv[1:], os.environ)
    except Failure as failure:
        if not os.environ.get("TRIMTAB_RUN_ID"):
            raise SystemExit(failure.message) from failure
        wrong = failure
    with training_run() as run:
        if wrong is not None:
            raise wrong
        yield run, options


def read_options(
    description: str, flags: Sequence[Flag], arguments: Sequence[str], environ: Mapping[str, str]
) -> Options:
    """The options that flags and variables make; Failure SettingsInvalid names the one that is wrong."""
    given = _parser(description, flags, environ).parse_args(arguments)
    for name in ("data", "target"):
        if not getattr(given, name):
            raise _invalid(f"--{name} (RECIPE_{name.upper()}) is not set")
    if given.until and not given.time:
        raise _invalid("--until needs --time: only rows with a time can be told to be early enough")
    return Options(
        data=given.data,
        target=given.target,
        metric=_metric(given.metric),
        model_name=given.name,
        time=given.time,
        until=given.until,
        drop=tuple(name for name in given.drop.split(",") if name),
        holdout_percent=_between("--holdout-percent", given.holdout_percent, 1, 50),
        max_bytes=_between("--max-bytes", given.max_bytes, 1, 1 << 60),
        numbers={
            flag.name: _between(f"--{flag.name}", getattr(given, flag.name.replace("-", "_")), 1, 1_000_000)
            for flag in flags
        },
    )


def _parser(description: str, flags: Sequence[Flag], environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(description=description)

    def flag(name: str, variable: str, default: str, text: str) -> None:
        parser.add_argument(f"--{name}", default=environ.get(variable) or default, help=f"{text} [{variable}]")

    flag("data", "RECIPE_DATA", "", "CSV or Parquet: a path, or an https://, s3://, gs://, az:// or hf:// address")
    flag("target", "RECIPE_TARGET", "", "the column to predict")
    flag("metric", "RECIPE_METRIC", "roc_auc", "what to be good at, as in a gate; mae, rmse and r2 make a regression")
    flag("name", "TRIMTAB_MODEL_NAME", "model", "the registered model")
    flag("time", "RECIPE_TIME", "", "a column of times: what is held out is then later than what is learnt from")
    flag("until", "RECIPE_UNTIL", "", "rows of this time or later are not looked at: where the gate's holdout begins")
    flag("drop", "RECIPE_DROP", "", "columns that are no features, with commas between them")
    flag("holdout-percent", "RECIPE_HOLDOUT_PERCENT", "20", "how much is held out to measure on")
    flag("max-bytes", "RECIPE_MAX_BYTES", str(DEFAULT_MAX_BYTES), "refuse data larger than this")
    for own in flags:
        flag(own.name, own.variable, str(own.default), own.text)
    return parser


def _metric(given: str) -> str:
    from trimtab_toolbox.evaluation.metrics import METRICS

    # A gate in YAML says RocAuc.
    metric = {name.replace("_", ""): name for name in METRICS}.get(given.replace("_", "").lower(), "")
    if not metric:
        raise _invalid(f"--metric is {given!r}; it must be one of {', '.join(METRICS)}")
    return metric


def _between(name: str, value: str, least: int, most: int) -> int:
    number = int(value) if value.isdecimal() else -1
    if not least <= number <= most:
        raise _invalid(f"{name} is {value!r}; it must be a whole number from {least} to {most}")
    return number


def _invalid(message: str) -> Failure:
    return Failure(Reason.SETTINGS_INVALID, message)
