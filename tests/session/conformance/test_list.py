"""The check-list itself: every line is named by a test, and every test names a line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

LINES = range(1, 41)


def _docstrings() -> dict[str, str]:
    """What each test of a line says of itself."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.name in (Path(__file__).name, "test_guides.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[f"{file.name}::{node.name}"] = ast.get_docstring(node) or ""
    return found


def test_every_line_has_a_test() -> None:
    named = {name: re.match(r"Line ([0-9]+): ", text) for name, text in _docstrings().items()}
    assert [name for name, number in named.items() if number is None] == []
    assert {int(number[1]) for number in named.values() if number} == set(LINES)
