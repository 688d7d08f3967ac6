"""`python -m bench.leaks`: a million requests of every kind at the application, and the memory it takes meanwhile.

Right and wrong requests in turn, as JSON, bytes, gzip and V1. The first tenth fills what is allocated once; after
that the resident memory must stay where it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
import time
from pathlib import Path

import psutil

from bench.fuzz import exchange, people
from bench.hotpath import linear_bundle, started
from bench.mutations import ODD_VALUES, RIGHT, Sent, changed_bytes, changed_json
from trimtab_serving.app import Application

TENTHS = 10
MIB = 1 << 20


def corpus() -> list[Sent]:
    """Each right request, and changed ones beside it, most of which are refused."""
    found = []
    for number in range(40):
        for path, body, tail in RIGHT:
            changed = (
                body
                if number == 0
                else changed_json(json.loads(json.dumps(body)), number * 7919, number % len(ODD_VALUES))
            )
            head = json.dumps(changed).encode()
            content = head + tail if number % 2 == 0 else changed_bytes(head + tail, number * 104_729, number % 5)
            length = ((b"inference-header-content-length", str(len(head)).encode()),) if tail else ()
            found.append(Sent("POST", path, content, length))
    return found


async def run(count: int) -> list[float]:
    """Resident memory in MiB after each tenth of so many requests."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="trimtab-leaks-") as folder:
        directory = Path(folder)
        linear = await started(directory, linear_bundle(directory, tuple("abcd")))
        apps: dict[bool, Application] = {True: people(), False: linear}
        requests = [(apps["people" in sent.path], sent) for sent in corpus()]
        process, figures = psutil.Process(), []
        for _ in range(TENTHS):
            for number in range(count // TENTHS):
                app, sent = requests[number % len(requests)]
                await exchange(app, sent)
            figures.append(process.memory_info().rss / MIB)
    return figures


def main() -> None:
    """Print the memory after each tenth and the growth after the first."""
    parser = argparse.ArgumentParser(prog="python -m bench.leaks", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000, help="default: 1,000,000")
    options = parser.parse_args()
    start = time.perf_counter()
    figures = asyncio.run(run(options.requests))
    print(f"{options.requests} requests in {time.perf_counter() - start:.0f} s; resident memory after each tenth, MiB:")
    print("  ".join(f"{figure:.1f}" for figure in figures))
    print(f"growth after the first tenth: {figures[-1] - figures[0]:.1f} MiB")


if __name__ == "__main__":
    main()
