"""Uploads in pieces: what is known of one.

All of an upload is below ``uploads/<id>/`` beside the objects of its scope: a manifest that says
what it is, and pieces that are objects of their own. So any process can go on with it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
import secrets
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkException,
    ObjectNotFoundException,
)
from object_clerk.gateway.bodies import joined
from object_clerk.gateway.v1 import objects
from object_clerk.gateway.v1.bodies import Checks
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.places import MANIFEST, UPLOADS, Place
from object_clerk.gateway.v1.stored import Stored, new_generation
from object_clerk.gateway.v1.sweeper import remove_pieces
from object_clerk.session import wire

if TYPE_CHECKING:
    from collections.abc import (
        Coroutine,
        Mapping,
    )

    from starlette.requests import Request

    from object_clerk.gateway.v1.service import Service

log = logging.getLogger(__name__)

#: Headers of the beginning that hold for the object.
_KEPT = ("x-sn-", "x-snme-", "content-type", "content-encoding", wire.REPR_DIGEST,
         wire.CONTENT_SHA256)  # fmt: skip

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: What became of an upload.
OPEN, DONE, CANCELLED = "open", "done", "cancelled"

#: What is being done for uploads, whether or not their clients still wait.
_underway: set[asyncio.Task[Any]] = set()

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece of an object.

    Attributes:
        at: its key in the store.
        size: its bytes.
        md5: their MD5 in hexadecimal, if it was kept.
    """

    at: str
    size: int
    md5: str | None = None


@dataclasses.dataclass(frozen=True)
class Upload:
    """An upload in pieces.

    Attributes:
        place: which object it is to be.
        id: its name.
        kind: how the pieces come.
        headers: what was said of the object when it was begun.
        begun: when that was.
        generation: what the object will be known by.
        length: how long it is to be, if that was said.
        state: what became of it.
        of: which pieces it became an object of, as the client has named them.
        told: what the client was told then.
    """

    place: Place
    id: str
    kind: str
    headers: Mapping[str, str]
    begun: str
    generation: str
    length: int | None = None
    state: str = OPEN
    of: str = ""
    told: Mapping[str, Any] | None = None

    @property
    def prefix(self) -> str:
        """What all its keys in the store begin with."""
        return f"{self.place.root}/{UPLOADS}/{self.id}/"

    @classmethod
    async def begin(
        cls, service: Service, request: Request, place: Place, kind: str, length: int | None = None
    ) -> Upload:
        """Write down what is to come.

        Raises:
            Problem: 400, such an object could not be stored.
        """
        said = service.said(place, request.headers)
        given = joined(request)
        checks = Checks(given, said.compression, 0)
        Stored.new(said, service.clock(), "0" * 64, checks.content_sha256).packed()
        place = place if place.key else dataclasses.replace(place, key=objects.new_key())
        headers = {n: v for n, v in given.items() if n.startswith(_KEPT)}
        begun = service.clock().astimezone(UTC).isoformat()
        name, generation = secrets.token_urlsafe(24), new_generation()
        made = cls(place, name, kind, headers, begun, generation, length)
        await made.note(service)
        return made

    async def note(self, service: Service) -> None:
        """Write the manifest."""
        said = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        said["place"] = self.place.key
        await service.store.put_object_v2(json.dumps(said).encode(), self.prefix + MANIFEST)

    @classmethod
    async def find(cls, service: Service, place: Place, name: str, kind: str) -> Upload:
        """An upload that was begun.

        Raises:
            Problem: 404, there is no such upload of this object.
        """
        unknown = Problem(404, "there is no such upload")
        if not _ID.fullmatch(name):
            raise unknown

        def read() -> bytes:
            with service.store.store.get_object(
                f"{place.root}/{UPLOADS}/{name}/{MANIFEST}"
            ) as opened:
                return opened.body.read()

        try:
            said: dict[str, Any] = json.loads(await service.ask(read))
            found = cls(**{**said, "place": place})
        except BucketNotFoundException:
            raise
        except (ObjectNotFoundException, ValueError, TypeError):
            raise unknown from None
        if (said["place"], found.kind, found.id) != (place.key, kind, name):
            raise unknown
        return found

    async def renewed(self, service: Service) -> Upload:
        """It, as it is now.

        Raises:
            Problem: 404, it is gone.
        """
        return await self.find(service, self.place, self.id, self.kind)

    async def is_there(self, service: Service) -> bool:
        """Whether it goes on: it may be ended while a piece of it comes."""
        try:
            now = await self.renewed(service)
        except Problem as problem:
            if problem.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return now.state == OPEN

    async def remove(self, service: Service) -> None:
        """Forget it."""
        await service.ask(service.store.store.delete_object, self.prefix + MANIFEST)
        in_background(service.store.call(remove_pieces, service.store.store, self.prefix))

    async def end(self, service: Service, state: str, **more: Any) -> None:
        """Keep in mind what became of it, for those who ask again; a sweep forgets it one day.

        Nobody waits until its pieces are gone: there may be thousands.
        """
        await dataclasses.replace(self, state=state, **more).note(service)
        in_background(service.store.call(remove_pieces, service.store.store, self.prefix))


def in_background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin what goes on whether or not anybody waits for it."""
    task = asyncio.create_task(work)
    _underway.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _underway.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("what was to be done for an upload has failed: %s", error)


async def forget(service: Service, *keys: str) -> None:
    """Delete what is not needed any more; if that fails, a sweep does it with the upload."""
    for key in keys:
        try:
            await service.store.delete_object(key)
        except ObjectClerkException as error:
            log.warning("a piece of an upload was not deleted: %s", error)
