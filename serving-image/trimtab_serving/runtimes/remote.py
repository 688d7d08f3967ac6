"""A runtime in processes of its own: a Python model that computes, sleeps or crashes does it elsewhere.

The server's process never loads the model, so no global lock of a `predict` delays a health check and no fault of
a native library takes the server along. A predictor that dies is started again for the next request; the
requests it held get an error, because what killed it may be one of them. One whose threads are all held by predictions
that nobody waits for any more is ended: they may never end, and the pod would be ready and answer no one.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

from trimtab_serving import heap
from trimtab_serving.bundle import BundleInfo
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.runtimes import ModelRefused, Runtime

log = logging.getLogger("trimtab.predictor")

THREADS = 4
"""Predictions a predictor runs at a time: those that wait for something let others compute."""

STOP_SECONDS = 2


class PredictorDiedError(RuntimeError):
    """The process with the model ended while it worked on a request."""


class RemoteRuntime:
    """The Python runtime's interface, answered by `count` processes within `patience` seconds each time."""

    platform = "trimtab_python"

    def __init__(self, info: BundleInfo, directory: Path, count: int, patience: float) -> None:
        self._info, self._directory, self._patience = info, directory, patience
        self._turn = itertools.count()
        self._locks = [threading.Lock() for _ in range(count)]
        with ThreadPoolExecutor(count) as starters:
            self._predictors = list(starters.map(lambda _: Predictor(info, directory), range(count)))

    @property
    def slots(self) -> int:
        """How many predictions run at a time."""
        return THREADS * len(self._predictors)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Predict on the process with the least to do; ModelRefused and faults come back as they were raised.

        TimeoutError when there is no answer in time.
        """
        place = self._pick()
        with self._locks[place]:
            if self._predictors[place].dead:
                log.warning("a predictor died and is started again", extra={"predictor": place})
                self._predictors[place] = Predictor(self._info, self._directory)
            predictor = self._predictors[place]
            answer = predictor.submit(inputs, outputs)
        try:
            return answer.result(self._patience)
        except TimeoutError:
            predictor.give_up(answer)
            raise TimeoutError(f"the model did not answer within {self._patience:g} s") from None

    def _pick(self) -> int:
        # Equal ones take turns.
        start = next(self._turn)
        places = [(start + step) % len(self._predictors) for step in range(len(self._predictors))]
        return min(places, key=lambda place: self._predictors[place].load)

    def close(self) -> None:
        """End the processes."""
        for predictor in self._predictors:
            predictor.close()


class Predictor:
    """One process with the model; raises what loading it raised."""

    def __init__(self, info: BundleInfo, directory: Path) -> None:
        # A fresh interpreter: a fork would inherit the server's threads, event loop and listening socket.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, info, directory), name="predictor", daemon=True)
        self._process.start()
        # multiprocessing waits at exit for children it sent SIGTERM, which a predictor ignores: whoever ends without
        # having closed it must not hang there for ever.
        weakref.finalize(self, self._process.kill)
        theirs.close()
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._open: dict[int, Future[list[Array]]] = {}
        self._given_up: set[Future[list[Array]]] = set()
        self.dead = False
        self._await_loaded(info)
        threading.Thread(target=self._receive, name="predictor-answers", daemon=True).start()

    @property
    def load(self) -> int:
        """Requests in its hands."""
        return len(self._open)

    def _await_loaded(self, info: BundleInfo) -> None:
        try:
            fault = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(STOP_SECONDS)
            told = f"the {info.flavor} model's process ended while it loaded (exit code {self._process.exitcode})"
            raise Failure(
                Reason.LOAD_FAILED, f"{told}; a negative code is a signal, -9 mostly too little memory"
            ) from None
        if isinstance(fault, tuple):
            raise Failure(*fault)
        if fault is not None:
            raise fault

    def submit(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Future[list[Array]]:
        """Hand a request over."""
        number, answer = next(self._numbers), Future[list[Array]]()
        self._open[number] = answer
        try:
            with self._sending:
                self._pipe.send((number, dict(inputs), tuple(outputs)))
        except OSError:
            self._bury()
        if self.dead and not answer.done():
            self._bury()
        return answer

    def give_up(self, answer: Future[list[Array]]) -> None:
        """Nobody waits for this answer any more. When all threads work on such ones, the process is ended."""
        self._given_up.add(answer)
        if answer.done():  # it came just now
            self._given_up.discard(answer)
        elif len(self._given_up) >= THREADS and self._process.is_alive():
            log.warning("a predictor is ended: all its predictions take longer than a request may")
            self._process.kill()

    def _receive(self) -> None:
        while True:
            try:
                number, result, fault = self._pipe.recv()
            except (EOFError, OSError):
                self._bury()
                self._process.join(STOP_SECONDS)
                return
            answer = self._open.pop(number, None)
            if answer is None:
                continue
            if fault is None:
                answer.set_result(result)
            else:
                answer.set_exception(fault)
            self._given_up.discard(answer)

    def _bury(self) -> None:
        self.dead = True
        for number in list(self._open):
            answer = self._open.pop(number, None)
            if answer is not None:
                answer.set_exception(PredictorDiedError("the model's process died while it worked on this request"))

    def close(self) -> None:
        """End the process, by force when it does not listen."""
        self._pipe.close()
        self._process.join(STOP_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()


def _serve(pipe: Connection, info: BundleInfo, directory: Path) -> None:
    """The predictor's process: load, then answer until the server closes the pipe."""
    # The server decides when this process ends; the signals of a terminal or a pod are meant for the server.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Code that came with the model must leave no compiled files beside it: the bundle's digest is that of all files.
    sys.dont_write_bytecode = True
    try:
        from trimtab_serving.runtimes.python import PythonRuntime

        runtime = PythonRuntime(info, directory)
    except Failure as failure:
        pipe.send((failure.reason, failure.message))
        return
    except BaseException as error:
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))
        return
    heap.give_back()
    pipe.send(None)
    answers = _Answers(pipe, runtime)
    threads = ThreadPoolExecutor(THREADS)
    while True:
        try:
            threads.submit(answers.give, *pipe.recv())
        except (EOFError, OSError):
            os._exit(0)


class _Answers:
    """The predictor's side of the pipe, shared by its threads."""

    def __init__(self, pipe: Connection, runtime: Runtime) -> None:
        self._pipe, self._runtime = pipe, runtime
        self._sending = threading.Lock()

    def give(self, number: int, inputs: Mapping[str, Array], outputs: Sequence[str]) -> None:
        """Predict and send what came of it."""
        result: list[Array] | None = None
        fault: Exception | None = None
        try:
            result = self._runtime.run(inputs, outputs)
        except ModelRefused as refusal:
            fault = ModelRefused(str(refusal))
        except BaseException as error:
            log.exception("the model failed")
            # As text: an exception of the model's own may not survive the pipe.
            fault = RuntimeError(f"{type(error).__name__}: {error}")
        with self._sending:
            self._pipe.send((number, result, fault))
