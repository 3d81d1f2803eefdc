"""What the faults of the proxy do: an `Action` for each kind, without state of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .faults import Action, Disconnect, Drop, Reply, Request, ResponseHead, Turn
from .wire import Headers, WireError, content_length, get_header, set_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_CLOSED_OR_OPEN_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def _flip(
    turn: Turn, blocks: Iterator[bytes], length: int | None, offset: int | None, bit: int | None
) -> Iterator[bytes]:
    if bit is None:
        bit = turn.random.randrange(8)
    # Only a declared length tells in advance where the end is.
    if offset is None:
        offset = turn.random.randrange(length) if length else -1
    elif offset < 0:
        offset = offset + length if length is not None else -1
    position = 0
    for block in blocks:
        index = offset - position
        if 0 <= index < len(block):
            altered = bytearray(block)
            altered[index] ^= 1 << bit
            turn.effective = True
            position += len(block)
            yield bytes(altered)
        else:
            position += len(block)
            yield block


def _length(headers: Headers) -> int | None:
    """The declared length, if there is a sensible one."""
    try:
        return content_length(headers)
    except WireError:
        return None


def _limit(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes; never asks for a block it would not use."""
    left = size
    while left > 0 and (block := next(blocks, b"")):
        yield block[:left]
        left -= len(block)


class ResponseBodyAction(Action):
    def applies(self, request: Request) -> bool:
        return request.method != "HEAD"


@dataclass(frozen=True, slots=True)
class FlipResponseBit(ResponseBodyAction):
    offset: int | None
    bit: int | None

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        return _flip(turn, blocks, _length(head.headers), self.offset, self.bit)


@dataclass(frozen=True, slots=True)
class FlipRequestBit(Action):
    offset: int | None
    bit: int | None

    def edit_request_body(
        self, turn: Turn, length: int | None, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        return _flip(turn, blocks, length, self.offset, self.bit)


@dataclass(frozen=True, slots=True)
class CutResponse(ResponseBodyAction):
    after_bytes: int
    keep_length: bool

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        if self.keep_length:
            return head
        return replace(
            head, headers=set_header(head.headers, "Content-Length", None), chunked=False
        )

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        turn.effective = not self.keep_length
        yield from _limit(blocks, self.after_bytes)
        length = _length(head.headers)
        if not self.keep_length or length is None or length > self.after_bytes:
            turn.effective = True
            raise Disconnect


@dataclass(frozen=True, slots=True)
class TrimResponse(ResponseBodyAction):
    to_bytes: int

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        length = _length(head.headers)
        if length is None or length <= self.to_bytes:
            return head
        turn.effective = True
        return replace(head, headers=set_header(head.headers, "Content-Length", str(self.to_bytes)))

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        yield from _limit(blocks, self.to_bytes)
        if _length(head.headers) is None and next(blocks, b""):
            turn.effective = True


@dataclass(frozen=True, slots=True)
class Before(Action):
    answer: Reply | Drop

    def before(self, turn: Turn) -> Reply | Drop | None:
        return self.answer


@dataclass(frozen=True, slots=True)
class After(Action):
    answer: Reply | Drop

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        return self.answer


@dataclass(frozen=True, slots=True)
class BodyAfter(Action):
    status: int
    body: bytes
    headers: Mapping[str, str | None]

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        headers = head.headers
        for name, value in self.headers.items():
            headers = set_header(headers, name, value)
        return Reply(self.status, self.body, headers)


class RangeAction(Action):
    def applies(self, request: Request) -> bool:
        return _CLOSED_OR_OPEN_RANGE.fullmatch(request.header("Range") or "") is not None


@dataclass(frozen=True, slots=True)
class IgnoreRange(Action):
    def applies(self, request: Request) -> bool:
        return request.header("Range") is not None

    def edit_request_headers(self, turn: Turn, headers: Headers) -> Headers:
        turn.effective = True
        return set_header(headers, "Range", None)


@dataclass(frozen=True, slots=True)
class WrongRange(RangeAction):
    shift: int

    def edit_request_headers(self, turn: Turn, headers: Headers) -> Headers:
        start, end = self._wanted(turn)
        shifted = max(0, start + self.shift)
        last = "" if end is None else str(end + shifted - start)
        return set_header(headers, "Range", f"bytes={shifted}-{last}")

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        served = _CONTENT_RANGE.fullmatch(get_header(head.headers, "Content-Range") or "")
        start, end = self._wanted(turn)
        if head.status != 206 or served is None or int(served[1]) == start:
            return head
        length = int(served[2]) - int(served[1]) + 1
        if served[3] != "*":
            # Towards the front there may be more bytes than the honest answer would have:
            # a range that ends beyond the object would give the lie away.
            last = int(served[3]) - 1
            honest = min(last if end is None else end, last) - start + 1
            length = min(length, honest)
        if length < 1:
            return head
        turn.effective = True
        headers = set_header(
            head.headers, "Content-Range", f"bytes {start}-{start + length - 1}/{served[3]}"
        )
        if _length(headers) is not None:
            headers = set_header(headers, "Content-Length", str(length))
        return replace(head, headers=headers)

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        length = _length(head.headers)
        return blocks if length is None else _limit(blocks, length)

    @staticmethod
    def _wanted(turn: Turn) -> tuple[int, int | None]:
        found = _CLOSED_OR_OPEN_RANGE.fullmatch(turn.request.header("Range") or "")
        if found is None:
            raise ValueError("wrong_range needs a request with a single plain range")
        return int(found[1]), int(found[2]) if found[2] else None


@dataclass(frozen=True, slots=True)
class RewriteResponseHeader(Action):
    header: str
    value: str | None

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        headers = set_header(head.headers, self.header, self.value)
        turn.effective = headers != head.headers
        return replace(head, headers=headers)


@dataclass(frozen=True, slots=True)
class Stall(Action):
    seconds: float

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        turn.effective = True
        turn.pause(self.seconds)
        return head


@dataclass(frozen=True, slots=True)
class StallInBody(ResponseBodyAction):
    seconds: float
    after_bytes: int

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        position = 0
        for block in blocks:
            here = self.after_bytes - position
            position += len(block)
            if 0 <= here < len(block):
                yield block[:here]
                turn.effective = True
                turn.pause(self.seconds)
                block = block[here:]
            yield block


@dataclass(frozen=True, slots=True)
class StallHandshake(Action):
    seconds: float

    def before(self, turn: Turn) -> Reply | Drop | None:
        turn.effective = True
        turn.pause(self.seconds)
        return None


@dataclass(frozen=True, slots=True)
class Drip(ResponseBodyAction):
    bytes_per_chunk: int
    delay_s: float

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        for block in blocks:
            for start in range(0, len(block), self.bytes_per_chunk):
                turn.effective = True
                turn.pause(self.delay_s)
                yield block[start : start + self.bytes_per_chunk]


@dataclass(frozen=True, slots=True)
class Callback(Action):
    function: Callable[[], object]

    def before(self, turn: Turn) -> Reply | Drop | None:
        turn.effective = True
        self.function()
        return None
