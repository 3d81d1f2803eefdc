"""Download: bytes are verified while they stream, and nobody gets the end of a bad object."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from object_clerk.checksum.digest import md5_of
from object_clerk.checksum.etag import parts_of
from object_clerk.checksum.evidence import choose, evidence_of, judge_read, require_evidence
from object_clerk.checksum.hasher import Hasher
from object_clerk.checksum.layout import (
    MOST_CANDIDATES,
    MOST_LATER_CANDIDATES,
    PartRange,
    split,
)
from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkFileException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectUnverifiable,
    ObjectVerificationException,
    OperationCancelled,
)
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict, Verification
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.files import (
    PartialFile,
    partial_beside,
    write_at,
    write_to,
    writing,
)
from object_clerk.transfer.pool import run_parts
from object_clerk.transfer.stream import ObjectStream, Pin, layout_told, pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from object_clerk.checksum.evidence import Evidence
    from object_clerk.config import TransferSettings
    from object_clerk.connection import Connection


class Download:
    """One object to be read: where it is, and how it will be proved.

    Attributes:
        suspicious: bytes were wrong before, so all evidence is computed, not just the best.
    """

    def __init__(
        self,
        op: Operation,
        connection: Connection,
        bucket: str,
        key: str,
        *,
        settings: TransferSettings,
        own_part_size: int,
        verify: Verification,
        parameters: Mapping[str, Any],
    ) -> None:
        self.op = op
        self.connection = connection
        self.bucket = bucket
        self.key = key
        self.settings = settings
        self.verify = verify
        self.parameters = parameters
        self.suspicious = False
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

    def proof(self, pinned: Pin) -> Proof:
        """What the bytes of this generation will be compared with.

        Raises:
            ObjectUnverifiable: there is nothing, so reading the object would prove nothing.
        """
        if not self.verify:
            return Proof(self, pinned, [])
        known = None
        if self._unsure(pinned):
            known = layout_told(self.op, self.connection, self.bucket, self.key, pinned)
        evidence = list(evidence_of(pinned, self._own_part_size, known))
        if self.verify is Verification.STRICT:
            require_evidence(pinned, evidence)
        elif not evidence and self.pin().size != pinned.size:
            raise ObjectVerificationException(
                f"it was said to have {pinned.size} bytes, and another size",
                failure=Failure.INTEGRITY,
            )
        return Proof(self, pinned, evidence)

    def _unsure(self, pinned: Pin) -> bool:
        """Whether it is worth a request to learn in what parts the object was uploaded."""
        if not parts_of(pinned.etag):
            return False
        best = list(islice(evidence_of(pinned, self._own_part_size), 2))
        return not any(e.firm for e in best) and (self.suspicious or len(best) != 1)

    def receipt(self, pinned: Pin, finding: Finding) -> Receipt:
        """The receipt of this download."""
        return self.op.receipt(
            finding, size=pinned.size, etag=pinned.etag, version_id=pinned.version_id
        )


class Proof:
    """Compares the bytes of one generation with all that is known of them."""

    def __init__(self, download: Download, pinned: Pin, evidence: list[Evidence]) -> None:
        self._download = download
        self._pin = pinned
        self._evidence = evidence
        self.hasher = Hasher(e.way for e in choose(evidence, suspicious=download.suspicious))

    def finding(self, reread: Callable[[], Iterable[bytes]] | None = None) -> Finding:
        """What the bytes that were hashed are worth.

        Args:
            reread: gives the same bytes again, to be tried with less likely sizes of parts.
        """
        if not self._download.verify:
            return SWITCHED_OFF
        if not self._evidence:
            return self.as_good_as_it_gets("nothing that the server says could be compared")
        try:
            return judge_read(self._evidence, self._pin.size, self.hasher)
        except ObjectUnverifiable as error:
            if reread and (found := self._later_guess(reread)):
                return found
            again, self._download.suspicious = not self._download.suspicious, True
            if self._download.verify is Verification.STRICT:
                raise
            if again and error.failure is Failure.INTEGRITY:
                raise  # a second look costs little, and a changed byte would show
            return self.as_good_as_it_gets(error.message)
        except ObjectVerificationException:
            self._download.suspicious = True
            raise

    def _later_guess(self, reread: Callable[[], Iterable[bytes]]) -> Finding | None:
        """Try the layouts that were not worth their time while the bytes arrived."""
        tried = self.hasher.digests()
        ways = [e.way for e in self._evidence if e.way not in tried][:MOST_LATER_CANDIDATES]
        for start in range(0, len(ways), MOST_CANDIDATES):
            hasher = Hasher(ways[start : start + MOST_CANDIDATES])
            for block in reread():
                self._download.op.check()
                hasher.update(block)
            with contextlib.suppress(ObjectVerificationException):
                return judge_read(self._evidence, self._pin.size, hasher)
        return None

    def as_good_as_it_gets(self, why: str) -> Finding:
        """What the bytes are worth that nothing proves, where that is enough."""
        self._download.connection.warn_once(
            "some downloads could not be fully proved; their receipts say why"
        )
        return Finding(Verdict.IDENTITY, f"size and ETag only: {why}")


def read_bytes(download: Download) -> tuple[bytes, Receipt]:
    """The whole object as bytes; read again if they do not verify."""
    return _read_bytes(download.op, download)


@retried
def _read_bytes(op: Operation, download: Download) -> tuple[bytes, Receipt]:
    stream = download.stream()
    with contextlib.closing(stream), _taken_back(op) as took:
        pinned = stream.open()
        op.allow_for(pinned.size)
        proof = download.proof(pinned)
        buffer = io.BytesIO()
        for block in stream:
            proof.hasher.update(block)
            buffer.write(block)
            took(len(block))
        # getvalue() hands the buffer over without copying it.
        finding = proof.finding(lambda: [buffer.getvalue()])
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


def save(
    download: Download, target: str | os.PathLike[str] | IO[bytes], *, resume: bool = False
) -> Receipt:
    """Write the object to a path, atomically, or to a binary file object.

    A path gets the object only when it is complete, verified and on disk; until then, and if
    anything fails, it keeps what it had. A file object cannot be taken back: bytes are written to
    it as they come, but the last block only when all are verified.

    Args:
        download: what to read.
        target: where to.
        resume: keep what has arrived if it fails, and go on with what an earlier process kept.

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
        return _save(download.op, download, path, resume)
    writes = callable(getattr(target, "write", None))
    if isinstance(cast("object", target), io.TextIOBase) or not writes:
        raise ObjectClerkTypeException(
            f"cannot write to a {type(target).__name__}: give a path or a binary file object"
        )
    if resume:
        raise ObjectClerkParameterException("only a download to a path can be resumed")
    with ObjectReader(download) as reader:
        for block in reader.blocks():
            write_to(target, block)
    assert reader.receipt is not None
    return reader.receipt


