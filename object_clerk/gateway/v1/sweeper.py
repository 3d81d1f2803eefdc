"""Removes the dead: objects that have expired, and uploads that nobody goes on with.

Nobody has to: what has expired is not served, swept or not. The sweeper only gives the room back,
and it keeps whatever it is not sure of: keys that are not ``/v1``'s, or that it cannot read, and
objects that might be replaced while they are deleted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from datetime import datetime
from typing import TYPE_CHECKING

from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectNotFoundException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.gateway.reserved import RESERVED
from object_clerk.gateway.v1.deadlines import Deadlines, LostRace
from object_clerk.gateway.v1.objects import forget_beside
from object_clerk.gateway.v1.places import DEADLINES, DIGESTS, MANIFEST, OBJECTS, UPLOADS, split
from object_clerk.gateway.v1.stored import stored_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from object_clerk.gateway.v1.config import Sweep
    from object_clerk.gateway.v1.service import Service
    from object_clerk.store.models import ObjectInfo
    from object_clerk.store.store import ObjectStore

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Swept:
    """What one batch did.

    Attributes:
        looked: how many keys were looked at.
        removed: how many objects and uploads were removed, or would be.
        kept: how many are dead, but could not be deleted safely.
        last: the last key that was looked at; None if there are no more.
    """

    looked: int
    removed: int
    kept: int
    last: str | None


class Sweeper:
    """Looks at a store, batch by batch. Its methods block: they are for threads.

    Args:
        store: which store.
        clock: what time it is.
        config: what is removed, and when.
        dry_run: whether nothing is removed, only counted.
    """

    def __init__(
        self,
        store: ObjectStore,
        clock: Callable[[], datetime],
        config: Sweep,
        *,
        dry_run: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._dry_run = dry_run
        self._deadlines = Deadlines(store, clock)
        self._known: tuple[str, bool] = ("", False)
        self._kept = 0

    def batch(self, count: int, start_after: str | None = None) -> Swept:
        """Look at some keys.

        Args:
            count: at most so many.
            start_after: behind this one.
        """
        looked = removed = self._kept = 0
        last = None
        for info in self._store.list_objects(RESERVED, start_after=start_after, limit=count + 1):
            if looked == count:
                return Swept(looked, removed, self._kept, last)
            looked, last = looked + 1, info.key
            try:
                removed += self._look(info)
            except (ObjectNotFoundException, PreconditionFailed, LostRace):
                pass  # somebody else removed it, has replaced it, or lets it live longer
            except ObjectClerkException as error:
                log.warning("%r could not be swept: %s", info.key, error)
        return Swept(looked, removed, self._kept, None)

    def _look(self, info: ObjectInfo) -> bool:
        """Remove what a key has, if it is dead."""
        if (found := split(info.key)) is None:
            return False
        root, area, rest = found
        if area == OBJECTS:
            return self._sweep_object(root, rest, info.key)
        if area in (DEADLINES, DIGESTS):
            return self._sweep_record(root, rest, info.key)
        name, _, last = rest.partition("/")
        prefix = f"{root}/{UPLOADS}/{name}/"
        return self._sweep_upload(prefix) if last == MANIFEST else self._sweep_piece(prefix, info)

    def _sweep_object(self, root: str, key: str, at: str) -> bool:
        info = self._store.head_object(at)
        if (stored := stored_of(info)) is None:
            return False
        deadline = self._deadlines.of(root, stored)
        if deadline.is_doubtful or not deadline.has_passed(self._clock() - self._config.grace):
            return False
        if self._dry_run:
            return True
        try:
            self._deadlines.bury(root, key, stored, deadline)
            self._store.delete_object(at, if_unchanged=info)
        except UnsupportedError:
            if not self._config.unconditional:
                self._kept += 1
                return False
            now = stored_of(self._store.head_object(at))
            if now is None or now.generation != stored.generation:
                return False
            self._store.delete_object(at)
        forget_beside(self._deadlines, root, stored)
        return True

    def _sweep_record(self, root: str, generation: str, at: str) -> bool:
        """Remove what lay beside an object that is gone."""
        with self._store.get_object(at) as opened:
            key = _field(opened.body.read(), "key")
        if key is None:
            return False
        try:
            stored = stored_of(self._store.head_object(f"{root}/{OBJECTS}/{key}"))
            if stored is None or stored.generation == generation:
                return False
        except ObjectNotFoundException:
            pass
        if not self._dry_run:
            self._store.delete_object(at)
        return True

    def _sweep_upload(self, prefix: str) -> bool:
        with self._store.get_object(prefix + MANIFEST) as opened:
            begun = _field(opened.body.read(), "begun")
        try:
            age = self._clock() - datetime.fromisoformat(begun or "")
        except (ValueError, TypeError):
            return False
        if age < self._config.uploads:
            return False
        if not self._dry_run:
            # First, so that who sends a piece right now finds out that it is too late.
            self._store.delete_object(prefix + MANIFEST)
            remove_pieces(self._store, prefix)
        return True

    def _sweep_piece(self, prefix: str, info: ObjectInfo) -> bool:
        """Remove what came too late for an upload that was ended."""
        if self._known[0] != prefix:
            self._known = (prefix, self._is_there(prefix + MANIFEST))
        if self._known[1] or self._clock() - info.updated_time < self._config.uploads:
            return False
        if not self._dry_run:
            self._store.delete_object(info.key)
        return True

    def _is_there(self, at: str) -> bool:
        try:
            self._store.head_object(at)
        except ObjectNotFoundException:
            return False
        return True


def remove_pieces(store: ObjectStore, prefix: str) -> None:
    """Remove what has come of an upload, and leave its manifest."""
    for each in store.list_objects(prefix):
        if each.key != prefix + MANIFEST:
            store.delete_object(each.key)


def _field(content: bytes, name: str) -> str | None:
    """A text in a small JSON of ours; None if it cannot be understood."""
    try:
        match json.loads(content):
            case {**fields} if isinstance(found := fields.get(name), str):
                return found
    except (ValueError, RecursionError):
        pass
    return None


async def sweep_forever(service: Service) -> None:
    """Sweep a batch, wait, and so on; from the beginning when the end is reached."""
    config = service.config.sweep
    assert config.interval is not None
    sweeper = Sweeper(service.store.store, service.clock, config)
    last: str | None = None
    while True:
        await asyncio.sleep(config.interval.total_seconds())
        try:
            swept = await service.store.call(sweeper.batch, config.batch, last)
        except ObjectClerkException as error:
            log.warning("the sweep for expired objects failed, and will be tried again: %s", error)
            continue
        except Exception:
            log.exception("the sweep for expired objects failed, and will be tried again")
            continue
        last = swept.last
        if swept.removed or swept.kept:
            log.info(
                "of %s keys %s had expired and were removed, and %s were kept, since this store "
                "does not delete on condition",
                swept.looked, swept.removed, swept.kept,
            )  # fmt: skip
