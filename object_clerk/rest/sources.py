"""What can be put: bytes, text, files and iterables, read in bounded memory."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import io
import os
from collections.abc import AsyncIterable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkTypeException,
    ObjectSaveException,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

#: What can be put, and what it may come in.
Block = bytes | bytearray | memoryview
Data = Block | str | IO[bytes] | Iterable[Block]

#: Bytes that are hashed at once.
BLOCK_BYTES = 1 << 20

#: Bytes that are handed to the HTTP library at once. It moves what a socket did not take.
PIECE_BYTES = 256 << 10


class Source(abc.ABC):
    """The bytes of one PUT.

    Attributes:
        size: how many they are; of a stream, how many were sent.
        digest: their SHA-256 if it is known before they are sent.
        ended: whether all of them were sent.
        is_spent: whether bytes were taken that cannot be had again.
        blocks: whether taking a piece may take a while.
    """

    digest: bytes | None = None
    is_spent = False
    blocks = True

    def __init__(self) -> None:
        self.size = 0
        self.ended = False
        self._hash = hashlib.sha256()

    @property
    def length(self) -> int | None:
        """How many bytes there will be; None if only sending them tells."""
        return None if self.digest is None else self.size

    @property
    def sha256(self) -> bytes:
        """The digest of what was sent."""
        return self._hash.digest() if self.digest is None else self.digest

    def prepare(self) -> None:  # noqa: B027 - of a stream nothing can be known
        """Find out what can be known before anything is sent; once before every attempt.

        Raises:
            ObjectSaveException: the bytes are not those of the attempt before.
        """

    def pieces(self) -> Iterator[bytes]:
        """The bytes, from the first.

        Raises:
            ObjectSaveException: they cannot be read. The last piece was not given out then.
        """
        self.ended = False
        with _reading():
            yield from self._pieces()
        self.ended = True

    @abc.abstractmethod
    def _pieces(self) -> Iterator[bytes]:
        """The same; any error may be raised."""

    def give_back(self) -> None:  # noqa: B027 - only files can be
        """Leave the caller's stream as it was found."""

    def _took(self, block: object) -> Iterator[bytes]:
        """Count and hash a block of a stream, and cut it into pieces."""
        self.is_spent = True
        for piece in _cut(_bytes(block)):
            self.size += len(piece)
            self._hash.update(piece)
            yield piece


class BytesSource(Source):
    """Bytes in memory."""

    blocks = False

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self.size = len(data)

    def prepare(self) -> None:
        """See :meth:`Source.prepare`."""
        if self.digest is None:
            self.digest = hashlib.sha256(self._data).digest()

    def _pieces(self) -> Iterator[bytes]:
        return _cut(self._data)


class FileSource(Source):
    """A file that can be rewound. It is hashed before it is sent."""

    def __init__(self, file: IO[bytes], stood: int, size: int) -> None:
        super().__init__()
        self._file = file
        self._stood = stood
        # One that stands at its end is taken whole, as everywhere in this package.
        self._begin = stood if stood < size else 0
        self.size = size - self._begin

    def prepare(self) -> None:
        """See :meth:`Source.prepare`."""
        found = hashlib.sha256()
        with _reading():
            for block in self._blocks(BLOCK_BYTES):
                found.update(block)
        if self.digest not in (None, found.digest()):
            raise ObjectSaveException("the file was changed while it was being sent")
        self.digest = found.digest()

    def _pieces(self) -> Iterator[bytes]:
        return self._blocks(PIECE_BYTES)

    def _blocks(self, block_bytes: int) -> Iterator[bytes]:
        """All of it. The last block comes when it is certain that it is the last."""
        self._file.seek(self._begin)
        left = self.size
        while left:
            block = bytes(_bytes(self._file.read(min(block_bytes, left))))
            if not block:
                raise ObjectSaveException("the file became shorter while it was being read")
            left -= len(block)
            if not left:
                self._check_end()
            yield block
        if not self.size:
            self._check_end()

    def _check_end(self) -> None:
        if self._file.read(1):
            raise ObjectSaveException("the file became longer while it was being read")

    def give_back(self) -> None:
        """See :meth:`Source.give_back`."""
        with contextlib.suppress(Exception):
            self._file.seek(self._stood)


class StreamSource(Source):
    """What can be read once, from front to back: it is hashed while it is sent."""

    def __init__(self, blocks: Iterator[object]) -> None:
        super().__init__()
        self._blocks = blocks

    def _pieces(self) -> Iterator[bytes]:
        for block in self._blocks:
            yield from self._took(block)


class AsyncStreamSource(Source):
    """The same, awaited."""

    def __init__(self, blocks: AsyncIterable[object]) -> None:
        super().__init__()
        self._blocks = blocks

    def _pieces(self) -> Iterator[bytes]:
        raise NotImplementedError

    async def apieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes; see :meth:`pieces`."""
        with _reading():
            async for block in self._blocks:
                for piece in self._took(block):
                    yield piece
        self.ended = True


def source_of(data: object) -> Source:
    """What is to be sent.

    Raises:
        ObjectClerkTypeException: it is nothing that has bytes.
    """
    if isinstance(data, str):
        return BytesSource(memoryview(data.encode()))
    with contextlib.suppress(TypeError):
        return BytesSource(_bytes(data))
    if isinstance(data, io.TextIOBase):
        raise ObjectClerkTypeException("the file was opened for text: open it in binary mode")
    if callable(getattr(data, "read", None)):
        return _file_source(cast("IO[bytes]", data))
    if isinstance(data, Iterable) and not isinstance(data, dict):
        return StreamSource(iter(data))
    raise ObjectClerkTypeException(
        f"cannot put a {type(data).__name__}: give bytes, a str, a binary file, or an iterable of "
        "bytes"
    )


def async_source_of(data: object) -> Source:
    """The same, of what may also be an async iterable."""
    return AsyncStreamSource(data) if isinstance(data, AsyncIterable) else source_of(data)


def _file_source(file: IO[bytes]) -> Source:
    try:
        stood = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(stood)
    except (AttributeError, OSError, ValueError):
        return StreamSource(iter(lambda: file.read(PIECE_BYTES), b""))
    return FileSource(file, stood, size)


@contextlib.contextmanager
def given_back(source: Source) -> Iterator[None]:
    """If the block raises, the caller's stream stands where it stood."""
    try:
        yield
    except BaseException:
        source.give_back()
        raise


@contextlib.contextmanager
def once(source: Source) -> Iterator[None]:
    """An attempt that has taken bytes which cannot be had again is the last."""
    try:
        yield
    except ObjectClerkException as error:
        if source.is_spent and error.failure is not Failure.FINAL:
            error.gave_up = "gave up: what was being sent can be read only once"
        raise


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """What reading the source raises is no failure of the connection."""
    try:
        yield
    except ObjectClerkException:
        raise
    except Exception as error:
        raise ObjectSaveException(
            f"what was to be sent cannot be read: {type(error).__name__}: {error}"
        ) from error


def _bytes(block: Any) -> memoryview:
    """A block as bytes that lie one behind the other.

    Raises:
        ObjectClerkTypeException: it is something else.
    """
    try:
        view = memoryview(block)
    except TypeError:
        raise ObjectClerkTypeException(
            f"bytes were expected, and {type(block).__name__} was given"
        ) from None
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def _cut(data: memoryview) -> Iterator[bytes]:
    for begin in range(0, len(data), PIECE_BYTES):
        yield bytes(data[begin : begin + PIECE_BYTES])
