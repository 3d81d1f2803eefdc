"""Play the experiments with us and with others, and print what became of each, side by side.

Every tool runs in a process of its own, through a fault proxy in front of a real server.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.side_by_side import page, tools
from benchmarks.side_by_side.cases import CASES
from benchmarks.side_by_side.stage import results, server_version
from tests.servers import NAMES, StartFailed, Unavailable, foreign_variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.side_by_side.stage import Result

_PROGRAM = "python -m benchmarks.side_by_side"


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    experiments = list(dict.fromkeys(case.experiment for case in CASES))
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__)
    _choice(parser, "--server", NAMES, ["ministack"], "the servers")
    _choice(parser, "--only", experiments, experiments, "the experiments")
    _choice(parser, "--tools", tuple(tools.DRIVERS), list(tools.DRIVERS), "the tools")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="when a tool is stopped (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write a page of documentation")
    parser.add_argument(
        "--date",
        default=datetime.datetime.now(datetime.UTC).date().isoformat(),
        help="what the page says it was written on (default: today)",
    )
    chosen = parser.parse_args(arguments)
    for variable in foreign_variables():
        if "live" not in chosen.server:
            del os.environ[variable]  # settings of the shell are not what is measured
    columns = [tools.find(name) for name in chosen.tools]
    present = [tool for tool in columns if not tool.missing]
    for tool in columns:
        if tool.missing:
            print(f"{tool.name} cannot be used: {tool.missing}", file=sys.stderr)
    cases = [case for case in CASES if case.experiment in chosen.only]
    done: list[Result] = []
    try:
        for server in chosen.server:
            with contextlib.closing(results(server, cases, present, chosen.timeout)) as cells:
                for result in cells:
                    done.append(result)
                    _tell(result)
    except (Unavailable, StartFailed, tools.ToolGone) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if chosen.json:
        print(json.dumps([dataclasses.asdict(result) for result in done], indent=1))
    else:
        for server in chosen.server:
            print(f"{server}:")
            print(page.text([each for each in done if each.server == server], columns))
    if chosen.rst is not None:
        command = shlex.join([*_PROGRAM.split(), *arguments])
        servers = {name: server_version(name) for name in chosen.server}
        written = page.rst(
            done, columns, servers, command=command, date=chosen.date, timeout_s=chosen.timeout
        )
        chosen.rst.write_text(written, encoding="utf-8")
    return 0


def _choice(
    parser: argparse.ArgumentParser,
    option: str,
    known: Sequence[str],
    default: list[str],
    what: str,
) -> None:
    def several(given: str) -> list[str]:
        names = given.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return names

    parser.add_argument(
        option,
        type=several,
        default=default,
        metavar="NAME,...",
        help=f"{what}, of {', '.join(known)} (default: {', '.join(default)})",
    )


def _tell(result: Result) -> None:
    """One line for each cell: this takes a while."""
    print(
        f"# {result.server} {result.experiment} {result.title}: {result.tool}: {result.cell}"
        f" ({result.seconds:.1f} s) {' '.join(result.said.split())[:160]}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
