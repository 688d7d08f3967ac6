"""Tables as Markdown, row by row as they come."""

from __future__ import annotations

from collections.abc import Iterable


def show(title: str, rows: Iterable[tuple[str, dict[str, str]]]) -> None:
    """A title, and a table of rows with a name and cells by column."""
    print(f"\n{title}\n")
    for place, (name, cells) in enumerate(rows):
        if not place:
            print(f"| | {' | '.join(cells)} |\n|---|{'---|' * len(cells)}")
        print(f"| {name} | {' | '.join(cells.values())} |", flush=True)
