"""What was aimed at, as ratios to plain boto3 in the same run, and whether it was reached."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from benchmarks.performance.works import CLERK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.performance.rows import Row, Spread

#: What scaling calls flat: the dearest unit costs so many times the cheapest.
FLAT = 1.25


@dataclasses.dataclass(frozen=True)
class Target:
    """One aim.

    Attributes:
        work: of ``works.NAMES``.
        variant: the variant; empty for any.
        what: ``times`` (as much in a second of CPU time as boto3, at least), ``cpu`` or ``wall``
            (of boto3's, at most), or ``mib`` (at most).
        limit: the number.
    """

    work: str
    variant: str
    what: str
    limit: float

    @property
    def text(self) -> str:
        """The aim in words."""
        return _TEXTS[self.what].format(self.limit)

    def mine(self, rows: Iterable[Row]) -> list[Row]:
        """Our rows that it is about; more than one if it is an aim for several sizes."""
        ours = (row for row in rows if row.work == self.work and row.tool == CLERK.name)
        return [row for row in ours if self.variant in ("", row.variant)]

    def bodies(self, rows: Iterable[Row]) -> str:
        """How bodies were signed, and their digests."""
        return "; ".join(dict.fromkeys(row.seen for row in self.mine(rows) if row.seen))

    def evidence(self, rows: Iterable[Row]) -> str:
        """What the receipts say."""
        return "; ".join(dict.fromkeys(row.said for row in self.mine(rows) if row.said))

    def shown(self, rows: Iterable[Row]) -> str:
        """What was measured, the worst of it; empty if nothing was."""
        worst = self._worst(rows)
        return worst.text("{:.0f}" if self.what == "mib" else "{:.2f}") if worst else ""

    def is_met(self, rows: Iterable[Row]) -> bool | None:
        """Whether the median is as good as was aimed at; None if it was not measured."""
        worst = self._worst(rows)
        if worst is None:
            return None
        median = worst.median
        return median >= self.limit if self.what == "times" else median <= self.limit

    def _worst(self, rows: Iterable[Row]) -> Spread | None:
        values = (_value(row, self.what) for row in self.mine(rows))
        found = [value for value in values if value is not None]
        worst = min if self.what == "times" else max
        return worst(found, key=lambda spread: spread.median, default=None)


_TEXTS = {
    "times": "at least {:g} times as much per CPU second",
    "cpu": "CPU time at most {:g} times",
    "wall": "time by the clock at most {:g} times",
    "mib": "at most {:g} MiB more than after the import",
}


def _value(row: Row, what: str) -> Spread | None:
    values = {
        "times": row.times_boto3,
        "cpu": row.cpu_ratio,
        "wall": row.wall_ratio,
        "mib": row.peak_mib,
    }
    return values[what]


_CRC64 = "unsigned payload, CRC64NVME honoured"

TARGETS = (
    Target("small-put", "", "times", 4.0),
    Target("small-get", "", "times", 4.0),
    Target("small-copy", "", "times", 2.5),
    Target("small-move", "", "times", 2.0),
    Target("list", "", "times", 12.0),
    Target("upload", "signed payload", "cpu", 1.4),
    Target("upload", "unsigned payload", "cpu", 1.0),
    Target("upload", _CRC64, "cpu", 0.45),
    Target("upload", f"{_CRC64}, no MD5 in the server", "wall", 1.0),
    Target("download", "parts of 8 MiB", "cpu", 1.3),
    Target("download", "parts of 8 MiB", "wall", 0.8),
    Target("download", "stored CRC64NVME", "cpu", 0.45),
    Target("download-single", "", "wall", 1.0),
    Target("memory", "", "mib", 64),
    Target("import", "", "cpu", 1.2),
)


def costs(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Of the rows of scaling: verb -> tool -> units -> CPU seconds for each unit of amount."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if row.work == "scaling":
            verb, units = row.variant.split(", ")
            cost = row.cpu_s.median / row.amount
            found.setdefault(verb, {}).setdefault(row.tool, {})[units] = cost
    return found


def is_flat(cost: Iterable[float]) -> bool:
    """Whether no unit costs much more than another."""
    values = list(cost)
    return max(values) <= FLAT * min(values)
