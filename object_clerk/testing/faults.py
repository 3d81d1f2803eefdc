"""What the fault proxy can be told to do: faults, the actions behind them, factories.

A `Fault` says *when* (which requests, how often) and carries an `Action` that says *what*.
The factory functions at the end build the usual ones. An own `Action` subclass works
just as well; every hook is optional and the default passes everything through unchanged.

Actions hold no state of their own, so one fault can fire on several connections at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypedDict, Unpack
from urllib.parse import unquote
from xml.sax.saxutils import escape

from .wire import BLOCK, Headers, WireError, content_length, get_header, set_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_CLOSED_OR_OPEN_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Disconnect(Exception):
    """Raised by an action to close the client's connection here and now."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request as the client sent it.

    Attributes:
        method: The HTTP method.
        target: The request target, not decoded: path and query.
        headers: Names and values in the order they were sent.
    """

    method: str
    target: str
    headers: Headers = ()

    @property
    def path(self) -> str:
        """The part of the target before the question mark, not decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The part of the target after the question mark, not decoded."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the first header called `name` (in any case), or None."""
        return get_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of the upstream's answer; actions return an altered copy of it.

    Attributes:
        status: The HTTP status.
        reason: The text behind the status.
        headers: End-to-end headers in the order the upstream sent them.
        chunked: The body goes to the client in chunks. With this False and no
            Content-Length the end of the connection is the end of the body.
    """

    status: int
    reason: str
    headers: Headers
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer made up by an action; Content-Length is added when it is sent."""

    status: int
    body: bytes = b""
    headers: Headers = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """In place of a `Reply`: close the client's connection without any answer."""


@dataclass(slots=True)
class Turn:
    """One request on its way through the proxy, as an action sees it.

    Attributes:
        request: The request as the client sent it.
        pause: Sleeps for so many seconds; cut short by a `Disconnect` when the proxy stops.
        effective: Set by the action once it has really altered the exchange. Only then is
            the fault logged as fired: a bit flip beyond the end of a body changes nothing,
            and a test that believes it was exercised would prove nothing.
    """

    request: Request
    pause: Callable[[float], None]
    effective: bool = False


