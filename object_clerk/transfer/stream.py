"""Reading one generation of one object, in order, through whatever happens to the connection."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any, cast

from botocore.response import StreamingBody

from object_clerk.checksum.etag import bare, parts_of
from object_clerk.checksum.hasher import Layout
from object_clerk.checksum.layout import fits
from object_clerk.connection import Connection, request
from object_clerk.endpoint import Support
from object_clerk.exceptions import (
    Failure,
    ObjectChanged,
    ObjectClerkConnectionException,
    ObjectClerkException,
    PreconditionFailed,
)
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Asks a HEAD for the checksums that the store keeps. A GET of a whole object is asked the same
#: by the connection, in a way that does not make botocore compare them too.
CHECKSUMS = {"ChecksumMode": "ENABLED"}

#: A body is read in small steps at first and whenever it comes slowly, so that a deadline is not
#: missed by much. One that brings less than this in a minute is given up, and resumed.
FIRST_STEP_BYTES = 4 << 10
LEAST_STEP_BYTES = 1 << 10
SLOW_STEP_S = 1.0
LEAST_BYTES_PER_MINUTE = 64 << 10

#: What a HEAD tells that another write changes, if it can be told at all.
_IDENTITY = ("ETag", "ContentLength", "LastModified", "VersionId")

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def version_of(answer: Mapping[str, Any]) -> str | None:
    """The version an answer speaks of; "null" stands for an object without versions."""
    version: str | None = answer.get("VersionId")
    return None if version == "null" else version


@dataclasses.dataclass(frozen=True, slots=True)
class Pin:
    """One generation of an object: what must not change while it is read.

    Attributes:
        etag: its ETag, bare; None if the server gives none.
        size: its length in bytes.
        version_id: its version, if the bucket has versions.
        answer: the server's description, as boto3 parsed it.
    """

    etag: str | None
    size: int
    version_id: str | None
    answer: Mapping[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Pin:
        """The pin of a HEAD answer, or of a GET answer that states its length."""
        return cls(
            bare(answer.get("ETag")),
            int(answer["ContentLength"]),
            version_of(answer),
            answer,
        )


def unchanged(now: Pin, before: Pin) -> bool:
    """Whether nothing that a HEAD tells has changed between two of them."""
    return all(now.answer.get(name) == before.answer.get(name) for name in _IDENTITY)


def pin(
    op: Operation,
    connection: Connection,
    bucket: str,
    key: str,
    extra: Mapping[str, Any],
) -> Pin:
    """Ask with one HEAD which generation of the object there is, and for its checksums."""
    return Pin.of(
        request(op, connection, "head_object", Bucket=bucket, Key=key, **{**CHECKSUMS, **extra})
    )


def layout_told(
    op: Operation, connection: Connection, bucket: str, key: str, pinned: Pin
) -> Layout | None:
    """In what parts the server says the object was uploaded; None if it does not say.

    HEAD with PartNumber tells the size of a part on Amazon S3 and others, GET on some more; the
    rest ignore the number and answer with the whole object, whose body is then left unread.
    GetObjectAttributes is not asked: servers without it answer with the object's own bytes, and
    those can be made to look like an answer.
    """
    where: dict[str, Any] = {"Bucket": bucket, "Key": key, "VersionId": pinned.version_id}
    endpoint, count = connection.endpoint, parts_of(pinned.etag) or 0
    ignored = True

    def size_of(method: str, number: int) -> int | None:
        nonlocal ignored
        try:
            answer = request(op, connection, method, **where, PartNumber=number)
        except ObjectClerkException as error:
            if error.failure is not Failure.FINAL:
                raise
            ignored = False  # nothing was learnt
            return None
        if body := answer.get("Body"):
            body.close()
        told = bare(answer.get("ETag")) == pinned.etag and answer.get("PartsCount") == count
        if told and (match := _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))):
            return int(match[2]) - int(match[1]) + 1
        return answer.get("ContentLength") if told else None

    if endpoint.part_number is Support.IGNORED:
        return None
    for method in ("head_object", "get_object"):
        first = size_of(method, 1)
        if first is None:
            continue
        endpoint.part_number = Support.HONOURED
        rest = pinned.size - first * (count - 1)
        if fits(Layout(first), pinned.size, count) and (
            size_of(method, count) == rest and (count == 2 or size_of(method, 2) == first)
        ):
            return Layout(first)
        sizes = tuple(size_of(method, number) or 0 for number in range(1, count + 1))
        return Layout(None, sizes) if fits(Layout(None, sizes), pinned.size, count) else None
    if ignored:
        endpoint.part_number = Support.IGNORED
    return None


class ObjectStream:
    """The bytes of one generation of an object, in blocks.

    A body that breaks off is resumed where it stopped, with Range and If-Match; every answer is
    checked to be of the same generation and of the range that was asked for, since servers were
    seen to ignore both headers. Bytes are *not* verified here. They count as progress unless they
    are read only to prove something.
    """

    def __init__(
        self,
        op: Operation,
        connection: Connection,
        bucket: str,
        key: str,
        *,
        block_bytes: int,
        bandwidth: Bandwidth | None = None,
        pinned: Pin | None = None,
        begin: int = 0,
        end: int | None = None,
        extra: Mapping[str, Any] | None = None,
        is_progress: bool = True,
    ) -> None:
        self._op = op
        self._connection = connection
        self._where = {**(extra or {}), "Bucket": bucket, "Key": key}
        self._block_bytes = block_bytes
        self._bandwidth = bandwidth or Bandwidth(None)
        self._pin = pinned
        self._is_progress = is_progress
        self._position = begin
        self._end = end
        self._body: Any = None
        self._buffer: memoryview | None = None
        self._pace = _Pace(block_bytes)

    def open(self) -> Pin:
        """Begin to read, and tell which generation is read."""
        if self._pin is None:
            _open_first(self._op, self)
        assert self._pin is not None
        return self._pin

    def __iter__(self) -> Iterator[bytes]:
        return cast("Iterator[bytes]", self._blocks())

    def passing(self) -> Iterator[bytes | memoryview]:
        """The blocks for whoever is done with each before the next: they may share one buffer."""
        self._buffer = memoryview(bytearray(self._block_bytes))
        return self._blocks()

    def _blocks(self) -> Iterator[bytes | memoryview]:
        pinned = self.open()
        end = pinned.size if self._end is None else self._end
        try:
            while self._position < end:
                block = _next_block(self._op, self, end)
                self._bandwidth.spend(self._op, len(block))
                if self._is_progress:
                    self._op.transferred(len(block), pinned.size)
                yield block
        finally:
            self.close()

    def close(self) -> None:
        """Give up the connection in use; reading on would open a new one."""
        body, self._body = self._body, None
        if body is not None:
            with contextlib.suppress(Exception):
                body.close()

    # The two functions below carry the retries; they use these.

    def _get(self, **conditions: Any) -> dict[str, Any]:
        return self._connection.call(self._op, "get_object", **{**self._where, **conditions})

    def _open_whole(self) -> None:
        answer = self._get()
        self._body = answer.pop("Body")
        if "ContentLength" not in answer:
            # Without a length a cut is not to be told from the end; the size of HEAD is binding.
            head = self._connection.call(self._op, "head_object", **self._where)
            if bare(head.get("ETag")) != bare(answer.get("ETag")):
                raise _changed()
            answer["ContentLength"] = head["ContentLength"]
        self._pin = Pin.of(answer)

    def _open_range(self, end: int) -> None:
        assert self._pin is not None
        conditions: dict[str, Any] = {"Range": f"bytes={self._position}-{end - 1}"}
        if self._pin.etag:
            conditions["IfMatch"] = f'"{self._pin.etag}"'
        if self._pin.version_id:
            conditions["VersionId"] = self._pin.version_id
        try:
            answer = self._get(**conditions)
        except PreconditionFailed as error:
            raise _changed() from error
        self._body = answer["Body"]
        if bare(answer.get("ETag")) != self._pin.etag:
            self.close()
            raise _changed()
        self._check_range(answer, end)

    def _check_range(self, answer: Mapping[str, Any], end: int) -> None:
        """Make sure that the body begins where we are, and is not longer than we want."""
        assert self._pin is not None
        match = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
        wanted = (self._position, end - 1, self._pin.size)
        length = answer.get("ContentLength")
        # The status is not looked at: rclone answers 200 to a range that it does honour.
        if match and tuple(int(n) for n in match.groups()) == wanted:
            if length in (None, end - self._position):
                return
        elif match is None and length in (None, self._pin.size):
            self._skip(self._position)  # the range was ignored: the whole object comes
            return
        self.close()
        raise ObjectClerkConnectionException(
            f"bytes {wanted[0]}-{wanted[1]} were asked for, the server sent "
            f"{answer.get('ContentRange', 'something else')!r}",
            failure=Failure.BODY,
        )

    def _skip(self, count: int) -> None:
        while count:
            self._op.check()
            block = self._body.read(min(self._block_bytes, count))
            if not block:
                raise _cut()
            count -= len(block)

    def _read_block(self, end: int) -> bytes | memoryview:
        if self._body is None:
            self._pace = _Pace(self._block_bytes)
            self._open_range(end)
        begun = time.monotonic()
        block = self._read(min(self._pace.step, end - self._position))
        if not block:
            raise _cut()
        self._pace.took(len(block), time.monotonic() - begun)
        self._position += len(block)
        return block

    def _read(self, count: int) -> bytes | memoryview:
        # boto3's body fills no buffer: where it has readinto, that reads, and copies.
        if self._buffer is None or isinstance(self._body, StreamingBody):
            block: bytes = self._body.read(count)
            return block
        view = self._buffer[:count]
        return view[: self._body.readinto(view)]


class _Pace:
    """How much of a body to ask for at once, and whether it comes at all.

    Only the time spent on reading counts: the consumer may take as long as it likes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.step = min(FIRST_STEP_BYTES, most)
        self._spent_s = 0.0
        self._bytes = 0

    def took(self, count: int, elapsed_s: float) -> None:
        """Take note of a block that came; raise if too little comes."""
        if elapsed_s > SLOW_STEP_S:
            self.step = max(LEAST_STEP_BYTES, self.step // 8)
        elif elapsed_s * 8 < SLOW_STEP_S:  # then a step of that size will be quick too
            self.step = min(self._most, self.step * 8)
        self._spent_s += elapsed_s
        self._bytes += count
        if self._spent_s > 60:
            if self._bytes < LEAST_BYTES_PER_MINUTE:
                raise ObjectClerkConnectionException(
                    f"the server sent only {self._bytes} bytes in a minute", failure=Failure.BODY
                )
            self._spent_s, self._bytes = 0.0, 0


@retried
def _open_first(op: Operation, stream: ObjectStream) -> None:
    stream.close()
    stream._open_whole()


@retried
def _next_block(op: Operation, stream: ObjectStream, end: int) -> bytes | memoryview:
    try:
        return stream._read_block(end)
    except Exception:
        stream.close()
        raise


def _changed() -> ObjectChanged:
    return ObjectChanged("somebody replaced the object while it was being read; read it again")


def _cut() -> ObjectClerkConnectionException:
    return ObjectClerkConnectionException("the body ended too early", failure=Failure.BODY)
