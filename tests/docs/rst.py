"""Reading the documentation the way a renderer does."""

from __future__ import annotations

import io
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree

ROOT = Path(__file__).parents[2]
PAGES = (*sorted(ROOT.glob("*.rst")), *sorted(ROOT.glob("docs/*.rst")))


class Page:
    """One page of documentation: its tree, and what the renderer found wrong."""

    def __init__(self, path: Path) -> None:
        complaints = io.StringIO()
        self.path = path
        self.tree = publish_doctree(
            path.read_text(encoding="utf-8"),
            source_path=str(path),
            settings_overrides={
                "report_level": 1,
                "halt_level": 5,
                "warning_stream": complaints,
                "syntax_highlight": "none",
                "_disable_config": True,
            },
        )
        self.complaints = complaints.getvalue()

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(self.tree.astext().split())

    def blocks(self, language: str = "") -> list[tuple[int, str]]:
        """The literal blocks in a language, or in none: line and text of each."""
        wanted = ["code", language] if language else []
        return [
            (block.line or 0, block.astext())
            for block in self.tree.findall(nodes.literal_block)
            if block["classes"] == wanted
        ]

    def links(self) -> list[str]:
        """Where the page's links lead to."""
        return [link["refuri"] for link in self.tree.findall(nodes.reference) if "refuri" in link]

    def table(self, name: str) -> list[list[str]]:
        """The rows of the table with this name, without its header."""
        (table,) = (t for t in self.tree.findall(nodes.table) if name in t["names"])
        (body,) = table.findall(nodes.tbody)
        return [
            [" ".join(cell.astext().split()) for cell in row.findall(nodes.entry)]
            for row in body.findall(nodes.row)
        ]

    def first_list(self) -> list[str]:
        """The items of the page's first bullet list."""
        found = next(iter(self.tree.findall(nodes.bullet_list)))
        return [item.astext() for item in found.findall(nodes.list_item)]

    def terms(self) -> list[str]:
        """What the page's definition lists explain."""
        return [term.astext() for term in self.tree.findall(nodes.term)]


def page(name: str) -> Page:
    """The page at this path below the root of the project."""
    return Page(ROOT / name)
