"""The results as a part of the documentation."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks.performance.targets import FLAT, TARGETS, costs, is_flat
from benchmarks.performance.works import CLERK, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.performance.rows import Row

BEGIN = ".. what follows was written by python -m benchmarks.performance --rst"
END = ".. the end of what was written"

_NEVER = "not measured"

#: What ``plots`` draws.
_PICTURES = """\
.. image:: performance/small.svg
   :alt: objects for each second of CPU time, as a multiple of plain boto3's

.. image:: performance/large.svg
   :alt: CPU time of large transfers, as a multiple of plain boto3's
"""
_PICTURE_OF_SCALING = """\
.. image:: performance/scaling.svg
   :alt: CPU time of a unit of work against the number of units
"""


def filled(page: str, rows: Sequence[Row], before: Sequence[Row] = ()) -> str:
    """The page with what is between its two marks made anew.

    Args:
        page: its text.
        rows: what was measured.
        before: the same of an older release, for comparison.

    Raises:
        ValueError: the page has no marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n\n{body(rows, before)}\n{END}{tail}"


def body(rows: Sequence[Row], before: Sequence[Row]) -> str:
    """What stands between the marks."""
    plain = [row for row in rows if row.server == "stub" and not row.latency_ms]
    parts = [_heading("Targets"), _targets(plain, before)]
    if plain:
        parts.append(_PICTURES)
    if any(row.work == "scaling" for row in plain):
        heading = _heading("Cost against size and count")
        parts += [heading, _PICTURE_OF_SCALING, _scaling(plain)]
    for (server, latency_ms, threads), group in groupby(_sorted(rows), key=_place):
        where = "the stub" if server == "stub" else server
        where += f", {latency_ms:g} ms away" if latency_ms else ""
        where += f", {threads} requests at once" if threads > 1 else ""
        parts.append(_heading(f"All figures on {where}"))
        here = [row for row in group if row.work != "scaling"]
        for work, of_work in groupby(here, key=lambda row: row.work):
            parts.append(_work(f"{work} on {where}", list(of_work)))
    return "\n".join(parts)


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """Those of the stub first: everything is measured there."""
    return sorted(rows, key=lambda row: (row.server != "stub", *_place(row), NAMES.index(row.work)))


def _place(row: Row) -> tuple[str, float, int]:
    return row.server, row.latency_ms, row.threads


def _heading(text: str, line: str = "-") -> str:
    return f"{text}\n{line * len(text)}\n"


def _targets(rows: Sequence[Row], before: Sequence[Row]) -> str:
    header = ["work", "target", "before", "now", "met", "bodies", "evidence", "command"]
    lines = []
    for target in TARGETS:
        met = {None: _NEVER, True: "yes", False: "no"}[target.is_met(rows)]
        what = f"{target.work}, {target.variant}" if target.variant else target.work
        then, now = target.shown(before) or _NEVER, target.shown(rows) or _NEVER
        shown = [what, target.text, then, now, met, target.bodies(rows), target.evidence(rows)]
        lines.append([*shown, f"``{target.work}``"])
    said = f"""\
        Ratios are to boto3 with its default settings in the same round; ours is in strict mode,
        also its default. A command of ``X`` in the last column means
        ``python -m benchmarks.performance X``. "Bodies" is how the server saw those of uploads
        come: how they were signed, and with which digests. "Evidence" is what the receipts say.
        "{_NEVER}" is what no run has had yet.
        """
    return (
        f"{_filled(said)}\n{_table('performance-targets', header, lines, '16 20 10 10 6 12 18 8')}"
    )


def _scaling(rows: Sequence[Row]) -> str:
    header = ["work", "tool", "units: CPU seconds for a GiB, or for 1,000 objects", "flat"]
    lines = []
    for verb, tools in costs(rows).items():
        for tool, found in tools.items():
            cells = ", ".join(f"{units}: {cost:.2f}" for units, cost in found.items())
            lines.append([verb, tool, cells, "yes" if is_flat(found.values()) else "no"])
    said = f"""\
        ``python -m benchmarks.performance scaling``. Flat is what costs at most {FLAT:g} times as
        much for the dearest number of units as for the cheapest.
        """
    return f"{_filled(said)}\n{_table('performance-scaling', header, lines, '10 20 60 10')}"


def _work(heading: str, rows: Sequence[Row]) -> str:
    row = rows[0]
    small = row.work == "list" or row.work.startswith("small-")
    header = ["variant", "tool", "CPU s", "CPU, times boto3's", "wall s", "wall, times boto3's"]
    header += ["MiB", *(["per CPU s"] if small else []), "bodies", "checks"]
    lines = []
    for row in rows:
        ratios = [ratio.text() if ratio else "" for ratio in (row.cpu_ratio, row.wall_ratio)]
        cells = [row.variant, f"{row.tool} {row.version}".rstrip()]
        cells += [row.cpu_s.text(), ratios[0], row.wall_s.text(), ratios[1]]
        cells += [row.peak_mib.text("{:.0f}"), *([f"{row.per_cpu_s:.0f}"] if small else [])]
        lines.append([*cells, row.seen, row.checks])
    proofs = sorted({f"{r.variant}: {r.said}." for r in rows if r.tool == CLERK.name and r.said})
    commands = "".join(f"    {command}\n" for command in dict.fromkeys(r.command for r in rows))
    dates = sorted({row.date for row in rows})
    rounds = sorted({row.rounds for row in rows})
    said = f"Measured on {' and '.join(dates)}, medians of {' or '.join(map(str, rounds))} rounds."
    name = f"{row.work}-{row.server}-{row.latency_ms:g}-{row.threads}"
    widths = "14 14 10 10 10 10 8 " + ("8 " if small else "") + "12 20"
    evidence = [_filled(f"object-clerk says, {proof}") for proof in proofs]
    return "\n".join(
        [
            _heading(heading, "~"),
            "::\n",
            commands,
            _filled(said),
            *evidence,
            _table(name, header, lines, widths),
        ]
    )


def _filled(text: str) -> str:
    return f"{textwrap.fill(' '.join(text.split()), 99, break_on_hyphens=False)}\n"


def _table(name: str, header: Sequence[str], lines: Iterable[Sequence[str]], widths: str) -> str:
    text = [".. list-table::", f"   :name: {name}", "   :header-rows: 1", f"   :widths: {widths}"]
    text.append("")
    for line in [header, *lines]:
        for position, cell in enumerate(line):
            start = "   * - " if position == 0 else "     - "
            text.append(f"{start}{cell}".rstrip())
    return "\n".join([*text, ""])
