"""What the operator asked of the API server, in the API server's own words: its audit log.

Counting at the server is what makes the figures comparable with other operators': no client-side counter is
believed, retries and watch reconnects are seen, and each request carries the server's time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from trimtab.kinds import KINDS

USER = "trimtab-operator"
READS = frozenset({"get", "list", "watch", "find"})
CHILDREN = frozenset(resource.plural for kind in KINDS.values() for resource in kind.children)


def policy(path: Path) -> None:
    """Write an audit policy that records the operator's requests and nothing else."""
    rules = [{"level": "Metadata", "users": [USER]}, {"level": "None"}]
    omitted = ["RequestReceived", "ResponseStarted"]
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": omitted, "rules": rules}
    path.write_text(yaml.safe_dump(document))


@dataclass(frozen=True)
class Request:
    """One answered request; `at` is when the answer went out, in seconds since the epoch. The verb is the server's, but
    for a list of at most one object, which is a "find"."""

    at: float
    verb: str
    resource: str
    code: int

    @property
    def read(self) -> bool:
        """True for what changes nothing by its nature."""
        return self.verb in READS

    @property
    def child(self) -> bool:
        """True for requests about children."""
        return self.resource in CHILDREN


class AuditLog:
    """The requests of the operator, oldest first, read as the server writes them. Lease traffic is left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.requests: list[Request] = []

    def read(self) -> Sequence[Request]:
        """All requests so far."""
        if self._path.exists():
            with self._path.open("rb") as log:
                log.seek(self._offset)
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._take(json.loads(line))
        return self.requests

    def since(self, moment: float) -> list[Request]:
        """The requests answered after a moment (seconds since the epoch)."""
        return [request for request in self.read() if request.at > moment]

    def _take(self, line: dict[str, object]) -> None:
        reference = line.get("objectRef")
        if not isinstance(reference, dict) or reference["resource"] == "leases":
            return
        status = line.get("responseStatus")
        resource = "/".join(filter(None, (reference["resource"], reference.get("subresource", ""))))
        at = datetime.fromisoformat(str(line["stageTimestamp"])).timestamp()
        code = int(status["code"]) if isinstance(status, dict) else 0
        one = line["verb"] == "list" and "fieldSelector=metadata.name" in str(line["requestURI"])
        self.requests.append(Request(at, "find" if one else str(line["verb"]), resource, code))


def tally(requests: Iterable[Request]) -> Counter[str]:
    """How often each thing was asked, as `verb resource code`."""
    return Counter(f"{request.verb} {request.resource} {request.code}" for request in requests)


def writes(requests: Iterable[Request]) -> list[Request]:
    """The requests that could have changed something."""
    return [request for request in requests if not request.read]
