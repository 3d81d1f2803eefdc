"""``python -m object_clerk.cli`` is ``object-clerk``."""

import sys

from object_clerk.cli import main

if __name__ == "__main__":
    sys.exit(main())
