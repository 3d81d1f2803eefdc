"""Count what small requests take: ``python -m tests.performance [--record] [--slow]``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from tests.performance import budget
from tests.performance.counting import measure

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance", description=__doc__)
    parser.add_argument("--record", action="store_true", help="make this the budget")
    parser.add_argument("--slow", action="store_true", help="with fast_lane=False")
    chosen = parser.parse_args(arguments)
    found = measure(**({"fast_lane": False} if chosen.slow else {}))
    print(json.dumps({name: dataclasses.asdict(counts) for name, counts in found.items()}))
    if chosen.record:
        budget.record(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
