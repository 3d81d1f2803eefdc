"""What several benchmarks need: the memory of processes, and tables of what they print."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIB = 1 << 20


def resident_mib(name: str, pid: int | None = None) -> float:
    """Resident memory of a process, now (VmRSS) or at its largest (VmHWM), in MiB.

    Args:
        name: which of the two.
        pid: the process; this one if None. For another one there has to be a ``/proc``.
    """
    try:
        # Not ru_maxrss where it can be avoided: a new program inherits its parent's.
        lines = _proc(pid, "status").read_text(encoding="ascii").splitlines()
    except OSError:
        if pid is not None:
            raise
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def forget_peak(pid: int | None = None) -> None:
    """Let VmHWM of a process begin anew, where the system can do that."""
    with contextlib.suppress(OSError):
        _proc(pid, "clear_refs").write_text("5", encoding="ascii")


def _proc(pid: int | None, name: str) -> Path:
    return Path("/proc", "self" if pid is None else str(pid), name)


def simple_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells as a simple table of reStructuredText."""
    cells = [header, *lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    shown = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join([rule, shown[0], rule, *shown[1:], rule])
