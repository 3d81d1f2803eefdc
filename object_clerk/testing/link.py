"""One client connection of the fault proxy, with the upstream connection behind it."""

from __future__ import annotations

import selectors
import ssl
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

from .faults import (
    Action,
    Disconnect,
    Drop,
    Fault,
    Reply,
    Request,
    ResponseHead,
    Turn,
    error_document,
)
from .wire import (
    BLOCK,
    Headers,
    WireError,
    content_length,
    encode_chunks,
    encode_head,
    end_to_end,
    has_token,
    is_chunked,
    read_chunked,
    read_head,
    read_sized,
    read_to_end,
    set_header,
)

if TYPE_CHECKING:
    import io
    import socket
    from collections.abc import Iterator

    from .exchange import Record

# An idle upstream connection is only used again while it is fresh. Servers close idle ones
# after a few seconds, and a request sent into that moment would fail although no fault was
# scripted. Retrying it instead would hide what an upstream does from the client.
_REUSE_WITHIN_S = 1.0

_PASS = Action()


class Hub(Protocol):
    """What a connection needs from its proxy."""

    def begin(self, request: Request) -> Record:
        """Open a log entry."""

    def choose(self, turn: Turn) -> Fault | None:
        """Pick the fault for a request and count it."""

    def open_upstream(self) -> socket.socket:
        """Connect to the upstream."""

    def release(self, sock: socket.socket) -> None:
        """Close a socket."""


class _RequestBody:
    """The body a client sends; it is read at most once, by whoever comes first."""

    def __init__(self, sock: socket.socket, reader: io.BufferedReader, headers: Headers) -> None:
        chunked = is_chunked(headers)
        length = content_length(headers)
        if chunked and length is not None:
            # The classic way to make two parties disagree on where a request ends.
            raise WireError("both Content-Length and Transfer-Encoding")
        #: None if only the end of the body will tell.
        self.length = None if chunked else length or 0
        self._sock = sock
        self._reader = reader
        self._continue = has_token(headers, "Expect", "100-continue")
        self._record: Record | None = None
        self._blocks = self._read()

    def count_in(self, record: Record) -> None:
        """Add what is read from now on to a log entry."""
        self._record = record

    def blocks(self) -> Iterator[bytes]:
        """Return what has not been read yet."""
        return self._blocks

    def drain(self) -> None:
        """Read the rest and throw it away, so that the client gets to read the answer."""
        for _ in self._blocks:
            pass

    def _read(self) -> Iterator[bytes]:
        if self.length == 0:
            return
        if self._continue:
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.length is None:
            body = read_chunked(self._reader)
        else:
            body = read_sized(self._reader, self.length)
        for block in body:
            if self._record is not None:
                self._record.request_bytes += len(block)
            yield block


@dataclass(slots=True)
class _Response:
    """The upstream's answer; `blocks` is None where the status or method allow no body."""

    head: ResponseHead
    blocks: Iterator[bytes] | None


