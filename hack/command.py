"""Runs other programs: with a time limit, an error that quotes their last words, and no orphans.

A child dies with this process (`setpriv --pdeathsig`): an `up` that is killed must not leave a build, a debootstrap or
an apt running behind the next one's back.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import click

LAST_LINES = 20


class Failure(click.ClickException):
    """Something the user has to know about; `hack` commands print it without a traceback and exit with 1."""


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> str:
    """Run a short command and return its standard output; `timeout` in seconds, `env` is added to ours."""
    words = [*_leash(), *map(str, argv)]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"`{shown(argv)}` did not end within {timeout:.0f} s") from error
    if check and done.returncode != 0:
        raise Failure(f"`{shown(argv)}` ended with {done.returncode}:\n{tail(done.stderr or done.stdout)}")
    return done.stdout


def run_logged(
    argv: Sequence[str | Path],
    log: Path,
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a long command with its output in the file `log`; on failure the error quotes the file's end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [*_leash(), *map(str, argv)]
    with log.open("wb") as out:
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"`{shown(argv)}` did not end within {timeout:.0f} s; its output is in {log}") from error
    if done.returncode != 0:
        text = log.read_text(errors="replace")
        raise Failure(f"`{shown(argv)}` ended with {done.returncode}; the end of {log}:\n{tail(text)}")


def shown(argv: Sequence[str | Path]) -> str:
    """Return a command as one would type it, cut to a line."""
    text = shlex.join(map(str, argv))
    return text if len(text) <= 160 else text[:157] + "..."


def tail(text: str, lines: int = LAST_LINES) -> str:
    """Return the last lines of a program's output, or say that there was none."""
    kept = text.strip().splitlines()[-lines:]
    return "\n".join(kept) if kept else "(no output)"


@cache
def _leash() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()
