"""A tiny upstream for the tests of the fault proxy, and ways to talk to it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from object_clerk import testing as t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BODY = bytes(range(256)) * 4
MIB = 1024 * 1024


class Upstream(ThreadingHTTPServer):
    """Remembers what it was asked and answers GET with `content`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = BODY
        self.big = 0
        self.seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.digests: list[str] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Cut connections are what these tests are about; no tracebacks for them."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Upstream

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _note(self, body: bytes = b"") -> None:
        self.server.seen.append((self.command, self.path, self.headers.items(), body))

    def _head(self, status: int, length: int | None, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("x-amz-MixedCase", "  kept as is")
        self.send_header("X-Twice", "1")
        self.send_header("X-Twice", "2")
        self.send_header("ETag", '"upstream"')
        for name, value in headers:
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def do_GET(self) -> None:
        self._note()
        if self.path == "/early-close":
            self.close_connection = True
            return
        if self.path == "/half":
            self._head(200, 1000)
            self.wfile.write(b"x" * 100)
            self.close_connection = True
            return
        if self.path == "/big":
            self._head(200, self.server.big)
            for _ in range(self.server.big // MIB):
                self.wfile.write(bytes(MIB))
            return
        if self.path == "/chunked":
            self._head(200, None, ("Transfer-Encoding", "chunked"))
            for start in range(0, len(BODY), 100):
                part = BODY[start : start + 100]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path == "/until-close":
            self._head(200, None, ("Connection", "close"))
            self.wfile.write(BODY)
            self.close_connection = True
            return
        content = self.server.content
        wanted = self.headers.get("Range")
        if wanted is None:
            self._head(200, len(content))
            self.wfile.write(content)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        if start >= len(content):
            self._head(416, 0)
            return
        part = content[start : end + 1]
        self._head(206, len(part), ("Content-Range", f"bytes {start}-{end}/{len(content)}"))
        self.wfile.write(part)

    def do_HEAD(self) -> None:
        self._note()
        self._head(200, len(self.server.content))

    def do_DELETE(self) -> None:
        self._note()
        self._head(204, None)

    def _body(self) -> Iterator[bytes]:
        if "Content-Length" in self.headers:
            yield from self._exactly(int(self.headers["Content-Length"]))
            return
        assert self.headers["Transfer-Encoding"] == "chunked"
        while size := int(self.rfile.readline(), 16):
            yield from self._exactly(size)
            assert self.rfile.readline() == b"\r\n"
        assert self.rfile.readline() == b"\r\n"

    def _exactly(self, left: int) -> Iterator[bytes]:
        while left:
            block = self.rfile.read(min(left, MIB))
            if not block:
                raise ConnectionError("the client left")
            left -= len(block)
            yield block

    def do_PUT(self) -> None:
        if self.path == "/refuse":
            self._head(403, 0, ("Connection", "close"))
            self.close_connection = True
            return
        digest, kept = hashlib.sha256(), b""
        for block in self._body():
            digest.update(block)
            kept = (kept + block)[: len(BODY) * 2]
        self._note(kept)
        self.server.digests.append(digest.hexdigest())
        self._head(200, 0)


def connect(proxy: t.FaultProxy, timeout: float = 20) -> http.client.HTTPConnection:
    """A client of the proxy that trusts it if it speaks TLS."""
    if proxy.ca_bundle is None:
        return http.client.HTTPConnection(proxy.host, proxy.port, timeout=timeout)
    trust = ssl.create_default_context(cafile=proxy.ca_bundle)
    return http.client.HTTPSConnection(proxy.host, proxy.port, timeout=timeout, context=trust)


def ask(
    client: http.client.HTTPConnection,
    method: str = "GET",
    path: str = "/bucket/key",
    body: Any = None,
    **headers: str,
) -> tuple[int, bytes, http.client.HTTPResponse]:
    client.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    response = client.getresponse()
    return response.status, response.read(), response


def flipped(data: bytes, offset: int, bit: int = 0) -> bytes:
    altered = bytearray(data)
    altered[offset] ^= 1 << bit
    return bytes(altered)


def names(proxy: t.FaultProxy) -> list[str | None]:
    return [exchange.fault for exchange in proxy.fired]


def raw(proxy: t.FaultProxy, data: bytes) -> bytes:
    """Send bytes and return everything until the proxy closes."""
    with socket.create_connection((proxy.host, proxy.port), timeout=20) as sock:
        sock.sendall(data)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def wait_until(condition: Callable[[], object]) -> None:
    """For what another thread is about to do."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def canned(answer: bytes) -> Iterator[t.FaultProxy]:
    """A proxy in front of an upstream that sends these bytes, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with t.FaultProxy(f"http://127.0.0.1:{listener.getsockname()[1]}") as proxy:
            yield proxy
        thread.join()
