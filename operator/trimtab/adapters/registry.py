"""MLflow's model registry over its REST API: which version an alias, or `latest`, stands for.

The client library is synchronous and brings half a data-science stack; the two calls needed here are GET requests.
Answers are remembered for as long as the caller allows, so a burst of passes asks once. A registry that is down, slow
or talks nonsense costs a timeout and a clear error, and never more than CONCURRENT requests at a time; while it is
known to be silent, only one.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from trimtab.kinds.mlmodel.observe import RegistryError

TIMEOUT = aiohttp.ClientTimeout(total=5, connect=2)
CONCURRENT = 4
LARGEST_ANSWER = 1 << 20
API = "/api/2.0/mlflow"


class MlflowRegistry:
    """Asks one MLflow server. `clock` is monotonic, in seconds."""

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
        self._silence: RegistryError | None = None
        self._turns: defaultdict[tuple[str, str | None], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: dict[tuple[str, str | None], tuple[float, str | RegistryError]] = {}

    async def version(self, name: str, alias: str | None, max_age_seconds: float) -> str:
        """The version an alias (or, with None, `latest`) stands for; RegistryError says why it cannot be told."""
        key = (name, alias)
        async with self._turns[key]:
            asked, answer = self._known.get(key, (float("-inf"), ""))
            if self._clock() - asked >= max_age_seconds:
                answer = await self._asked(name, alias)
                self._known[key] = (self._clock(), answer)
        if isinstance(answer, RegistryError):
            raise RegistryError(answer.reason, str(answer))  # a copy: one raised twice keeps the frames of both
        return answer

    async def _asked(self, name: str, alias: str | None) -> str | RegistryError:
        """Ask, unless nobody answers and another one is already finding out whether that is still so.

        Otherwise each model in turn would hold a worker for a whole timeout, and models that need no registry with it.
        """
        async with self._slots:
            if self._silence is not None and self._asking:
                return self._silence
            self._asking += 1
            try:
                return await self._ask(name, alias)
            finally:
                self._asking -= 1

    async def _ask(self, name: str, alias: str | None) -> str | RegistryError:
        if not self._uri:
            return RegistryError(
                "RegistryMissing",
                "this installation has no MLflow: set mlflow.enabled or mlflow.trackingUri in the chart",
            )
        try:
            answer: str | RegistryError = await (self._aliased(name, alias) if alias else self._latest(name))
        except RegistryError as error:
            answer = error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            what = str(error) or type(error).__name__
            self._silence = RegistryError("RegistryUnreachable", f"MLflow does not answer: {what}; it is asked again")
            return self._silence
        self._silence = None
        return answer

    async def _aliased(self, name: str, alias: str) -> str:
        answer = await self._get("/registered-models/alias", {"name": name, "alias": alias}, f"models:/{name}@{alias}")
        return _version(answer.get("model_version"), name)

    async def _latest(self, name: str) -> str:
        """`latest` is the highest version number, as in the client library."""
        query = {"filter": f"name='{name}'", "order_by": "version_number DESC", "max_results": "1"}
        answer = await self._get("/model-versions/search", query, f"models:/{name}/latest")
        found = answer.get("model_versions")
        if not found:
            raise RegistryError("SourceNotFound", f"MLflow has no version of {name}; register one")
        return _version(found[0] if isinstance(found, list) else None, name)

    async def _get(self, where: str, query: Mapping[str, str], what: str) -> dict[str, Any]:
        async with self._session.get(
            self._uri + API + where, params=query, headers=self._headers, timeout=TIMEOUT
        ) as response:
            text = await _body(response)
            if response.status in (400, 404):
                raise RegistryError(
                    "SourceNotFound", f"MLflow has no {what}: {_said(text)}; register it or set the alias"
                )
            if response.status in (401, 403):
                raise RegistryError(
                    "RegistryForbidden", f"MLflow refuses the operator (HTTP {response.status}): {_said(text)}"
                )
            if response.status != 200:
                raise RegistryError("RegistryUnreachable", f"MLflow answers HTTP {response.status}; it is asked again")
        return _parsed(text)


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The Authorization header that MLflow's own variables ask for, if any."""
    if token := environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer, which may come in many pieces; or its beginning, if nobody should read all of it."""
    text = bytearray()
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > LARGEST_ANSWER:
            break
    return bytes(text[:LARGEST_ANSWER])


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise RegistryError(
            "RegistryConfused", "MLflow's answer is not the JSON object its API promises; is the URL right?"
        )
    return answer


def _version(found: Any, name: str) -> str:
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, str | int) or not (str(version).isascii() and str(version).isdigit()):
        raise RegistryError("RegistryConfused", f"MLflow names no version number for {name}; is the URL right?")
    return str(version)


def _said(text: bytes) -> str:
    try:
        return str(json.loads(text).get("message", ""))[:300]
    except (ValueError, AttributeError, RecursionError):
        return text[:100].decode(errors="replace")
