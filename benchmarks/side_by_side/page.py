"""The table as text, and as a page of the documentation."""

from __future__ import annotations

import platform
import textwrap
from typing import TYPE_CHECKING

from benchmarks.side_by_side.scene import MIB, PART
from benchmarks.side_by_side.verdicts import MEANINGS, Cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.side_by_side.stage import Result
    from benchmarks.side_by_side.tools import Tool


def rows(results: Sequence[Result], tools: Sequence[Tool]) -> list[list[str]]:
    """For each experiment its number, what goes wrong, and a cell for each tool."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        cells.setdefault((result.experiment, result.title), {})[result.tool] = result.cell
    return [[*what, *(found.get(tool.name, "") for tool in tools)] for what, found in cells.items()]


def text(results: Sequence[Result], tools: Sequence[Tool]) -> str:
    """The table for a terminal."""
    lines = [["", "", *(tool.name for tool in tools)], *rows(results, tools)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def rst(
    results: Sequence[Result],
    tools: Sequence[Tool],
    servers: Mapping[str, str],
    *,
    command: str,
    date: str,
    timeout_s: float,
) -> str:
    """The page; ``servers`` has the releases of those that have a table."""
    parts = [
        "Side by side\n============\n",
        _INTRODUCTION,
        f"    {command}\n",
        _versions(tools, date),
        "What the cells say:\n",
        _meanings(results, timeout_s),
        _CONDITIONS.format(part=PART // MIB),
    ]
    for server, version in servers.items():
        here = [result for result in results if result.server == server]
        parts.append(_section(server, version, here, tools))
    return "\n".join(parts)


_INTRODUCTION = """\
What other tools do, and what object-clerk does, when the network, the server or somebody else
misbehaves. Each tool runs in a process of its own, through a proxy that makes one thing go wrong.
Then the object or the file is compared byte for byte with what should be there. Whether the fault
took effect is read from the log of the proxy, not assumed. This page was written by::
"""

_CONDITIONS = """
All tools have their default settings, with these exceptions. object-clerk waits 0.05 to 0.5
seconds between attempts, which changes how long it takes, not what it does. Where parts matter,
every tool is told to make them {part} MiB, since the defaults go from 5 to 500 MiB. Where a body
drips, tools that can be told how long a transfer may take are told 20 seconds: object-clerk,
obstore and rclone. Everything goes over plain http. Each cell is of one run. A tool that did not
come out right was run once more without the fault, to see that it works at all.

An error can be the best answer there is. Nobody can read on in an object that was replaced, and
bytes that nothing proves are refused by object-clerk unless it is told otherwise.

The numbers in the first column are those of our list of experiments; their tests are in
``tests/faults``. Those that are missing here need something that not every tool has, such as a
look at its credentials while it works. obstore writes no files: where a file is wanted, its bytes
are.
"""


def _versions(tools: Sequence[Tool], date: str) -> str:
    versions = ", ".join(f"{tool.name} {tool.version}" for tool in tools if not tool.missing)
    said = f"on {date}, with Python {platform.python_version()} and: {versions}."
    lines = [f"{textwrap.fill(said, 99, break_on_hyphens=False)}\n"]
    lines += [f"{tool.name} is missing: {tool.missing}\n" for tool in tools if tool.missing]
    return "\n".join(lines)


def _meanings(results: Sequence[Result], timeout_s: float) -> str:
    seen = {result.cell for result in results}
    shown = [cell for cell in Cell if cell in seen]
    return "\n".join(f"{cell}\n    {MEANINGS[cell].format(timeout=timeout_s)}" for cell in shown)


def _section(server: str, version: str, results: Sequence[Result], tools: Sequence[Tool]) -> str:
    heading = f"Against {server} {version}".rstrip()
    lines = [
        heading,
        "-" * len(heading),
        "",
        ".. list-table::",
        f"   :name: side-by-side-{server}",
        "   :header-rows: 1",
        f"   :widths: 5 35{' 9' * len(tools)}",
        "",
    ]
    header = ["", "what goes wrong", *(tool.name for tool in tools)]
    for row in [header, *rows(results, tools)]:
        for position, cell in enumerate(row):
            start = "   * - " if position == 0 else "     - "
            emphasis = "**" if cell.isupper() and position > 1 else ""
            lines.append(f"{start}{emphasis}{cell}{emphasis}".rstrip())
    return "\n".join([*lines, ""])
