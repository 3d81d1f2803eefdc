"""Bytes that are at hand, read and compared with the digests that were kept of them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from object_clerk.checksum.algorithm import MD5, SHA256
from object_clerk.checksum.hasher import Hasher, Hashing
from object_clerk.exceptions import (
    ObjectClerkFileException,
    ObjectClerkOperationException,
    ObjectVerificationException,
)
from object_clerk.receipt import Finding, Verdict, Verification
from object_clerk.store.models import ObjectInfo, OpenedObject
from object_clerk.transfer.blocks import BlockReader
from object_clerk.transfer.files import partial_beside, write_at, write_to, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a read rests on that was compared to its end.
KEPT = Finding(Verdict.CONTENT, "MD5 and SHA-256 kept by the store")

#: What is read at once. An object that is open holds two blocks.
_BLOCK_BYTES = 256 << 10

_WAYS = {"md5": Hashing(MD5), "sha256": Hashing(SHA256)}


class Digester:
    """Takes the digests that a store keeps of an object.

    Attributes:
        size: the bytes taken so far.
    """

    def __init__(self) -> None:
        self._hasher = Hasher(_WAYS.values())

    @property
    def size(self) -> int:
        """The bytes taken so far."""
        return self._hasher.size

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        self._hasher.update(block)

    def digests(self) -> dict[str, str]:
        """Name -> hexadecimal value, of the bytes taken so far."""
        found = self._hasher.digests()
        return {name: found[way].hex() for name, way in _WAYS.items()}

    def check(self, info: ObjectInfo) -> None:
        """Raise ObjectVerificationException unless the bytes are those that were stored."""
        if self.size != info.size:
            raise ObjectVerificationException(
                f"{info.size} bytes were stored, and {self.size} are left"
            )
        if (found := self.digests()) != info.digests:
            raise ObjectVerificationException(
                f"the bytes are not those that were stored: their SHA-256 is {found['sha256']}, "
                f"and {info.digests['sha256']} was kept"
            )


def verified(file: IO[bytes], info: ObjectInfo, verify: Verification) -> Iterator[bytes]:
    """The blocks of an object, of which the last one comes only when all are verified.

    Args:
        file: where they are.
        info: what was kept of the object.
        verify: OFF compares nothing.

    Raises:
        ObjectVerificationException: they are not the bytes that were stored.
    """
    digester = Digester()
    held = b""
    while block := _block(file):
        if verify:
            digester.update(block)
        if held:
            yield held
        held = block
    if verify:
        digester.check(info)
    if held:
        yield held


def _block(file: IO[bytes], size: int = _BLOCK_BYTES) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise ObjectClerkOperationException(
            f"what was stored cannot be read: {error.strerror}"
        ) from error


def opened(
    file: IO[bytes], info: ObjectInfo, bucket: str, verify: Verification, span: range
) -> OpenedObject:
    """The object as a caller gets it; ``file`` is closed with it.

    Args:
        file: where its bytes are.
        info: what was kept of it.
        bucket: where it is.
        verify: OFF compares nothing.
        span: the bytes that are wanted; some of them alone cannot be compared.
    """
    whole = span == range(info.size)
    blocks = verified(file, info, verify) if whole else _some(file, span)
    raw = _FileReader(blocks, ("get_object", bucket, info.key), file)
    body = io.BufferedReader(raw, max(1, min(len(span), _BLOCK_BYTES)))
    return OpenedObject(cast("IO[bytes]", body), info.updated_time, info)


def _some(file: IO[bytes], span: range) -> Iterator[bytes]:
    file.seek(span.start)
    left = len(span)
    while left:
        if not (block := _block(file, min(left, _BLOCK_BYTES))):
            raise ObjectVerificationException(f"{left} of the bytes that were stored are missing")
        left -= len(block)
        yield block


class _FileReader(BlockReader):
    """A stream whose bytes come from a file, which is closed with it."""

    def __init__(
        self, blocks: Iterator[bytes], where: tuple[str, str, str], file: IO[bytes]
    ) -> None:
        super().__init__(blocks, where)
        self._file = file

    def close(self) -> None:
        self._file.close()
        super().close()


def save(blocks: Iterator[bytes], path: Path, reserve: int) -> None:
    """Write ``blocks`` to a path, which gets all of them, on disk, or keeps what it has.

    Args:
        blocks: what to write.
        path: where to. A link is followed. A pipe or device is written to, never replaced.
        reserve: bytes to reserve on the disk.

    Raises:
        ObjectClerkFileException: the file cannot be written.
    """
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        target = Path(os.path.realpath(path))
        special = target.exists() and not target.is_file() and not target.is_dir()
    if target.is_dir():
        raise ObjectClerkFileException(f"{path} is a directory; name the file to write")
    if special:
        with writing(str(path)), target.open("wb", buffering=0) as device:
            for block in blocks:
                write_to(device, block)
        return
    offset = 0
    with partial_beside(target, reserve, None) as file:
        for block in blocks:
            write_at(file.fd, block, offset)
            offset += len(block)
