"""A case of the table, and the server it is tried on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.conformance import wire
from bench.conformance.wire import Answer

UNUSED: Any = object()
"""In a change of a tensor: leave the field out."""


@dataclass(frozen=True)
class Target:
    """The server under test and the model on it: one matrix of numbers in, one or more outputs.

    `strict` also holds the server to what this project promises beyond the protocol's text: which field the message
    of a fault names. `lenient` lets two habits pass that would fail every prediction of a server and hurt few clients:
    null for what is not there, and an id that nobody asked for.
    """

    url: str
    model: str
    version: str
    input: str
    datatype: str
    row: tuple[float, ...]
    outputs: tuple[str, ...]
    strict: bool = False
    lenient: bool = False

    @property
    def infer(self) -> str:
        """The path of inference."""
        return f"/v2/models/{self.model}/infer"

    @property
    def predict(self) -> str:
        """The path of V1 prediction."""
        return f"/v1/models/{self.model}:predict"

    def tensor(self, rows: int = 1, **change: Any) -> dict[str, Any]:
        """A right input tensor, but for the changes."""
        data = list(self.row) * rows
        tensor = {"name": self.input, "shape": [rows, len(self.row)], "datatype": self.datatype, "data": data}
        return {key: value for key, value in (tensor | change).items() if value is not UNUSED}

    def body(self, rows: int = 1, **request: Any) -> dict[str, Any]:
        """A right V2 request, but for what `request` changes."""
        return {"inputs": [self.tensor(rows)], **request}


Make = Callable[[Target], Any]
Check = Callable[[Target, Answer], None]
Pieces = Callable[[Target], Sequence[bytes]]


@dataclass(frozen=True)
class Case:
    """One exchange: what is sent, how many answers belong to it, and what they must be."""

    group: str
    name: str
    pieces: Pieces
    checks: Sequence[Check]
    """One for each answer that must come."""

    def run(self, target: Target) -> str | None:
        """None when the server passes; otherwise what was wrong."""
        sent = self.pieces(target)
        try:
            answers = wire.exchange(target.url, sent, len(self.checks), head=sent[0].startswith(b"HEAD"))
            if len(answers) < len(self.checks):
                return f"{len(answers)} of {len(self.checks)} answers came before the server hung up"
            for check, answer in zip(self.checks, answers, strict=True):
                check(target, answer)
        except AssertionError as error:
            return str(error) or "an assertion failed"
        except TimeoutError:
            return f"no answer within {wire.TIMEOUT_SECONDS:g} s"
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            return f"the answer is not what HTTP or the protocol says: {type(error).__name__}: {error}"
        return None


@dataclass
class Table:
    """The cases of one group, added one by one."""

    group: str
    cases: list[Case] = field(default_factory=list)

    def get(self, name: str, path: str, *checks: Check, method: str = "GET", **headers: str) -> None:
        """A request without a body; `path` may hold {model} and {version}."""

        def pieces(target: Target) -> list[bytes]:
            return [wire.request(method, filled(path, target), b"", _dashed(headers))]

        self.raw(name, pieces, together(*checks))

    def post(self, name: str, path: str, make: Make | bytes, *checks: Check, **headers: str) -> None:
        """A POST of what `make` gives, as JSON unless it is bytes already."""

        def pieces(target: Target) -> list[bytes]:
            content = make if isinstance(make, bytes) else make(target)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            return [wire.request("POST", filled(path, target), body, _dashed(headers))]

        self.raw(name, pieces, together(*checks))

    def raw(self, name: str, pieces: Pieces, *checks: Check) -> None:
        """Bytes as they are, and a check for each answer."""
        self.cases.append(Case(self.group, name, pieces, checks))


def filled(path: str, target: Target) -> str:
    """The path with the target's names in it."""
    return path.replace("{model}", target.model).replace("{version}", target.version)


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def together(*checks: Check) -> Check:
    """One check of many."""

    def check(target: Target, answer: Answer) -> None:
        for one in checks:
            one(target, answer)

    return check
