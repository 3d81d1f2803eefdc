"""Who puts an upload's pieces together: one at a time, and never after it was done.

That has to hold on any store, those included that know no conditions. So a claim is an object of
its own below the upload; who has written one lists them all, and gives way if there is another. Of
two who come at once at least one sees the other. A claim is written again while it is used; one
that was not for a while is of somebody who died, and counts no more. How old claims are is told by
the store, so clocks need not agree.

A claim says when its object may be there from now on, and which generation it replaces. That is of
interest to whoever comes next: if there is yet another one by then, somebody has written the object
since, maybe over what the upload had become, and it must not be replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import secrets
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkException, ObjectNotFoundException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from object_clerk.store.models import ObjectInfo
    from object_clerk.store.store import ObjectStore

log = logging.getLogger(__name__)

#: A claim that was not written again for so long is of somebody who died.
LEASE = timedelta(seconds=60)

#: How often one is written again, and what counts as too late: others may count it as dead soon.
RENEWAL_S, LATE_S = 15.0, 30.0


class Busy(Exception):
    """Somebody else puts the upload together."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """An attempt to write the object of which nobody knows what came of it.

    Attributes:
        before: the generation that it was to replace; empty for none.
        of: what the object was to be made of.
    """

    before: str
    of: str


class Claim:
    """A claim. Its methods block: they are for threads.

    Args:
        store: where it is.
        prefix: what all claims of the upload begin with.
        of: what the object is to be made of.

    Attributes:
        earlier: the attempts of others before.
    """

    def __init__(self, store: ObjectStore, prefix: str, of: str) -> None:
        self.earlier: list[Attempt] = []
        self._store = store
        self._prefix = prefix
        self._at = prefix + secrets.token_hex(16)
        self._of = of
        self._before: str | None = None
        self._written_s = time.time()
        self._is_lost = False
        self._lock = threading.Lock()

    @classmethod
    def make(cls, store: ObjectStore, prefix: str, of: str) -> Claim:
        """Claim an upload.

        Raises:
            Busy: somebody else has claimed it.
        """
        made = cls(store, prefix, of)
        try:
            made._write()
            made.earlier = made._look_around()
        except BaseException:
            made.close()
            raise
        return made

    @property
    def has_begun(self) -> bool:
        """Whether the object may be there."""
        return self._before is not None

    def _write(self, *, is_over: bool = False) -> None:
        with self._lock:  # or a renewal could write what it was before
            said = {"of": self._of, "before": self._before, "is_over": is_over}
            begun_s = time.time()
            self._store.put_object_v2(json.dumps(said).encode(), self._at)
            self._look_at_the_clock()
            self._written_s = begun_s

    def _look_at_the_clock(self) -> None:
        """Somebody else may have taken it for that of a dead one, if it was not written for long.

        By the wall clock, which goes on while a machine sleeps; that it is set costs one more try.
        """
        self._is_lost |= not 0 <= time.time() - self._written_s < LATE_S

    def renew(self) -> None:
        """Say that it is in use; should that fail, ``begin`` sees what came of it."""
        try:
            self._write()
        except ObjectClerkException as error:
            log.warning("the claim of an upload was not renewed: %s", error)
        except Exception:
            log.exception("the claim of an upload was not renewed")

    def begin(self, before: str) -> None:
        """Say that the object may be there from now on.

        Args:
            before: the generation that it replaces; empty for none.

        Raises:
            Busy: the claim was not kept, or was taken away.
        """
        self._look_at_the_clock()
        if self._is_lost or not any(each.key == self._at for each in self._all()):
            raise Busy
        self._before = before
        self._write()

    def take_back(self) -> None:
        """The object will not be there after all."""
        self._before = None

    def close(self) -> None:
        """Let others claim the upload, who get to know of an attempt. It may fail: claims end."""
        with contextlib.suppress(ObjectClerkException):
            if self._before is None:
                self._store.delete_object(self._at)
            else:
                self._write(is_over=True)

    def _all(self) -> list[ObjectInfo]:
        return list(self._store.list_objects(self._prefix))

    def _look_around(self) -> list[Attempt]:
        there = {each.key: each for each in self._all()}
        own = there.pop(self._at, None)
        if own is None:
            raise Busy
        found = (self._attempt(each, own) for each in there.values())
        return [attempt for attempt in found if attempt is not None]

    def _attempt(self, other: ObjectInfo, own: ObjectInfo) -> Attempt | None:
        """What another claim tells; None if it never came to writing.

        Raises:
            Busy: it is in use.
        """
        is_young = own.updated_time - other.updated_time <= LEASE
        try:
            with self._store.get_object(other.key) as opened:
                match json.loads(opened.body.read()):
                    case {"of": str() as of, "before": before, "is_over": is_over}:
                        is_young &= not is_over
                    case _:
                        of, before = "", None
        except ObjectNotFoundException:
            return None  # it was taken back just now
        except (ValueError, RecursionError):
            of, before = "", None
        if is_young:
            raise Busy
        return Attempt(before, of) if isinstance(before, str) else None


@contextlib.asynccontextmanager
async def kept(claim: Claim) -> AsyncIterator[None]:
    """Write a claim again and again."""
    over = asyncio.Event()

    async def renew() -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL_S):
                    await over.wait()
                    return
            await asyncio.to_thread(claim.renew)

    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        over.set()  # not cancelled: what is being written would come after the end
        await asyncio.wait((task,))
