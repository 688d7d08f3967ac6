"""The commands of `kubectl trimtab`. What a command needs is imported when it runs, so that help comes at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from trimtab import __version__
from trimtab.cli.errors import BadInput

if TYPE_CHECKING:
    from trimtab.core.objects import Object

Command = Callable[..., Any]
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="kubectl-trimtab")
def main() -> None:
    """See and steer what Trimtab decides: experiments, rollouts, and who gets which arm."""


def cluster_options(command: Command) -> Command:
    """-n, --context and --kubeconfig, as kubectl has them."""
    for option in (
        click.option("--kubeconfig", type=click.Path(), help="Instead of $KUBECONFIG and ~/.kube/config."),
        click.option("--context", help="A context of the kubeconfig."),
        click.option("-n", "--namespace", help="The object's namespace; the context's, if not given."),
    ):
        command = option(command)
    return command


def output_option(*formats: str) -> Callable[[Command], Command]:
    """-o, with the first format as the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="The form of the answer.",
    )


@main.command()
@click.argument("file", type=click.Path(allow_dash=True))
def replay(file: str) -> None:
    """Judge recorded experiments again, by the code of the operator.

    FILE holds {"spec": <ABTest spec>, "segments": [...]}, one experiment a line when it ends in .jsonl; - is stdin.
    Prints for each experiment one line: a JSON list with the verdict after each segment.
    """
    from trimtab.cli.replaying import replayed

    for results in replayed(file):
        click.echo(json.dumps(results))


@main.command()
@click.argument("words", metavar="[abt/NAME|mdep/NAME] USER...", nargs=-1)
@click.option("--salt", default="", help="Assign without a cluster: what users are mixed with.")
@click.option("--weights", default="", help="Assign without a cluster: the arms and their percent, as in a=90,b=10.")
@click.option("--control", default="", help="With --weights: the arm that has what others leave [the first].")
@click.option("-f", "--file", type=click.Path(allow_dash=True), help="Take the object from a JSON file; - is stdin.")
@output_option("text", "json")
@cluster_options
def assign(
    words: tuple[str, ...], salt: str, weights: str, control: str, file: str | None, output: str, **where: str | None
) -> None:
    """Tell which arm each USER is given; - reads users from stdin, one a line.

    Either of a live object, or of a salt and weights: NAME=PERCENT, or NAME=PERCENT/RESERVED where an arm may grow.
    `explain` prints the salt and the weights of a live object.
    """
    from trimtab.cli import assigning

    offline = bool(salt or weights or control)
    if offline and not (salt and weights):
        raise BadInput("--salt and --weights go together: an assignment needs both")
    if offline and file:
        raise BadInput("-f: --salt and --weights say it all; leave one or the other out")
    name, users = ("", words) if offline or file else (words[0] if words else "", words[1:])
    status = assigning.drawn(salt, weights, control) if offline else assigning.routed(_object(name, file, where))
    if not users:
        raise BadInput("USER: name at least one user, or - to read them from stdin")
    found = assigning.assigned(status, _users(users))
    if output == "json":
        click.echo(json.dumps(list(found)))
        return
    for row in found:
        click.echo(f"{row['user']}\t{row['arm']}")


@main.command()
@click.argument("name", metavar="abt/NAME|mdep/NAME", required=False, default="")
@click.option("-f", "--file", type=click.Path(allow_dash=True), help="Take the object from a JSON file; - is stdin.")
@output_option("text", "json", "html")
@cluster_options
def explain(name: str, file: str | None, output: str, **where: str | None) -> None:
    """Tell how an experiment or a rollout stands, what was decided, and on what evidence.

    -o html writes one page that needs nothing else: kubectl trimtab explain abt/NAME -o html > page.html
    """
    from trimtab.cli import findings, page, text

    found = findings.findings(_object(name, file, where))
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(page.render(found) if output == "html" else text.render(found), nl=output == "text")