class _Upstream:
    """The connection to the upstream, opened when needed and kept while it is good."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._sock: socket.socket | None = None
        self._reader: io.BufferedReader | None = None
        self._idle_since = 0.0
        self._reusable = False

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._sock is not None:
            self._hub.release(self._sock)
        self._sock = self._reader = None

    def connect(self) -> None:
        """Make sure there is a connection."""
        if self._sock is not None and self._still_good(self._sock):
            return
        self.close()
        self._sock = self._hub.open_upstream()
        self._reader = _reader(self._sock)

    def _still_good(self, sock: socket.socket) -> bool:
        if not self._reusable or time.monotonic() - self._idle_since > _REUSE_WITHIN_S:
            return False
        # An idle connection has nothing to say: what can be read is its end, or rubbish.
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            return not selector.select(0)

    def send(self, head: bytes, blocks: Iterator[bytes]) -> None:
        """Send a request; stops early if the upstream does not want to read it."""
        assert self._sock is not None
        # Only a response read to its end makes the connection good for another request.
        self._reusable = False
        block: bytes | None = head
        while block is not None:
            try:
                self._sock.sendall(block)
            except (ConnectionError, ssl.SSLError):
                # A server may answer and close before it has read the body. The answer
                # is worth looking for; if there is none, reading will fail soundly.
                return
            block = next(blocks, None)

    def receive(self, method: str) -> _Response:
        """Read the head of the answer."""
        assert self._reader is not None
        status = 100
        while 100 <= status < 200:
            answer = read_head(self._reader)
            if answer is None:
                raise WireError("the upstream closed the connection without an answer")
            line, headers = answer
            version, status, reason = _parse_status(line)
        keep = version == "HTTP/1.1" and not has_token(headers, "Connection", "close")
        head = ResponseHead(status, reason, end_to_end(headers))
        if method == "HEAD" or status in (204, 304):
            self._settle(keep)
            return _Response(head, None)
        length = content_length(headers)
        if is_chunked(headers):
            body = read_chunked(self._reader)
            head = replace(head, chunked=True)
        elif length is not None:
            body = read_sized(self._reader, length)
        else:
            body, keep = read_to_end(self._reader), False
        return _Response(head, self._to_the_end(body, keep))

    def _to_the_end(self, body: Iterator[bytes], keep: bool) -> Iterator[bytes]:
        yield from body
        self._settle(keep)

    def _settle(self, keep: bool) -> None:
        self._reusable = keep
        self._idle_since = time.monotonic()


def _parse_status(line: str) -> tuple[str, int, str]:
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit()):
        raise WireError(f"malformed status line {line[:80]!r}")
    return version, int(code), reason


def _reader(sock: socket.socket) -> io.BufferedReader:
    return cast("io.BufferedReader", sock.makefile("rb", BLOCK))


def _count(record: Record, blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        record.response_bytes += len(block)
        yield block


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class Link:
    """One client connection: reads requests, forwards them, applies the chosen fault."""

    def __init__(self, sock: socket.socket, hub: Hub) -> None:
        """Take over a connected socket."""
        self._sock = sock
        self._hub = hub
        self._reader = _reader(sock)
        self._upstream = _Upstream(hub)
        self._version = "HTTP/1.1"
        self._keep = True

    def close(self) -> None:
        """Close both connections."""
        self._upstream.close()
        self._reader.close()
        self._hub.release(self._sock)

    def exchange(self) -> bool:
        """Serve one request; False when the connection is to be closed."""
        try:
            head = read_head(self._reader)
            if head is None:
                return False
            request = self._parse(*head)
            body = _RequestBody(self._sock, self._reader, request.headers)
        except WireError as exc:
            self._refuse(str(exc))
            return False
        record = self._hub.begin(request)
        body.count_in(record)
        try:
            record.fault = self._hub.choose(record.turn)
            self._forward(record, body)
        except Disconnect:
            return False
        except Exception as exc:  # noqa: BLE001
            # Also what a scripted function raises: the log is the only place to tell it,
            # and a closed connection the only honest thing to show the client.
            record.error = f"{type(exc).__name__}: {exc}"
            return False
        return self._keep

    def _parse(self, line: str, headers: Headers) -> Request:
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise WireError(f"malformed request line {line[:80]!r}")
        method, target, self._version = words
        if self._version == "HTTP/1.0":
            self._keep = has_token(headers, "Connection", "keep-alive")
        else:
            self._keep = not has_token(headers, "Connection", "close")
        if target.startswith(("http://", "https://")):
            # The form used towards forward proxies; the path is all that matters here.
            target = "/" + target.partition("://")[2].partition("/")[2]
        return Request(method, target, headers)

    def _refuse(self, message: str) -> None:
        body = error_document("BadRequest", message)
        headers = (("Content-Length", str(len(body))), ("Connection", "close"))
        self._sock.sendall(encode_head("HTTP/1.1 400 Bad Request", headers) + body)

    def _forward(self, record: Record, body: _RequestBody) -> None:
        turn = record.turn
        request = turn.request
        action = record.fault.action if record.fault is not None else _PASS
        early = action.before(turn)
        if early is not None:
            self._answer(record, body, early, scripted=True)
            return
        try:
            self._upstream.connect()
        except OSError as exc:
            record.error = f"cannot reach the upstream: {exc}"
            document = error_document("BadGateway", record.error)
            self._answer(record, body, Reply(502, document), scripted=False)
            return
        headers = set_header(end_to_end(request.headers), "Expect", None)
        headers = action.edit_request_headers(turn, headers)
        blocks = action.edit_request_body(turn, body.length, body.blocks())
        if body.length is None:
            # Not turned into a body with a length: whether a server takes chunks, such as
            # those of a trailing checksum, is one of the things it can be wrong about.
            headers = (*headers, ("Transfer-Encoding", "chunked"))
            blocks = encode_chunks(blocks)
        line = f"{request.method} {request.target} HTTP/1.1"
        self._upstream.send(encode_head(line, headers), blocks)
        response = self._upstream.receive(request.method)
        record.upstream_status = response.head.status
        body.drain()
        late = action.after(turn, response.head)
        if late is not None:
            # To the end: a server may send the head first and do the work afterwards, as
            # S3 does when it completes an upload.
            for _ in response.blocks or ():
                pass
            self._answer(record, body, late, scripted=True)
            return
        head = action.edit_response_head(turn, response.head)
        if response.blocks is None:
            self._send_head(record, head)
            return
        self._deliver(record, head, action.edit_response_body(turn, head, response.blocks))

    def _answer(
        self, record: Record, body: _RequestBody, answer: Reply | Drop, *, scripted: bool
    ) -> None:
        if scripted:
            record.turn.effective = True
        if isinstance(answer, Drop):
            raise Disconnect
        body.drain()
        headers, content = answer.headers, answer.body
        if record.turn.request.method == "HEAD":
            # The length in the answer to a HEAD is that of the object, not of this body.
            content = b""
        elif answer.status in (204, 304):
            headers, content = set_header(headers, "Content-Length", None), b""
        else:
            headers = set_header(headers, "Content-Length", str(len(content)))
        reason = answer.reason or _reason(answer.status)
        record.response_bytes += len(content)
        self._send_head(record, ResponseHead(answer.status, reason, headers), content)

    def _deliver(self, record: Record, head: ResponseHead, blocks: Iterator[bytes]) -> None:
        try:
            declared = content_length(head.headers)
        except WireError:
            # Scripted nonsense; there is no telling where the client sees the end.
            declared = None
            head = replace(head, chunked=False)
        chunked = head.chunked and declared is None and self._version != "HTTP/1.0"
        if declared is None and not chunked:
            self._keep = False
        if chunked:
            head = replace(head, headers=(*head.headers, ("Transfer-Encoding", "chunked")))
        self._send_head(record, head)
        counted = _count(record, blocks)
        for block in encode_chunks(counted) if chunked else counted:
            self._sock.sendall(block)
        if declared is not None and record.response_bytes != declared:
            # Kept open, the next answer would be taken for the rest of this one.
            self._keep = False

    def _send_head(self, record: Record, head: ResponseHead, body: bytes = b"") -> None:
        headers = head.headers
        if not self._keep:
            headers = (*headers, ("Connection", "close"))
        elif self._version == "HTTP/1.0":
            headers = (*headers, ("Connection", "keep-alive"))
        record.status = head.status
        record.response_headers = headers
        line = f"HTTP/1.1 {head.status} {head.reason}"
        self._sock.sendall(encode_head(line, headers) + body)
