"""What can be uploaded: files, buffers and streams, read in bounded memory."""

from __future__ import annotations

import abc
import contextlib
import io
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from object_clerk.checksum.algorithm import SHA256, Algorithm, digests_of
from object_clerk.exceptions import ObjectClerkTypeException, ObjectSaveException, SourceNotFound
from object_clerk.lane.wire import Streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Self

    from object_clerk.retry import Operation
    from object_clerk.transfer.bandwidth import Bandwidth

#: Bytes read at once when hashing, and the largest part that is held in memory to be sent.
BLOCK_BYTES = 1 << 20
IN_MEMORY_BYTES = 8 << 20


class Readable(Protocol):
    """A stretch of bytes that can be read at any offset, from any thread."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes.

        Raises:
            ObjectSaveException: they cannot be read, or there are fewer.
        """


class Source:
    """The bytes of one upload.

    Attributes:
        name: how messages call it.
        size: its length in bytes, None if only reading to the end will tell.
    """

    def __init__(self, name: str, size: int | None) -> None:
        self.name = name
        self.size = size

    def check_unchanged(self) -> None:
        """Raise ObjectSaveException if the source was changed since it was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.give_back()
        self.close()

    def close(self) -> None:
        """Release what this object opened itself, but never what the caller did."""

    def give_back(self) -> None:
        """Leave the caller's stream as it was found, so that it can be tried again."""


class SizedSource(Source, abc.ABC):
    """A source of known length; it is :class:`Readable`."""

    size: int

    @abc.abstractmethod
    def read_at(self, offset: int, length: int) -> bytes:
        """See :class:`Readable`."""


class PartBody(Streamed):
    """A part as boto3 and the lane want it: a file that can be rewound and is never held whole.

    Reading it to be sent counts as progress; reading it to sign it does not.
    """

    def __init__(
        self, op: Operation, bandwidth: Bandwidth, source: Readable, offset: int, length: int
    ) -> None:
        self._op = op
        self._bandwidth = bandwidth
        self._source = source
        self._offset = offset
        self._length = length
        self._position = 0
        self._sending = False
        self._sent = 0
        self._known: dict[Algorithm, bytes] = {}

    def digests(self, algorithms: Collection[Algorithm]) -> dict[Algorithm, bytes]:
        """Digests of the part, which is read for those that are not known yet."""
        missing = [each for each in algorithms if each not in self._known]
        if missing:
            self._known |= digests_of(missing, self._blocks())
        return {each: self._known[each] for each in algorithms}

    def sha256(self) -> str:
        """What a signature that covers the body is made of, in hexadecimal digits."""
        return self.digests([SHA256])[SHA256].hex()

    def _blocks(self) -> Iterator[bytes]:
        for position in range(0, self._length, BLOCK_BYTES):
            self._op.check()
            yield self._source.read_at(
                self._offset + position, min(BLOCK_BYTES, self._length - position)
            )

    def __len__(self) -> int:
        return self._length

    def tell(self) -> int:
        """The position within the part."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position as in any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}
        self._position = max(0, min(self._length, base[whence] + offset))
        return self._position

    def read(self, amount: int | None = None) -> bytes:
        """Read on; at most a block at once while sending, so that progress is told often."""
        left = self._length - self._position
        amount = left if amount is None or amount < 0 else min(amount, left)
        data = self._source.read_at(self._offset + self._position, amount)
        self._position += amount
        if self._sending and amount:
            self._op.check()
            self._bandwidth.spend(self._op, amount)
            self._sent += amount
            self._op.transferred(amount, None)
        return data

    def begin_sending(self) -> None:
        """Called by the connection when signing is over and sending begins."""
        self.take_back()
        self._sending = True

    def take_back(self) -> None:
        """What was sent was in vain: take the progress back."""
        if self._sent:
            self._op.transferred(-self._sent, None)
            self._sent = 0


class Spool:
    """Bytes set aside from a stream that cannot be rewound: in memory, beyond 8 MiB on disk."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        self._lock = threading.Lock()
        self.size = 0

    def write(self, block: bytes) -> None:
        """Append ``block``.

        Raises:
            ObjectSaveException: there is no room for it.
        """
        with _reading("the temporary file of a stream's part"):
            self._file.write(block)
        self.size += len(block)

    def read_at(self, offset: int, length: int) -> bytes:
        """See :class:`Readable`."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)

    def close(self) -> None:
        """Give the memory or disk space back."""
        self._file.close()


class _Buffer(SizedSource):
    """bytes, bytearray, memoryview."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        # Slices with a step and arrays in Fortran's order are not one run of bytes; copy those.
        self._view = (view if view.c_contiguous else memoryview(view.tobytes())).cast("B")
        super().__init__(f"{type(data).__name__} of {len(self._view)} bytes", len(self._view))

    def read_at(self, offset: int, length: int) -> bytes:
        if length == len(self._view) and isinstance(self._view.obj, bytes):
            return self._view.obj  # all of it, so there is nothing to copy
        return bytes(self._view[offset : offset + length])