@main.command()
@click.argument("name", metavar="mdep/NAME", required=False, default="")
@click.option("-f", "--file", type=click.Path(allow_dash=True), help="Take the object from a JSON file; - is stdin.")
@click.option("--html", type=click.Path(), help="Of mdep/NAME: write a page with the distributions to this file.")
@click.option("--reference", type=click.Path(), help="A CSV file with a header: what the model was trained on.")
@click.option("--current", type=click.Path(), help="Compare this CSV file with the reference.")
@click.option("--replay", type=click.Path(), help="Go through this dated CSV file as the operator would.")
@click.option("--time", help="The column with the time, in ISO 8601 or seconds since 1970, in all files. For --replay.")
@click.option("--categorical", default="", help="Columns of numbers that are categories, as in a,b.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON; --replay always does.")
@cluster_options
def drift(name: str, file: str | None, html: str | None, as_json: bool, categorical: str, **given: str | None) -> None:
    """Tell whether a model's traffic has drifted, or data in files, by the code of the operator.

    Of mdep/NAME, what its status says, and with --html or --json also what its pods have counted. Without a cluster,
    either --reference and --current, or --replay and --time: then one JSON object for each look, and the reference is
    the first quarter of the rows unless --reference is given. With --time, what is shorter than a day is compared with
    the same hours of the day.
    """
    from trimtab.cli import drifting

    files = {key: given.pop(key) for key in ("reference", "current", "replay", "time")}
    offline = [f"--{key}" for key, value in {**files, "categorical": categorical}.items() if value]
    if not name and not file:
        if html:
            raise BadInput("--html: a page is made of a deployment alone: name mdep/NAME")
        drifting.answer(drifting.asked(categorical=categorical, **files), as_json=as_json)
    elif offline:
        raise BadInput(f"{name or '-f'}: it is judged as it serves; leave out {', '.join(offline)}")
    else:
        _live_drift(name, file, html, as_json, given)


def _live_drift(name: str, file: str | None, html: str | None, as_json: bool, where: dict[str, str | None]) -> None:
    from trimtab.cli import driftview, live

    obj = _object(name, file, where)
    if obj["kind"] != "ModelDeployment":
        raise BadInput(f"{name or file}: {obj['kind']} has no drift; name a ModelDeployment, as mdep/NAME")
    seen, notes = None, list[str]()
    if not file and (html or as_json):
        from trimtab.cli.cluster import Cluster

        seen, notes = live.traffic(obj, Cluster(**where))
    found = live.findings(obj, seen, notes)
    if html:
        driftview.write_page(html, found, seen)
    click.echo(json.dumps(found, indent=2) if as_json else driftview.render(found))


def _steering(verb: str, help_: str) -> None:
    """One of the commands that annotate an object."""

    @main.command(verb, help=help_)
    @click.argument("name", metavar="mdep/NAME|abt/NAME")
    @cluster_options
    def steer(name: str, **given: str | None) -> None:
        _order(verb, name, "", given)


def _choosing(verb: str, help_: str) -> None:
    """One of the commands that may also say whom they mean."""

    @main.command(verb, help=help_)
    @click.argument("name", metavar="mdep/NAME|abt/NAME")
    @click.option("--revision", help="The revision that is meant; the one rolling out, if not given. For mdep.")
    @click.option("--arm", help="The arm that is meant; the winner, if not given. For abt.")
    @cluster_options
    def choose(name: str, revision: str | None, arm: str | None, **where: str | None) -> None:
        short = name.partition("/")[0].lower()
        if arm and short.startswith("m"):
            raise BadInput(f"--arm: {name} has revisions, not arms; give --revision")
        if revision and short.startswith("a"):
            raise BadInput(f"--revision: {name} has arms, not revisions; give --arm")
        _order(verb, name, revision or arm or "", where)


def _order(verb: str, name: str, choice: str, where: dict[str, str | None]) -> None:
    from trimtab.cli import steer, target
    from trimtab.cli.cluster import Cluster

    meant = target.parse(name)
    cluster = Cluster(**where)
    order = steer.order(verb, cluster.get(meant), choice)
    cluster.annotate(meant, order.annotations)
    click.echo(f"{meant}: {order.effect}")


def _object(name: str, file: str | None, where: dict[str, str | None]) -> Object:
    """The object that was named, from a file or from the cluster."""
    from trimtab.cli import target

    if file and name:
        raise BadInput(f"-f: the file says which object it is; leave out {name}")
    if file:
        return target.read(file)
    if not name:
        raise BadInput("name an object: abt/NAME or mdep/NAME, or give -f FILE")
    meant = target.parse(name)
    from trimtab.cli.cluster import Cluster

    return Cluster(**where).get(meant)


def _users(words: tuple[str, ...]) -> list[str]:
    """The users named, those on stdin in the place of `-`."""
    found: list[str] = []
    for word in words:
        found += _lines(sys.stdin.read()) if word == "-" else [word]
    return found


def _lines(text: str) -> list[str]:
    """Those that are not blank; a byte order mark is no part of the first."""
    return [line for line in text.removeprefix("\ufeff").splitlines() if line.strip()]


_steering("pause", "Hold the rollout of a ModelDeployment where it is. Harm still sends it back.")
_steering("resume", "Let a rollout that was paused go on.")
_choosing("promote", "Give all traffic to the candidate of a rollout, or to an arm of an experiment.")
_choosing("abort", "Send back the candidate of a rollout, or end an experiment without a winner.")
