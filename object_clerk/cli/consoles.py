"""The rich consoles and tables of all commands."""

from __future__ import annotations

import os
import sys

from rich import box
from rich.console import Console
from rich.table import Table

#: Width of what does not go to a terminal: a row stays one line, for grep.
_UNLIMITED = 10_000


def output() -> Console:
    """The console for data, on stdout."""
    given = "COLUMNS" in os.environ
    width = None if sys.stdout.isatty() or given else _UNLIMITED
    return Console(width=width, highlight=False, emoji=False, markup=False)


def messages() -> Console:
    """The console for everything else, on stderr."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False, soft_wrap=True)


def new_table() -> Table:
    """A table with a line below its head and none elsewhere."""
    return Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        header_style="bold",
    )
