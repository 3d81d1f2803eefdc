"""When objects die: what reads and extensions have moved is in a small object beside each.

So a read never rewrites a payload, and can never undo a write that happens at the same time. The
record goes by the generation that it belongs to; of any other it says nothing.
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
from object_clerk.rest.wire import rfc3339
from object_clerk.session.metadata import TimeToIdle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        is_doubtful: whether there is a record that cannot be read.
        is_buried: whether it is dead, whatever the time is.
    """

    moment: datetime | None
    etag: str | None = None
    is_doubtful: bool = False
    is_buried: bool = False

    def has_passed(self, now: datetime) -> bool:
        """Whether the object is dead."""
        return self.is_buried or (self.moment is not None and self.moment <= now)


class LostRace(Exception):
    """Somebody else moved the deadline at the same time."""


class Deadlines:
    """The records. Its methods block: they are for threads.

    Args:
        store: where they are.
        clock: what time it is.

    Attributes:
        store: the same.
        clock: the same.
    """

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime]) -> None:
        self.store = store
        self.clock = clock

    def of(self, root: str, stored: Stored) -> Deadline:
        """The deadline of an object, as it is before anybody reads it.

        Args:
            root: of its place.
            stored: what is known of it.
        """
        first = stored.metadata.time_expires
        if first is None:
            return Deadline(None)
        try:
            with self.store.get_object(_at(root, stored.generation)) as opened:
                moment, is_buried = _read(opened.body.read())
        except ObjectNotFoundException:
            return Deadline(first)
        later = first if moment is None else max(first, moment)
        return Deadline(later, opened.info.etag, moment is None, is_buried)

    def later(self, stored: Stored, found: Deadline) -> datetime | None:
        """When it dies if its time begins anew now; None if that is not worth writing down.

        What is beyond the calendar is not, either.
        """
        policy = stored.metadata.expiration_policy
        if policy is None or found.moment is None:
            return None
        try:
            later = self.clock() + policy.delta
        except OverflowError:
            return None
        return later if later - found.moment > min(policy.delta / 4, LONGEST_DEBOUNCE) else None

    def touch(self, place: Place, stored: Stored, found: Deadline) -> None:
        """Somebody reads the object: one with time to idle lives longer, if that is worth it.

        That it fails is no reason to fail the read.
        """
        later = self.later(stored, found)
        if later is None or not isinstance(stored.metadata.expiration_policy, TimeToIdle):
            return
        try:
            self.move(place, stored, found, later)
        except LostRace:
            pass  # another reader has done it, or an extension that goes further
        except ObjectClerkException as error:
            log.warning("the deadline of an object that was read was not moved: %s", error)

    def move(self, place: Place, stored: Stored, found: Deadline, moment: datetime) -> None:
        """Write down another deadline.

        Raises:
            LostRace: somebody else has just done so.
        """
        self._write(place.root, stored, found, {"key": place.key, "deadline": rfc3339(moment)})

    def bury(self, root: str, key: str, stored: Stored, found: Deadline) -> None:
        """Write down that an object is dead, so that nobody lets it live longer any more.

        Raises:
            LostRace: somebody else has just done so.
        """
        assert found.moment is not None
        if not found.is_buried:
            record = {"key": key, "deadline": rfc3339(found.moment), "is_buried": True}
            self._write(root, stored, found, record)

    def _write(
        self, root: str, stored: Stored, found: Deadline, record: Mapping[str, object]
    ) -> None:
        content, at = json.dumps(record).encode(), _at(root, stored.generation)
        condition: dict[str, Any] = {"if_match": found.etag} if found.etag else {"if_absent": True}
        try:
            self.store.put_object_v2(content, at, **condition)
        except (PreconditionFailed, ObjectNotFoundException) as error:
            raise LostRace from error
        except UnsupportedError:  # the last one wins there
            self.store.put_object_v2(content, at)

    def forget(self, root: str, stored: Stored) -> None:
        """Delete the record of an object that is gone."""
        if stored.metadata.time_expires is not None:
            self.store.delete_object(_at(root, stored.generation))


def _at(root: str, generation: str) -> str:
    return f"{root}/{DEADLINES}/{generation}"


def _read(content: bytes) -> tuple[datetime | None, bool]:
    """The time in a record, None if it cannot be understood; and whether it is the last."""
    try:
        match json.loads(content):
            case {"deadline": str() as text, **rest}:
                moment = datetime.fromisoformat(text).astimezone(UTC)
                return moment, rest.get("is_buried") is True
    except (ValueError, RecursionError, OverflowError):
        pass
    return None, False
