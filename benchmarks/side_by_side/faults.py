"""Faults beyond those of the testing kit: each knows the object it is about, or acts on the store.

Signed requests cannot be altered on their way, so a server that ignores a range or stores other
bytes is played by doing the same behind the tool's back.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from object_clerk.testing import Action, Disconnect, Fault, Reply, error_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.testing import Drop, Request, ResponseHead, Turn

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-")
_PART = re.compile(r"(?:^|&)partNumber=(\d+)(?:&|$)")
_ENTRIES = re.compile(rb"<Contents>.*</Contents>", re.DOTALL)
_TOKEN = re.compile(rb"(<NextContinuationToken>)[^<]*(</NextContinuationToken>)")
_NO_OBJECT = re.compile(r"(?:^|&)(?:uploads|uploadId|tagging|acl|attributes|retention)(?:=|&|$)")


# -- which request ---------------------------------------------------------------------------


def is_about(request: Request, bucket: str, key: str) -> bool:
    """Whether the path of a request is that of this object."""
    return unquote(request.path) == f"/{bucket}/{key}"


def is_read(request: Request) -> bool:
    """Whether it asks for the bytes of an object."""
    return request.method == "GET" and not _NO_OBJECT.search(request.query)


def is_copy(request: Request) -> bool:
    """Whether it is a CopyObject."""
    return request.header("x-amz-copy-source") is not None and "partNumber" not in request.query


def is_listing(request: Request, bucket: str) -> bool:
    """Whether it asks for a page of a listing."""
    if request.method != "GET" or request.path.strip("/") != bucket:
        return False
    return "list-type=" in request.query or "prefix=" in request.query


def first_byte(request: Request) -> int:
    """The offset at which the asked for bytes begin."""
    found = _RANGE.fullmatch(request.header("Range") or "")
    return int(found[1]) if found else 0


def last_byte(request: Request, size: int) -> int:
    """The offset of the last byte asked for, of an object of this size."""
    found = _RANGE.fullmatch(request.header("Range") or "")
    return min(int(found[2]), size - 1) if found and found[2] else size - 1


def body_length(request: Request) -> int:
    """How many bytes of an object the request carries, framing aside."""
    framed = request.header("x-amz-decoded-content-length")
    return int(framed or request.header("Content-Length") or 0)


def upload_id(request: Request) -> str:
    """Which multipart upload it is about."""
    return parse_qs(request.query).get("uploadId", [""])[0]


def part_number(request: Request) -> int:
    """The number of the part that is sent, 0 for none."""
    found = _PART.search(request.query)
    return int(found[1]) if found else 0


# -- reads -----------------------------------------------------------------------------------


class FlipAt(Action):
    """Flip a bit of one byte of the object, in whatever range it is asked for.

    A fault with this is used on every read: some tools begin one that they do not go on with, and
    only this knows whether the byte came by.
    """

    def __init__(self, offset: int, *, times: int | None = 1) -> None:
        self._offset = offset
        self._left = times
        self._lock = threading.Lock()

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Pass the blocks on, one of them altered."""
        headers = {name.lower(): value for name, value in head.headers}
        served = _CONTENT_RANGE.match(headers.get("content-range", ""))
        position = int(served[1]) if served else 0
        for block in blocks:
            index = self._offset - position
            position += len(block)
            if 0 <= index < len(block) and head.status in (200, 206) and self._again():
                turn.effective = True
                yield block[:index] + bytes([block[index] ^ 1]) + block[index + 1 :]
            else:
                yield block

    def _again(self) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0


