"""How a command fails: one line on stderr that says what is wrong, where, and what to do."""

from __future__ import annotations

from typing import IO, Any

import click

BAD_INPUT = 2


class Failure(click.ClickException):
    """The command was understood and cannot be done. Exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """One line, without a prefix that says no more than the exit code."""
        click.echo(self.message, err=True)


class BadInput(Failure):
    """What was given makes no sense. Exit code 2, as for bad options."""

    exit_code = BAD_INPUT
