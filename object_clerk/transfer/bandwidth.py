"""An upper limit on bytes per second, shared by the parts of a call."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from object_clerk.retry import Operation


class Bandwidth:
    """Spreads bytes over time so that no more than ``bytes_per_s`` pass; None lets all pass."""

    def __init__(self, bytes_per_s: int | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def spend(self, op: Operation, size: int) -> None:
        """Wait until ``size`` bytes may pass. Waits end with the operation or its deadline."""
        if self._bytes_per_s is None:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free_at)
            self._free_at = begin + size / self._bytes_per_s
        op.sleep(begin - now)
        op.check()
