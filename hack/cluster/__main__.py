"""`python -m hack.cluster up|down|status`."""

from __future__ import annotations

import time

import click

from hack.cluster import engine, kubectl, paths, processes
from hack.command import Failure
from hack.progress import elapsed, say


@click.group(help=__doc__)
def main() -> None:
    """Hold the commands."""


@main.command()
def up() -> None:
    """Bring up a real Kubernetes on this machine (kind, or plain processes where Docker cannot run it)."""
    began = time.monotonic()
    how = engine.up()
    say(f"the cluster is up ({how}, {elapsed(time.monotonic() - began)}): export KUBECONFIG={paths.KUBECONFIG}")


@main.command()
@click.option("--purge", is_flag=True, help="Also remove the cache: programs, images, layers.")
def down(purge: bool) -> None:
    """Take the cluster down and leave nothing of it on the machine but the cache."""
    engine.down(purge)
    say("the cluster is down")


@main.command()
def status() -> None:
    """Show what runs; exits with 1 when something that should does not."""
    how = engine.require()
    click.echo(f"KUBECONFIG  {paths.KUBECONFIG}")
    click.echo(f"runs as     {how}")
    broken = _processes() if how == "processes" else []
    click.echo(kubectl.kubectl("get", "nodes", "-o", "wide", check=False).rstrip() or "the API server does not answer")
    click.echo("images:")
    for name in engine.images():
        click.echo(f"  {name}")
    if broken:
        raise Failure(f"{', '.join(broken)} should run but does not: repeat `make up`")


def _processes() -> list[str]:
    from hack.cluster.components import PROGRAMS

    alive = processes.components()
    names = ["containerd", *(name for name in PROGRAMS if name != "kubectl")]
    for name in names:
        state = f"pid {alive[name].pid}" if name in alive else f"not running, log in {paths.LOG / name}.log"
        click.echo(f"  {name:<24} {state}")
    return [name for name in names if name not in alive]


if __name__ == "__main__":
    main()
