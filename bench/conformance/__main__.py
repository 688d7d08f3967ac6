"""`python -m bench.conformance --url http://HOST:PORT --model NAME`: try a server on the table, case by case."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence

from bench.conformance import edges, extras, faults, happy, older, tails, wire
from bench.conformance.case import Case, Target

TABLES = (happy.table, faults.table, edges.table, tails.table, older.table, extras.table)
GROUPS = ("oip", "http", "binary", "v1", "trimtab")
"""The protocol, HTTP below it, two extensions, and what is this project's alone."""


def cases(groups: Sequence[str] = GROUPS) -> list[Case]:
    """All cases of these groups, in the order of the table."""
    return [case for table in TABLES for case in table.cases if case.group in groups]


def discover(url: str, model: str, version: str) -> dict[str, object]:
    """What the model's metadata tells of its input and outputs; nothing where it is empty."""
    answers = wire.exchange(url, [wire.request("GET", f"/v2/models/{model}")], 1)
    told = json.loads(answers[0].body) if answers and answers[0].status == 200 else {}
    found: dict[str, object] = {"version": version or next(iter(told.get("versions") or []), "1")}
    for tensor in (told.get("inputs") or [])[:1]:
        found |= {"input": tensor["name"], "datatype": tensor["datatype"], "features": tensor["shape"][-1]}
    outputs = [tensor["name"] for tensor in told.get("outputs") or []]
    return found | ({"outputs": outputs} if outputs else {})


def run(target: Target, chosen: Sequence[Case], quiet: bool = False) -> list[tuple[Case, str]]:
    """Try the cases one after the other; returns those that fail, with the reason."""
    failed = []
    for case in chosen:
        reason = case.run(target)
        if reason is not None:
            failed.append((case, reason))
        if not quiet:
            print(f"{'FAIL' if reason else 'pass'}  {case.group:8} {case.name}" + (f": {reason}" if reason else ""))
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every case and the sums; 1 when one of them fails."""
    options = _parser().parse_args(arguments)
    found = discover(options.url, options.model, options.version)
    given = {name: getattr(options, name) for name in ("input", "datatype", "features", "outputs")}
    told = {"input": "input-0", "datatype": "FP32", "features": 4, "outputs": ["predict"]} | found
    told |= {name: value for name, value in given.items() if value is not None}
    target = Target(
        url=options.url,
        model=options.model,
        version=str(found["version"]),
        input=str(told["input"]),
        datatype=str(told["datatype"]),
        row=tuple(1.0 + 0.5 * index for index in range(int(str(told["features"])))),
        outputs=tuple(told["outputs"]),  # type: ignore[arg-type]
        strict=options.strict,
        lenient=options.lenient,
    )
    chosen = cases(options.groups)
    failed = run(target, chosen)
    wrong, all_of = Counter(case.group for case, _ in failed), Counter(case.group for case in chosen)
    for group in options.groups:
        print(f"{group:8} {all_of[group] - wrong[group]:4} of {all_of[group]:4} pass")
    print(f"{'all':8} {len(chosen) - len(failed):4} of {len(chosen):4} pass")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.conformance", description=__doc__)
    parser.add_argument("--url", required=True, help="http://HOST:PORT of the server")
    parser.add_argument("--model", required=True, help="a model that takes one matrix of numbers")
    parser.add_argument("--version", default="", help="its version; default: as its metadata says")
    parser.add_argument("--input", help="name of its input; default: as its metadata says")
    parser.add_argument("--datatype", help="datatype of its input")
    parser.add_argument("--features", type=int, help="columns of its input")
    parser.add_argument("--outputs", nargs="+", help="names of its outputs")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS[:4], help="default: all but our own")
    parser.add_argument("--strict", action="store_true", help="messages must name the field at fault")
    parser.add_argument("--lenient", action="store_true", help="let null for what is not there and unasked ids pass")
    return parser


if __name__ == "__main__":
    sys.exit(main())
