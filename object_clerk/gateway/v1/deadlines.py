"""When objects die: what reads and extensions have moved is in a small object beside each.

So a read never rewrites a payload, and can never undo a write that happens at the same time. The
record names the generation that it belongs to; to any other it says nothing.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectNotFoundException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.gateway.v1.places import DEADLINES
from object_clerk.gateway.v1.stored import deadline
from object_clerk.rest.wire import rfc3339
from object_clerk.session.metadata import TimeToIdle

if TYPE_CHECKING:
    from collections.abc import Callable

    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.stored import Stored
    from object_clerk.store.store import ObjectStore

log = logging.getLogger(__name__)

#: The deadline of an object that is read all the time is moved no more often than this.
LONGEST_DEBOUNCE = timedelta(hours=24)


@dataclasses.dataclass(frozen=True)
class Deadline:
    """When an object dies.

    Attributes:
        moment: then; None for never.
        etag: of the record that says so; None if there is none.
    """

    moment: datetime | None
    etag: str | None = None

    def has_passed(self, now: datetime) -> bool:
        """Whether the object is dead."""
        return self.moment is not None and self.moment <= now


class LostRace(Exception):
    """Somebody else moved the deadline at the same time."""


class Deadlines:
    """The records. Its methods block: they are for threads.

    Args:
        store: where they are.
        clock: what time it is.
    """

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self.clock = clock

    def of(self, at: str, stored: Stored) -> Deadline:
        """The deadline of an object, as it is before anybody reads it.

        Args:
            at: the key of its record.
            stored: what is known of it.
        """
        first = stored.metadata.time_expires
        if first is None:
            return Deadline(None)
        try:
            with self._store.get_object(at) as opened:
                generation, moment = _read(opened.body.read())
        except ObjectNotFoundException:
            return Deadline(first)
        if generation != stored.generation or moment is None:
            return Deadline(first, opened.info.etag)
        return Deadline(max(first, moment), opened.info.etag)

    def touch(self, place: Place, stored: Stored, found: Deadline) -> None:
        """Somebody reads the object: one with time to idle lives longer, if that is worth it.

        That it fails is no reason to fail the read.
        """
        policy = stored.metadata.expiration_policy
        if not isinstance(policy, TimeToIdle) or found.moment is None:
            return
        try:
            later = deadline(stored.metadata, self.clock())
            if later is None or later - found.moment <= min(policy.delta / 4, LONGEST_DEBOUNCE):
                return
            self.move(place, stored, found, later)
        except LostRace:
            pass  # another reader has done it, or an extension that goes further
        except (ObjectClerkException, OverflowError) as error:
            log.warning("the deadline of an object that was read was not moved: %s", error)

    def move(self, place: Place, stored: Stored, found: Deadline, moment: datetime) -> None:
        """Write down another deadline.

        Raises:
            LostRace: somebody else has just done so.
        """
        record = {"generation": stored.generation, "deadline": rfc3339(moment)}
        content, at = json.dumps(record).encode(), place.beside(DEADLINES)
        condition: dict[str, Any] = {"if_match": found.etag} if found.etag else {"if_absent": True}
        try:
            self._store.put_object_v2(content, at, **condition)
        except (PreconditionFailed, ObjectNotFoundException) as error:
            raise LostRace from error
        except UnsupportedError:  # the last one wins there
            self._store.put_object_v2(content, at)


def _read(content: bytes) -> tuple[str, datetime | None]:
    """Generation and time of a record; neither if it cannot be understood."""
    try:
        match json.loads(content):
            case {"generation": str() as generation, "deadline": str() as text}:
                return generation, datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, RecursionError, OverflowError):
        pass
    return "", None
