"""What a put sends: bytes or a stream, compressed or not, hashed on the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import weakref
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectClerkTypeException,
    ObjectSaveException,
)
from object_clerk.session import wire
from object_clerk.session.zstd import STEP_BYTES, compressed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Contents up to this size are taken as a whole: length and digests are known before they are sent.
SMALL_BYTES = 1 << 20

#: Streams that a put has read to their end. One that cannot tell where it stands is known by this.
_sent: weakref.WeakSet[Any] = weakref.WeakSet()


class Readable(Protocol):
    """A binary file, or what can be read like one."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


#: What can be put.
Given: TypeAlias = bytes | bytearray | memoryview | Readable


class Contents:
    """Bytes, or a stream of them that is read once.

    Args:
        given: bytes or anything with their buffer, or a binary file, taken from where it stands.

    Attributes:
        whole: all bytes, if they are in memory.
        size: how many there are, where that is known beforehand.

    Raises:
        ObjectClerkTypeException: it is neither.
        ObjectSaveException: it cannot be read, or was read to its end before.
    """

    def __init__(self, given: object) -> None:
        self.whole: memoryview | None = None
        self._head = b""
        self._stream: IO[bytes] | None = None
        if hasattr(given, "read"):
            self._stream = cast("IO[bytes]", given)
            self.start, self.size = _measured(self._stream)
            self._open()
        else:
            try:
                view = memoryview(given)  # type: ignore[arg-type]
            except TypeError:
                raise ObjectClerkTypeException(
                    f"contents are bytes or a binary file, not {type(given).__name__}"
                ) from None
            self.whole = view.cast("B") if view.c_contiguous else memoryview(bytes(view))
            self.size = self.whole.nbytes

    def _open(self) -> None:
        """Read the beginning: small contents are wholly in it, and mistakes are seen at once."""
        assert self._stream is not None
        head = bytearray()
        while len(head) <= SMALL_BYTES:
            block = _read(self._stream, SMALL_BYTES + 1 - len(head))
            if not block:
                self._end(bool(head))
                self.whole = memoryview(bytes(head))
                self.size = len(head)
                return
            head += block
        self._head = bytes(head)

    def _end(self, any_bytes: bool) -> None:
        """Note that a stream has ended, and refuse one that had ended before."""
        with contextlib.suppress(TypeError):  # it has no hash, or no weak references
            before = self._stream in _sent if self.start is None else self.start > 0
            if before and not any_bytes:
                raise ObjectSaveException(
                    "the stream was read to its end before: rewind it, or open it again"
                )
            _sent.add(self._stream)

    def blocks(self) -> Iterator[bytes | memoryview]:
        """All bytes, once.

        Raises:
            ObjectSaveException: the stream failed.
        """
        if self.whole is not None:
            for begin in range(0, self.whole.nbytes, STEP_BYTES):
                yield self.whole[begin : begin + STEP_BYTES]
            return
        assert self._stream is not None
        yield self._head
        while block := _read(self._stream, STEP_BYTES):
            yield block
        self._end(any_bytes=True)

    def file(self) -> IO[bytes]:
        """The bytes as a file whose position 0 is their first; its size has to be known."""
        if self.whole is not None:
            return cast("IO[bytes]", _View(self.whole))
        assert self._stream is not None
        assert self.start is not None
        return cast("IO[bytes]", _Tail(self._stream, self.start))


class _View:
    """A file over bytes in memory, which it does not copy."""

    def __init__(self, whole: memoryview) -> None:
        self._whole = whole
        self._position = 0

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def read(self, size: int) -> memoryview:
        block = self._whole[self._position : self._position + size]
        self._position += len(block)
        return block

    def close(self) -> None:
        """The bytes are the caller's."""


class _Tail:
    """A file that begins where another one stood."""

    def __init__(self, stream: IO[bytes], start: int) -> None:
        self._stream = stream
        self._start = start

    def seek(self, position: int) -> int:
        return self._stream.seek(self._start + position)

    def read(self, size: int) -> bytes:
        return _read(self._stream, size)

    def close(self) -> None:
        """The file is the caller's."""


def _measured(stream: IO[bytes]) -> tuple[int | None, int | None]:
    """Where a stream stands, and how many bytes follow; None for what it does not tell."""
    start = None
    try:
        start = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(start)
    except (AttributeError, OSError, ValueError):
        return start, None
    return start, max(0, end - start)


def _read(stream: IO[bytes], size: int) -> bytes:
    """Some bytes; what goes wrong is not taken for a failure of the connection."""
    try:
        block: Any = stream.read(size)
    except ObjectClerkException:
        raise
    except Exception as error:
        raise ObjectSaveException(f"the contents cannot be read: {error}") from error
    if isinstance(block, str):
        raise ObjectClerkTypeException("the file gives text: open it in binary mode")
    if block is None:
        raise ObjectSaveException("the stream does not block, and has nothing to give now")
    return cast("bytes", block)


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
        finished: whether all bytes were given.
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
        self.finished = False
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

    def blocks(self) -> Iterator[bytes | memoryview]:
        """What is stored, once."""
        for block in self._stored():
            if self._sha256 is None:
                self._state.update(block)
            self.stored_size += len(block)
            yield block
        self.finished = True

    def _stored(self) -> Iterator[bytes | memoryview]:
        if self._frame is not None:
            self.raw_size = self.size or 0
            return iter([self._frame])
        return compressed(self._raw()) if self._compress else self._raw()

    def _raw(self) -> Iterator[bytes | memoryview]:
        for block in self._contents.blocks():
            self.raw_size += len(block)
            yield block

    def spooled(self, folder: Path | None) -> IO[bytes]:
        """What is stored, as a file to be closed; the size of the contents has to be known.

        It is read once for its digest, or written to a temporary file while it is compressed.
        """
        file = self._contents.file()
        if self._compress:
            spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
            file = cast("IO[bytes]", spool)
        try:
            for block in self.blocks():
                if self._compress:
                    file.write(block)
        except BaseException:
            file.close()
            raise
        self._announce(bytes.fromhex(self.sha256), self.stored_size)
        return file
