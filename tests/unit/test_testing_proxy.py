"""The fault proxy without faults: what passes through it, and what it makes of strange peers."""

from __future__ import annotations

import hashlib
import http.client
import socket
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from object_clerk import testing as t
from tests.unit.upstream import BODY, MIB, Upstream, ask, canned, connect, flipped, raw

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        # As it was sent: some servers take no chunks, and a client has to live with that.
        assert dict(headers)["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in dict(headers)
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

    @pytest.mark.parametrize("scheme", [b"http", b"https"])
    def test_absolute_target(self, proxy: t.FaultProxy, upstream: Upstream, scheme: bytes) -> None:
        line = b"GET %b://x/k?a HTTP/1.1\r\n" % scheme
        raw(proxy, line + b"Host: x\r\nConnection: close\r\n\r\n")
        assert upstream.seen[0][1] == "/k?a"

    @pytest.mark.parametrize(
        "begun", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\na\r\nabc"]
    )
    def test_client_that_leaves_in_the_middle(
        self, proxy: t.FaultProxy, upstream: Upstream, begun: bytes
    ) -> None:
        with socket.create_connection((proxy.host, proxy.port), timeout=20) as sock:
            sock.sendall(b"PUT /k HTTP/1.1\r\nHost: x\r\n" + begun)
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
            connection = connect(proxy)
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

    @pytest.mark.parametrize("url", ["ftp://h", "http://", "https://:443", "http://h/path", "h:80"])
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
        # Client, proxy and upstream share this process.
        assert peak < 16 * MIB
        sizes = [(exchange.request_bytes, exchange.response_bytes) for exchange in proxy.log]
        assert sizes == [(self.SIZE, 0), (self.SIZE, 0), (0, self.SIZE)]

    def test_eight_threads(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        proxy.add(t.flip_response_bit(offset=5, query="flip", times=None))

        def work(number: int) -> None:
            connection = connect(proxy)
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
