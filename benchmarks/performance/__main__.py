"""Measure speed and memory: ``python -m benchmarks.performance WORK``, or ``all``.

Each tool does the same work in turn, in a process of its own, and again in the next round. What is
printed are medians, with the least and the most in brackets, and ratios to plain boto3 in the same
round. With ``--rst PAGE`` the arguments are files of results, which are put into that page.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.performance import page
from benchmarks.performance.rows import Row, merged, table
from benchmarks.performance.run import ROOT, Failed, Found, Plan, measure
from benchmarks.performance.scene import STUB
from benchmarks.performance.works import NAMES, TOOLS, Scale, works
from tests.servers import NAMES as SERVERS
from tests.servers import StartFailed, Unavailable, foreign_variables

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = "python -m benchmarks.performance"

#: With latency, requests are made side by side, as whoever has latency does.
_THREADS_WITH_LATENCY = 16

_FULL_UNITS = (1, 2, 4, 8, 16, 32, 64)


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    chosen = _parser().parse_args(arguments)
    if chosen.rst is not None:
        rows = _load([Path(name) for name in chosen.what])
        before = _load([chosen.before] if chosen.before else [])
        text = page.filled(chosen.rst.read_text(encoding="utf-8"), rows, before)
        chosen.rst.write_text(text, encoding="utf-8")
        return 0
    if chosen.plots is not None:
        from benchmarks.performance import plots

        plots.draw(_load([Path(name) for name in chosen.what]), chosen.plots)
        return 0
    names = NAMES if chosen.what == ["all"] else chosen.what
    if unknown := [name for name in names if name not in NAMES]:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for variable in foreign_variables():
        if chosen.server != "live":
            del os.environ[variable]  # settings of the shell are not what is measured
    try:
        rows = _measure(names, chosen, command(arguments))
    except (Unavailable, StartFailed, Failed) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    return 0


def command(arguments: Sequence[str]) -> str:
    """The command line without what only says where things are on this machine."""
    told, left = [*_PROGRAM.split()], list(arguments)
    while left:
        word = left.pop(0)
        if word in ("--json", "--package"):
            left.pop(0)
        elif not word.startswith(("--json=", "--package=")):
            told.append(word)
    return shlex.join(told)


def _parser() -> argparse.ArgumentParser:
    tools = [tool.name for tool in TOOLS]
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__)
    parser.add_argument("what", nargs="+", metavar="WORK", help=f"{', '.join(NAMES)}; or all")
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument(
        "--tools", type=lambda text: text.split(","), default=tools, metavar="NAME,...",
        help=f"of {'; '.join(tools)} (default: all). boto3 is needed for ratios.",
    )  # fmt: skip
    parser.add_argument("--server", choices=(STUB, *SERVERS), default=STUB)
    parser.add_argument(
        "--latency-ms", type=float, default=0.0, metavar="MS", help="of the stub's answers"
    )
    parser.add_argument(
        "--threads", type=int, default=None,
        help=f"requests made at once (default: 1, with latency {_THREADS_WITH_LATENCY})",
    )  # fmt: skip
    default = Scale()
    parser.add_argument("--count", type=int, default=default.count, help="small objects")
    parser.add_argument("--listed", type=int, default=default.listed, help="keys of a listing")
    parser.add_argument("--size-mib", type=int, default=default.size_mib, help="large objects")
    parser.add_argument(
        "--full", action="store_true", help="in scaling up to 64 units, and with larger ones"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the results to this file")
    parser.add_argument(
        "--package", type=Path, default=ROOT, metavar="DIRECTORY",
        help="measure the object_clerk of another checkout",
    )  # fmt: skip
    parser.add_argument("--rst", type=Path, metavar="PAGE", help="fill this page from results")
    parser.add_argument("--before", type=Path, metavar="FILE", help="with --rst: older results")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="draw results")
    return parser


def _measure(names: Sequence[str], chosen: argparse.Namespace, command: str) -> list[Row]:
    threads = chosen.threads or (_THREADS_WITH_LATENCY if chosen.latency_ms else 1)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    plan = Plan(
        server=chosen.server,
        rounds=chosen.rounds,
        latency_ms=chosen.latency_ms,
        threads=threads,
        package=str(chosen.package.absolute()),
        command=command,
        date=today,
    )
    scale = Scale(count=chosen.count, listed=chosen.listed, size_mib=chosen.size_mib)
    sizes = tuple(mib for mib in scale.sizes_mib if mib <= chosen.size_mib)
    scale = dataclasses.replace(scale, sizes_mib=sizes or (chosen.size_mib,))
    if chosen.full:
        scale = dataclasses.replace(scale, units=_FULL_UNITS)
    found = Found(plan.package)
    rows: list[Row] = []
    for name in names:
        for work in works(name, scale):
            if work.takes_the_stub and plan.server != STUB:
                continue
            tools = [tool for tool in work.tools if tool.name.split(",")[0] in _first(chosen.tools)]
            new = list(measure(work, tools, plan, found))
            rows += new
            if chosen.json is not None:
                _save(chosen.json, merged(_load([chosen.json]), new))
    for tool, reason in found.missing.items():
        print(f"# left out: {tool}: {reason}", file=sys.stderr)
    return rows


def _first(names: Sequence[str]) -> set[str]:
    return {name.split(",")[0] for name in names}


def _load(paths: Sequence[Path]) -> list[Row]:
    rows: list[Row] = []
    for path in paths:
        if path.exists():
            given = json.loads(path.read_text(encoding="utf-8"))
            rows = merged(rows, [Row.load(each) for each in given])
    return rows


def _save(path: Path, rows: Sequence[Row]) -> None:
    text = json.dumps([dataclasses.asdict(row) for row in rows], indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
