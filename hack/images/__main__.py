"""`python -m hack.images build|load|refs [NAMES…]`."""

from __future__ import annotations

import json

import click

from hack import images


@click.group(help=__doc__)
def main() -> None:
    """Hold the commands."""


@main.command()
@click.argument("names", nargs=-1)
def build(names: tuple[str, ...]) -> None:
    """Build images whose content changed (all, or those named) and print their full names."""
    _print(images.build(images.select(names)))


@main.command()
@click.argument("names", nargs=-1)
def load(names: tuple[str, ...]) -> None:
    """Build what is needed, copy it into the running cluster, and print the full names."""
    built = images.build(images.select(names))
    images.load(built.values())
    _print(built)


@main.command()
@click.option("--helm", is_flag=True, help="As arguments for `helm install`, not as JSON.")
def refs(helm: bool) -> None:
    """Print the full names that the present sources give the images, without building anything."""
    full_names = images.references()
    click.echo(" ".join(images.helm_arguments(full_names)) if helm else json.dumps(full_names, indent=2))


def _print(full_names: dict[str, str]) -> None:
    for full_name in full_names.values():
        click.echo(full_name)


if __name__ == "__main__":
    main()
