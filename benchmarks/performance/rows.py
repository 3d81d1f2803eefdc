"""The results: medians with their spread, and ratios within the same round. Pure functions."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.performance.job import Measured
    from benchmarks.performance.run import Plan
    from benchmarks.performance.works import Work


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """That of some values."""
        return cls(
            *(float(f"{x:.5g}") for x in (statistics.median(values), min(values), max(values)))
        )

    def text(self, form: str = "{:.2f}") -> str:
        """The median with the spread in brackets, which one round does not have."""
        median, least, most = (form.format(x) for x in (self.median, self.least, self.most))
        return median if least == most else f"{median} ({least}-{most})"


@dataclasses.dataclass(frozen=True)
class Row:
    """One tool in one variant of a work.

    Attributes:
        amount: how much was done: thousands of objects, or GiB.
        cpu_s: seconds of CPU time, user and system.
        wall_s: seconds by the clock.
        peak_mib: growth of the process at its largest.
        cpu_ratio: the CPU time as a multiple of plain boto3's in the same round.
        wall_ratio: the same of the time by the clock.
        seen: how the server saw bodies signed, and their digests.
        checks: what the tool verifies.
        said: what the tool says that it proved.
    """

    work: str
    variant: str
    tool: str
    version: str
    server: str
    latency_ms: float
    threads: int
    rounds: int
    amount: float
    cpu_s: Spread
    wall_s: Spread
    peak_mib: Spread
    cpu_ratio: Spread | None
    wall_ratio: Spread | None
    seen: str
    checks: str
    said: str
    command: str
    date: str

    @property
    def identity(self) -> tuple[Any, ...]:
        """What no two rows of one file have in common."""
        return self.work, self.variant, self.tool, self.server, self.latency_ms, self.threads

    @property
    def per_cpu_s(self) -> float:
        """Objects per second of CPU time."""
        return self.amount * 1000 / self.cpu_s.median

    @property
    def times_boto3(self) -> Spread | None:
        """How many times as much it does in a second of CPU time."""
        r = self.cpu_ratio
        return None if r is None else Spread.of([1 / r.median, 1 / r.most, 1 / r.least])

    @classmethod
    def load(cls, given: dict[str, Any]) -> Row:
        """From JSON."""
        spreads = {
            name: Spread(**value) for name, value in given.items() if isinstance(value, dict)
        }
        return cls(**{**given, **spreads})


def row_of(
    work: Work,
    tool: str,
    plan: Plan,
    runs: Sequence[Measured],
    reference: Sequence[Measured] | None,
    seen: str,
    checks: str,
) -> Row:
    """Sum the rounds of a tool up."""

    def ratio(value: Callable[[Measured], float]) -> Spread | None:
        if reference is None:
            return None
        pairs = zip(runs, reference, strict=True)
        return Spread.of([value(run) / value(other) for run, other in pairs])

    return Row(
        work=work.name,
        variant=work.variant,
        tool=tool,
        version=runs[0].version,
        server=plan.server,
        latency_ms=plan.latency_ms,
        threads=plan.threads,
        rounds=len(runs),
        amount=work.amount,
        cpu_s=Spread.of([run.cpu_s for run in runs]),
        wall_s=Spread.of([run.wall_s for run in runs]),
        peak_mib=Spread.of([run.peak_mib for run in runs]),
        cpu_ratio=ratio(lambda run: run.cpu_s),
        wall_ratio=ratio(lambda run: run.wall_s),
        seen=seen,
        checks=checks,
        said=runs[-1].said,
        command=plan.command,
        date=plan.date,
    )


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Old rows with new ones in their places, or behind them."""
    rows = {row.identity: row for row in old}
    rows.update({row.identity: row for row in new})
    return list(rows.values())


def table(rows: Sequence[Row]) -> str:
    """The rows as text, for a terminal."""
    cells = [["work", "variant", "tool", "CPU s", "wall s", "MiB", "x boto3 CPU", "x wall", "body"]]
    for row in rows:
        ratios = [each.text() if each else "" for each in (row.cpu_ratio, row.wall_ratio)]
        times = [row.cpu_s.text("{:.3f}"), row.wall_s.text("{:.3f}"), row.peak_mib.text("{:.0f}")]
        cells.append([row.work, row.variant, row.tool, *times, *ratios, row.seen])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    proofs = [
        f"{row.work}: {row.tool} checks: {row.checks}. It says: {row.said or 'nothing'}."
        for row in rows
        if row.checks
    ]
    return "\n".join([*lines, *dict.fromkeys(proofs)])
