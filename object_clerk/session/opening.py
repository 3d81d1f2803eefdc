"""From the answer to a get to its payload: whether it is what was asked for, and what it says."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkParameterException, UnsupportedError
from object_clerk.names import check_span
from object_clerk.receipt import Finding
from object_clerk.session import transport, wire
from object_clerk.session.metadata import metadata_of
from object_clerk.session.payload import GetResponse, Incoming, Payload, Proof
from object_clerk.session.zstd import ZSTD

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import urllib3

    from object_clerk.session.metrics import Call


def span_of(begin: int, end: int | None) -> wire.ByteRange | None:
    """The range that a slice means; None for all bytes."""
    check_span(begin, end)
    if begin == 0 and end is None:
        return None
    if begin < 0:
        if end is not None:
            raise ObjectClerkParameterException("a range from the end goes up to the end")
        return wire.ByteRange(None, -begin)
    if end is not None and end <= begin:
        raise ObjectClerkParameterException("the range has no bytes in it")
    return wire.ByteRange(begin, None if end is None else end - 1)


def opened(
    call: Call,
    response: urllib3.BaseHTTPResponse,
    span: wire.ByteRange | None,
    *,
    accepted: Collection[str],
    decompress: bool,
) -> GetResponse:
    """The object in a good answer.

    Args:
        call: the get.
        response: the answer, whose body is not read yet.
        span: the bytes that were asked for; None for all.
        accepted: encodings that are wanted as they are stored.
        decompress: whether to take others apart.

    Raises:
        RequestError: the answer makes no sense.
        UnsupportedError: the encoding is not known, or the server knows no ranges.
    """
    headers = transport.lower(response)
    partial = response.status == HTTPStatus.PARTIAL_CONTENT
    if partial != (span is not None):
        raise UnsupportedError("the server sent another range than it was asked for")
    try:
        metadata = metadata_of(headers, answer=True, lenient=True)
        length = _length(headers, metadata.size) if span is None else _part_length(headers, span)
        digest = None if partial else wire.sha256_in(headers.get(wire.REPR_DIGEST, ""))
        content = headers.get(wire.CONTENT_SHA256)
        known = None if content is None else wire.content_sha256_in(content)
    except ValueError as error:
        raise transport.nonsense(error, response.status, headers) from error
    encoding = metadata.compression
    as_stored = not decompress or partial or bool({encoding, "*"} & set(accepted))
    if encoding not in (None, ZSTD) and not as_stored:
        raise UnsupportedError(f"the object is stored as {encoding}: say decompress=False")
    decode = encoding == ZSTD and not as_stored
    if decode:
        metadata.compression = None
    elif encoding is not None or partial:
        known = None  # of other bytes than those that are handed out

    def done(outcome: Finding | BaseException, size: int) -> None:
        if isinstance(outcome, Finding):
            call.finished(call.receipt(size, outcome))
        else:
            call.failed(outcome)

    proof = Proof(digest, known, length)
    return GetResponse(metadata, Payload(Incoming(response, proof, decode=decode, done=done)))


def _length(headers: Mapping[str, str], size: int | None) -> int | None:
    """How many bytes come, if the server says it, once or more often.

    Raises:
        ObjectClerkParameterException: what it says does not make sense.
    """
    text = headers.get("content-length")
    said = {size} if text is None else {size, *map(_count, text.split(","))}
    said.discard(None)
    if len(said) > 1:
        raise ObjectClerkParameterException("the server says two lengths that differ")
    return said.pop() if said else None


def _count(text: str) -> int:
    return wire.parse_count(text.strip(), "content-length")


def _part_length(headers: Mapping[str, str], asked: wire.ByteRange) -> int:
    """How many bytes of a range come.

    Raises:
        ObjectClerkParameterException: they are not those that were asked for.
    """
    span, size = wire.parse_content_range(headers.get("content-range", ""))
    if span.start != asked.first if size is None else span != asked.within(size):
        raise ObjectClerkParameterException(f"{asked} was asked for, and {span} came")
    return len(span)
