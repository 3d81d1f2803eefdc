"""Every fault of the proxy against a tiny upstream, and which requests faults match."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import testing as t
from tests.unit.upstream import BODY, MIB, Upstream, ask, connect, flipped, names, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from object_clerk.testing import wire


@pytest.fixture(params=["http", "https"])
def proxy(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[t.FaultProxy]:
    """Every fault is the same within TLS."""
    tls = request.param == "https"
    with t.FaultProxy(upstream.url, tls=tls, upstream_timeout=20) as proxy:
        yield proxy


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
        if chunked and offset < 0:
            # The end is not known before it is there.
            assert upstream.seen[0][3] == BODY
            assert names(proxy) == []
        else:
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
        impatient = connect(proxy)
        impatient.request("PUT", "/k", BODY)
        wait_until(lambda: proxy.fired)
        impatient.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            impatient.getresponse()
        impatient.close()
        assert upstream.seen[0][3] == BODY
        assert names(proxy) == ["stall"]
        began = time.monotonic()
        proxy.close()
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize("tls", [False, True])
    def test_nothing_is_left_open(self, upstream: Upstream, tls: bool) -> None:
        threads = threading.active_count()
        with t.FaultProxy(upstream.url, tls=tls) as proxy:
            for fault in (t.drop_before(), t.drop_after(), t.cut_response(1), t.callback(list)):
                proxy.add(fault)
                connection = connect(proxy)
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

    @pytest.mark.parametrize("path", ["/k", "/chunked"])
    @pytest.mark.parametrize("after", [0, 1, 150, len(BODY) - 1])
    def test_stall_in_the_body(
        self, proxy: t.FaultProxy, upstream: Upstream, path: str, after: int
    ) -> None:
        proxy.add(t.stall(30, after_bytes=after))
        impatient = connect(proxy)
        impatient.request("GET", path)
        with contextlib.closing(impatient.getresponse()) as response:
            assert response.status == 200
            if after:
                assert response.read(after) == BODY[:after]
            impatient.sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                response.read(1)
        impatient.close()
        assert names(proxy) == ["stall"]
        assert proxy.fired[0].response_bytes == after

    def test_short_stall_in_the_body(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.stall(0.2, after_bytes=1000), t.stall(0.2, after_bytes=len(BODY)))
        began = time.monotonic()
        assert ask(client)[1] == BODY
        assert time.monotonic() - began >= 0.2
        assert ask(client)[1] == BODY
        # The second one had nothing left to keep back.
        assert [exchange.number for exchange in proxy.fired] == [1]

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
            (t.stall, {"seconds": 1, "after_bytes": -1}),
            (t.stall_handshake, {"seconds": -1}),
            (t.drip, {"bytes_per_chunk": 0}),
            (t.drip, {"delay_s": -0.1}),
            (t.drop_before, {"times": 0}),
            (t.drop_before, {"skip": -1}),
            (t.drop_before, {"rate": 0.0}),
            (t.drop_before, {"rate": 1.1}),
            (t.drop_before, {"rate": float("nan")}),
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
            ({}, t.Request("GET", "/k"), True),
            ({}, t.Request(t.HANDSHAKE, ""), False),
            ({"method": t.HANDSHAKE}, t.Request(t.HANDSHAKE, ""), True),
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