@dataclasses.dataclass(frozen=True)
class CutThen(Action):
    """Break the connection off in the middle of a body, and do something at that moment."""

    after_bytes: int
    then: Callable[[], object]

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Pass the first blocks on."""
        sent = 0
        for block in blocks:
            if sent + len(block) > self.after_bytes:
                yield block[: self.after_bytes - sent]
                turn.effective = True
                self.then()
                raise Disconnect
            sent += len(block)
            yield block


class ReplaceMeanwhile(Action):
    """Replace an object while it is read: after its first bytes were asked for, before others.

    A tool that asks for ranges gets the first from the old object and the rest from the new one.
    """

    def __init__(self, size: int, replace: Callable[[], object]) -> None:
        self._size = size
        self._replace = replace
        self._begun = threading.Event()
        self._lock = threading.Lock()
        self._done = False

    def before(self, turn: Turn) -> Reply | Drop | None:
        """Hold a later range back until the first is on its way."""
        if first_byte(turn.request) > 0:
            self._begun.wait(10)
            self._once(turn)
        return None

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        """The first answer is there: other ranges may go on."""
        if first_byte(turn.request) == 0:
            self._begun.set()
        return head

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """In a stream of everything the time has come near the end.

        A tool that only looked at the head is gone by then.
        """
        sent = 0
        for block in blocks:
            yield block
            sent += len(block)
            if sent > self._size * 5 // 6:
                self._once(turn)

    def _once(self, turn: Turn) -> None:
        with self._lock:
            if not self._done:
                self._done = True
                self._replace()
                turn.effective = True


@dataclasses.dataclass(frozen=True)
class Answer(Action):
    """Answer in place of the server."""

    make: Callable[[Request], Reply | None]

    def before(self, turn: Turn) -> Reply | Drop | None:
        """The answer, or None to let the request through."""
        return self.make(turn.request)


@dataclasses.dataclass(frozen=True)
class StallInside(Action):
    """Pass the first bytes of a body on, and then nothing."""

    after_bytes: int
    reached: threading.Event

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Pass the first blocks on."""
        sent = 0
        for block in blocks:
            yield block
            sent += len(block)
            if sent >= self.after_bytes:
                turn.effective = True
                self.reached.set()
                turn.pause(3600)


# -- writes ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class AfterSuccess(Action):
    """Do something once the server has done what was asked, before the tool hears of it.

    If the function returns text, the answer's ETag becomes that.
    """

    then: Callable[[Request], str | None]

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        """Act, and see to the ETag."""
        if head.status != 200:
            return head
        etag = self.then(turn.request)
        turn.effective = True
        if etag is None:
            return head
        others = [(name, value) for name, value in head.headers if name.lower() != "etag"]
        return dataclasses.replace(head, headers=(*others, ("ETag", etag)))


class RefuseSome(Action):
    """Let DeleteObjects succeed, put some objects back, and say that these were refused."""

    def __init__(
        self, keys: tuple[str, ...], refused: tuple[str, ...], restore: Callable[[], object]
    ) -> None:
        self._deleted = [key for key in keys if key not in refused]
        self._refused = refused
        self._restore = restore

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        """The answer of a server whose policy protects some keys."""
        if head.status != 200:
            return None
        self._restore()
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in self._deleted)
        errors = "".join(
            f"<Error><Key>{key}</Key><Code>AccessDenied</Code>"
            "<Message>Access Denied</Message></Error>"
            for key in self._refused
        )
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{deleted}{errors}</DeleteResult>"
        )
        return Reply(200, body.encode(), (("Content-Type", "application/xml"),))


# -- listings --------------------------------------------------------------------------------


class FirstPageTwice(Action):
    """Answer the request for the second page of a listing with the first once more."""

    def __init__(self) -> None:
        self._first: bytes | None = None
        self._lock = threading.Lock()
        self._done = False

    def before(self, turn: Turn) -> Reply | Drop | None:
        """The first page, once, as soon as there was one."""
        with self._lock:
            if self._first is None or self._done:
                return None
            self._done = True
        return Reply(200, self._first, (("Content-Type", "application/xml"),))

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Keep a copy of the first page."""
        body = b"".join(blocks)
        if self._first is None and b"<IsTruncated>true" in body:
            self._first = body
        yield self._shown(turn, body)

    def _shown(self, turn: Turn, body: bytes) -> bytes:
        del turn
        return body


class EmptyPageFirst(FirstPageTwice):
    """Answer with a page that has no entries but says that there are more; then go on."""

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        """Leave the length open, since it changes."""
        if self._first is not None:
            return head
        kept = [(name, value) for name, value in head.headers if name.lower() != "content-length"]
        return dataclasses.replace(head, headers=tuple(kept), chunked=True)

    def _shown(self, turn: Turn, body: bytes) -> bytes:
        if self._first is not body:
            return body
        turn.effective = True
        empty = _ENTRIES.sub(b"", body)
        marker = b"" if b"<NextContinuationToken>" in body else b"<NextMarker>0</NextMarker>"
        empty = _TOKEN.sub(rb"\g<1>made-up\g<2>", empty)
        return empty.replace(b"<IsTruncated>", marker + b"<IsTruncated>")


def xml(status: int, code: str) -> Reply:
    """An error as S3 tells it, also under status 200."""
    return Reply(status, error_document(code, "made up"), (("Content-Type", "application/xml"),))


def fault(name: str, action: Action, **match: object) -> Fault:
    """A fault; see :class:`object_clerk.testing.Fault` for when it fires."""
    return Fault(name=name, action=action, **match)  # type: ignore[arg-type]
