"""What can go wrong between a client and the API server, and for which calls: the vocabulary of faultproxy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

WRITES = frozenset({"create", "update", "patch", "delete"})
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Call(NamedTuple):
    """One request, in the words of RBAC; `caller` is the name the client's kubeconfig was made for."""

    caller: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    query: Mapping[str, str]
    user_agent: str

    def matches(self, **wanted: str | Collection[str]) -> bool:
        """True when each named part of the call equals, or is among, what is given."""
        return all(
            getattr(self, part) == value if isinstance(value, str) else getattr(self, part) in value
            for part, value in wanted.items()
        )


class Record(NamedTuple):
    """A call and how it ended: the status the client was given (0 where the connection broke), and the one the
    API server gave (0 where it was never asked)."""

    call: Call
    status: int
    upstream: int


def describe(caller: str, method: str, path: str, query: Mapping[str, str], user_agent: str = "") -> Call:
    """What a request asks for, from its URL."""
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else ("".join(parts[1:2]), parts[3:])
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, "", "", "")[:3]
    watching = query.get("watch", "").lower() in ("true", "1")
    verb = VERBS.get(method) or ("watch" if watching else "get" if name or not resource else "list")
    return Call(caller, verb, group, resource, subresource, namespace, name, query, user_agent)


@dataclass(frozen=True)
class Status:
    """Answer with an error status; with `done` only after the API server has carried the request out."""

    code: int
    retry_after: int | None = None
    done: bool = False


@dataclass(frozen=True)
class Reset:
    """Break the connection; with `done` only after the API server has carried the request out."""

    done: bool = False


@dataclass(frozen=True)
class Delay:
    """Hold the request back for some seconds, then treat it as usual."""

    seconds: float


@dataclass(frozen=True)
class Expire:
    """Answer a watch with the ERROR event that says its resource version is too old (410)."""


@dataclass(frozen=True)
class Events:
    """Rewrite each event of a watch: the events to send in its place, of which there may be none.

    An event is one line of JSON. `times` of the rule counts events, not requests.
    """

    rewrite: Callable[[bytes], Iterable[bytes]]


def drop() -> Events:
    """Watch events that never arrive."""
    return Events(lambda event: ())


def duplicate() -> Events:
    """Watch events that arrive twice."""
    return Events(lambda event: (event, event))


def reorder() -> Events:
    """Watch events that arrive in pairs, the later one first."""
    held: list[bytes] = []

    def swap(event: bytes) -> Iterable[bytes]:
        if not held:
            held.append(event)
            return ()
        return event, held.pop()

    return Events(swap)


Fault = Status | Reset | Delay | Expire | Events


@dataclass
class Rule:
    """A fault, the calls it befalls, and how often still (None: always). `hits` counts how often it did."""

    fault: Fault
    when: Callable[[Call], bool]
    left: int | None = None
    hits: int = field(default=0)

    def take(self, call: Call) -> bool:
        """True, and one fewer left, when this call is to suffer the fault."""
        if self.left == 0 or not self.when(call):
            return False
        self.left = None if self.left is None else self.left - 1
        self.hits += 1
        return True
