"""What is measured of each model."""

from __future__ import annotations

from typing import NamedTuple

from bench.peers.subjects import BATCH


class Case(NamedTuple):
    """One load: so many rows a request over so many connections."""

    subject: str
    rows: int
    connections: int

    @property
    def title(self) -> str:
        """Its column."""
        rows = "" if self.rows == 1 else f", {self.rows:,} rows"
        return f"{self.subject}{rows}, c={self.connections}"


CASES = tuple(Case(name, 1, connections) for name in ("linear", "forest", "wide", "strings") for connections in (32, 1))
CASES += tuple(Case(name, BATCH, 1) for name in ("linear", "forest", "strings"))