class _File(SizedSource):
    """A regular file given by its path."""

    def __init__(self, path: Path) -> None:
        with _reading(str(path)):
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self._before = self._state()
        super().__init__(str(path), self._before[0])

    def _state(self) -> tuple[int, int]:
        found = os.fstat(self._fd)
        return found.st_size, found.st_mtime_ns

    def has_more_than_it_says(self) -> bool:
        """Whether there is a byte beyond the stated size, as in the files below /proc."""
        with _reading(self.name):
            return bool(os.pread(self._fd, 1, self.size))

    def read_at(self, offset: int, length: int) -> bytes:
        with _reading(self.name):
            data = os.pread(self._fd, length, offset)
            while 0 < len(data) < length and (more := self._more(offset, length, data)):
                data += more
        if len(data) < length:
            raise ObjectSaveException(f"{self.name} became shorter while it was being uploaded")
        return data

    def _more(self, offset: int, length: int, data: bytes) -> bytes:
        # A single pread returns at most 2 GiB, and less on some network file systems.
        return os.pread(self._fd, length - len(data), offset + len(data))

    def check_unchanged(self) -> None:
        if self._state() != self._before:
            raise ObjectSaveException(
                f"{self.name} was changed while it was being uploaded; upload it again when its "
                "writer is done"
            )

    def close(self) -> None:
        os.close(self._fd)


class _SeekableStream(SizedSource):
    """A stream of the caller's that can be rewound; left open, at its end if all went well."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        with _reading("the stream"):
            begin = stream.tell()
            end = stream.seek(0, os.SEEK_END)
            end = stream.tell() if end is None else end
            # A buffer that was just written stands at its end; its writer means all of it.
            self._begin = begin if begin < end else 0
        self._stood, self._leave_at = begin, end
        super().__init__(f"stream {_name_of(stream)}", end - self._begin)

    def read_at(self, offset: int, length: int) -> bytes:
        with self._lock, _reading(self.name):
            self._stream.seek(self._begin + offset)
            data = _read_fully(self._stream.read, length)
        if len(data) < length:
            raise ObjectSaveException(f"{self.name} became shorter while it was being uploaded")
        return data

    def is_device(self) -> bool:
        """Whether it is a device, which can be rewound but has no size."""
        try:
            return stat.S_ISCHR(os.fstat(self._stream.fileno()).st_mode)
        except (OSError, AttributeError, ValueError):
            return False

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._stream.seek(self._leave_at)

    def give_back(self) -> None:
        """See :class:`Source`."""
        self._leave_at = self._stood


class Pipe(Source):
    """A stream that can be read only once, from front to back."""

    def __init__(self, stream: IO[bytes], owned: bool = False) -> None:
        self._stream = stream
        self._owned = owned
        super().__init__(f"stream {_name_of(stream)}", None)

    def spooled(self, length: int) -> Spool:
        """The next ``length`` bytes or fewer, set aside.

        Raises:
            ObjectSaveException: the stream cannot be read, or there is no room.
        """
        with contextlib.ExitStack() as on_error:
            spool = Spool()
            on_error.callback(spool.close)
            while spool.size < length:
                with _reading(self.name):
                    block = _checked(self._stream.read(min(BLOCK_BYTES, length - spool.size)))
                if not block:
                    break
                spool.write(block)
            on_error.pop_all()
            return spool

    def close(self) -> None:
        """See :class:`Source`."""
        if self._owned:
            self._stream.close()


def open_source(data: object) -> SizedSource | Pipe:
    """Make a source of whatever :meth:`ObjectClerk.upload_object` takes.

    Args:
        data: a path (str or PathLike), bytes, bytearray, memoryview, or a binary stream. A
            stream is taken from where it stands; one that stands at its end from its start.

    Raises:
        ObjectClerkTypeException: it is none of these, or a stream of text.
        SourceNotFound: there is no such file.
        ObjectSaveException: the file or stream cannot be read.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _Buffer(data)
    if isinstance(data, (str, os.PathLike)):
        with _reading(repr(data)):
            path = Path(os.fsdecode(data))
        return _open_path(path)
    if isinstance(data, io.TextIOBase):
        raise ObjectClerkTypeException("a text stream cannot be uploaded; open the file with 'rb'")
    if not callable(getattr(data, "read", None)):
        raise ObjectClerkTypeException(
            f"cannot upload a {type(data).__name__}: give a path, bytes, or a binary stream"
        )
    stream = cast("IO[bytes]", data)
    if not _seekable(stream):
        return Pipe(stream)
    source = _SeekableStream(stream)
    return source if source.size or not source.is_device() else Pipe(stream)


def _open_path(path: Path) -> SizedSource | Pipe:
    with _reading(f"{path} (a str is the path of a file; give bytes to upload their content)"):
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ObjectSaveException(f"{path} is a directory")
    if stat.S_ISREG(mode):
        file = _File(path)
        if file.size or not file.has_more_than_it_says():
            return file
        file.close()
    with _reading(str(path)):
        return Pipe(path.open("rb"), owned=True)


def _seekable(stream: Any) -> bool:
    if not hasattr(stream, "seek") or not hasattr(stream, "tell"):
        return False
    seekable = getattr(stream, "seekable", None)
    with _reading("the stream"):
        return bool(seekable()) if seekable is not None else True


def _name_of(stream: Any) -> str:
    with _reading("the name of the stream"):
        name = getattr(stream, "name", None)
    return str(name) if isinstance(name, (str, os.PathLike)) else type(stream).__name__


def _checked(data: object) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ObjectClerkTypeException(
            f"the stream's read() gave {type(data).__name__} instead of bytes"
        )
    return bytes(data)


def _read_fully(read: Callable[[int], object], length: int) -> bytes:
    """Read ``length`` bytes or to the end: a raw stream may give less than it was asked for."""
    data = _checked(read(length))
    while len(data) < length and (more := _checked(read(length - len(data)))):
        data += more
    return data


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Whatever the file or stream raises becomes an ObjectSaveException that names it."""
    try:
        yield
    except (ObjectClerkTypeException, ObjectSaveException):
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        missing = isinstance(error, FileNotFoundError)
        kind = SourceNotFound if missing else ObjectSaveException
        raise kind(f"{name} cannot be read: {reason}") from error
