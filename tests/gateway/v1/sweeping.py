"""A sweep that the test does itself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from object_clerk.gateway.v1.config import Sweep
from object_clerk.gateway.v1.sweeper import Sweeper

if TYPE_CHECKING:
    from tests.gateway.v1.running import Running


def sweeper(running: Running, *, dry_run: bool = False, **config: Any) -> Sweeper:
    """One that has no grace, and does what it can on any server."""
    made = Sweep(**{"grace": timedelta(0), "unconditional": True, **config})
    return Sweeper(running.service.store.store, running.clock, made, dry_run=dry_run)