@retried
def _save(op: Operation, download: Download, path: Path, resume: bool) -> Receipt:
    pinned = download.pin()
    op.allow_for(pinned.size)
    proof = download.proof(pinned)
    identity = _identity(download, pinned) if resume else None
    with _taken_back(op) as took, partial_beside(path, pinned.size, identity) as file:
        if not download.verify:
            file.done.clear()  # a journal is only good for what is verified afterwards
        fetch = _Fetch(download, pinned, file, took)
        frontier = _Frontier(file, proof.hasher, took)
        run_parts(
            op, download.settings.workers, fetch.missing(frontier.finished), frontier.finished
        )
        try:
            finding = proof.finding(lambda: file.blocks(0, pinned.size))
        except ObjectVerificationException as error:
            finding = fetch.repaired(error)
        op.check()
    return download.receipt(pinned, finding)


def _identity(download: Download, pinned: Pin) -> str:
    """Names one generation of one object, so that parts of another are never mixed in."""
    url = download.connection.config.endpoint_url
    return repr((url, download.bucket, download.key, pinned.etag, pinned.version_id, pinned.size))


class _Fetch:
    """Fetches the parts of one generation into a file."""

    def __init__(
        self, download: Download, pinned: Pin, file: PartialFile, took: Callable[[int], None]
    ) -> None:
        self._download = download
        self._pin = pinned
        self._file = file
        self._took = took
        settings = download.settings
        step = settings.part_size_bytes if pinned.size >= settings.threshold_bytes else pinned.size
        if settings.workers == 1:
            step = pinned.size  # nothing is gained by many requests one after the other
        self.parts = list(split(pinned.size, max(step, 1)))

    def missing(self, finished: Callable[[PartRange], None]) -> Iterator[Callable[[], PartRange]]:
        """Tasks for the parts that are not in the file; those that are count as finished."""
        op = self._download.op
        for part in self.parts:
            if (part.offset, part.length) in self._file.done:
                op.transferred(part.length, self._pin.size)
                finished(part)
            else:
                yield functools.partial(self._fetch, part)

    def _fetch(self, part: PartRange) -> PartRange:
        offset = part.offset
        try:
            for block in self._download.stream(self._pin, part):
                write_at(self._file.fd, block, offset)
                offset += len(block)
        except BaseException:
            if offset > part.offset:
                self._download.op.transferred(part.offset - offset, self._pin.size)
            raise
        self._file.note(part.offset, part.length)
        return part

    def repaired(self, error: ObjectVerificationException) -> Finding:
        """Fetch parts again, one by one, until the whole is right.

        Nothing tells which part is wrong, but one that comes different the second time was. So
        only as many are fetched again as it takes.

        Raises:
            ObjectVerificationException: all came as they were before; it is ``error``.
        """
        op = self._download.op
        if len(self.parts) < 2 or error.failure is not Failure.INTEGRITY:
            self._file.forget()
            raise error
        error.concerning(op.name, op.bucket, op.key)
        op.announce_retry(1, 0.0, error)
        op.recover(error)
        if isinstance(error, ObjectUnverifiable) and (found := self._judged_anew()):
            return found  # it only took asking the server in what parts it was uploaded
        same = True
        for part in self.parts:
            before = md5_of(self._file.blocks(part.offset, part.length))
            op.transferred(-part.length, self._pin.size)
            self._took(-part.length)
            self._fetch(part)
            self._took(part.length)
            if md5_of(self._file.blocks(part.offset, part.length)) == before:
                continue
            same = False
            if found := self._judged_anew():
                return found
        if same and isinstance(error, ObjectUnverifiable):
            if self._download.verify is Verification.AVAILABLE:
                return self._download.proof(self._pin).as_good_as_it_gets(error.message)
            error.gave_up = "gave up: it came twice with the same bytes"
        self._file.forget()
        raise error

    def _judged_anew(self) -> Finding | None:
        """The proof of the bytes that are in the file now, if there is one."""
        proof = self._download.proof(self._pin)
        for block in self._file.blocks(0, self._pin.size):
            self._download.op.check()
            proof.hasher.update(block)
        with contextlib.suppress(ObjectVerificationException):
            found = proof.finding(lambda: self._file.blocks(0, self._pin.size))
            return found if found.verdict is Verdict.CONTENT else None
        return None


class _Frontier:
    """Hashes the file in order as far as it is complete, so that what is proved is on disk."""

    def __init__(self, file: PartialFile, hasher: Hasher, took: Callable[[int], None]) -> None:
        self._file = file
        self._hasher = hasher
        self._took = took
        self._waiting: dict[int, PartRange] = {}

    def finished(self, part: PartRange) -> None:
        """Take note of a range that was written, and hash what has become contiguous."""
        self._took(part.length)
        self._waiting[part.offset] = part
        while (ready := self._waiting.pop(self._hasher.size, None)) is not None:
            for block in self._file.blocks(ready.offset, ready.length):
                self._hasher.update(block)


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
            if self._on_end is not None:  # otherwise whoever reads announces it
                op.failed(error)
            self._error = error
            raise
        except BaseException:  # Ctrl-C: what is read next must not look like the end
            self._error = OperationCancelled(
                "reading was interrupted", operation=self._download.op.name
            )
            raise

    def _verified_blocks(self) -> Iterator[bytes]:
        proof = self._download.proof(self._pin)
        held = b""
        for block in self._stream:
            proof.hasher.update(block)
            if held:
                yield held
            held = block
        self._end(proof.finding())
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
