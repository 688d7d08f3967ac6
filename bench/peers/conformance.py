"""`python -m bench.peers.conformance`: the table of `bench.conformance` on this server and on KServe's and MLServer's.

The same logistic regression on each. MLServer is told the metadata and the version, and its debug mode, which is on by
default, is off: with it a fault of the model is answered with a traceback. Two habits that would fail nearly every
prediction are let pass first, and counted in a line of their own: null for what is not there (KServe), ids that nobody
asked for (MLServer).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.conformance.__main__ import GROUPS, cases, run
from bench.conformance.case import Case, Target
from bench.peers import servers
from bench.peers.catalogue import PEERS
from bench.peers.dialects import NAME
from bench.peers.install import environment
from bench.peers.servers import Server
from bench.peers.subjects import SUBJECTS, Files, written
from bench.peers.table import versions

OUTPUTS = {"KServe": ("output-0",), "MLServer": ("predict",), "Trimtab": ("label", "probabilities")}
CORE = 1


@dataclass(frozen=True)
class Result:
    """What one server failed of, each case with the reason: leniently, and by the whole table."""

    name: str
    failed: Sequence[tuple[Case, str]]
    exactly: Sequence[tuple[Case, str]]


def tried(names: Sequence[str]) -> Iterator[Result]:
    """Start each server in turn, try it, end it."""
    subject = SUBJECTS["linear"]()
    chosen = cases(GROUPS[:4])
    with tempfile.TemporaryDirectory(prefix="trimtab-peers-") as folder:
        work = Path(folder)
        files = written(subject, work / "model")
        for name in names:
            with ExitStack() as stack:
                server, told, version = _server(name, files, work, stack)
                print(f"trying {name}", file=sys.stderr)
                row = tuple(subject.rows[0].tolist())
                url = f"http://127.0.0.1:{server.port}"
                target = Target(url, NAME, version, "input", "FP64", row, OUTPUTS[name])
                lenient, exactly = (run(each, chosen, quiet=True) for each in (replace(target, lenient=True), target))
                yield Result(told, lenient, exactly)


def _server(name: str, files: Files, work: Path, stack: ExitStack) -> tuple[Server, str, str]:
    if name == servers.TRIMTAB:
        digest = servers.imported(files, work)
        return stack.enter_context(servers.trimtab(work, digest, CORE, bearer=False)), name, digest[7:19]
    peer = next(peer for peer in PEERS if peer.name == name)
    home, folder = environment(peer.name, peer.requirements), work / name
    folder.mkdir()
    told = f"{name} {versions([peer], {name: home})[name]}"
    server = servers.peer(peer, home, files, SUBJECTS["linear"](), CORE, folder)
    return stack.enter_context(server), told, "1"


def passed(results: Sequence[Result]) -> list[str]:
    """A table of passed cases by group, a column for each server."""
    all_of = Counter(case.group for case in cases(GROUPS[:4]))
    lines = [f"| group | cases | {' | '.join(result.name for result in results)} |"]
    lines.append("|---" * (len(results) + 2) + "|")
    wrong = [Counter(case.group for case, _ in result.failed) for result in results]
    for group, count in all_of.items():
        lines.append(f"| {group} | {count} | {' | '.join(str(count - one[group]) for one in wrong)} |")
    total = all_of.total()
    exactly = " | ".join(str(total - len(result.exactly)) for result in results)
    lines.append(f"| all | {total} | {' | '.join(str(total - one.total()) for one in wrong)} |")
    return [*lines, f"| all, without lenience | {total} | {exactly} |"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts, then every case that a server fails leniently."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.conformance", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(OUTPUTS), default=list(OUTPUTS), help="default: all three")
    results = list(tried(parser.parse_args(arguments).only))
    print("\n".join(passed(results)))
    for result in results:
        print(f"\n{result.name} fails {len(result.failed)}:")
        for case, reason in result.failed:
            print(f"  {case.group:8} {case.name}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
