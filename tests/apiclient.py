"""The few requests tests send to an API server themselves: as JSON, answered with status and body."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

from tests.controlplane import ControlPlane
from trimtab.core.objects import Object
from trimtab.kinds import KINDS

APPLY = "application/apply-patch+yaml"


class Answer(NamedTuple):
    """The HTTP status, and the object or the Status that came with it."""

    status: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """What the API server says about a refusal."""
        return str(self.body.get("message", ""))


def path_of(manifest: Object, namespace: str, subresource: str = "") -> str:
    """The URL path of an object of one of the project's kinds."""
    resource = KINDS[manifest["kind"]].resource
    name = urllib.parse.quote(manifest["metadata"]["name"])
    path = f"/apis/{resource.api_version}/namespaces/{namespace}/{resource.plural}/{name}"
    return f"{path}/{subresource}" if subresource else path


def send(
    plane: ControlPlane,
    method: str,
    path: str,
    body: Any = None,
    content_type: str = "application/json",
    **query: str,
) -> Answer:
    """Send one request as administrator."""
    request = urllib.request.Request(
        f"{plane.url}{path}?{urllib.parse.urlencode(query)}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": content_type},
    )
    try:
        with urllib.request.urlopen(request, context=plane.tls(), timeout=30) as response:
            return Answer(response.status, json.loads(response.read()))
    except urllib.error.HTTPError as error:
        return Answer(error.code, json.loads(error.read()))


def apply(
    plane: ControlPlane,
    manifest: Object,
    namespace: str,
    subresource: str = "",
    manager: str = "tests",
    **query: str,
) -> Answer:
    """Server-side apply of an object of one of the project's kinds, strict about unknown fields."""
    query = {"fieldManager": manager, "fieldValidation": "Strict", **query}
    return send(plane, "PATCH", path_of(manifest, namespace, subresource), manifest, APPLY, **query)
