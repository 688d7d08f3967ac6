"""What an answer must be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.conformance.case import Check, Target
from bench.conformance.wire import Answer


def ok(target: Target, answer: Answer) -> None:
    """200, and JSON that is what it says, without a null in it."""
    assert answer.status == 200, f"status {answer.status}, not 200: {answer.body[:200]!r}"
    _json_type(answer)
    nulls = [place for place, value in _walk(answer.json, "$") if value is None and not target.lenient]
    assert not nulls, f"null at {nulls[0]}"


def status(*allowed: int) -> Check:
    """One of these statuses, whatever the body."""

    def check(target: Target, answer: Answer) -> None:
        assert answer.status in allowed, f"status {answer.status}, not {' or '.join(map(str, allowed))}"

    return check


def fault(field: str = "", *allowed: int) -> Check:
    """A client's fault: 4xx (or just the statuses given) and `{"error": …}`, which strictly names `field`."""

    def check(target: Target, answer: Answer) -> None:
        wanted = " or ".join(map(str, allowed)) or "4xx"
        right = answer.status in allowed if allowed else 400 <= answer.status < 500
        assert right, f"status {answer.status}, not {wanted}: {answer.body[:120]!r}"
        _json_type(answer)
        told = answer.json
        shaped = isinstance(told, dict) and isinstance(told.get("error"), str) and bool(told["error"].strip())
        assert shaped, f'the body is not {{"error": "…"}}: {answer.body[:120]!r}'
        assert "Traceback" not in told["error"], "the message is a traceback"
        assert not target.strict or field in told["error"], f"the message does not name {field!r}: {told['error']!r}"

    return check


def header(name: str, value: str) -> Check:
    """A header with just this value."""

    def check(target: Target, answer: Answer) -> None:
        got = answer.headers.get(name)
        assert got == value, f"{name} is {got!r}, not {value!r}"

    return check


def allow(*methods: str) -> Check:
    """405 and an Allow header that names the methods."""

    def check(target: Target, answer: Answer) -> None:
        fault("", 405)(target, answer)
        got = {part.strip() for part in answer.headers.get("allow", "").split(",")}
        assert got >= set(methods), f"Allow is {sorted(got)}, without {sorted(set(methods) - got)}"

    return check


def answered(rows: int = 1, identity: str | None = None, outputs: tuple[str, ...] | None = None) -> Check:
    """A right inference answer with so many rows; `outputs` in that order, any of the model's when not given."""

    def check(target: Target, answer: Answer) -> None:
        ok(target, answer)
        told = answer.json
        assert told["model_name"] == target.model, f"model_name is {told['model_name']!r}"
        absent = target.lenient and told.get("model_version") is None
        assert absent or isinstance(told.get("model_version", ""), str), "model_version is not a string"
        right = told.get("id") == identity or (target.lenient and identity is None)
        assert right, f"id is {told.get('id')!r}, not {identity!r}"
        names = [output["name"] for output in told["outputs"]]
        wanted = list(outputs or target.outputs)
        assert names == wanted if outputs else set(names) <= set(wanted), f"outputs are {names}, not {wanted}"
        for output in told["outputs"]:
            _tensor(output, rows)

    return check


def _tensor(output: dict[str, Any], rows: int) -> None:
    name, shape, data = output["name"], output["shape"], output["data"]
    assert shape[0] == rows, f"output {name!r} has the shape {shape} for {rows} rows"
    count = 1
    for length in shape:
        count *= length
    assert len(_flat(data)) == count, f"output {name!r} has {len(_flat(data))} values for the shape {shape}"
    assert output["datatype"].isupper(), f"output {name!r} has the datatype {output['datatype']!r}"


def predicted(rows: int) -> Check:
    """A right V1 answer."""

    def check(target: Target, answer: Answer) -> None:
        ok(target, answer)
        got = len(answer.json["predictions"])
        assert got == rows, f"{got} predictions for {rows} instances"

    return check


def field(*path: str | int, value: Any = None, kind: type | None = None) -> Check:
    """The JSON has this value, or one of this type, at `path`."""

    def check(target: Target, answer: Answer) -> None:
        got = answer.json
        for step in path:
            got = got[step]
        wanted = value(target) if callable(value) else value
        right = isinstance(got, kind) if kind else got == wanted
        assert right, f"{'.'.join(map(str, path))} is {got!r}, not {kind.__name__ if kind else repr(wanted)}"

    return check


def _flat(data: Any) -> list[Any]:
    return [value for item in data for value in _flat(item)] if isinstance(data, list) else [data]


def _walk(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    yield place, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _walk(inner, f"{place}.{key}")


def _json_type(answer: Answer) -> None:
    kind = answer.headers.get("content-type", "none")
    assert kind.split(";")[0].strip() == "application/json", f"content-type is {kind}, not application/json"
