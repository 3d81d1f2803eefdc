"""One stream of values that feeds progress bars, logs, metrics and traces.

A listener is any callable that takes an event. It is called in the thread that does the work,
so it should be quick; an error it raises is logged and never disturbs a transfer.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from object_clerk.exceptions import ObjectClerkException
    from object_clerk.receipt import Receipt

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one object during one operation."""

    operation: str
    bucket: str
    key: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Started(Event):
    """An operation began."""


@dataclasses.dataclass(frozen=True, slots=True)
class Transferred(Event):
    """Bytes moved. ``delta_bytes`` is negative when some have to be moved again."""

    delta_bytes: int
    total_bytes: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Retrying(Event):
    """A request failed and will be repeated after ``wait_s`` seconds."""

    attempt: int
    wait_s: float
    cause: ObjectClerkException


@dataclasses.dataclass(frozen=True, slots=True)
class Finished(Event):
    """An operation succeeded; it has a receipt if it moved bytes."""

    receipt: Receipt | None
    elapsed_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Failed(Event):
    """An operation failed for good."""

    error: ObjectClerkException
    elapsed_s: float


Listener = Callable[[Event], None]


def notify(listeners: tuple[Listener, ...], event: Event) -> None:
    """Give ``event`` to every listener, whatever the others make of it."""
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            log.exception("a listener failed on %s", type(event).__name__)
