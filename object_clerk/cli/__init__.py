"""The command line: ``object-clerk``.

Only the standard library is imported here, so that a missing extra ends in a sentence rather
than in a traceback. The commands are in modules of their own, imported when they are called.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from object_clerk.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEEDED = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name, ``sys.argv`` if None.

    Returns:
        the exit code, see :class:`~object_clerk.cli.exit_codes.ExitCode`.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"object-clerk: the command line needs {' and '.join(missing)}, which cannot be "
            "found; install it with: pip install 'object-clerk[cli]'",
            file=sys.stderr,
        )
        return ExitCode.CONFIGURATION
    from object_clerk.cli.app import run

    return run(arguments)