class Action:
    """What a fault does to an exchange; subclasses override the hooks they need."""

    def applies(self, request: Request) -> bool:
        """Say whether the action can do anything to this request at all."""
        return True

    def before(self, turn: Turn) -> Reply | Drop | None:
        """Called when the request head is there; an answer keeps it from the upstream."""
        return None

    def edit_request_headers(self, turn: Turn, headers: Headers) -> Headers:
        """Return the headers to forward."""
        return headers

    def edit_request_body(
        self, turn: Turn, length: int, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Return the body to forward; it must have the same `length`."""
        return blocks

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        """Called with the upstream's answer; another one takes its place."""
        return None

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        """Return the head to pass on."""
        return head

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Return the body to pass on; `head` is the edited one."""
        return blocks


class Match(TypedDict, total=False):
    """The options every factory takes: which requests, and how often (see `Fault`)."""

    method: str | None
    path: str
    query: str
    skip: int
    times: int | None
    when: Callable[[Request], bool] | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One scripted misbehaviour of the proxy.

    Attributes:
        name: How the log calls it.
        action: What happens.
        method: Only requests with this method; None for any.
        path: Only requests whose decoded target contains this text.
        query: Only requests whose query contains this text, decoded or not.
        skip: How many matching requests to let pass first.
        times: How many matching requests to use it on; None for all.
        when: Called with the request as a further condition.
    """

    name: str
    action: Action = field(repr=False)
    method: str | None = None
    path: str = ""
    query: str = ""
    skip: int = 0
    times: int | None = 1
    when: Callable[[Request], bool] | None = None

    def __post_init__(self) -> None:
        """Refuse counts that could never work."""
        if self.skip < 0 or (self.times is not None and self.times < 1):
            raise ValueError("skip must be at least 0, times at least 1 (or None)")

    def matches(self, request: Request) -> bool:
        """Say whether the fault is meant for `request`, counts aside."""
        return (
            (self.method is None or self.method.upper() == request.method.upper())
            and self.path in unquote(request.target)
            and (self.query in request.query or self.query in unquote(request.query))
            and self.action.applies(request)
            and (self.when is None or self.when(request))
        )


def error_document(code: str, message: str = "", resource: str = "") -> bytes:
    """Return an S3 XML error document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        f"<Resource>{escape(resource)}</Resource><RequestId>FAULTPROXY</RequestId></Error>"
    ).encode()


def _flip(
    turn: Turn, blocks: Iterator[bytes], length: int | None, offset: int, bit: int
) -> Iterator[bytes]:
    if offset < 0:
        # Counted from the end, which only a declared length tells in advance.
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


class _ResponseBodyAction(Action):
    def applies(self, request: Request) -> bool:
        return request.method != "HEAD"


@dataclass(frozen=True, slots=True)
class _FlipResponseBit(_ResponseBodyAction):
    offset: int
    bit: int

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        return _flip(turn, blocks, _length(head.headers), self.offset, self.bit)


@dataclass(frozen=True, slots=True)
class _FlipRequestBit(Action):
    offset: int
    bit: int

    def edit_request_body(
        self, turn: Turn, length: int, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        return _flip(turn, blocks, length, self.offset, self.bit)


@dataclass(frozen=True, slots=True)
class _CutResponse(_ResponseBodyAction):
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
class _TrimResponse(_ResponseBodyAction):
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
class _Before(Action):
    answer: Reply | Drop

    def before(self, turn: Turn) -> Reply | Drop | None:
        return self.answer


@dataclass(frozen=True, slots=True)
class _After(Action):
    answer: Reply | Drop

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        return self.answer


@dataclass(frozen=True, slots=True)
class _BodyAfter(Action):
    status: int
    body: bytes
    headers: Mapping[str, str | None]

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        headers = head.headers
        for name, value in self.headers.items():
            headers = set_header(headers, name, value)
        return Reply(self.status, self.body, headers)


class _RangeAction(Action):
    def applies(self, request: Request) -> bool:
        return _CLOSED_OR_OPEN_RANGE.fullmatch(request.header("Range") or "") is not None


@dataclass(frozen=True, slots=True)
class _IgnoreRange(Action):
    def applies(self, request: Request) -> bool:
        return request.header("Range") is not None

    def edit_request_headers(self, turn: Turn, headers: Headers) -> Headers:
        turn.effective = True
        return set_header(headers, "Range", None)


@dataclass(frozen=True, slots=True)
class _WrongRange(_RangeAction):
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
class _RewriteResponseHeader(Action):
    header: str
    value: str | None

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        headers = set_header(head.headers, self.header, self.value)
        turn.effective = headers != head.headers
        return replace(head, headers=headers)


@dataclass(frozen=True, slots=True)
class _Stall(Action):
    seconds: float

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        turn.effective = True
        turn.pause(self.seconds)
        return head


@dataclass(frozen=True, slots=True)
class _Drip(_ResponseBodyAction):
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
class _Callback(Action):
    function: Callable[[], object]

    def before(self, turn: Turn) -> Reply | Drop | None:
        turn.effective = True
        self.function()
        return None


def _fault(name: str, action: Action, match: Match) -> Fault:
    options: Match = {"name": name, **match}
    return Fault(action=action, **options)


def _check_bit(bit: int) -> None:
    if not 0 <= bit <= 7:
        raise ValueError(f"bit must be 0 to 7, not {bit}")


def _check_size(name: str, value: float, least: int = 0) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _check_header(name: str, value: str | None) -> None:
    text = f"{name}{value or ''}"
    if not name or "\r" in text or "\n" in text:
        raise ValueError(f"not a header: {name!r}: {value!r}")
    text.encode("latin-1")


def flip_response_bit(offset: int = 0, bit: int = 0, **match: Unpack[Match]) -> Fault:
    """Flip one bit of the response body; the headers stay as they are.

    Args:
        offset: The byte to alter; negative counts from the end of a body of known length.
        bit: Which bit of it, 0 being the lowest.
        **match: When to fire, see `Fault`.
    """
    _check_bit(bit)
    return _fault("flip_response_bit", _FlipResponseBit(offset, bit), match)


def flip_request_bit(offset: int = 0, bit: int = 0, **match: Unpack[Match]) -> Fault:
    """Flip one bit of the request body, so that the upstream sees altered bytes.

    Under aws-chunked encoding the offset counts the framing of that encoding as well.

    Args:
        offset: The byte to alter; negative counts from the end.
        bit: Which bit of it, 0 being the lowest.
        **match: When to fire, see `Fault`.
    """
    _check_bit(bit)
    return _fault("flip_request_bit", _FlipRequestBit(offset, bit), match)


def cut_response(after_bytes: int, keep_length: bool = True, **match: Unpack[Match]) -> Fault:
    """Close the connection after the first bytes of the response body.

    Args:
        after_bytes: How much of the body still goes through.
        keep_length: With True the headers promise the whole body. With False the length
            is taken out, so that the cut looks like the regular end of the body.
        **match: When to fire, see `Fault`.
    """
    _check_size("after_bytes", after_bytes)
    return _fault("cut_response", _CutResponse(after_bytes, keep_length), match)


def trim_response(to_bytes: int, **match: Unpack[Match]) -> Fault:
    """Shorten the response body and make Content-Length agree with it.

    Args:
        to_bytes: The new length; shorter bodies pass unchanged.
        **match: When to fire, see `Fault`.
    """
    _check_size("to_bytes", to_bytes)
    return _fault("trim_response", _TrimResponse(to_bytes), match)


def drop_before(**match: Unpack[Match]) -> Fault:
    """Close the connection without forwarding: the request never reaches the upstream."""
    return _fault("drop_before", _Before(Drop()), match)


def drop_after(**match: Unpack[Match]) -> Fault:
    """Forward, let the upstream finish, then close the connection instead of answering."""
    return _fault("drop_after", _After(Drop()), match)


def _error_reply(status: int, code: str, message: str, headers: Mapping[str, str] | None) -> Reply:
    extra = tuple((headers or {}).items())
    for name, value in extra:
        _check_header(name, value)
    head = (("Content-Type", "application/xml"), ("x-amz-request-id", "FAULTPROXY"), *extra)
    return Reply(status, error_document(code, message), head)


def status_before(
    status: int = 503,
    code: str = "SlowDown",
    headers: Mapping[str, str] | None = None,
    *,
    message: str = "scripted by FaultProxy",
    **match: Unpack[Match],
) -> Fault:
    """Answer with an S3 error without forwarding; the request body is read and discarded.

    Args:
        status: The HTTP status.
        code: The S3 error code.
        headers: Further headers, such as Retry-After.
        message: The S3 error message.
        **match: When to fire, see `Fault`.
    """
    reply = _error_reply(status, code, message, headers)
    return _fault("status_before", _Before(reply), match)


def status_after(
    status: int = 500,
    code: str = "InternalError",
    headers: Mapping[str, str] | None = None,
    *,
    message: str = "scripted by FaultProxy",
    **match: Unpack[Match],
) -> Fault:
    """Forward, let the upstream finish, then answer with an S3 error all the same.

    Args:
        status: The HTTP status.
        code: The S3 error code.
        headers: Further headers, such as Retry-After.
        message: The S3 error message.
        **match: When to fire, see `Fault`.
    """
    reply = _error_reply(status, code, message, headers)
    return _fault("status_after", _After(reply), match)


def body_after(
    status: int = 200,
    body: bytes = b"",
    headers: Mapping[str, str | None] | None = None,
    **match: Unpack[Match],
) -> Fault:
    """Forward, let the upstream finish, then answer with another status and body.

    The upstream's headers are kept, except for the length. A 200 with `error_document`
    as its body is what CompleteMultipartUpload and CopyObject may really answer.

    Args:
        status: The HTTP status.
        body: The body sent instead.
        headers: Headers to set, or to remove where the value is None.
        **match: When to fire, see `Fault`.
    """
    for name, value in (headers or {}).items():
        _check_header(name, value)
    return _fault("body_after", _BodyAfter(status, body, dict(headers or {})), match)


def ignore_range(**match: Unpack[Match]) -> Fault:
    """Forward without the Range header, as a server or cache that does not know it.

    Only requests with a Range match. Clients usually sign that header, so an upstream
    that checks signatures will refuse the request; moto does not check them.
    """
    return _fault("ignore_range", _IgnoreRange(), match)


def wrong_range(shift: int, **match: Unpack[Match]) -> Fault:
    """Serve bytes from another offset under the Content-Range that was asked for.

    Only requests with a single range that has a start match. As with `ignore_range`,
    an upstream that checks signatures will refuse the altered request.

    Args:
        shift: How many bytes further on (or further up, if negative) to read. Near the
            end of the object a positive shift also gives a shorter answer.
        **match: When to fire, see `Fault`.
    """
    return _fault("wrong_range", _WrongRange(shift), match)


def rewrite_response_header(header: str, value: str | None, **match: Unpack[Match]) -> Fault:
    """Set a response header, or remove it.

    A Content-Length that no longer fits the body is passed on as the lie it is, and the
    connection is closed after the body.

    Args:
        header: The name of the header, in any case.
        value: The new value; None removes the header.
        **match: When to fire, see `Fault`.
    """
    _check_header(header, value)
    return _fault("rewrite_response_header", _RewriteResponseHeader(header, value), match)


def stall(seconds: float, **match: Unpack[Match]) -> Fault:
    """Wait before passing the answer on; the upstream has handled the request by then.

    Args:
        seconds: How long to wait.
        **match: When to fire, see `Fault`.
    """
    _check_size("seconds", seconds)
    return _fault("stall", _Stall(seconds), match)


def drip(bytes_per_chunk: int = BLOCK, delay_s: float = 0.1, **match: Unpack[Match]) -> Fault:
    """Pass the response body on in small pieces with a pause before each.

    Args:
        bytes_per_chunk: The size of a piece.
        delay_s: The pause in seconds.
        **match: When to fire, see `Fault`.
    """
    _check_size("bytes_per_chunk", bytes_per_chunk, 1)
    _check_size("delay_s", delay_s)
    return _fault("drip", _Drip(bytes_per_chunk, delay_s), match)


def callback(function: Callable[[], object], **match: Unpack[Match]) -> Fault:
    """Call a function when the request has arrived, before it is forwarded.

    This is how an object is changed behind the client's back at the worst moment.

    Args:
        function: Called in the thread of the connection. If it raises, the client's
            connection is closed and the log has the exception in `Exchange.error`.
        **match: When to fire, see `Fault`.
    """
    return _fault("callback", _Callback(function), match)
