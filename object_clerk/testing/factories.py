"""The faults that come with the proxy: a function that makes each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from ._actions import (
    After,
    Before,
    BodyAfter,
    Callback,
    CutResponse,
    Drip,
    FlipRequestBit,
    FlipResponseBit,
    IgnoreRange,
    RewriteResponseHeader,
    Stall,
    StallHandshake,
    StallInBody,
    TrimResponse,
    WrongRange,
)
from .faults import HANDSHAKE, Action, Drop, Fault, Match, Often, Reply, error_document
from .wire import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _fault(name: str, action: Action, match: Match) -> Fault:
    options: Match = {"name": name, **match}
    return Fault(action=action, **options)


def _handshake_fault(name: str, action: Action, often: Often) -> Fault:
    options: Often = {"name": name, **often}
    return Fault(action=action, method=HANDSHAKE, **options)


def _check_bit(bit: int | None) -> None:
    if bit is not None and not 0 <= bit <= 7:
        raise ValueError(f"bit must be 0 to 7, not {bit}")


def _check_size(name: str, value: float, least: int = 0) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _check_header(name: str, value: str | None) -> None:
    text = f"{name}{value or ''}"
    if not name or "\r" in text or "\n" in text:
        raise ValueError(f"not a header: {name!r}: {value!r}")
    text.encode("latin-1")


def flip_response_bit(offset: int | None = 0, bit: int | None = 0, **match: Unpack[Match]) -> Fault:
    """Flip one bit of the response body; the headers stay as they are.

    Args:
        offset: The byte to alter; negative counts from the end of a body of known length,
            None draws any byte of it.
        bit: Which bit of it, 0 being the lowest; None draws one.
        **match: When to fire, see `Fault`.
    """
    _check_bit(bit)
    return _fault("flip_response_bit", FlipResponseBit(offset, bit), match)


def flip_request_bit(offset: int | None = 0, bit: int | None = 0, **match: Unpack[Match]) -> Fault:
    """Flip one bit of the request body, so that the upstream sees altered bytes.

    Under aws-chunked encoding the offset counts the framing of that encoding as well.

    Args:
        offset: The byte to alter; negative counts from the end of a body of known length,
            None draws any byte of it.
        bit: Which bit of it, 0 being the lowest; None draws one.
        **match: When to fire, see `Fault`.
    """
    _check_bit(bit)
    return _fault("flip_request_bit", FlipRequestBit(offset, bit), match)


def cut_response(after_bytes: int, keep_length: bool = True, **match: Unpack[Match]) -> Fault:
    """Close the connection after the first bytes of the response body.

    Args:
        after_bytes: How much of the body still goes through.
        keep_length: With True the headers promise the whole body. With False the length
            is taken out, so that the cut looks like the regular end of the body.
        **match: When to fire, see `Fault`.
    """
    _check_size("after_bytes", after_bytes)
    return _fault("cut_response", CutResponse(after_bytes, keep_length), match)


def trim_response(to_bytes: int, **match: Unpack[Match]) -> Fault:
    """Shorten the response body and make Content-Length agree with it.

    Args:
        to_bytes: The new length; shorter bodies pass unchanged.
        **match: When to fire, see `Fault`.
    """
    _check_size("to_bytes", to_bytes)
    return _fault("trim_response", TrimResponse(to_bytes), match)


def drop_before(**match: Unpack[Match]) -> Fault:
    """Close the connection without forwarding: the request never reaches the upstream."""
    return _fault("drop_before", Before(Drop()), match)


def drop_after(**match: Unpack[Match]) -> Fault:
    """Forward, let the upstream finish, then close the connection instead of answering."""
    return _fault("drop_after", After(Drop()), match)


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
    return _fault("status_before", Before(reply), match)


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
    return _fault("status_after", After(reply), match)


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
    return _fault("body_after", BodyAfter(status, body, dict(headers or {})), match)


def ignore_range(**match: Unpack[Match]) -> Fault:
    """Forward without the Range header, as a server or cache that does not know it.

    Only requests with a Range match. Clients usually sign that header, so an upstream
    that checks signatures will refuse the request; moto does not check them.
    """
    return _fault("ignore_range", IgnoreRange(), match)


def wrong_range(shift: int, **match: Unpack[Match]) -> Fault:
    """Serve bytes from another offset under the Content-Range that was asked for.

    Only requests with a single range that has a start match. As with `ignore_range`,
    an upstream that checks signatures will refuse the altered request.

    Args:
        shift: How many bytes further on (or further up, if negative) to read. Near the
            end of the object a positive shift also gives a shorter answer.
        **match: When to fire, see `Fault`.
    """
    return _fault("wrong_range", WrongRange(shift), match)


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
    return _fault("rewrite_response_header", RewriteResponseHeader(header, value), match)


def stall(seconds: float, after_bytes: int | None = None, **match: Unpack[Match]) -> Fault:
    """Wait before passing the answer on; the upstream has handled the request by then.

    Args:
        seconds: How long to wait.
        after_bytes: How much of the body goes through first, 0 being the headers alone.
            None keeps the headers back as well.
        **match: When to fire, see `Fault`.
    """
    _check_size("seconds", seconds)
    if after_bytes is None:
        return _fault("stall", Stall(seconds), match)
    _check_size("after_bytes", after_bytes)
    return _fault("stall", StallInBody(seconds, after_bytes), match)


def stall_handshake(seconds: float, **often: Unpack[Often]) -> Fault:
    """Wait before answering a client that opens a TLS connection.

    Args:
        seconds: How long to wait.
        **often: How often to fire, counted in connections, see `Fault`.
    """
    _check_size("seconds", seconds)
    return _handshake_fault("stall_handshake", StallHandshake(seconds), often)


def drop_handshake(**often: Unpack[Often]) -> Fault:
    """Close the connection in the middle of the TLS handshake, when the client has begun it.

    Args:
        **often: How often to fire, counted in connections, see `Fault`.
    """
    return _handshake_fault("drop_handshake", Before(Drop()), often)


def drip(bytes_per_chunk: int = BLOCK, delay_s: float = 0.1, **match: Unpack[Match]) -> Fault:
    """Pass the response body on in small pieces with a pause before each.

    Args:
        bytes_per_chunk: The size of a piece.
        delay_s: The pause in seconds.
        **match: When to fire, see `Fault`.
    """
    _check_size("bytes_per_chunk", bytes_per_chunk, 1)
    _check_size("delay_s", delay_s)
    return _fault("drip", Drip(bytes_per_chunk, delay_s), match)


def callback(function: Callable[[], object], **match: Unpack[Match]) -> Fault:
    """Call a function when the request has arrived, before it is forwarded.

    This is how an object is changed behind the client's back at the worst moment.

    Args:
        function: Called in the thread of the connection. If it raises, the client's
            connection is closed and the log has the exception in `Exchange.error`.
        **match: When to fire, see `Fault`.
    """
    return _fault("callback", Callback(function), match)
