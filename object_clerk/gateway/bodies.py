"""Bodies on their way in and out: in bounded memory, and checked against what clients say."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from object_clerk.checksum.digest import md5
from object_clerk.gateway.errors import Refusal
from object_clerk.rest import wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.requests import Request

    from object_clerk.store.aio import AsyncObjectStore
    from object_clerk.store.models import ObjectInfo, OpenedObject
    from object_clerk.store.store import ObjectStore

#: A body up to this size is taken as a whole: its digest is known before it is stored, and it is
#: verified before its status is sent.
SMALL_BYTES = 256 << 10

#: What is sent at once of a larger one: what slow readers hold in memory is little more.
PIECE_BYTES = 256 << 10

#: A request in JSON is never larger.
_LARGEST_JSON = 16 << 10


class Incoming:
    """The body of a PUT, and the digests that the client has said of it.

    Args:
        request: whose body it is.

    Attributes:
        length: its bytes, if the client says how many.

    Raises:
        Refusal: a header cannot be understood.
    """

    def __init__(self, request: Request) -> None:
        headers = joined(request)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "bodies are stored as they come: send it without Content-Encoding")
        if "content-range" in headers:
            raise Refusal(400, "a part of an object cannot be written: send all of it")
        self._request = request
        self.length = int(headers["content-length"]) if "content-length" in headers else None
        self._said_sha256 = [
            digest
            for name in (wire.REPR_DIGEST, "content-digest")
            if (digest := wire.sha256_in(headers.get(name, ""))) is not None
        ]
        said_md5 = headers.get("content-md5")
        self._said_md5 = None if said_md5 is None else wire.decoded(said_md5, 16, "Content-MD5")
        self._sha256 = hashlib.sha256()
        self._md5 = md5() if self._said_md5 is not None else None
        self._size = 0

    @property
    def sha256(self) -> str | None:
        """What is known of its SHA-256 so far, in hexadecimal."""
        whole = self.length is not None and self._size == self.length
        if whole or not self._said_sha256:
            return self._sha256.hexdigest() if whole else None
        return self._said_sha256[0].hex()

    async def blocks(self) -> AsyncIterator[bytes]:
        """The bytes, as they come; it ends only if they are those that the client means.

        Raises:
            Refusal: they are not.
            ClientDisconnect: there are fewer of them.
        """
        async for block in self._request.stream():
            if block:
                self._sha256.update(block)
                if self._md5 is not None:
                    self._md5.update(block)
                self._size += len(block)
                yield block
        if self.length not in (None, self._size):
            raise Refusal(
                400, f"the body has {self._size} bytes, and was said to have {self.length}"
            )
        self.length = self._size
        found = self._sha256.digest()
        if any(said != found for said in self._said_sha256) or (
            self._md5 is not None and self._md5.digest() != self._said_md5
        ):
            raise Refusal(400, "the digest of the bytes that came is not the one that was sent")

    async def content(self) -> bytes | AsyncIterator[bytes]:
        """All bytes of a small body, checked; or those of a large one, to be checked as they go."""
        if self.length is None or self.length > SMALL_BYTES:
            return self.blocks()
        return b"".join([block async for block in self.blocks()])


def joined(request: Request) -> dict[str, str]:
    """The headers, those that are there more than once as one list (RFC 9110, 5.3)."""
    return {name: ", ".join(request.headers.getlist(name)) for name in request.headers}


async def json_of(request: Request) -> bytes:
    """A body that is JSON, unless it is too large to be meant.

    Raises:
        Refusal: 413, it is.
    """
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > _LARGEST_JSON:
            raise Refusal(413, f"the JSON has more than {_LARGEST_JSON} bytes")
    return body


class Outgoing:
    """An object that is being read, of which the beginning is at hand.

    A small object is at hand whole, and was verified: whoever gets a status gets all of it.

    Attributes:
        info: what is known of it.
        begun: its first bytes, until they are sent.
    """

    def __init__(self, opened: OpenedObject) -> None:
        self._opened = opened
        self.info: ObjectInfo = opened.info
        self.begun = opened.body.read(SMALL_BYTES)

    @classmethod
    def of(cls, store: ObjectStore, key: str, begin: int, end: int | None) -> Outgoing:
        """Open an object, or some bytes of it, and begin to read. Called in a thread."""
        opened = store.get_object(key, begin=begin, end=end)
        try:
            made = cls(opened)
        except BaseException:
            opened.body.close()
            raise
        if len(made.begun) < SMALL_BYTES:
            opened.body.close()
        return made

    async def blocks(self, store: AsyncObjectStore) -> AsyncGenerator[bytes]:
        """All bytes, the first ones too; closed in the end."""
        begun, self.begun = self.begun, b""
        try:
            for at in range(0, len(begun), PIECE_BYTES):
                yield begun[at : at + PIECE_BYTES]
            if len(begun) < SMALL_BYTES:
                return
            begun = b""
            while block := await store.call(self._opened.body.read, PIECE_BYTES):
                yield block
        finally:
            await self.give_up(store)

    async def give_up(self, store: AsyncObjectStore) -> None:
        """Close it, whatever becomes of the request.

        In a thread: it waits there for a read that goes on although nobody wants it now.
        """
        await asyncio.shield(store.call(self.close))

    def close(self) -> None:
        """Close it."""
        self._opened.body.close()

    def __enter__(self) -> Outgoing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
