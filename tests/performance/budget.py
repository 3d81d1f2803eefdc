"""The recorded budget, and what is over it."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.performance.counting import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = Path(__file__).with_name("budget.json")

#: Counts may grow by so much: releases of boto3 differ a little.
HEADROOM = 1.10

#: Each release of Python has instructions of its own, so each has a budget.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

Budget = dict[str, Counts]


def load(path: Path = PATH) -> dict[str, Budget]:
    """Release of Python -> kind of request -> counts."""
    given = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        python: {name: Counts(**counts) for name, counts in kinds.items()}
        for python, kinds in given.items()
    }


def record(found: Budget, path: Path = PATH) -> None:
    """Make what was counted the budget of this release of Python."""
    budgets = {**load(path), PYTHON: found}
    plain = {
        python: {name: dataclasses.asdict(counts) for name, counts in kinds.items()}
        for python, kinds in budgets.items()
    }
    path.write_text(f"{json.dumps(plain, indent=1, sort_keys=True)}\n", encoding="utf-8")


def compare(found: Mapping[str, Counts], budget: Mapping[str, Counts]) -> list[str]:
    """What takes more than the budget and its headroom, in words; empty if nothing does."""
    over = []
    for name, allowed in budget.items():
        for what in ("calls", "opcodes"):
            now, then = getattr(found[name], what), getattr(allowed, what)
            if now > then * HEADROOM:
                over.append(f"{name}: {now} {what}, {now / then - 1:+.0%} of the budget's {then}")
    return over
