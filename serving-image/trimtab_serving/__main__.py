"""Start the server: from the contract's environment in a pod, from flags anywhere else."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvicorn

from trimtab_serving import logs
from trimtab_serving.app import Application
from trimtab_serving.connection import Connection
from trimtab_serving.fetch import fetch
from trimtab_serving.lifecycle import DrainingServer, Lifecycle
from trimtab_serving.metrics import Metrics
from trimtab_serving.outcome import Failure, report
from trimtab_serving.settings import DEFAULT_PORT, Settings, from_environment, result_path
from trimtab_serving.store import open_store

log = logging.getLogger("trimtab")

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 120
FINISH_SECONDS = 10
"""After the drain: how long requests that had begun may still take."""


def serve(settings: Settings) -> None:
    """Serve until told to stop; Failure when the bundle cannot be loaded."""
    metrics = Metrics(settings.model_name, settings.revision)
    lifecycle = Lifecycle(settings, metrics)
    config = uvicorn.Config(
        Application(lifecycle, metrics),
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        # Longer than the idle time of proxies and client pools, so that they close first and lose no request.
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    with listen(settings.port) as listener:
        DrainingServer(config, lifecycle).run([listener])
    if lifecycle.failure is not None:
        raise lifecycle.failure
    log.info("stopped")


def listen(port: int) -> socket.socket:
    """A socket on every address, IPv6 and IPv4 where the machine has both."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the server and return the exit code."""
    logs.configure()
    options = _parser().parse_args(arguments)
    try:
        if options.store is None:
            serve(from_environment(environ))
        else:
            _serve_from_store(options)
    except Failure as failure:
        report(result_path(environ), failure.result())
        log.error(failure.message, extra={"reason": failure.reason.value})
        return failure.exit_code
    return 0


def _serve_from_store(options: argparse.Namespace) -> None:
    uri = options.store if "://" in options.store else Path(options.store).resolve().as_uri()
    with tempfile.TemporaryDirectory(prefix="trimtab-") as directory:
        bundle = Path(directory, "bundle")
        fetch(open_store(uri), options.digest, bundle)
        serve(Settings(options.name, options.digest[7:19], options.digest, bundle, port=options.port))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimtab-serve",
        description="Serve one model bundle. In a pod the environment says which; elsewhere give a store.",
    )
    parser.add_argument("--store", help="directory or URI of the model store; without it, the environment decides")
    parser.add_argument("--digest", default="", help="the bundle: sha256:<64 hex digits>")
    parser.add_argument("--name", default="model", help="the model's name in the path (default: model)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}")
    return parser


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Not sys.exit: that would wait for a prediction that has outlived its last seconds in another thread.
    os._exit(code)
