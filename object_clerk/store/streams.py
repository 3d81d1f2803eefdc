"""Streams that have to be as long as somebody said, or of which only some bytes are wanted."""

from __future__ import annotations

import contextlib
import io
import os
from typing import IO, TYPE_CHECKING, Any, cast

from object_clerk.exceptions import ObjectSaveException, ObjectVerificationException

if TYPE_CHECKING:
    from collections.abc import Iterator


def exactly(stream: IO[bytes], length: int) -> IO[bytes]:
    """A stream with the same bytes, which fails unless there are ``length`` of them.

    Raises:
        ObjectSaveException: the stream can be measured, and has more or fewer.
    """
    size = _size(stream)
    if size is None:
        return cast("IO[bytes]", _ExactStream(stream, length))
    if size != length:
        raise _other(size > length, length)
    return stream


@contextlib.contextmanager
def given_back(stream: object) -> Iterator[None]:
    """If the block raises, a stream that can be rewound stands where it stood before."""
    stood = None
    with contextlib.suppress(Exception):
        stood = cast("IO[bytes]", stream).tell()
    try:
        yield
    except BaseException:
        if stood is not None:
            with contextlib.suppress(Exception):
                cast("IO[bytes]", stream).seek(stood)
        raise


def spanned(stream: IO[bytes], span: range) -> IO[bytes]:
    """Some bytes of a stream that is read from its start; closed with it."""
    return cast("IO[bytes]", io.BufferedReader(_Span(stream, span)))


def _size(stream: IO[bytes]) -> int | None:
    """How many bytes an upload would take of a stream; None if that takes reading it."""
    try:
        begin = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(begin)
    except (AttributeError, OSError, ValueError):
        return None
    # One that stands at its end is taken whole, as object_clerk.transfer.source has it.
    return end - begin if begin < end else end


def _other(more: bool, length: int) -> ObjectSaveException:
    than = "more" if more else "fewer"
    return ObjectSaveException(f"the stream has {than} than the {length} bytes stated")


class _ExactStream(io.RawIOBase):
    """A stream that fails at its end if it does not have ``length`` bytes; not to be rewound."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        super().__init__()
        self._stream = stream
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._position += len(data)
        ended = not data and size != 0
        if self._position > self._length or (ended and self._position < self._length):
            raise _other(self._position > self._length, self._length)
        return data


class _Span(io.RawIOBase):
    """Some bytes of a stream. Those before them are read, and dropped, when the first is wanted."""

    _STEP_BYTES = 1 << 20

    def __init__(self, stream: IO[bytes], span: range) -> None:
        super().__init__()
        self._stream = stream
        self._before = span.start
        self._left = len(span)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: self._left]
        while view and self._before:
            self._before -= len(self._taken(min(self._before, self._STEP_BYTES)))
        block = self._taken(len(view)) if view else b""
        view[: len(block)] = block
        self._left -= len(block)
        return len(block)

    def _taken(self, count: int) -> bytes:
        if not (block := self._stream.read(count)):
            raise ObjectVerificationException("the object ended before its length")
        return block

    def close(self) -> None:
        self._stream.close()
        super().close()
