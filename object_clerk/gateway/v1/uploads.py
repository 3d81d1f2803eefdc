"""Uploads in pieces: what is known of one, and how its pieces become an object.

All of an upload is below ``uploads/<id>/`` beside the objects of its scope: a manifest that says
what it is, and pieces that are objects of their own. So any process can go on with it. The object
is written from them in one stream, verified like any other, and is whole or not there.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import secrets
from datetime import UTC
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectNotFoundException,
    ObjectVerificationException,
)
from object_clerk.gateway.bodies import SMALL_BYTES, Outgoing
from object_clerk.gateway.v1 import objects
from object_clerk.gateway.v1.bodies import Checks
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.places import MANIFEST, UPLOADS, Place
from object_clerk.gateway.v1.stored import Stored
from object_clerk.gateway.v1.sweeper import remove_upload
from object_clerk.session import wire
from object_clerk.session.metadata import metadata_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from starlette.requests import Request

    from object_clerk.gateway.v1.service import Service

log = logging.getLogger(__name__)

#: Headers of the beginning that hold for the object.
_KEPT = ("x-sn-", "x-snme-", "content-type", "content-encoding", wire.REPR_DIGEST,
         wire.CONTENT_SHA256)  # fmt: skip

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: What became of an upload.
OPEN, DONE, CANCELLED = "open", "done", "cancelled"


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
        length: how long the object is to be, if that was said.
        state: what became of it.
    """

    place: Place
    id: str
    kind: str
    headers: Mapping[str, str]
    begun: str
    length: int | None = None
    state: str = OPEN

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
        checks = Checks(request.headers, said.compression, 0)
        Stored.new(said, service.clock(), "0" * 64, checks.content_sha256).packed()
        place = place if place.key else dataclasses.replace(place, key=objects.new_key())
        headers = {n: v for n, v in request.headers.items() if n.startswith(_KEPT)}
        begun = service.clock().astimezone(UTC).isoformat()
        made = cls(place, secrets.token_urlsafe(24), kind, headers, begun, length)
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
            said: dict[str, Any] = json.loads(await service.store.call(read))
            found = cls(**{**said, "place": place})
        except (ObjectNotFoundException, ValueError, TypeError):
            raise unknown from None
        if (said["place"], found.kind, found.id) != (place.key, kind, name):
            raise unknown
        return found

    async def is_there(self, service: Service) -> bool:
        """Whether it goes on: it may be ended while a piece of it comes."""
        try:
            now = await self.find(service, self.place, self.id, self.kind)
        except Problem:
            return False
        return now.state == OPEN

    async def remove(self, service: Service) -> None:
        """Remove all of it."""
        await service.store.call(remove_upload, service.store.store, self.prefix)

    async def assemble(self, service: Service, pieces: Sequence[Piece]) -> dict[str, Any]:
        """Write the object.

        Raises:
            Problem: 400, it is not what was said of it.
        """
        said = metadata_of(self.headers)
        checks = Checks(self.headers, said.compression, service.max_object_bytes)
        blocks = _joined(service, pieces, checks)
        if sum(piece.size for piece in pieces) <= SMALL_BYTES:
            content = b"".join([block async for block in blocks])
            return await objects.write(service, self.place, said, checks, content)
        return await objects.write(service, self.place, said, checks, blocks)


async def _joined(
    service: Service, pieces: Iterable[Piece], checks: Checks
) -> AsyncGenerator[bytes]:
    """The bytes of all pieces, which are what they were when they came."""
    for piece in pieces:
        own = Checks({}, None, 0, with_md5=True)
        out = await service.store.call(Outgoing.of, service.store.store, piece.at, 0, None)
        blocks = out.blocks(service.store)
        try:
            async for block in blocks:
                await own.take(block)
                await checks.take(block)
                yield block
        finally:
            await blocks.aclose()
            await service.store.call(out.close)
        if own.size != piece.size or piece.md5 not in (None, own.md5):
            raise ObjectVerificationException(
                "a piece of an upload is not what it was when it came"
            )
    checks.end()


async def forget(service: Service, *keys: str) -> None:
    """Delete what is not needed any more; if that fails, a sweep does it with the upload."""
    for key in keys:
        try:
            await service.store.delete_object(key)
        except ObjectClerkException as error:
            log.warning("a piece of an upload was not deleted: %s", error)
