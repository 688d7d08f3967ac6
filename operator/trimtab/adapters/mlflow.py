"""MLflow's REST API, as far as an operator should trust it.

The client library is synchronous and brings half a data-science stack; what is needed here are a few JSON requests.
Answers are remembered for as long as the caller allows, so a burst of passes asks once. A server that is down, slow or
talks nonsense costs a timeout and a clear error, and never more than CONCURRENT requests at a time; while it is known
to be silent, only one.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=5, connect=2)
CONCURRENT = 4
LARGEST_ANSWER = 1 << 20
REMEMBERED = 4_096
FORGOTTEN_AFTER = 3_600.0
API = "/api/2.0/mlflow"

Key = tuple[str, str]


class MlflowError(Exception):
    """MLflow did not answer, or not with what was asked for; `reason` is fit for a condition.

    `Missing`: there is no such thing, or the question is refused as wrong. `RegistryMissing`, `RegistryForbidden`,
    `RegistryUnreachable` and `RegistryConfused` are about the server itself.
    """

    def __init__(self, reason: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status

    @property
    def absent(self) -> bool:
        """True when what was asked for is not there. MLflow says so with 404, of aliases with 400."""
        return self.status == 404 or (self.status == 400 and "not found" in str(self))


class Mlflow:
    """Asks one MLflow server, and tells it what to change. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        tracking_uri: str,
        session: aiohttp.ClientSession,
        clock: Callable[[], float],
        auth: Mapping[str, str] | None = None,
    ) -> None:
        self._uri = tracking_uri.rstrip("/")
        self._session = session
        self._clock = clock
        self._headers = dict(auth or {})
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._asking = 0
        self._silence: MlflowError | None = None
        self._turns: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: dict[Key, tuple[float, dict[str, Any] | MlflowError]] = {}

    async def get(self, where: str, query: Mapping[str, str], max_age_seconds: float) -> Mapping[str, Any]:
        """The JSON object at a path below the API's root, not older than this; MlflowError if there is none."""
        return await self._remembered("GET", where, query, max_age_seconds)

    async def search(self, where: str, body: Mapping[str, Any], max_age_seconds: float) -> Mapping[str, Any]:
        """The same for questions that MLflow takes as a POST."""
        return await self._remembered("POST", where, body, max_age_seconds)

    async def change(self, where: str, body: Mapping[str, Any], seconds: float) -> None:
        """Change something within so many seconds, or MlflowError. What is remembered of the server is forgotten."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self._asked("POST", where, body)
        except TimeoutError:
            raise MlflowError("RegistryUnreachable", "MLflow does not answer in time; it is asked again") from None
        finally:
            self._known.clear()
        if isinstance(answer, MlflowError):
            raise answer

    async def _remembered(self, method: str, where: str, given: Mapping[str, Any], max_age: float) -> Mapping[str, Any]:
        key = (where, json.dumps(given, sort_keys=True))
        self._sweep()
        async with self._turns[key]:
            asked, answer = self._known.get(key, (float("-inf"), {}))
            if self._clock() - asked >= max_age:
                answer = await self._asked(method, where, given)
                self._known[key] = (self._clock(), answer)
        if isinstance(answer, MlflowError):
            raise MlflowError(answer.reason, str(answer), answer.status)  # one raised twice keeps the frames of both
        return answer

    def _sweep(self) -> None:
        """Forget what nobody has asked for long; questions about runs are new ones each time."""
        if len(self._turns) < REMEMBERED:
            return
        old = self._clock() - FORGOTTEN_AFTER
        self._known = {key: known for key, known in self._known.items() if known[0] > old}
        for key in [key for key, turn in self._turns.items() if key not in self._known and not turn.locked()]:
            del self._turns[key]

    async def _asked(self, method: str, where: str, given: Mapping[str, Any]) -> dict[str, Any] | MlflowError:
        """Ask, unless nobody answers and another one is already finding out whether that is still so.

        Otherwise each model in turn would hold a worker for a whole timeout, and models that need no registry with it.
        """
        if not self._uri:
            why = "this installation has no MLflow: set mlflow.enabled or mlflow.trackingUri in the chart"
            return MlflowError("RegistryMissing", why)
        async with self._slots:
            if self._silence is not None and self._asking:
                return self._silence
            self._asking += 1
            try:
                return await self._ask(method, where, given)
            finally:
                self._asking -= 1

    async def _ask(self, method: str, where: str, given: Mapping[str, Any]) -> dict[str, Any] | MlflowError:
        try:
            status, text = await self._fetch(method, where, given)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            what = str(error) or type(error).__name__
            self._silence = MlflowError("RegistryUnreachable", f"MLflow does not answer: {what}; it is asked again")
            return self._silence
        self._silence = None
        return _judged(status, text)

    async def _fetch(self, method: str, where: str, given: Mapping[str, Any]) -> tuple[int, bytes]:
        get = method == "GET"
        async with self._session.request(
            method,
            self._uri + API + where,
            params=given if get else None,
            json=None if get else given,
            headers=self._headers,
            timeout=TIMEOUT,
            allow_redirects=get,  # what is followed from a POST becomes a GET
        ) as response:
            return response.status, await _body(response)


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The Authorization header that MLflow's own variables ask for, if any."""
    if token := environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def version_of(found: Any, name: str) -> str:
    """The number of a model version as MLflow tells of it; MlflowError if it has none."""
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, str | int) or not (str(version).isascii() and str(version).isdigit()):
        raise MlflowError("RegistryConfused", f"MLflow names no version number for {name}; is the URL right?")
    return str(version)


def quoted(value: str) -> str:
    """A value as MLflow's search filters read it. They know no escapes: it must not hold both kinds of quotes."""
    mark = '"' if "'" in value else "'"
    if mark in value:
        raise MlflowError("Missing", f"MLflow cannot search for {value}: it has both kinds of quotes", 404)
    return f"{mark}{value}{mark}"


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer, which may come in many pieces; or its beginning, if nobody should read all of it."""
    text = bytearray()
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > LARGEST_ANSWER:
            break
    return bytes(text[:LARGEST_ANSWER])


def _judged(status: int, text: bytes) -> dict[str, Any] | MlflowError:
    if status in (400, 404):
        return MlflowError("Missing", _said(text), status)
    if status in (401, 403):
        return MlflowError("RegistryForbidden", f"MLflow refuses the operator (HTTP {status}): {_said(text)}", status)
    if status != 200:
        return MlflowError("RegistryUnreachable", f"MLflow answers HTTP {status}; it is asked again", status)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        why = "MLflow's answer is not the JSON object its API promises; is the URL right?"
        return MlflowError("RegistryConfused", why, status)
    return answer


def _said(text: bytes) -> str:
    try:
        return str(json.loads(text).get("message", ""))[:300]
    except (ValueError, AttributeError, RecursionError):
        return text[:100].decode(errors="replace")
