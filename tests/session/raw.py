"""A server on a raw socket: it sends exactly the bytes that a test wants, and notes what came."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

from object_clerk.testing import wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

#: Ends a hang, nothing else.
PATIENCE_S = 30


@dataclasses.dataclass
class Request:
    """What a client sent.

    Attributes:
        target: path and query as on the wire.
        headers: names in lower case.
        body: without its framing.
        whole: whether the body came to its end.
        size: how many bytes of it came.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = True
    size: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding") == "chunked"


class RawServer:
    """Answers each request with what ``answer`` gives: bytes, pieces of them, or None to hang up.

    An answer is a whole one, with its head; the connection is kept if the client wants to, unless
    the answer is in pieces.

    Args:
        answer: what is sent.
        family: of addresses.
        keep: whether bodies are kept, or only counted.
        early: sent before the body is read, instead of an answer.
        tls: what connections are encrypted with.
    """

    def __init__(
        self,
        answer: Callable[[Request], Any],
        family: int = socket.AF_INET,
        *,
        keep: bool = True,
        early: bytes = b"",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._keep = keep
        self._early = early
        self.requests: list[Request] = []
        self.connections = 0
        self._answer = answer
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._listener = socket.socket(family)
        self._listener.bind((host, 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{host if family == socket.AF_INET else f'[{host}]'}:{self.port}"
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._open = True

    def __enter__(self) -> RawServer:
        thread = threading.Thread(target=self._accept)
        thread.start()
        self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in [*self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in [*self._threads]:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._sockets.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader, contextlib.suppress(OSError):
            while (head := _head(reader)) is not None:
                line, headers = head
                method, target, _ = line.split(" ", 2)
                request = Request(method, target, {n.lower(): v for n, v in headers})
                connection.sendall(self._early)
                _take_body(request, reader, headers, keep=self._keep)
                self.requests.append(request)
                answer = None if self._early else self._answer(request)
                if answer is None:
                    return
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                    continue
                for piece in answer:
                    connection.sendall(piece)
                return


def _head(reader: Any) -> tuple[str, wire.Headers] | None:
    try:
        return wire.read_head(reader)
    except wire.WireError:
        return None


def _take_body(request: Request, reader: Any, headers: wire.Headers, *, keep: bool) -> None:
    taken = bytearray()
    try:
        if wire.is_chunked(headers):
            blocks: Iterator[bytes] = wire.read_chunked(reader)
        else:
            blocks = wire.read_sized(reader, wire.content_length(headers) or 0)
        for block in blocks:
            request.size += len(block)
            if keep:
                taken += block
    except (wire.WireError, OSError):
        request.whole = False
    request.body = bytes(taken)


def answer(
    status: int,
    body: bytes | str | dict[str, Any] = b"",
    headers: dict[str, str] | None = None,
    *,
    length: bool = True,
) -> bytes:
    """The bytes of an answer with Content-Length, and names of headers as they are given."""
    if isinstance(body, dict):
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if length and status != 204:
        lines.append(f"content-length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


def chunked(status: int, pieces: Iterable[bytes], headers: dict[str, str] | None = None) -> bytes:
    """The bytes of an answer that is chunked."""
    head = answer(status, headers={"transfer-encoding": "chunked", **(headers or {})}, length=False)
    return head + b"".join(wire.encode_chunks(iter(pieces)))


def title(headers: dict[str, str]) -> dict[str, str]:
    """Names as old proxies write them."""
    return {name.title(): value for name, value in headers.items()}
