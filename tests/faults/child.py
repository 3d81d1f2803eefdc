"""What a child process does when it is interrupted or killed in the middle."""

from __future__ import annotations

import json
import sys

from object_clerk import ObjectClerk


def main() -> None:
    """Make one call, as told on standard input."""
    told = json.load(sys.stdin)
    clerk = ObjectClerk(**told["clerk"])
    getattr(clerk, told["verb"])(*told["arguments"])


if __name__ == "__main__":
    main()
