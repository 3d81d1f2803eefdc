"""The fault proxy against a tiny upstream: every fault, and what passes without one."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import testing as t

if TYPE_CHECKING:
    from collections.abc import Iterator

    from object_clerk.testing import wire

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

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        if self.path == "/refuse":
            self._head(403, 0, ("Connection", "close"))
            self.close_connection = True
            return
        digest, kept = hashlib.sha256(), b""
        while left:
            block = self.rfile.read(min(left, MIB))
            if not block:
                raise ConnectionError("the client left")
            left -= len(block)
            digest.update(block)
            kept = (kept + block)[: len(BODY) * 2]
        self._note(kept)
        self.server.digests.append(digest.hexdigest())
        self._head(200, 0)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[t.FaultProxy]:
    with t.FaultProxy(upstream.url, upstream_timeout=20) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: t.FaultProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=20)
    yield connection
    connection.close()


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


class TestPassingThrough:
    def test_answer_and_log(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        status, body, response = ask(client, path="/b/k%20ey?x=%2F", X_Odd="a  b")
        assert (status, body) == (200, BODY)
        assert response.getheader("x-amz-MixedCase") == "kept as is"
        assert response.headers.get_all("X-Twice") == ["1", "2"]
        assert "x-amz-MixedCase" in response.headers.keys()  # noqa: SIM118 (exact spelling)
        _, target, headers, _ = upstream.seen[0]
        assert target == "/b/k%20ey?x=%2F"
        assert dict(headers)["Host"] == f"{proxy.host}:{proxy.port}"
        assert dict(headers)["X-Odd"] == "a  b"
        [exchange] = proxy.log
        assert (exchange.number, exchange.method, exchange.path, exchange.query) == (
            1,
            "GET",
            "/b/k%20ey",
            "x=%2F",
        )
        assert (exchange.status, exchange.upstream_status) == (200, 200)
        assert (exchange.request_bytes, exchange.response_bytes) == (0, len(BODY))
        assert exchange.fault is None
        assert exchange.error is None
        assert exchange.request_header("x-odd") == "a  b"
        assert exchange.response_header("etag") == '"upstream"'
        assert proxy.fired == []

    def test_put(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        assert ask(client, "PUT", body=BODY)[0] == 200
        assert upstream.seen[0][3] == BODY
        assert proxy.log[0].request_bytes == len(BODY)

    def test_connections_are_reused(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        client.connect()
        sock = client.sock
        for method in ("GET", "HEAD", "PUT", "DELETE", "GET"):
            body = BODY if method == "PUT" else None
            assert ask(client, method, body=body)[0] in (200, 204)
            assert client.sock is sock
        assert upstream.connections == 1
        assert [exchange.method for exchange in proxy.log] == [
            "GET",
            "HEAD",
            "PUT",
            "DELETE",
            "GET",
        ]

    def test_old_idle_upstream_connection_is_replaced(
        self,
        client: http.client.HTTPConnection,
        upstream: Upstream,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("object_clerk.testing.link._REUSE_WITHIN_S", 0.0)
        assert ask(client)[0] == ask(client)[0] == 200
        assert upstream.connections == 2

    def test_head_keeps_the_length_of_the_object(self, client: http.client.HTTPConnection) -> None:
        status, body, response = ask(client, "HEAD")
        assert (status, body) == (200, b"")
        assert response.getheader("Content-Length") == str(len(BODY))

    def test_chunked_answer(self, proxy: t.FaultProxy, client: http.client.HTTPConnection) -> None:
        status, body, response = ask(client, path="/chunked")
        assert (status, body) == (200, BODY)
        assert response.getheader("Transfer-Encoding") == "chunked"
        assert ask(client)[1] == BODY
        assert proxy.log[0].response_bytes == len(BODY)

    def test_chunked_answer_for_an_old_client(self, proxy: t.FaultProxy) -> None:
        answer = raw(proxy, b"GET /chunked HTTP/1.0\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == BODY
        assert b"Transfer-Encoding" not in head

    def test_answer_that_ends_with_the_connection(self, client: http.client.HTTPConnection) -> None:
        _, body, response = ask(client, path="/until-close")
        assert body == BODY
        assert response.getheader("Connection") == "close"

    def test_chunked_request(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        client.request("PUT", "/k", iter([b"abc", b"", b"d" * 500]), encode_chunked=True)
        client.getresponse().read()
        _, _, headers, body = upstream.seen[0]
        assert body == b"abc" + b"d" * 500
        assert dict(headers)["Content-Length"] == "503"
        assert "Transfer-Encoding" not in dict(headers)
        assert proxy.log[0].request_bytes == 503
        assert ask(client)[0] == 200

    def test_expect_continue(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        with socket.create_connection((proxy.host, proxy.port), timeout=20) as sock:
            sock.sendall(
                b"PUT /k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
            )
            assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"abc")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        _, _, headers, body = upstream.seen[0]
        assert body == b"abc"
        assert "Expect" not in dict(headers)
        assert proxy.log[0].request_header("Expect") == "100-continue"

    def test_pipelined_requests(self, proxy: t.FaultProxy) -> None:
        one = b"GET /k HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert raw(proxy, one + last).count(b"HTTP/1.1 200 OK") == 2

    def test_old_client_that_wants_to_stay(self, proxy: t.FaultProxy) -> None:
        stay = b"HEAD /k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        answer = raw(proxy, stay + b"HEAD /k HTTP/1.0\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert answer.count(b"Connection: keep-alive") == 1

    @pytest.mark.parametrize(
        "data",
        [
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        ],
    )
    def test_malformed_request(self, proxy: t.FaultProxy, data: bytes) -> None:
        assert raw(proxy, data).startswith(b"HTTP/1.1 400 ")

    def test_absolute_target(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        raw(proxy, b"GET http://x/k?a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert upstream.seen[0][1] == "/k?a"

    def test_client_that_leaves_in_the_middle(
        self, proxy: t.FaultProxy, upstream: Upstream
    ) -> None:
        with socket.create_connection((proxy.host, proxy.port), timeout=20) as sock:
            sock.sendall(b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(10) == b""
        [exchange] = proxy.log
        assert exchange.status is None
        assert "missing" in (exchange.error or "")
        assert upstream.seen == []

    def test_upstream_that_is_down(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with t.FaultProxy(f"http://127.0.0.1:{port}") as proxy:
            connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=20)
            status, body, _ = ask(connection, "PUT", body=BODY)
            connection.close()
            assert status == 502
            assert b"<Code>BadGateway</Code>" in body
            assert "cannot reach" in (proxy.log[0].error or "")
            assert proxy.fired == []

    def test_upstream_that_closes_without_an_answer(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(client, path="/early-close")
        assert proxy.log[0].status is None
        assert "without an answer" in (proxy.log[0].error or "")

    def test_upstream_that_stops_in_the_middle(self, client: http.client.HTTPConnection) -> None:
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(client, path="/half")
        assert caught.value.partial == b"x" * 100

    def test_upstream_that_refuses_before_the_body(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        # Much larger than the socket buffers, so that the proxy runs into the closed end.
        assert ask(client, "PUT", "/refuse", bytes(32 * MIB))[0] == 403
        assert proxy.log[0].request_bytes == 32 * MIB

    @pytest.mark.parametrize("url", ["https://h", "ftp://h", "http://", "http://h/path"])
    def test_bad_upstream_url(self, url: str) -> None:
        with pytest.raises(ValueError, match="upstream_url"):
            t.FaultProxy(url)

    def test_starts_once_and_closes_twice(self, upstream: Upstream) -> None:
        proxy = t.FaultProxy(upstream.url).start()
        with pytest.raises(RuntimeError, match="only once"):
            proxy.start()
        proxy.close()
        proxy.close()
        with pytest.raises(OSError):  # noqa: PT011 (the kind differs between systems)
            socket.create_connection((proxy.host, proxy.port), timeout=1)

    def test_close_ends_idle_connections(self, upstream: Upstream) -> None:
        with t.FaultProxy(upstream.url) as proxy:
            sock = socket.create_connection((proxy.host, proxy.port), timeout=20)
            sock.sendall(b"HEAD /k HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(1000)
            began = time.monotonic()
        assert time.monotonic() - began < 20
        assert sock.recv(1) == b""
        sock.close()

    @pytest.mark.parametrize(
        "answer",
        [
            b"rubbish\r\n\r\n",
            b"HTTP/1.1 200",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + bytes(70_000),
            b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"a" * 60_000 + b"\r\n") * 20 + b"\r\n",
        ],
    )
    def test_malformed_answer_head(self, answer: bytes) -> None:
        with canned(answer) as proxy:
            assert raw(proxy, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
            assert (proxy.log[0].error or "").startswith("WireError: ")

    @pytest.mark.parametrize(
        "body",
        [
            b"zz\r\n",
            b"-5\r\n",
            b"",
            b"3\r\nabcdef\r\n0\r\n\r\n",
            b"3\r\nab",
            b"3\r\nabc\r\n0\r\n",
        ],
    )
    def test_malformed_chunks(self, body: bytes) -> None:
        with canned(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body) as proxy:
            answer = raw(proxy, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            # What arrived is passed on, but never with a regular end.
            assert not answer.endswith(b"0\r\n\r\n")
            assert (proxy.log[0].error or "").startswith("WireError: ")

    def test_interim_answers_folded_headers_and_trailers(self) -> None:
        with canned(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
            b"HTTP/1.1 200 \r\nX-Long: a\r\n  b\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
        ) as proxy:
            answer = raw(proxy, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer == (
            b"HTTP/1.1 200 \r\nX-Long: a b\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )


class TestBulk:
    SIZE = 64 * MIB

    def test_large_bodies_need_little_memory(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        upstream.big = self.SIZE
        zeros = bytes(MIB)

        def parts() -> Iterator[bytes]:
            for _ in range(self.SIZE // MIB):
                yield zeros

        expected = hashlib.sha256()
        for part in parts():
            expected.update(part)
        proxy.add(t.flip_response_bit(offset=-1, method="GET"))
        tracemalloc.start()
        try:
            client.request("PUT", "/big", parts(), {"Content-Length": str(self.SIZE)})
            assert client.getresponse().read() == b""
            client.request("PUT", "/big", parts(), encode_chunked=True)
            assert client.getresponse().read() == b""
            client.request("GET", "/big")
            response = client.getresponse()
            total, last = 0, b""
            while block := response.read(MIB):
                total, last = total + len(block), block
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == self.SIZE
        assert last[-1] == 1
        assert upstream.digests == [expected.hexdigest()] * 2
        # Client, proxy and upstream share this process; the spool is 8 MiB of it.
        assert peak < 24 * MIB
        sizes = [(exchange.request_bytes, exchange.response_bytes) for exchange in proxy.log]
        assert sizes == [(self.SIZE, 0), (self.SIZE, 0), (0, self.SIZE)]

    def test_eight_threads(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        proxy.add(t.flip_response_bit(offset=5, query="flip", times=None))

        def work(number: int) -> None:
            connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=20)
            for turn in range(25):
                body = b"%d.%d" % (number, turn)
                assert ask(connection, "PUT", f"/{number}/{turn}", body)[0] == 200
                assert ask(connection, path=f"/{number}?flip")[1] == flipped(BODY, 5)
                assert ask(connection, path=f"/{number}")[1] == BODY
            connection.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert [exchange.number for exchange in proxy.log] == list(range(1, 8 * 25 * 3 + 1))
        assert len(proxy.fired) == 8 * 25
        stored = {path: body for method, path, _, body in upstream.seen if method == "PUT"}
        assert stored == {f"/{n}/{i}": b"%d.%d" % (n, i) for n in range(8) for i in range(25)}


class TestFaults:
    @pytest.mark.parametrize(("offset", "index"), [(0, 0), (700, 700), (-1, len(BODY) - 1)])
    @pytest.mark.parametrize("bit", [0, 7])
    def test_flip_response_bit(
        self,
        proxy: t.FaultProxy,
        client: http.client.HTTPConnection,
        offset: int,
        index: int,
        bit: int,
    ) -> None:
        proxy.add(t.flip_response_bit(offset=offset, bit=bit))
        status, body, response = ask(client)
        assert (status, body) == (200, flipped(BODY, index, bit))
        assert response.getheader("ETag") == '"upstream"'
        assert names(proxy) == ["flip_response_bit"]
        assert ask(client)[1] == BODY

    def test_flip_in_chunked_answer(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.flip_response_bit(offset=250))
        assert ask(client, path="/chunked")[1] == flipped(BODY, 250)
        assert names(proxy) == ["flip_response_bit"]

    @pytest.mark.parametrize(
        ("offset", "path"), [(len(BODY), "/k"), (-len(BODY) - 1, "/k"), (-1, "/chunked")]
    )
    def test_flip_outside_the_body_did_not_fire(
        self,
        proxy: t.FaultProxy,
        client: http.client.HTTPConnection,
        offset: int,
        path: str,
    ) -> None:
        proxy.add(t.flip_response_bit(offset=offset))
        assert ask(client, path=path)[1] == BODY
        assert proxy.fired == []

    def test_flip_waits_for_a_body(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.flip_response_bit())
        ask(client, "HEAD")
        assert ask(client)[1] == flipped(BODY, 0)
        assert [exchange.number for exchange in proxy.fired] == [2]

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize(("offset", "index"), [(3, 3), (-1, len(BODY) - 1)])
    def test_flip_request_bit(
        self,
        proxy: t.FaultProxy,
        client: http.client.HTTPConnection,
        upstream: Upstream,
        chunked: bool,
        offset: int,
        index: int,
    ) -> None:
        proxy.add(t.flip_request_bit(offset, 2))
        ask(client, "PUT", body=iter([BODY]) if chunked else BODY)
        assert upstream.seen[0][3] == flipped(BODY, index, 2)
        assert names(proxy) == ["flip_request_bit"]

    @pytest.mark.parametrize("path", ["/k", "/chunked"])
    def test_cut_response(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, path: str
    ) -> None:
        proxy.add(t.cut_response(150))
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(client, path=path)
        if path == "/k":
            assert caught.value.partial == BODY[:150]
        assert names(proxy) == ["cut_response"]
        assert proxy.fired[0].response_bytes == 150
        assert proxy.fired[0].error is None

    @pytest.mark.parametrize("path", ["/k", "/chunked"])
    @pytest.mark.parametrize("size", [0, 150])
    def test_cut_response_unnoticeably(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, path: str, size: int
    ) -> None:
        proxy.add(t.cut_response(size, keep_length=False))
        status, body, response = ask(client, path=path)
        assert (status, body) == (200, BODY[:size])
        assert response.getheader("Content-Length") is None
        assert response.getheader("Connection") == "close"
        assert names(proxy) == ["cut_response"]

    def test_cut_beyond_the_end_did_not_fire(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.cut_response(len(BODY)))
        assert ask(client)[1] == BODY
        assert proxy.fired == []

    @pytest.mark.parametrize("path", ["/k", "/chunked"])
    def test_trim_response(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, path: str
    ) -> None:
        proxy.add(t.trim_response(10))
        _, body, response = ask(client, path=path)
        assert body == BODY[:10]
        if path == "/k":
            assert response.getheader("Content-Length") == "10"
        assert names(proxy) == ["trim_response"]
        assert ask(client)[1] == BODY

    def test_trim_shorter_body(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.trim_response(len(BODY)))
        assert ask(client)[1] == BODY
        assert proxy.fired == []

    @pytest.mark.parametrize(("method", "body"), [("GET", None), ("PUT", BODY)])
    def test_drop_before(
        self,
        proxy: t.FaultProxy,
        client: http.client.HTTPConnection,
        upstream: Upstream,
        method: str,
        body: bytes | None,
    ) -> None:
        proxy.add(t.drop_before())
        with pytest.raises(ConnectionError):
            ask(client, method, body=body)
        assert upstream.seen == []
        assert names(proxy) == ["drop_before"]
        assert proxy.fired[0].status is None
        client.close()
        assert ask(client, method, body=body)[0] == 200

    def test_drop_after(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        proxy.add(t.drop_after())
        with pytest.raises(ConnectionError):
            ask(client, "PUT", body=BODY)
        assert upstream.seen[0][3] == BODY
        assert names(proxy) == ["drop_after"]
        assert (proxy.fired[0].status, proxy.fired[0].upstream_status) == (None, 200)

    def test_status_before(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        proxy.add(t.status_before(503, "SlowDown", {"Retry-After": "2"}, message="<easy>"))
        status, body, response = ask(client, "PUT", body=bytes(8 * MIB))
        assert status == 503
        assert b"<Code>SlowDown</Code><Message>&lt;easy&gt;</Message>" in body
        assert response.getheader("Retry-After") == "2"
        assert response.reason == "Service Unavailable"
        assert upstream.seen == []
        [exchange] = proxy.fired
        assert exchange.fault == "status_before"
        assert (exchange.status, exchange.upstream_status) == (503, None)
        assert (exchange.request_bytes, exchange.response_bytes) == (8 * MIB, len(body))
        # The same connection goes on.
        assert ask(client, "PUT", body=b"x")[0] == 200

    def test_status_before_head(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.status_before(404, "NoSuchKey"))
        assert ask(client, "HEAD")[:2] == (404, b"")
        assert proxy.fired[0].response_bytes == 0
        assert ask(client)[1] == BODY

    def test_unusual_status(self, proxy: t.FaultProxy, client: http.client.HTTPConnection) -> None:
        proxy.add(t.status_before(599, "Odd"))
        status, _, response = ask(client)
        assert (status, response.reason) == (599, "Unknown")

    def test_status_after(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        proxy.add(t.status_after(500, "InternalError"))
        status, body, response = ask(client, "PUT", body=BODY)
        assert status == 500
        assert b"<Code>InternalError</Code>" in body
        assert response.getheader("ETag") is None
        assert upstream.seen[0][3] == BODY
        assert names(proxy) == ["status_after"]
        assert (proxy.fired[0].status, proxy.fired[0].upstream_status) == (500, 200)

    def test_body_after(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        document = t.error_document("InternalError")
        proxy.add(t.body_after(200, document, {"ETag": None, "Content-Type": "text/xml"}))
        proxy.add(t.body_after(name="emptied"))
        status, body, response = ask(client)
        assert (status, body) == (200, document)
        assert response.getheader("ETag") is None
        assert response.getheader("Content-Type") == "text/xml"
        status, body, response = ask(client)
        assert (status, body) == (200, b"")
        assert response.getheader("ETag") == '"upstream"'
        assert ask(client)[1] == BODY
        assert names(proxy) == ["body_after", "emptied"]
        assert len(upstream.seen) == 3

    def test_body_after_without_a_body(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.body_after(204, b"not sent"))
        assert ask(client)[:2] == (204, b"")
        assert ask(client)[1] == BODY

    def test_ignore_range(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        proxy.add(t.ignore_range())
        assert ask(client)[0] == 200
        assert proxy.fired == []
        status, body, _ = ask(client, Range="bytes=10-19")
        assert (status, body) == (200, BODY)
        assert "Range" not in dict(upstream.seen[1][2])
        assert names(proxy) == ["ignore_range"]
        assert ask(client, Range="bytes=10-19")[:2] == (206, BODY[10:20])

    @pytest.mark.parametrize(
        ("shift", "wanted", "part", "header"),
        [
            (7, "bytes=10-19", (17, 27), "bytes 10-19/1024"),
            (-7, "bytes=10-19", (3, 13), "bytes 10-19/1024"),
            (-99, "bytes=10-19", (0, 10), "bytes 10-19/1024"),
            (7, "bytes=1000-", (1007, 1024), "bytes 1000-1016/1024"),
            (-7, "bytes=1000-", (993, 1017), "bytes 1000-1023/1024"),
            (-7, "bytes=1000-5000", (993, 1017), "bytes 1000-1023/1024"),
        ],
    )
    def test_wrong_range(
        self,
        proxy: t.FaultProxy,
        client: http.client.HTTPConnection,
        shift: int,
        wanted: str,
        part: tuple[int, int],
        header: str,
    ) -> None:
        proxy.add(t.wrong_range(shift))
        ask(client)
        status, body, response = ask(client, Range=wanted)
        assert status == 206
        assert body == BODY[slice(*part)]
        assert response.getheader("Content-Range") == header
        assert response.getheader("Content-Length") == str(len(body))
        assert [(e.number, e.fault) for e in proxy.fired] == [(2, "wrong_range")]
        assert ask(client)[1] == BODY

    @pytest.mark.parametrize(("shift", "wanted"), [(-5, "bytes=0-9"), (9999, "bytes=0-9")])
    def test_wrong_range_that_cannot_be(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, shift: int, wanted: str
    ) -> None:
        proxy.add(t.wrong_range(shift))
        assert ask(client, Range=wanted)[0] == (416 if shift > 0 else 206)
        assert proxy.fired == []

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_rewrite_response_header(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, method: str
    ) -> None:
        proxy.add(t.rewrite_response_header("etag", '"other"'))
        proxy.add(t.rewrite_response_header("X-Twice", None))
        proxy.add(t.rewrite_response_header("X-New", "1"))
        proxy.add(t.rewrite_response_header("X-Missing", None))
        answers = [ask(client, method)[2].headers for _ in range(4)]
        assert [each["ETag"] for each in answers] == ['"other"'] + ['"upstream"'] * 3
        assert answers[1].get_all("X-Twice") is None
        assert answers[2]["X-New"] == "1"
        # The fourth had nothing to remove.
        assert [exchange.number for exchange in proxy.fired] == [1, 2, 3]
        assert proxy.fired[0].response_header("ETag") == '"other"'

    @pytest.mark.parametrize("value", ["5", None, "9999", "rubbish"])
    def test_lie_about_the_length(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, value: str | None
    ) -> None:
        proxy.add(t.rewrite_response_header("Content-Length", value))
        if value == "9999":
            with pytest.raises(http.client.IncompleteRead):
                ask(client)
        else:
            assert ask(client)[1] == (BODY[:5] if value == "5" else BODY)
        assert names(proxy) == ["rewrite_response_header"]
        client.close()
        assert ask(client)[1] == BODY

    def test_stall(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        proxy.add(t.stall(30))
        impatient = http.client.HTTPConnection(proxy.host, proxy.port, timeout=0.5)
        with pytest.raises(TimeoutError):
            ask(impatient, "PUT", body=BODY)
        impatient.close()
        assert upstream.seen[0][3] == BODY
        assert names(proxy) == ["stall"]
        began = time.monotonic()
        proxy.close()
        assert time.monotonic() - began < 20

    def test_nothing_is_left_open(self, upstream: Upstream) -> None:
        threads = threading.active_count()
        with t.FaultProxy(upstream.url) as proxy:
            for fault in (t.drop_before(), t.drop_after(), t.cut_response(1), t.callback(list)):
                proxy.add(fault)
                connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=20)
                with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
                    ask(connection)
                connection.close()
            assert len(proxy.fired) == 4
        assert proxy._threads == set()
        assert proxy._sockets == set()
        deadline = time.monotonic() + 5
        while threading.active_count() > threads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() == threads

    def test_short_stall(self, proxy: t.FaultProxy, client: http.client.HTTPConnection) -> None:
        proxy.add(t.stall(0.2))
        began = time.monotonic()
        assert ask(client)[1] == BODY
        assert time.monotonic() - began >= 0.2

    def test_drip(self, proxy: t.FaultProxy, client: http.client.HTTPConnection) -> None:
        proxy.add(t.drip(bytes_per_chunk=256, delay_s=0.05))
        began = time.monotonic()
        assert ask(client)[1] == BODY
        assert time.monotonic() - began >= 4 * 0.05
        assert names(proxy) == ["drip"]

    def test_callback(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        def change() -> None:
            assert upstream.seen == []
            upstream.content = b"changed"

        proxy.add(t.callback(change))
        assert ask(client)[1] == b"changed"
        assert names(proxy) == ["callback"]

    def test_callback_that_raises(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        def fail() -> None:
            raise KeyError("oops")

        proxy.add(t.callback(fail))
        with pytest.raises(http.client.RemoteDisconnected):
            ask(client)
        assert proxy.fired[0].error == "KeyError: 'oops'"

    def test_own_action(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        class AddHeader(t.Action):
            def edit_request_headers(self, turn: t.Turn, headers: wire.Headers) -> wire.Headers:
                turn.effective = True
                return (*headers, ("X-Added", "1"))

        proxy.add(t.Fault(name="added", action=AddHeader()))
        assert ask(client)[0] == 200
        assert ("X-Added", "1") in upstream.seen[0][2]
        assert names(proxy) == ["added"]

    @pytest.mark.parametrize(
        ("factory", "arguments"),
        [
            (t.flip_response_bit, {"bit": 8}),
            (t.flip_request_bit, {"bit": -1}),
            (t.cut_response, {"after_bytes": -1}),
            (t.trim_response, {"to_bytes": -1}),
            (t.stall, {"seconds": -1}),
            (t.drip, {"bytes_per_chunk": 0}),
            (t.drip, {"delay_s": -0.1}),
            (t.drop_before, {"times": 0}),
            (t.drop_before, {"skip": -1}),
            (t.status_before, {"headers": {"A": "b\r\nC: d"}}),
            (t.body_after, {"headers": {"": "b"}}),
            (t.rewrite_response_header, {"header": "A", "value": "\u20ac"}),
        ],
    )
    def test_impossible_values(self, factory: Any, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 (one exception, many wordings)
            factory(**arguments)


class TestMatching:
    def statuses(self, client: http.client.HTTPConnection, count: int) -> list[int]:
        return [ask(client)[0] for _ in range(count)]

    def test_skip_and_times(self, proxy: t.FaultProxy, client: http.client.HTTPConnection) -> None:
        proxy.add(t.status_before(skip=1, times=2))
        assert self.statuses(client, 5) == [200, 503, 503, 200, 200]

    def test_always_until_cleared(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.status_before(times=None))
        assert self.statuses(client, 3) == [503] * 3
        proxy.clear()
        assert self.statuses(client, 1) == [200]
        assert len(proxy.log) == 4
        proxy.clear_log()
        assert proxy.log == []
        assert self.statuses(client, 1) == [200]
        assert proxy.log[0].number == 5

    def test_in_order_and_each_with_its_own_count(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        fault = t.status_before(500, "InternalError")
        proxy.add(fault, t.status_before(503, skip=1), fault)
        # The second one does not fire on the request it skips, so the third one does.
        assert self.statuses(client, 4) == [500, 500, 503, 200]

    @pytest.mark.parametrize(
        ("match", "request_", "expected"),
        [
            ({"method": "put"}, t.Request("PUT", "/k"), True),
            ({"method": "PUT"}, t.Request("GET", "/k"), False),
            ({"path": "/a b"}, t.Request("GET", "/a%20b"), True),
            ({"path": "a%20b"}, t.Request("GET", "/a%20b"), False),
            ({"query": "partNumber=2"}, t.Request("PUT", "/k?partNumber=2&x"), True),
            ({"query": "partNumber"}, t.Request("PUT", "/partNumber"), False),
            ({"query": "prefix=a/b"}, t.Request("GET", "/?prefix=a%2Fb"), True),
            ({"query": "prefix=a%2Fb"}, t.Request("GET", "/?prefix=a%2Fb"), True),
            ({"when": lambda r: r.header("x-a") == "1"}, t.Request("GET", "/"), False),
            (
                {"when": lambda r: r.header("x-a") == "1"},
                t.Request("GET", "/", (("X-A", "1"),)),
                True,
            ),
        ],
    )
    def test_conditions(self, match: Any, request_: t.Request, expected: bool) -> None:
        assert t.drop_before(**match).matches(request_) is expected

    def test_condition_that_raises(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.drop_before(when=lambda request: bool(1 // 0)))
        with pytest.raises(http.client.RemoteDisconnected):
            ask(client)
        assert "ZeroDivisionError" in (proxy.log[0].error or "")
        assert proxy.fired == []
