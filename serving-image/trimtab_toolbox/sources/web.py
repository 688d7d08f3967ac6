"""Small answers over HTTP (listings, manifests), with a few attempts and the reasons of the contract."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from trimtab_serving.outcome import Failure, Reason

ATTEMPTS = 4
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


def get(
    client: httpx.Client, url: str, source: str, *, pause: Callable[[float], None] = time.sleep, ok: int = 200
) -> httpx.Response:
    """The answer to a GET; `source` names in messages what is imported.

    Raises SourceNotFound for an answer other than `ok` that will not change by itself, SourceUnreachable otherwise.
    """
    response = attempt(client, url, source, pause=pause)
    if response.status_code != ok:
        advice = "check the address"
        if response.status_code in (401, 403):
            advice = "the import may not read it: check the credentials (spec.source.credentialsSecretName)"
        message = (
            f"{source}: {url.partition('?')[0]} answered {response.status_code} {response.reason_phrase}; {advice}"
        )
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    return response


def attempt(
    client: httpx.Client, url: str, source: str, *, pause: Callable[[float], None] = time.sleep
) -> httpx.Response:
    """The answer to a GET, whatever it is, as long as somebody answers; SourceUnreachable after a few attempts."""
    why = ""
    for number in range(ATTEMPTS):
        try:
            response = client.get(url)
        except httpx.HTTPError as error:
            why = " ".join(str(error).split())[:300] or type(error).__name__
        else:
            if response.status_code not in _AGAIN:
                return response
            why = f"it answered {response.status_code} {response.reason_phrase}"
        pause(0.5 * 2**number)
    message = f"{source} could not be fetched from {url.partition('?')[0]}: {why}; it will be tried again"
    raise Failure(Reason.SOURCE_UNREACHABLE, message)
