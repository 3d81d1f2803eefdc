"""Payloads on their way in and out: in bounded memory, checked, and counted."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from object_clerk.checksum.digest import md5
from object_clerk.checksum.fields import decoded
from object_clerk.gateway.bodies import SMALL_BYTES
from object_clerk.gateway.v1.errors import Problem
from object_clerk.session import wire
from object_clerk.session.zstd import Decompressor, FrameError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from object_clerk.gateway.bodies import Outgoing
    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.service import Service

#: Larger blocks are hashed in a thread, so that others are served meanwhile.
_LARGE_BYTES = 128 << 10


#: How far zstd frames may look back: what RFC 8878 asks everybody to be able to, and no more, since
#: each upload under way keeps so much. Levels up to 19 fit.
WINDOW_LOG = 23


class Checks:
    """What a client says of its bytes, and whether it is true.

    Args:
        headers: Repr-Digest, Content-Digest, Content-MD5 and x-oc-content-sha256, as far as given;
            those that came twice joined, or one would be passed over.
        compression: how the bytes are encoded; None if they are not.
        most: so many bytes may come out of it.
        with_md5: whether the MD5 is wanted whatever the client says.

    Attributes:
        content_sha256: of the content before it was compressed, if the client says it.

    Raises:
        Problem: 400, a header cannot be understood.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        compression: str | None,
        most: int,
        *,
        with_md5: bool = False,
    ) -> None:
        try:
            self._said = [
                digest
                for name in (wire.REPR_DIGEST, "content-digest")
                if (digest := wire.sha256_in(headers.get(name, ""))) is not None
            ]
            content, said_md5 = headers.get(wire.CONTENT_SHA256), headers.get("content-md5")
            self.content_sha256 = None if content is None else wire.content_sha256_in(content).hex()
            self._said_md5 = None if said_md5 is None else decoded(said_md5, 16, "Content-MD5")
        except ValueError as error:
            raise Problem.malformed("the digest cannot be read", error) from None
        self._content = None if compression is None else _Content(most)
        self._sha256 = hashlib.sha256()
        self._md5 = md5() if with_md5 or self._said_md5 is not None else None
        self.size = 0

    @property
    def sha256(self) -> str:
        """Of what has come so far."""
        return self._sha256.hexdigest()

    @property
    def said_sha256(self) -> str | None:
        """What the client says of all of it."""
        return self._said[0].hex() if self._said else None

    @property
    def md5(self) -> str:
        """Of what has come so far, if it was wanted."""
        assert self._md5 is not None
        return self._md5.hexdigest()

    async def take(self, block: bytes) -> None:
        """Look at some bytes."""
        if self._content is None and len(block) <= _LARGE_BYTES:
            self._take(block)
        else:
            # In a thread: a few bytes may be a lot when they are decompressed.
            await asyncio.to_thread(self._take, block)

    def _take(self, block: bytes) -> None:
        self._sha256.update(block)
        self.size += len(block)
        if self._md5 is not None:
            self._md5.update(block)
        if self._content is not None:
            self._content.take(block)

    def end(self) -> None:
        """Compare; there are no more bytes.

        Raises:
            Problem: 400, they are not what the client says.
        """
        right = all(said == self._sha256.digest() for said in self._said)
        if self._said_md5 is not None:
            right &= self._said_md5.hex() == self.md5
        if not right:
            raise Problem(400, "the digest of the bytes that came is not the one that was sent")
        content = self.sha256 if self._content is None else self._content.end()
        if self.content_sha256 not in (None, content):
            raise Problem(400, f"the content's digest is not the one in {wire.CONTENT_SHA256}")


class _Content:
    """The digest of what is in zstd frames.

    Args:
        most: so many bytes may be in them.
    """

    def __init__(self, most: int) -> None:
        self._sha256 = hashlib.sha256()
        self._frames = Decompressor(WINDOW_LOG)
        self._left = most

    def take(self, block: bytes) -> None:
        try:
            for piece in self._frames.feed(block):
                self._left -= len(piece)
                if self._left < 0:
                    raise Problem(400, "the content is larger than an object may be")
                self._sha256.update(piece)
        except FrameError as error:
            raise Problem.malformed("the payload is not zstd", error) from None

    def end(self) -> str:
        try:
            self._frames.finish()
        except FrameError as error:
            raise Problem.malformed("the payload is not zstd", error) from None
        return self._sha256.hexdigest()


class Incoming:
    """The payload of a request.

    Args:
        service: what counts its bytes.
        place: which object it is for.
        request: whose it is.
        checks: what it has to be.
    """

    def __init__(self, service: Service, place: Place, request: Request, checks: Checks) -> None:
        self._service = service
        self._place = place
        self._request = request
        self._checks = checks
        self._blocks = self._checked()

    async def _checked(self) -> AsyncGenerator[bytes]:
        async for block in self._request.stream():
            if block:
                self._service.passed(self._place, len(block))
                await self._checks.take(block)
                yield block
        self._checks.end()

    async def content(self) -> bytes | AsyncIterator[bytes]:
        """All bytes of a small payload, checked; or those of a large one, checked as they go."""
        begun: list[bytes] = []
        size = 0
        async for block in self._blocks:
            begun.append(block)
            size += len(block)
            if size > SMALL_BYTES:
                return self._rest(begun)
        return b"".join(begun)

    async def _rest(self, begun: list[bytes]) -> AsyncGenerator[bytes]:
        while begun:
            yield begun.pop(0)
        async for block in self._blocks:
            yield block


class Streamed(StreamingResponse):
    """An answer in pieces, whose end is reached whatever becomes of the connection."""

    def __init__(
        self, pieces: AsyncGenerator[bytes], status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(pieces, status, headers)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()


class Payload(Streamed):
    """The bytes of an object, counted."""

    def __init__(
        self,
        service: Service,
        place: Place,
        out: Outgoing,
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(counted(service, place, out), status, headers)
        self._store, self._out = service.store, out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A generator that never began does not end either.
            await self._out.give_up(self._store)


async def counted(service: Service, place: Place, out: Outgoing) -> AsyncGenerator[bytes]:
    """The bytes of an object that was opened; closed in the end."""
    blocks = out.blocks(service.store)
    try:
        async for block in blocks:
            service.passed(place, len(block))
            yield block
    finally:
        await blocks.aclose()


def payload(
    service: Service,
    place: Place,
    out: Outgoing,
    status: int,
    headers: Mapping[str, str],
    length: int,
) -> Response:
    """The answer with the bytes of an object that was opened."""
    if length >= SMALL_BYTES:
        return Payload(service, place, out, status, {**headers, "content-length": str(length)})
    service.passed(place, length)
    return Response(out.begun, status, headers)


async def read_json(request: Request, most: int = SMALL_BYTES) -> bytes:
    """A body that is not payload.

    Raises:
        Problem: 413, nobody means anything by so much.
    """
    found = bytearray()
    async for block in request.stream():
        found += block
        if len(found) > most:
            raise Problem(413, f"the body has more than {most} bytes")
    return bytes(found)
