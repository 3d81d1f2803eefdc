"""Removes the dead: objects that have expired, and uploads that nobody goes on with.

Nobody has to: what has expired is not served, swept or not. The sweeper only gives the room back.

An object is looked at a second time right before it is deleted, so one that was replaced meanwhile
is kept. Stores cannot delete on condition, so a write that falls into the moment between that look
and the delete, a single request, may be lost; it has to be of a key whose object had expired.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkException, ObjectNotFoundException
from object_clerk.gateway.v1.deadlines import Deadlines
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.places import DEADLINES, DIGESTS, MANIFEST, OBJECTS, UPLOADS, split
from object_clerk.gateway.v1.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

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
        last: the last key that was looked at; None if there are no more.
    """

    looked: int
    removed: int
    last: str | None


class Sweeper:
    """Looks at a store, batch by batch. Its methods block: they are for threads.

    Args:
        store: which store.
        clock: what time it is.
        uploads: how long an upload in parts may take.
        dry_run: whether nothing is removed, only counted.
    """

    def __init__(
        self,
        store: ObjectStore,
        clock: Callable[[], datetime],
        uploads: timedelta,
        *,
        dry_run: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._uploads = uploads
        self._dry_run = dry_run
        self._deadlines = Deadlines(store, clock)

    def batch(self, count: int, start_after: str | None = None) -> Swept:
        """Look at some keys.

        Args:
            count: at most so many.
            start_after: behind this one.
        """
        looked = removed = 0
        last = None
        for info in self._store.list_objects(start_after=start_after, limit=count + 1):
            if looked == count:
                return Swept(looked, removed, last)
            looked, last = looked + 1, info.key
            try:
                removed += self._look(info)
            except ObjectNotFoundException:
                pass  # somebody else removed it
            except ObjectClerkException as error:
                log.warning("%s could not be swept: %s", info.key, error)
        return Swept(looked, removed, None)

    def _look(self, info: ObjectInfo) -> bool:
        """Remove what a key has, if it is dead."""
        if (found := split(info.key)) is None:
            return False
        root, area, rest = found
        if area == OBJECTS:
            return self._sweep_object(root, rest, info)
        if area in (DEADLINES, DIGESTS):
            return self._sweep_record(info.key, f"{root}/{OBJECTS}/{rest}")
        name, _, last = rest.partition("/")
        return last == MANIFEST and self._sweep_upload(f"{root}/{UPLOADS}/{name}/", info.key)

    def _sweep_object(self, root: str, key: str, info: ObjectInfo) -> bool:
        beside = f"{root}/{DEADLINES}/{key}"
        if info.metadata is None:  # a listing that does not tell
            info = self._store.head_object(info.key)
        first = self._dead(beside, info)
        if first is None:
            return False
        if self._dry_run:
            return True
        if self._dead(beside, self._store.head_object(info.key)) != first:
            return False  # it was replaced, or lives longer now
        self._store.delete_object(info.key)
        self._store.delete_object(beside)
        self._store.delete_object(f"{root}/{DIGESTS}/{key}")
        return True

    def _dead(self, beside: str, info: ObjectInfo) -> str | None:
        """The generation that is dead; None if it lives, or is no object of ours."""
        try:
            stored = Stored.of(info)
        except Problem:
            return None
        passed = self._deadlines.of(beside, stored).has_passed(self._clock())
        return stored.generation if passed else None

    def _sweep_record(self, at: str, beside: str) -> bool:
        """Remove what lay beside an object that is gone."""
        try:
            self._store.head_object(beside)
        except ObjectNotFoundException:
            if not self._dry_run:
                self._store.delete_object(at)
            return True
        return False

    def _sweep_upload(self, prefix: str, manifest: str) -> bool:
        with self._store.get_object(manifest) as opened:
            begun = _begun(opened.body.read())
        if begun is not None and self._clock() - begun < self._uploads:
            return False
        if not self._dry_run:
            remove_upload(self._store, prefix)
        return True


def remove_upload(store: ObjectStore, prefix: str) -> None:
    """Remove all of an upload; its manifest at the end, so that a sweep can finish it."""
    remove_pieces(store, prefix)
    store.delete_object(prefix + MANIFEST)


def remove_pieces(store: ObjectStore, prefix: str) -> None:
    """Remove what has come of an upload, and leave its manifest."""
    for each in store.list_objects(prefix):
        if each.key != prefix + MANIFEST:
            store.delete_object(each.key)


def _begun(content: bytes) -> datetime | None:
    """When an upload was begun; None if nobody can tell."""
    try:
        return datetime.fromisoformat(json.loads(content)["begun"]).astimezone(UTC)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


async def sweep_forever(service: Service) -> None:
    """Sweep a batch, wait, and so on; from the beginning when the end is reached."""
    config = service.config.sweep
    assert config.interval is not None
    sweeper = Sweeper(service.store.store, service.clock, config.uploads)
    last: str | None = None
    while True:
        await asyncio.sleep(config.interval.total_seconds())
        try:
            swept = await service.store.call(sweeper.batch, config.batch, last)
        except ObjectClerkException as error:
            log.warning("the sweep for expired objects failed, and will be tried again: %s", error)
            continue
        last = swept.last
        if swept.removed:
            log.info("%s of %s keys had expired, and were removed", swept.removed, swept.looked)
