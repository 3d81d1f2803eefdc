"""The bodies of objects while they come in: counted, hashed, and judged at their end."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from typing import TYPE_CHECKING

from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectVerificationException,
    OperationCancelled,
)
from object_clerk.receipt import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
    from datetime import datetime

    from object_clerk.receipt import Receipt
    from object_clerk.retry import Operation


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectHead:
    """What is known of an object without reading it; None for what the server does not tell.

    Attributes:
        key: its key.
        size: its length in bytes.
        etag: its ETag without quotes.
        content_type: its media type.
        updated_time: when it was written last, with its time zone.
        sha256: its SHA-256 in hexadecimal digits.
    """

    key: str
    size: int | None = None
    etag: str | None = None
    content_type: str | None = None
    updated_time: datetime | None = None
    sha256: str | None = None


class Incoming:
    """The body of an object while it comes in: counted, hashed, and judged at its end.

    Attributes:
        head: what the answer's headers say of the object.
        size: bytes so far.
    """

    def __init__(self, head: ObjectHead, headers: Mapping[str, str]) -> None:
        self.head = head
        self.size = 0
        self._hash = hashlib.sha256()
        # Without either, a body that was cut looks like one that has ended.
        self._has_end = bool({"content-length", "transfer-encoding"} & {*headers})

    def take(self, piece: bytes) -> None:
        """Some bytes have come in."""
        self.size += len(piece)
        self._hash.update(piece)

    @property
    def sha256(self) -> str:
        """The digest of what came in, in hexadecimal digits."""
        return self._hash.hexdigest()

    def ended(self) -> Finding:
        """How well the bytes are proved, now that all are there.

        Raises:
            ObjectVerificationException: they are not what the server has promised.
        """
        if self.head.size not in (None, self.size):
            raise ObjectVerificationException(
                f"{self.size} bytes came, and {self.head.size} were promised",
                failure=Failure.BODY,
            )
        if self.head.sha256 not in (None, self.sha256):
            raise ObjectVerificationException(
                "the bytes that came do not have the SHA-256 that the server has promised",
                failure=Failure.INTEGRITY,
            )
        if self.head.sha256 is not None:
            return Finding(Verdict.CONTENT, "SHA-256 kept by the server")
        if self.head.size is not None:
            return Finding(Verdict.IDENTITY, "size told by the server")
        if not self._has_end:
            raise ObjectVerificationException(
                "the server tells neither length nor digest, so nobody knows whether all came"
            )
        return Finding(Verdict.NONE, "the server tells neither size nor digest")

    def receipt(self, op: Operation) -> Receipt:
        """The receipt of an object that was read to its end.

        Raises:
            ObjectVerificationException: the bytes are not what the server has promised.
        """
        finding = self.ended()
        return op.receipt(
            finding, size=self.size, etag=self.head.etag, digests={"sha256": self.sha256}
        )


class Reading:
    """An object that is read bit by bit: after an error nothing looks like its end.

    Attributes:
        incoming: what has come in.
        receipt: what was proved, when all of it was read.
    """

    def __init__(self, op: Operation, incoming: Incoming) -> None:
        self.incoming = incoming
        self.receipt: Receipt | None = None
        self._op = op
        self._error: ObjectClerkException | None = None

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """What the block raises is raised by every later step."""
        if self._error is not None:
            raise self._error
        try:
            yield
        except ObjectClerkException as error:
            error.concerning(self._op.name, self._op.bucket, self._op.key)
            self._error = error
            self._op.failed(error)
            raise
        except BaseException as error:
            self._error = OperationCancelled(
                f"reading was broken off ({type(error).__name__}): open the object again"
            )
            raise

    def ended(self) -> None:
        """Everything has come in and was found to be right."""
        self.receipt = self.incoming.receipt(self._op)
        self._op.finished(self.receipt)


def held_back(pieces: Iterator[bytes], reading: Reading) -> Iterator[bytes]:
    """The pieces, the last of which comes when all are verified."""
    held = b""
    for piece in pieces:
        if held:
            yield held
        held = piece
    reading.ended()
    if held:
        yield held


async def held_back_async(
    pieces: AsyncIterator[bytes], reading: Reading
) -> AsyncGenerator[bytes, None]:
    """The same, awaited."""
    held = b""
    async for piece in pieces:
        if held:
            yield held
        held = piece
    reading.ended()
    if held:
        yield held


def check_path(path: object) -> str:
    """The path of a file to write."""
    if not isinstance(path, str | os.PathLike):
        raise ObjectClerkTypeException(f"path is a path, not {type(path).__name__}")
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ObjectClerkParameterException(f"path cannot be a path: {text!r}")
    return os.path.abspath(text)  # noqa: PTH100
