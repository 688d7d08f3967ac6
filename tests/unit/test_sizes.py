"""Nothing may grow past what can be read in one go: modules of 250 lines, functions of 30."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for part in ("operator", "serving-image") for path in (ROOT / part).rglob("*.py"))
MODULE_LINES = 250
FUNCTION_LINES = 30


def too_long(text: str) -> Iterator[str]:
    """What is longer than it may be. To a function belong decorators and inner functions, but not its docstring."""
    lines = len(text.splitlines())
    if lines > MODULE_LINES:
        yield f"the module has {lines} lines, {MODULE_LINES} are allowed"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            length = (node.end_lineno or first) - first + 1 - docstring_lines(node)
            if length > FUNCTION_LINES:
                yield f"{node.name} in line {node.lineno} has {length} lines, {FUNCTION_LINES} are allowed"


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the docstring, which may be as long as shapes, units and errors need."""
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1 if ast.get_docstring(node) else 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path: Path) -> None:
    assert list(too_long(path.read_text())) == []


def test_length_is_measured() -> None:
    function = "@cache\nasync def f():\n" + '    """Says\n    much."""\n' + "    pass\n" * 28
    assert list(too_long(function)) == []
    assert list(too_long(function + "    pass\n")) == ["f in line 2 has 31 lines, 30 are allowed"]
    assert list(too_long("#\n" * 250)) == []
    assert list(too_long("#\n" * 251)) == ["the module has 251 lines, 250 are allowed"]
