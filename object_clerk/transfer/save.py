"""To a file: it appears whole and verified, or not at all."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from object_clerk.checksum.digest import md5_of
from object_clerk.checksum.layout import PartRange, split
from object_clerk.exceptions import (
    Failure,
    ObjectClerkFileException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectUnverifiable,
    ObjectVerificationException,
)
from object_clerk.receipt import Finding, Receipt, Verdict, Verification
from object_clerk.retry import Operation, retried
from object_clerk.transfer.download import Download, Proof, taken_back
from object_clerk.transfer.files import (
    PartialFile,
    partial_beside,
    write_at,
    write_to,
    writing,
)
from object_clerk.transfer.pool import run_parts
from object_clerk.transfer.reader import ObjectReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.checksum.hasher import Hasher
    from object_clerk.transfer.stream import Pin

    #: A part that is in the file, and what has hashed it, if it was hashed by itself.
    _Fetched = tuple[PartRange, Hasher | None]


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
    with taken_back(op) as took, partial_beside(path, pinned.size, identity) as file:
        if not download.verify:
            file.done.clear()  # a journal is only good for what is verified afterwards
        fetch = _Fetch(download, pinned, proof, file, took)
        run_parts(op, download.settings.workers, fetch.tasks(), fetch.finished)
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
    """Fetches the parts of one generation into a file, and hashes them.

    Each part is hashed by the thread that fetches it, while it is at hand, wherever the digests of
    the parts make the one to compare with. Else the file is hashed in order, as far as it goes.
    """

    def __init__(
        self,
        download: Download,
        pinned: Pin,
        proof: Proof,
        file: PartialFile,
        took: Callable[[int], None],
    ) -> None:
        self._download = download
        self._pin = pinned
        self._proof = proof
        self._file = file
        self._took = took
        settings = download.settings
        step = pinned.size  # nothing is gained by many requests one after the other
        if settings.workers > 1 and pinned.size >= settings.threshold_bytes:
            step = proof.step(settings.part_size_bytes)
        self._parts = list(split(pinned.size, max(step, 1)))
        self._pieces = proof.in_pieces(step)
        self._frontier = _Frontier(file, proof.hasher)

    def tasks(self) -> Iterator[Callable[[], _Fetched]]:
        """A task for each part: to fetch it, or only to hash it if it is in the file."""
        for part in self._parts:
            there = (part.offset, part.length) in self._file.done
            yield functools.partial(self._found if there else self._fetch, part)

    def finished(self, fetched: _Fetched) -> None:
        """Take note of a part that is in the file."""
        part, hasher = fetched
        if self._pieces is None:
            self._frontier.finished(part)
        elif hasher is not None:
            self._pieces.put(part.offset, hasher)

    def _hasher(self) -> Hasher | None:
        return None if self._pieces is None else self._pieces.hasher()

    def _found(self, part: PartRange) -> _Fetched:
        op, hasher = self._download.op, self._hasher()
        op.transferred(part.length, self._pin.size)
        self._took(part.length)
        if hasher is not None:
            for block in self._file.blocks(part.offset, part.length):
                op.check()
                hasher.update(block)
        return part, hasher

    def _fetch(self, part: PartRange) -> _Fetched:
        offset, hasher = part.offset, self._hasher()
        try:
            for block in self._download.stream(self._pin, part).passing():
                write_at(self._file.fd, block, offset)
                if hasher is not None:
                    hasher.update(block)
                offset += len(block)
        except BaseException:
            if offset > part.offset:
                self._download.op.transferred(part.offset - offset, self._pin.size)
            raise
        self._took(part.length)
        self._file.note(part.offset, part.length)
        return part, hasher

    def repaired(self, error: ObjectVerificationException) -> Finding:
        """Fetch parts again, one by one, until the whole is right.

        Nothing tells which part is wrong, but one that comes different the second time was. So
        only as many are fetched again as it takes.

        Raises:
            ObjectVerificationException: all came as they were before; it is ``error``.
        """
        op = self._download.op
        if len(self._parts) < 2 or error.failure is not Failure.INTEGRITY:
            self._file.forget()
            raise error
        error.concerning(op.name, op.bucket, op.key)
        op.announce_retry(1, 0.0, error)
        op.recover(error)
        if isinstance(error, ObjectUnverifiable) and (found := self._judged_anew()):
            return found  # it only took asking the server in what parts it was uploaded
        same = True
        for part in self._parts:
            if self._comes_the_same(part):
                continue
            same = False
            if found := self._judged_by_pieces() or self._judged_anew():
                return found
        if same and isinstance(error, ObjectUnverifiable):
            if self._download.verify is Verification.AVAILABLE:
                return self._download.proof(self._pin).as_good_as_it_gets(error.message)
            error.gave_up = "gave up: it came twice with the same bytes"
        self._file.forget()
        raise error

    def _comes_the_same(self, part: PartRange) -> bool:
        """Fetch a part again; whether it is what it was."""
        before = b"" if self._pieces else self._in_file(part)
        self._download.op.transferred(-part.length, self._pin.size)
        self._took(-part.length)
        _, hasher = self._fetch(part)
        if self._pieces is not None and hasher is not None:
            return not self._pieces.put(part.offset, hasher)
        return self._in_file(part) == before

    def _in_file(self, part: PartRange) -> bytes:
        return md5_of(self._file.blocks(part.offset, part.length))

    def _judged_by_pieces(self) -> Finding | None:
        """The proof of the parts as they are now, without reading any of them."""
        if self._pieces is None:
            return None
        with contextlib.suppress(ObjectVerificationException):
            return _proved(self._proof.finding())
        return None

    def _judged_anew(self) -> Finding | None:
        """The proof of the bytes that are in the file now, if there is one."""
        proof = self._download.proof(self._pin)
        for block in self._file.blocks(0, self._pin.size):
            self._download.op.check()
            proof.hasher.update(block)
        with contextlib.suppress(ObjectVerificationException):
            return _proved(proof.finding(lambda: self._file.blocks(0, self._pin.size)))
        return None


def _proved(finding: Finding) -> Finding | None:
    return finding if finding.verdict is Verdict.CONTENT else None


class _Frontier:
    """Hashes the file in order as far as it is complete."""

    def __init__(self, file: PartialFile, hasher: Hasher) -> None:
        self._file = file
        self._hasher = hasher
        self._waiting: dict[int, PartRange] = {}

    def finished(self, part: PartRange) -> None:
        """Take note of a range that was written, and hash what has become contiguous."""
        self._waiting[part.offset] = part
        while (ready := self._waiting.pop(self._hasher.size, None)) is not None:
            for block in self._file.blocks(ready.offset, ready.length):
                self._hasher.update(block)
