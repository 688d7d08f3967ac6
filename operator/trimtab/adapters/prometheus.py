"""One number from Prometheus: how many events a user's own query has counted.

An instant query over its HTTP API, with an answer remembered for as long as the caller allows. Whatever is not exactly
one finite number that is not negative is an error with a sentence; nothing is made of a half answer.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

import aiohttp

from trimtab.kinds.abtest.observe import EventsError

TIMEOUT = aiohttp.ClientTimeout(total=2, connect=1)
CONCURRENT = 8
LARGEST_ANSWER = 1 << 18
REMEMBERED = 4_096


class Prometheus:
    """Asks one Prometheus server. `clock` is monotonic, in seconds."""

    def __init__(self, uri: str, session: aiohttp.ClientSession, clock: Callable[[], float]) -> None:
        self._uri = uri.rstrip("/")
        self._session = session
        self._clock = clock
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._known: dict[str, tuple[float, float]] = {}

    async def count(self, query: str, max_age_seconds: float) -> float:
        """The query's one number; EventsError says why there is none."""
        asked, value = self._known.get(query, (-math.inf, 0.0))
        if self._clock() - asked < max_age_seconds:
            return value
        if not self._uri:
            raise EventsError("this installation knows no Prometheus: set prometheusUri in the chart")
        async with self._slots:
            value = await self._ask(query)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[query] = (self._clock(), value)
        return value

    async def _ask(self, query: str) -> float:
        try:
            async with self._session.get(
                f"{self._uri}/api/v1/query", params={"query": query}, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                return _number(response.status, await _body(response))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise EventsError(f"Prometheus does not answer: {str(error) or type(error).__name__}") from None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    text = bytearray()
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > LARGEST_ANSWER:
            raise EventsError(f"Prometheus sends more than {LARGEST_ANSWER} bytes; sum() the query to one number")
    return bytes(text)


def _number(status: int, text: bytes) -> float:
    """The value of a vector of one sample, or of a scalar."""
    answer = _parsed(text)
    if status != 200 or answer.get("status") != "success":
        raise EventsError(f"Prometheus refuses the query (HTTP {status}): {str(answer.get('error', ''))[:300]}")
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    samples = [result] if isinstance(data, dict) and data.get("resultType") == "scalar" else _values(result)
    if len(samples) != 1:
        raise EventsError(f"the query gives {len(samples)} series, and must give one: sum() them")
    return _finite(samples[0])


def _values(result: Any) -> list[Any]:
    return [item.get("value") for item in result if isinstance(item, dict)] if isinstance(result, list) else []


def _finite(sample: Any) -> float:
    try:
        value = float(sample[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise EventsError("the query gives no number") from None
    if not math.isfinite(value) or value < 0:
        raise EventsError(f"the query gives {value}, and must give a count of events")
    return value


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise EventsError("what answers is not Prometheus; is prometheusUri right?")
    return answer
