"""What a put sends: contents, compressed or not, hashed on the way."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from object_clerk.session import wire
from object_clerk.session.contents import SMALL_BYTES, sent_before
from object_clerk.session.spool import Spool
from object_clerk.session.zstd import compressed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from object_clerk.session.contents import Contents


class Outgoing:
    """The body of a put: what is stored, with what can be said of it.

    Args:
        contents: what is put.
        compress: whether to compress it here.
        encoded: whether it was compressed before: nothing is known of what is in it then.

    Attributes:
        headers: what is known before it is sent.
        raw_size: the bytes taken so far.
        stored_size: the bytes given so far.
    """

    def __init__(self, contents: Contents, *, compress: bool, encoded: bool = False) -> None:
        self._contents = contents
        self._compress = compress
        self._state = hashlib.sha256()
        self._sha256: bytes | None = None
        self._frame: bytes | None = None
        self.headers: dict[str, str] = {}
        self.raw_size = 0
        self.stored_size = 0
        self._begun = False
        if contents.whole is None:
            return
        sha256 = hashlib.sha256(contents.whole).digest()
        if not encoded:
            self.headers[wire.CONTENT_SHA256] = sha256.hex()
        if not compress:
            self._announce(sha256, contents.whole.nbytes)
        elif contents.whole.nbytes <= SMALL_BYTES:
            self._frame = b"".join(compressed([contents.whole]))
            self._announce(hashlib.sha256(self._frame).digest(), len(self._frame))

    def _announce(self, sha256: bytes, size: int) -> None:
        self._sha256 = sha256
        self.headers |= {wire.REPR_DIGEST: wire.repr_digest(sha256), "content-length": str(size)}

    @property
    def size(self) -> int | None:
        """How many bytes there are before they are compressed, where that is known."""
        return self._contents.size

    @property
    def sha256(self) -> str:
        """The SHA-256 of what is stored, in hexadecimal, once all was given."""
        return (self._sha256 or self._state.digest()).hex()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """What is stored.

        Raises:
            ObjectSaveException: it is a stream, and was sent before.
        """
        if self._begun and self._contents.whole is None:
            raise sent_before()
        self._begun = True
        self._state = hashlib.sha256()
        self.raw_size = self.stored_size = 0
        for block in self._stored():
            if self._sha256 is None:
                self._state.update(block)
            self.stored_size += len(block)
            yield block

    def _stored(self) -> Iterator[bytes | memoryview]:
        if self._frame is not None:
            self.raw_size = self.size or 0
            return iter([self._frame])
        return compressed(self._raw()) if self._compress else self._raw()

    def _raw(self) -> Iterator[bytes | memoryview]:
        for block in self._contents.blocks():
            self.raw_size += len(block)
            yield block

    def spooled(self, folder: Path | None) -> Spool:
        """What is stored, to be sent in pieces; the size of the contents has to be known.

        It is read once for its digest, or written to a temporary file while it is compressed.
        """
        if self._compress:
            spool = Spool.written(self, folder)
        else:
            spool = Spool.of(self._contents)
            for _ in self:
                pass
        self._announce(bytes.fromhex(self.sha256), self.stored_size)
        return spool
