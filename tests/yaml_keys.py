"""Keys that a YAML text names twice: parsers here take the last one silently, stricter ones refuse the whole file."""

from __future__ import annotations

from collections.abc import Iterator

import yaml


def repeated(text: str) -> list[str]:
    """Each repeated key of any document in the text, with its line."""
    return [found for root in yaml.compose_all(text, yaml.CSafeLoader) for found in _repeated(root)]


def _repeated(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"{key.value} (line {key.start_mark.line + 1})"
            seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
