"""Start the server: from the contract's environment in a pod, from flags anywhere else."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trimtab_serving import logs, worker
from trimtab_serving.auth import require_tokens
from trimtab_serving.fetch import fetch
from trimtab_serving.lifecycle import Part
from trimtab_serving.outcome import Failure, Reason, report
from trimtab_serving.settings import DEFAULT_PORT, MAX_WORKERS, Settings, from_environment, result_path
from trimtab_serving.store import open_store
from trimtab_serving.supervisor import Supervisor

log = logging.getLogger("trimtab")

MAX_FILES = 65536


def serve(settings: Settings) -> int:
    """Serve until told to stop; Failure when the bundle cannot be loaded, else the exit code."""
    require_tokens(settings.tokens_dir)
    pod = worker.prepare(settings)
    _allow_files()
    with listen(settings.port) as listener:
        if pod.workers == 1:
            worker.serve(pod, listener)
            return 0
        run = time.time()

        def work(number: int, replaces: bool) -> int:
            part = Part(number, pod.workers, run, replaces)
            return guarded(lambda: worker.serve(pod, listener, part), settings.result_path)

        return Supervisor(pod.workers, work, listener.close).run()


def guarded(step: Callable[[], int | None], last_words: str) -> int:
    """The exit code of a step; what it failed of is reported where Kubernetes looks, and logged."""
    try:
        return step() or 0
    except Failure as failure:
        report(last_words, failure.result())
        log.error(failure.message, extra={"reason": failure.reason.value})
        return failure.exit_code


def _allow_files() -> None:
    """Let as many connections be open as the system allows; the usual soft limit is a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(port: int) -> socket.socket:
    """A socket on every address, IPv6 and IPv4 where the machine has both; SettingsInvalid when it cannot be had."""
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=worker.BACKLOG)
        return socket.create_server(("", port), backlog=worker.BACKLOG)
    except (OSError, OverflowError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else error
        message = f"nothing can listen on port {port}: {why}; choose another one"
        raise Failure(Reason.SETTINGS_INVALID, message) from error


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the server and return the exit code."""
    logs.configure()
    options = _parser().parse_args(arguments)
    if options.store is None:
        return guarded(lambda: serve(from_environment(environ)), result_path(environ))
    return guarded(lambda: _serve_from_store(options), result_path(environ))


def _serve_from_store(options: argparse.Namespace) -> int:
    uri = options.store if "://" in options.store else Path(options.store).resolve().as_uri()
    with tempfile.TemporaryDirectory(prefix="trimtab-") as directory:
        bundle = Path(directory, "bundle")
        fetch(open_store(uri), options.digest, bundle)
        settings = Settings(
            model_name=options.name,
            model_version=options.digest[7:19],
            digest=options.digest,
            bundle_dir=bundle,
            port=options.port,
            workers=options.workers,
            state_dir=Path(directory, "state"),
        )
        return serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimtab-serve",
        description="Serve one model bundle. In a pod the environment says which; elsewhere give a store.",
    )
    parser.add_argument("--store", help="directory or URI of the model store; without it, the environment decides")
    parser.add_argument("--digest", default="", help="the bundle: sha256:<64 hex digits>")
    parser.add_argument("--name", default="model", help="the model's name in the path (default: model)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}")
    parser.add_argument(
        "--workers", type=int, default=1, choices=range(1, MAX_WORKERS + 1), metavar="N", help="processes (default: 1)"
    )
    return parser


if __name__ == "__main__":
    worker.end_process(main())
