"""What a child process does when it is interrupted or killed in the middle."""

from __future__ import annotations

import json
import sys

from object_clerk import ObjectClerk
from object_clerk.transfer import save
from tests.faults.experiments import written_in_place


def main() -> None:
    """Make one call, as told on standard input."""
    told = json.load(sys.stdin)
    if told["in_place"]:  # a guard is switched off
        save.partial_beside = written_in_place  # type: ignore[attr-defined]
    clerk = ObjectClerk(**told["clerk"])
    getattr(clerk, told["verb"])(*told["arguments"])


if __name__ == "__main__":
    main()
