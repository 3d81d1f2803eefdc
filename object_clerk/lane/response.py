"""An answer of HTTP, whose headers are a list and no e-mail.

The standard library reads headers with its parser of e-mail, which takes longer than all the rest
of a small answer. So they are read here; the body remains the standard library's. What it is
lenient about stays allowed: lines without a carriage return, headers that go on in the next line,
and an answer 100 before the real one.
"""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

#: No line is longer, and there are no more headers, as in the standard library.
LONGEST_LINE = 1 << 16
MOST_HEADERS = 100

#: Answers 100 before the real one.
MOST_CONTINUES = 10

_FRAMING = ("content-length", "transfer-encoding")

_STATUS = re.compile(rb"(HTTP/\S+)[ \t]+([1-9][0-9]{2})(?:\s.*)?", re.DOTALL)


class Response(http.client.HTTPResponse):
    """One answer.

    Attributes:
        lines: the headers in their order; a name that comes again has its values joined by commas.
    """

    lines: list[tuple[str, str]]

    def __init__(self, connection: socket.socket, method: str) -> None:
        super().__init__(connection, method=method)
        self._is_head = method == "HEAD"

    def begin(self) -> None:
        """Read everything but the body.

        Raises:
            http.client.HTTPException: it is no answer of HTTP.
        """
        for _ in range(MOST_CONTINUES):
            version, status = self._status()
            first = self._headers()
            if status != 100:
                break
        self.code = self.status = status
        connection = first.get("connection", "").lower()
        if version in (b"HTTP/1.0", b"HTTP/0.9"):
            self.version = 10
            self.will_close = "keep-alive" not in connection and "keep-alive" not in first
        elif version.startswith(b"HTTP/1."):
            self.version = 11
            self.will_close = "close" in connection
        else:
            raise http.client.UnknownProtocol(version.decode("latin-1"))
        encoding = first.get("transfer-encoding", "").strip().lower()
        length = first.get("content-length", "").strip()
        has_none = status in (204, 304) or status < 200
        self.chunked = encoding == "chunked" and not has_none and not self._is_head
        self.chunk_left = None
        self.length = None
        if has_none or self._is_head:
            self.length = 0
        elif not encoding and length.isascii() and length.isdigit():
            self.length = int(length)
        # Where it is not clear where an answer ends, nothing that follows can be trusted.
        said_twice = any("," in value for name, value in self.lines if name.lower() in _FRAMING)
        stray = has_none and (encoding or length not in ("", "0")) and status != 304
        if said_twice or stray or (encoding and length) or encoding not in ("", "chunked"):
            self.will_close = True
        if self.length is None and not self.chunked:
            self.will_close = True  # nothing else will tell where the body ends

    def _line(self) -> bytes:
        line = self.fp.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        return line

    def _status(self) -> tuple[bytes, int]:
        line = self._line()
        if not line:
            raise http.client.RemoteDisconnected("the server hung up without an answer")
        match = _STATUS.fullmatch(line)
        if match is None:
            raise http.client.BadStatusLine(line.decode("latin-1"))
        return match[1], int(match[2])

    def _headers(self) -> dict[str, str]:
        """Read the headers; the first value of each, by its name in lower case."""
        first: dict[str, str] = {}
        places: dict[str, int] = {}
        self.lines = []
        for _ in range(MOST_HEADERS + 1):
            line = self._line().decode("latin-1")
            if line in ("\r\n", "\n"):
                return first
            if not line:  # what is missing might have been the very header that matters
                raise http.client.RemoteDisconnected("the server hung up among its headers")
            name, colon, value = line.partition(":")
            if line[0] in " \t" and self.lines:
                before, text = self.lines[-1]
                self.lines[-1] = before, f"{text} {line.strip()}"
                continue
            if not colon:
                continue
            value, lower = value.lstrip(" \t").rstrip("\r\n"), name.lower()
            if lower in first:
                before, text = self.lines[places[lower]]
                self.lines[places[lower]] = before, f"{text}, {value}"
            else:
                first[lower] = value
                places[lower] = len(self.lines)
                self.lines.append((name, value))
        raise http.client.HTTPException(f"more than {MOST_HEADERS} headers")
