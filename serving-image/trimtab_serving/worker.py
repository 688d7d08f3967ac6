"""One server process: everything between a listening socket and the model, put together."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import uvicorn

from trimtab_serving.app import Application
from trimtab_serving.bundle import BundleInfo, read_info
from trimtab_serving.connection import Connection
from trimtab_serving.counting.fold import Folder
from trimtab_serving.counting.layout import Layout
from trimtab_serving.counting.profile import read_profile
from trimtab_serving.counting.recorder import Recorder
from trimtab_serving.counting.rows import check_features
from trimtab_serving.counting.state import State
from trimtab_serving.lifecycle import ALONE, Beside, DrainingServer, Lifecycle, Part
from trimtab_serving.metrics import Metrics
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.outcomes.feedback import FeedbackDesk
from trimtab_serving.outcomes.ledger import Ledger
from trimtab_serving.outcomes.tally import Tally
from trimtab_serving.outcomes.token import Signer
from trimtab_serving.settings import Settings

log = logging.getLogger("trimtab")

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 120
FINISH_SECONDS = 10
"""After the drain: how long requests that had begun may still take."""

KEY_BYTES = 32
KEY_FILE = "token-key"
OUTCOMES_FILE = "outcomes"
SECONDS_A_DAY = 86400


class Pod(NamedTuple):
    """What all workers of a pod have in common, read once before the first of them starts."""

    settings: Settings
    info: BundleInfo
    layout: Layout
    directory: Path
    workers: int
    """Server processes. A Python model has one, and predictors behind it."""


def prepare(settings: Settings) -> Pod:
    """Read the bundle's description and decide where the counts are kept; Failure when that cannot be."""
    info = read_info(settings.bundle_dir)
    profile = read_profile(settings.bundle_dir, info.profile) if settings.counting else None
    layout = Layout(info, profile)
    try:
        check_features(layout.features, info)
    except ValueError as error:
        message = f"profile.json in {settings.bundle_dir} is of another model: {error}; import the model again"
        raise Failure(Reason.BUNDLE_INVALID, message) from error
    name = f"{settings.revision}-{layout.fingerprint}-{settings.port}"
    workers = settings.workers if info.runtime == "onnx" else 1
    return Pod(settings, info, layout, settings.state_dir / name, workers)


def serve(pod: Pod, listener: socket.socket, part: Part = ALONE) -> None:
    """Serve until told to stop; Failure when the bundle cannot be loaded."""
    settings = pod.settings
    metrics = _metrics(pod, State(Folder(pod.layout), pod.directory, part.number))
    lifecycle = Lifecycle(settings, metrics, part)
    Connection.max_connections = settings.max_connections
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
    DrainingServer(config, lifecycle, metrics, _beside(lifecycle, metrics)).run([listener])
    if lifecycle.failure is not None:
        raise lifecycle.failure
    log.info("stopped", extra={"worker": part.number})


def _beside(lifecycle: Lifecycle, metrics: Metrics) -> Beside | None:
    port = lifecycle.settings.grpc_port
    if not port:
        return None
    try:
        from trimtab_serving.rpc.server import RpcServer
    except ImportError as error:
        message = (
            f"TRIMTAB_GRPC_PORT is {port}, but this image has no gRPC ({error}); use the toolbox image, or unset it"
        )
        raise Failure(Reason.SETTINGS_INVALID, message) from error
    return RpcServer(lifecycle, metrics, port)


def _metrics(pod: Pod, state: State) -> Metrics:
    settings = pod.settings
    signer = desk = None
    if settings.counting:
        signer = Signer(token_key(settings, pod.directory), settings.revision)
        tally = Tally(pod.layout, settings.revision)
        ledger = Ledger(pod.directory / OUTCOMES_FILE, tally.whole, tally.sums)
        desk = FeedbackDesk(signer, ledger, tally, settings.token_days * SECONDS_A_DAY)
    recorder = Recorder(state, pod.info, rows=settings.counting, signer=signer, user_header=settings.user_header)
    metrics = Metrics(settings.model_name, settings.revision, recorder, desk)
    metrics.identity |= {"version": settings.model_version, "digest": settings.digest, "workers": pod.workers}
    if pod.info.profile is not None:
        metrics.identity["profile"] = pod.info.profile
    return metrics


def token_key(settings: Settings, directory: Path) -> bytes:
    """The replicas' common key; without one, a random key of this pod, kept as long as its counts."""
    if settings.token_key:
        return settings.token_key.encode()
    path, draft = directory / KEY_FILE, directory / f"{KEY_FILE}-{os.getpid()}"
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_bytes(KEY_BYTES))
        try:
            # A link fails when another worker was first: its key is everybody's.
            os.link(draft, path)
            log.info("TRIMTAB_TOKEN_KEY is not set: only this pod will take outcomes of its predictions")
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()


def end_process(code: int) -> None:
    """Leave now: an ordinary exit would wait for a prediction that has outlived its last seconds in a thread."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
