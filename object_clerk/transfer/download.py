"""Download: bytes are verified while they stream, and nobody gets the end of a bad object."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from object_clerk.checksum.etag import EtagHasher
from object_clerk.checksum.evidence import judge_read, require_evidence
from object_clerk.checksum.layout import PartRange, candidate_layouts, split
from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectClerkFileException,
    ObjectClerkTypeException,
    OperationCancelled,
)
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.files import temporary_beside, write_at, write_to, writing
from object_clerk.transfer.pool import run_parts
from object_clerk.transfer.stream import ObjectStream, Pin, pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from object_clerk.config import TransferSettings
    from object_clerk.connection import Connection

#: Bytes read at once from a file to verify what was written to it.
_VERIFY_BYTES = 1 << 20


class Download:
    """One object to be read: where it is, and how it will be proved."""

    def __init__(
        self,
        op: Operation,
        connection: Connection,
        bucket: str,
        key: str,
        *,
        settings: TransferSettings,
        own_part_size: int,
        verify: bool,
        parameters: Mapping[str, Any],
    ) -> None:
        self.op = op
        self.connection = connection
        self.bucket = bucket
        self.key = key
        self.settings = settings
        self.verify = verify
        self.parameters = parameters
        self._own_part_size = own_part_size
        self._bandwidth = Bandwidth(settings.bandwidth_bytes_per_s)

    def stream(self, pinned: Pin | None = None, part: PartRange | None = None) -> ObjectStream:
        """The object, or one range of it, in blocks."""
        return ObjectStream(
            self.op,
            self.connection,
            self.bucket,
            self.key,
            block_bytes=self.settings.block_bytes,
            bandwidth=self._bandwidth,
            pinned=pinned,
            begin=part.offset if part else 0,
            end=part.offset + part.length if part else None,
            extra=self.parameters,
        )

    def pin(self) -> Pin:
        """Find out which generation there is."""
        return pin(self.op, self.connection, self.bucket, self.key, self.parameters)

    def hasher(self, pinned: Pin) -> EtagHasher:
        """A hasher for the layouts that the object may have.

        Raises:
            ObjectUnverifiable: there is none, so reading the object would prove nothing.
        """
        if not self.verify:
            return EtagHasher([])
        layouts = candidate_layouts(pinned.etag, pinned.size, self._own_part_size)
        require_evidence(pinned.etag, layouts)
        return EtagHasher(layouts)

    def judge(self, pinned: Pin, hasher: EtagHasher) -> Finding:
        """What the bytes that were hashed are worth."""
        if not self.verify:
            return SWITCHED_OFF
        return judge_read(pinned.etag, pinned.size, hasher, pinned.answer)

    def receipt(self, pinned: Pin, finding: Finding) -> Receipt:
        """The receipt of this download."""
        return self.op.receipt(
            finding, size=pinned.size, etag=pinned.etag, version_id=pinned.version_id
        )


def read_bytes(download: Download) -> tuple[bytes, Receipt]:
    """The whole object as bytes; read again if they do not verify."""
    return _read_bytes(download.op, download)


@retried
def _read_bytes(op: Operation, download: Download) -> tuple[bytes, Receipt]:
    stream = download.stream()
    with contextlib.closing(stream), _taken_back(op) as took:
        pinned = stream.open()
        op.allow_for(pinned.size)
        hasher = download.hasher(pinned)
        buffer = io.BytesIO()
        for block in stream:
            hasher.update(block)
            buffer.write(block)
            took(len(block))
        finding = download.judge(pinned, hasher)
    # getvalue() hands the buffer over without copying it.
    return buffer.getvalue(), download.receipt(pinned, finding)


@contextlib.contextmanager
def _taken_back(op: Operation) -> Iterator[Callable[[int], None]]:
    """Take progress back if what was read turns out to be worthless."""
    total = 0

    def took(size: int) -> None:
        nonlocal total
        total += size

    try:
        yield took
    except BaseException:
        if total:
            op.transferred(-total, None)
        raise


# -- to a file -----------------------------------------------------------------------------


def save(download: Download, target: str | os.PathLike[str] | IO[bytes]) -> Receipt:
    """Write the object to a path, atomically, or to a binary file object.

    A path gets the object only when it is complete, verified and on disk; until then, and if
    anything fails, it keeps what it had. A file object cannot be taken back: bytes are written to
    it as they come, but the last block only when all are verified.

    Raises:
        ObjectClerkFileException: the file cannot be written. Whatever was there is still there.
        ObjectVerificationException: the bytes do not verify.
    """
    if isinstance(target, (str, os.PathLike)):
        with writing(repr(target)):
            given = Path(os.fsdecode(target))
            special = given.exists() and not given.is_file() and not given.is_dir()
            path = Path(os.path.realpath(given))  # write through a link, not over it
        if special:
            with writing(str(given)), given.open("wb", buffering=0) as device:
                return save(download, device)  # a pipe or device is written to, never replaced
        if path.is_dir():
            raise ObjectClerkFileException(f"{path} is a directory; name the file to write")
        if not path.parent.is_dir():
            raise ObjectClerkFileException(f"the directory {path.parent} does not exist")
        return _save(download.op, download, path)
    writes = callable(getattr(target, "write", None))
    if isinstance(cast("object", target), io.TextIOBase) or not writes:
        raise ObjectClerkTypeException(
            f"cannot write to a {type(target).__name__}: give a path or a binary file object"
        )
    with ObjectReader(download) as reader:
        for block in reader.blocks():
            write_to(target, block)
    assert reader.receipt is not None
    return reader.receipt


@retried
def _save(op: Operation, download: Download, path: Path) -> Receipt:
    pinned = download.pin()
    op.allow_for(pinned.size)
    hasher = download.hasher(pinned)
    with _taken_back(op) as took, temporary_beside(path, pinned.size) as (fd, publish):
        frontier = _Frontier(fd, hasher, took)
        run_parts(op, download.settings.workers, _parts(download, pinned, fd), frontier.finished)
        finding = download.judge(pinned, hasher)
        op.check()
        publish()
    return download.receipt(pinned, finding)


def _parts(download: Download, pinned: Pin, fd: int) -> Iterator[Callable[[], PartRange]]:
    """The ranges that are fetched side by side; one for a small object."""
    settings = download.settings
    step = settings.part_size_bytes if pinned.size >= settings.threshold_bytes else pinned.size
    if settings.workers == 1:
        step = pinned.size  # nothing is gained by many requests one after the other
    for part in split(pinned.size, max(step, 1)):
        yield functools.partial(_fetch, download, pinned, fd, part)


def _fetch(download: Download, pinned: Pin, fd: int, part: PartRange) -> PartRange:
    offset = part.offset
    try:
        for block in download.stream(pinned, part):
            write_at(fd, block, offset)
            offset += len(block)
    except BaseException:
        if offset > part.offset:
            download.op.transferred(part.offset - offset, pinned.size)
        raise
    return part


class _Frontier:
    """Hashes the file in order as far as it is complete, so that what is proved is on disk."""

    def __init__(self, fd: int, hasher: EtagHasher, took: Callable[[int], None]) -> None:
        self._fd = fd
        self._hasher = hasher
        self._took = took
        self._waiting: dict[int, PartRange] = {}

    def finished(self, part: PartRange) -> None:
        """Take note of a range that was written, and hash what has become contiguous."""
        self._took(part.length)
        self._waiting[part.offset] = part
        while (ready := self._waiting.pop(self._hasher.size, None)) is not None:
            left = ready.length
            while left:
                block = os.pread(self._fd, min(_VERIFY_BYTES, left), self._hasher.size)
                if not block:
                    raise ObjectClerkFileException("the temporary file was truncated by somebody")
                self._hasher.update(block)
                left -= len(block)


# -- as a stream ---------------------------------------------------------------------------


class ObjectReader(io.RawIOBase):
    """An object as a binary stream that is read once, from front to back.

    Memory holds two blocks. The last block is held back until all bytes are verified, so whoever
    reaches the end has read what is stored; otherwise the read raises
    ObjectVerificationException. Connections that break are resumed. Closing early is allowed.

    Attributes:
        receipt: what was proved; None until the stream has ended or was closed, and if it failed.
        size: the object's length in bytes.
    """

    def __init__(self, download: Download, on_end: Callable[[Receipt], None] | None = None) -> None:
        super().__init__()
        self._download = download
        self._on_end = on_end
        self._stream = download.stream()
        self._pin = self._stream.open()
        self._blocks = self._verified_blocks()
        self._rest = b""
        self._error: ObjectClerkException | None = None
        self.receipt: Receipt | None = None
        self.size = self._pin.size
        download.op.allow_for(self.size)

    def blocks(self) -> Iterator[bytes]:
        """The bytes in blocks of the size that suits the transfer."""
        while block := self._next():
            yield block

    def _next(self) -> bytes:
        """What is left of the last block, or the next one; empty only at a proved end."""
        if self.closed:
            raise ValueError("the stream was closed")
        if self._error is not None:
            raise self._error  # a caller who reads on after an error must not see an end
        rest, self._rest = self._rest, b""
        if rest:
            return rest
        try:
            self._download.op.restart_deadline()  # the consumer decides how long reading takes
            return next(self._blocks, b"")
        except ObjectClerkException as error:
            op = self._download.op
            error.concerning(op.name, op.bucket, op.key)
            op.failed(error)
            self._error = error
            raise
        except BaseException:  # Ctrl-C: what is read next must not look like the end
            self._error = OperationCancelled(
                "reading was interrupted", operation=self._download.op.name
            )
            raise

    def _verified_blocks(self) -> Iterator[bytes]:
        hasher = self._download.hasher(self._pin)
        held = b""
        for block in self._stream:
            hasher.update(block)
            if held:
                yield held
            held = block
        self._end(self._download.judge(self._pin, hasher))
        if held:
            yield held

    def _end(self, finding: Finding) -> None:
        self.receipt = self._download.receipt(self._pin, finding)
        if self._on_end is not None:
            self._on_end(self.receipt)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with the next bytes; 0 means that all were read and verified.

        Raises:
            ObjectVerificationException: the bytes do not verify.
            ObjectChanged: the object was replaced before it was read to the end.
        """
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        block = self._next()
        count = min(len(view), len(block))
        view[:count] = block[:count]
        self._rest = block[count:]
        return count

    def readall(self) -> bytes:
        """All bytes that are left, verified."""
        buffer = io.BytesIO()
        for block in self.blocks():
            buffer.write(block)
        return buffer.getvalue()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection. A stream not read to its end has proved nothing."""
        if not self.closed and hasattr(self, "_blocks"):
            self._stream.close()
            if self.receipt is None and self._error is None:
                self._end(Finding(Verdict.NONE, "not read to the end"))
        super().close()
