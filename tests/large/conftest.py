"""These tests run only when they are asked for."""

from __future__ import annotations

import os

if os.environ.get("OBJECT_CLERK_LARGE") != "1":
    collect_ignore = ["test_large.py"]
