"""Do one job, read from standard input: ``python -m benchmarks.side_by_side.drivers MODULE``.

With ``--describe`` the tool's version and verbs are printed, or why it cannot be used here.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.side_by_side.job import Job

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The end of an error is cut off here; the keys that it may have to name fit in.
_LONGEST_ERROR = 20_000


def main(arguments: Sequence[str]) -> int:
    """Print what became of the job as one line of JSON; 0 also for errors of the tool."""
    name, *rest = arguments
    try:
        driver = importlib.import_module(f"{__package__}.{name}")
        version = driver.version()
    except (ImportError, OSError) as error:
        print(json.dumps({"missing": f"{type(error).__name__}: {error}"}))
        return 0
    if rest == ["--describe"]:
        print(json.dumps({"version": version, "verbs": sorted(driver.VERBS)}))
        return 0
    given: dict[str, Any] = json.load(sys.stdin)
    job = Job(**{**given, "keys": tuple(given["keys"])})
    verb = driver.VERBS[job.verb]
    try:
        keys = verb(job)
    except Exception as error:
        print(json.dumps({"ok": False, "error": _text(error)}))
    else:
        print(json.dumps({"ok": True, "keys": keys or []}))
    return 0


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
