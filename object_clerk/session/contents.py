"""What can be put: bytes, or a stream from where it stands."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectClerkTypeException,
    ObjectSaveException,
)
from object_clerk.session.zstd import STEP_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Contents up to this size are taken as a whole: length and digests are known before they are sent.
SMALL_BYTES = 1 << 20

#: Streams that were read and cannot be rewound: what is left of one is not what was to be put.
_spent: weakref.WeakSet[Any] = weakref.WeakSet()


def sent_before() -> ObjectSaveException:
    """The refusal to send a stream again.

    urllib3 does so where ``connection_kwargs`` tell it to retry more than connecting; what is left
    of the stream, often nothing, would be stored as if it were all.
    """
    return ObjectSaveException("the connection failed, and a stream cannot be sent again")


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
        stream: where they come from, if they are not bytes.
        start: where it stood; None if it does not tell, or tells nonsense.

    Raises:
        ObjectClerkTypeException: it is neither.
        ObjectSaveException: it cannot be read, or was read before.
    """

    def __init__(self, given: object) -> None:
        self.whole: memoryview | None = None
        self.size: int | None = None
        self.stream: IO[bytes] | None = None
        self.start: int | None = None
        self._head = b""
        if hasattr(given, "read"):
            self.stream = cast("IO[bytes]", given)
            self.start = _position(self.stream)
            with self.rewound_on_failure():
                self.size = self._measured()
                self._open()
        else:
            try:
                view = memoryview(given)  # type: ignore[arg-type]
            except TypeError:
                raise ObjectClerkTypeException(
                    f"contents are bytes or a binary file, not {type(given).__name__}"
                ) from None
            plain = view.c_contiguous and view.nbytes
            self.whole = view.cast("B") if plain else memoryview(bytes(view))
            self.size = self.whole.nbytes

    def _measured(self) -> int | None:
        """How many bytes follow; None if the stream does not tell.

        Raises:
            ObjectSaveException: it cannot be brought back to where it stood.
        """
        assert self.stream is not None
        if self.start is None or not _seekable(self.stream):
            return None
        end = None
        with contextlib.suppress(Exception):  # if it is damaged, reading will tell
            self.stream.seek(0, os.SEEK_END)
            end = _position(self.stream)
        if not self._rewound():
            raise ObjectSaveException(
                "the stream says that it can seek, but it was not brought back to where it stood: "
                "give something that can only be read, or its bytes"
            )
        return None if end is None else max(0, end - self.start)

    def _rewound(self) -> bool:
        """Bring the stream back to where it stood, if that can be done."""
        assert self.stream is not None
        if self.start is None:
            return False
        with contextlib.suppress(Exception):
            self.stream.seek(self.start)
        return _position(self.stream) == self.start

    def _open(self) -> None:
        """Read the beginning: small contents are wholly in it, and mistakes are seen at once."""
        assert self.stream is not None
        with contextlib.suppress(TypeError):  # it has no hash
            if self.stream in _spent:
                raise ObjectSaveException(
                    "the stream was read before, and cannot be rewound: open it again"
                )
        head = bytearray()
        while len(head) <= SMALL_BYTES:
            block = read(self.stream, SMALL_BYTES + 1 - len(head))
            if not block:
                if not head and self.start:
                    raise ObjectSaveException(
                        "the stream was read to its end before: rewind it, or open it again"
                    )
                self.whole, self.size = memoryview(bytes(head)), len(head)
                break
            head += block
        else:
            self._head = bytes(head)
        if self.start is not None and _position(self.stream) != self.start + len(head):
            self.start = None
        if self.start is None:
            self._spend()
        if self.whole is None and (self.start is None or len(head) > (self.size or 0)):
            self.size = None

    def _spend(self) -> None:
        """Keep in mind that what is left of the stream is not all, and nobody can tell."""
        with contextlib.suppress(TypeError):  # it has no hash, or no weak references
            _spent.add(self.stream)

    @contextlib.contextmanager
    def rewound_on_failure(self) -> Iterator[Contents]:
        """Leave a file where it stood if something fails, so that it can be put again.

        Else who tries again would put what is left of it.
        """
        try:
            yield self
        except BaseException:
            if self.stream is not None and not self._rewound():
                self._spend()
            raise

    def blocks(self) -> Iterator[bytes | memoryview]:
        """All bytes, once.

        Raises:
            ObjectSaveException: the stream failed.
        """
        if self.whole is not None:
            for begin in range(0, self.whole.nbytes, STEP_BYTES):
                yield self.whole[begin : begin + STEP_BYTES]
            return
        assert self.stream is not None
        yield self._head
        while block := read(self.stream, STEP_BYTES):
            yield block


def _seekable(stream: IO[bytes]) -> bool:
    """Whether a stream says that it can be brought back.

    GzipFile says so of whatever it reads from, so that is asked too.
    """
    try:
        return stream.seekable() and getattr(stream, "fileobj", stream).seekable()
    except Exception:  # noqa: BLE001 - whatever it is, the stream cannot be asked
        return False


def _position(stream: IO[bytes]) -> int | None:
    """Where a stream stands; None if it does not tell."""
    try:
        position: object = stream.tell()
    except Exception:  # noqa: BLE001 - whatever it is, the stream cannot be asked
        return None
    return position if isinstance(position, int) else None


def _asked(method: Callable[[int], Any], number: int) -> Any:
    """What a stream gives; its failure is told from one of the connection.

    urllib3 takes every OSError for the latter.
    """
    try:
        return method(number)
    except Exception as error:
        if isinstance(error, ObjectClerkException) and not isinstance(error, OSError):
            raise
        raise ObjectSaveException(f"the contents cannot be read: {error}") from error


def read(stream: IO[bytes], size: int) -> bytes:
    """Some bytes of a stream.

    Raises:
        ObjectSaveException: there is none.
    """
    block = _asked(stream.read, size)
    if isinstance(block, str):
        raise ObjectClerkTypeException("the file gives text: open it in binary mode")
    if block is None:
        raise ObjectSaveException("the stream does not block, and has nothing to give now")
    return cast("bytes", block)


def seek(stream: IO[bytes], position: int) -> None:
    """Bring a stream to a position.

    Raises:
        ObjectSaveException: it does not go there.
    """
    _asked(stream.seek, position)
