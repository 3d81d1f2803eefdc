"""HTTP/1.1 framing for the fault proxy: heads, header lists and body readers.

Written by hand instead of on `http.client` because a proxy that is used to prove things
must pass on exactly what it received: header order, spelling and repetition included.
Text is latin-1 throughout, which maps every byte to one character and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 256 * 1024
_LINE_LIMIT = 64 * 1024
_HEAD_LIMIT = 1024 * 1024

Headers = tuple[tuple[str, str], ...]

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class WireError(Exception):
    """The peer sent something that is not HTTP/1.x, or stopped in the middle of it."""


class Reader(Protocol):
    """The part of `io.BufferedReader` the functions below need."""

    def readline(self, size: int = -1, /) -> bytes:
        """Read up to and including a newline."""

    def read1(self, size: int = -1, /) -> bytes:
        """Read what is there, with at most one read of the socket."""


def get_header(headers: Headers, name: str) -> str | None:
    """Return the value of the first header called `name`, in any case."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), None)


def set_header(headers: Headers, name: str, value: str | None) -> Headers:
    """Return `headers` with `name` set to `value` in place, or removed if that is None."""
    wanted = name.lower()
    result: list[tuple[str, str]] = []
    placed = False
    for key, old in headers:
        if key.lower() != wanted:
            result.append((key, old))
        elif value is not None and not placed:
            result.append((key, value))
            placed = True
    if value is not None and not placed:
        result.append((name, value))
    return tuple(result)


def has_token(headers: Headers, name: str, token: str) -> bool:
    """Say whether a comma separated header such as Connection contains `token`."""
    return token in _tokens(headers, name)


def _tokens(headers: Headers, name: str) -> set[str]:
    wanted = name.lower()
    values = [value for key, value in headers if key.lower() == wanted]
    return {token.strip().lower() for value in values for token in value.split(",")}


def end_to_end(headers: Headers) -> Headers:
    """Return `headers` without those that only concern one connection."""
    dropped = _HOP_BY_HOP | _tokens(headers, "Connection")
    return tuple((key, value) for key, value in headers if key.lower() not in dropped)


def content_length(headers: Headers) -> int | None:
    """Return the declared body length, or None if there is none.

    Raises:
        WireError: The length is not a number, or there are two different ones.
    """
    values = {value for key, value in headers if key.lower() == "content-length"}
    if not values:
        return None
    if len(values) > 1:
        raise WireError("contradictory Content-Length headers")
    value = values.pop()
    if not (value.isascii() and value.isdigit()):
        raise WireError(f"Content-Length is not a number: {value!r}")
    return int(value)


def is_chunked(headers: Headers) -> bool:
    """Say whether the body is chunked.

    Raises:
        WireError: There is a transfer coding other than chunked.
    """
    codings = _tokens(headers, "Transfer-Encoding") - {"", "identity"}
    if codings - {"chunked"}:
        raise WireError(f"unsupported transfer coding {sorted(codings)}")
    return bool(codings)


def encode_head(first_line: str, headers: Headers) -> bytes:
    """Return the bytes of a request or response head."""
    lines = [first_line, *(f"{key}: {value}" for key, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def read_head(reader: Reader) -> tuple[str, Headers] | None:
    """Read a first line and the headers; None if the peer closed before sending any byte.

    Raises:
        WireError: The head is cut short, too long or malformed.
    """
    first = _read_line(reader)
    if first == b"\r\n":
        # Robustness asked for by RFC 9112: an empty line before a request is skipped.
        first = _read_line(reader)
    if not first:
        return None
    headers: list[tuple[str, str]] = []
    size = len(first)
    while (line := _read_line(reader)) not in (b"\r\n", b"\n"):
        size += len(line)
        if size > _HEAD_LIMIT:
            raise WireError("head too long")
        text = line.decode("latin-1").rstrip("\r\n")
        if text[:1] in (" ", "\t") and headers:
            key, value = headers[-1]
            headers[-1] = (key, f"{value} {text.strip()}")
            continue
        key, colon, value = text.partition(":")
        if not colon or not key or key != key.strip():
            raise WireError(f"malformed header line {text[:80]!r}")
        headers.append((key, value.strip(" \t")))
    return first.decode("latin-1").rstrip("\r\n"), tuple(headers)


def _read_line(reader: Reader) -> bytes:
    line = reader.readline(_LINE_LIMIT)
    if line and not line.endswith(b"\n"):
        raise WireError("line too long or cut short")
    return line


def read_sized(reader: Reader, size: int) -> Iterator[bytes]:
    """Yield a body of exactly `size` bytes in blocks.

    Raises:
        WireError: The peer closed before the end.
    """
    left = size
    while left:
        block = reader.read1(min(left, BLOCK))
        if not block:
            raise WireError(f"connection closed with {left} of {size} body bytes missing")
        left -= len(block)
        yield block


def read_chunked(reader: Reader) -> Iterator[bytes]:
    """Yield a chunked body in blocks, without the framing; trailers are dropped.

    Raises:
        WireError: The framing is malformed, or the peer closed before the end.
    """
    while True:
        line = _read_line(reader)
        digits = line.partition(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            raise WireError(f"malformed chunk size {line[:40]!r}") from None
        if size < 0:
            raise WireError(f"malformed chunk size {line[:40]!r}")
        if size == 0:
            break
        yield from read_sized(reader, size)
        if _read_line(reader).strip():
            raise WireError("chunk longer than its size")
    while line := _read_line(reader):
        if not line.strip():
            return
    raise WireError("connection closed inside the trailers")


def read_to_end(reader: Reader) -> Iterator[bytes]:
    """Yield everything until the peer closes."""
    while block := reader.read1(BLOCK):
        yield block


def encode_chunks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a body with the framing of a chunked one; if `blocks` raises, it has no end."""
    for block in blocks:
        # An empty chunk would be the end.
        if block:
            yield b"%x\r\n%b\r\n" % (len(block), block)
    yield b"0\r\n\r\n"
