"""`python -m bench.peers`: requests a second and latencies of the same models on this server and on others.

For each model all servers are started side by side on one core and asked to be right. Then the load generator, on
another core, visits them in turn in short rounds, so that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.machine import Meter
from bench.peers import servers, table
from bench.peers.cases import CASES, Case
from bench.peers.catalogue import PEERS, Peer
from bench.peers.dialects import PROTOCOL
from bench.peers.install import PeerError, environment
from bench.peers.load import LoadError, NothingAnsweredError, Round, children_seconds, drive, require_wrk
from bench.peers.servers import Server
from bench.peers.subjects import SUBJECTS, Subject, written

SERVER_CORE, LOAD_CORE = 1, 0
ROUND_SECONDS = 1
LONGEST_SECONDS = 16
LEAST_TURNS = 10
"""What is under way when a round ends is not counted: each connection must have had so many answers, or the round is
repeated with four times its length, up to the longest."""


@dataclass
class Run:
    """All that one run found out."""

    homes: dict[str, Path]
    rounds: dict[Case, dict[str, list[Round]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)

    def subject(self, name: str, rounds: int, peers: Sequence[Peer]) -> None:
        """Train, serve and measure one model."""
        subject = SUBJECTS[name]()
        with tempfile.TemporaryDirectory(prefix="trimtab-peers-") as work, ExitStack() as stack:
            started = self._started(subject, Path(work), peers, stack)
            cases = [case for case in CASES if case.subject == name]
            meter = Meter(lambda: _used(started))
            try:
                for case in cases:
                    self.rounds[case] = self._case(case, subject, started, rounds, Path(work))
            except LoadError as error:
                self.left_out.append(f"{subject.name}, from here on: {error}")
            for program, seconds in meter.spent().items():
                self.spent[program] = self.spent.get(program, 0.0) + seconds

    def _started(self, subject: Subject, work: Path, peers: Sequence[Peer], stack: ExitStack) -> list[Server]:
        files = written(subject, work / "model")
        digest = servers.imported(files, work)
        started = [
            stack.enter_context(servers.trimtab(work, digest, SERVER_CORE, counting=counting))
            for counting in (True, False)
        ]
        started.append(replace(started[0], name=servers.PROBABILITIES, dialect=PROTOCOL))
        for server in started:
            server.check(subject)
        for peer in peers:
            folder = work / peer.name
            folder.mkdir()
            try:
                home = self.homes[peer.name]
                server = stack.enter_context(servers.peer(peer, home, files, subject, SERVER_CORE, folder))
                server.check(subject)
                started.append(server)
            except (PeerError, OSError, KeyError, TypeError, ValueError) as error:
                self.left_out.append(f"{subject.name}: {error}")
        return started

    def _case(
        self, case: Case, subject: Subject, started: list[Server], rounds: int, work: Path
    ) -> dict[str, list[Round]]:
        found: dict[str, list[Round]] = {server.name: [] for server in started}
        bodies = {server.name: work / f"{server.name}-{case.rows}.json" for server in started}
        for server in started:
            bodies[server.name].write_bytes(server.dialect.encoded(subject, 0, case.rows))
        for number in range(rounds):
            print(f"{case.title}: round {number + 1} of {rounds}", file=sys.stderr)
            for server in started if number % 2 == 0 else started[::-1]:
                found[server.name].append(_measured(server, bodies[server.name], case))
        return found


def _measured(server: Server, body: Path, case: Case, seconds: int = ROUND_SECONDS) -> Round:
    before = server.processor_seconds()
    try:
        one = drive(LOAD_CORE, server.url, body, server.bearer, case.connections, seconds)
    except NothingAnsweredError:
        one = None
    except LoadError as error:
        raise LoadError(f"{server.name}, {case.title}: {error}") from error
    if one is None or one.requests < LEAST_TURNS * case.connections:
        if seconds < LONGEST_SECONDS:
            return _measured(server, body, case, 4 * seconds)
        if one is None:
            raise LoadError(f"{server.name}, {case.title}: no request was answered in {seconds} s")
    return replace(one, processor=server.processor_seconds() - before)


def _used(started: Sequence[Server]) -> dict[str, float]:
    used = {server.name: server.processor_seconds() for server in started if server.name != servers.PROBABILITIES}
    own = os.times()
    return used | {"load generator and bench": children_seconds() + own.user + own.system}


def installed(peers: Sequence[Peer]) -> tuple[dict[str, Path], list[str]]:
    """Environments by peer, and why there is none for the others."""
    homes, failures = {}, []
    for peer in peers:
        try:
            homes[peer.name] = environment(peer.name, peer.requirements)
        except PeerError as error:
            failures.append(str(error))
    return homes, failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, measure, print."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # so that the servers are ended too
    require_wrk()
    chosen = [peer for peer in PEERS if not options.only or peer.name in options.only]
    homes, failures = installed(chosen)
    run = Run(homes, left_out=failures)
    rounds = max(1, round(options.seconds / ROUND_SECONDS))
    with contextlib.suppress(KeyboardInterrupt):
        for name in options.models:
            run.subject(name, rounds, [peer for peer in chosen if peer.name in homes])
    print(table.render(run.rounds, table.versions(chosen, homes), run.left_out, run.spent))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--models", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS), help="default: all")
    parser.add_argument("--seconds", type=int, default=10, help="of load, for each server and case (default: 10)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
