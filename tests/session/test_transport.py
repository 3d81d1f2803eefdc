"""Connections, timeouts, retries, and what every request carries."""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, ReadTimeoutError

from object_clerk.session import Client, Usecase
from object_clerk.session.transport import _connection_class
from object_clerk.testing.tls import Certificate
from tests.session.imitation import Imitation
from tests.session.raw import PATIENCE_S, RawServer, Request, answer
from tests.session.support import pool_of, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

UC = Usecase("attachments")


def closed_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How often somebody tried to connect."""
    tried: list[Any] = []
    connect = urllib3.util.connection.create_connection

    def counted(*args: Any, **kwargs: Any) -> Any:
        tried.append(args)
        return connect(*args, **kwargs)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", counted)
    return tried


@pytest.mark.parametrize(("retries", "tries"), [(None, 4), (0, 1), (1, 2), (5, 6)])
@pytest.mark.parametrize("verb", ["put", "post", "get"])
def test_a_closed_port(connects: list[Any], retries: int | None, tries: int, verb: str) -> None:
    with Client(f"http://127.0.0.1:{closed_port()}", retries=retries) as client:
        session = client.session(UC)
        verbs: dict[str, Any] = {
            "put": lambda: session.put(io.BytesIO(b"x"), "k"),
            "post": lambda: session.put(io.BytesIO(b"x")),
            "get": lambda: session.get("k"),
        }
        with pytest.raises(MaxRetryError) as caught:
            verbs[verb]()
        assert isinstance(caught.value.reason, NewConnectionError)
    assert len(connects) == tries


@pytest.mark.parametrize("verb", ["put", "post", "get", "head", "delete"])
def test_a_silent_server(verb: str) -> None:
    quiet = threading.Event()

    def silent(_: Request) -> None:
        quiet.wait(PATIENCE_S)

    with scripted(silent, timeout_ms=100) as (session, raw):
        verbs: dict[str, Any] = {
            "put": lambda: session.put(b"x", "k"), "post": lambda: session.put(b"x"),
            "get": lambda: session.get("k"), "head": lambda: session.head("k"),
            "delete": lambda: session.delete("k"),
        }  # fmt: skip
        with pytest.raises(HTTPError) as caught:
            verbs[verb]()
        error = caught.value
        reason = error.reason if isinstance(error, MaxRetryError) else error
        assert isinstance(reason, ReadTimeoutError)
        quiet.set()
    assert len(raw.requests) <= 1  # it is never asked again; it may not have read the first yet
    assert raw.connections <= 1


def test_a_server_that_falls_silent_within_a_body() -> None:
    quiet = threading.Event()

    def stops(_: Request) -> Iterator[bytes]:
        yield answer(200, b"x" * 10)[:-5]
        quiet.wait(PATIENCE_S)

    with scripted(stops, timeout_ms=100) as (session, _):
        payload = session.get("k").payload
        with pytest.raises(ReadTimeoutError):
            payload.read()
        quiet.set()


def test_a_server_that_is_slow_but_not_too_slow() -> None:
    def slow(_: Request) -> Iterator[bytes]:
        for byte in answer(200, b"xyz"):
            time.sleep(0.003)
            yield bytes([byte])

    with scripted(slow) as (session, _):
        assert session.get("k").payload.read() == b"xyz"


class _Slow:
    """A server that takes its time over a body: longer than connecting may take."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self.taken = 0

    def __enter__(self) -> _Slow:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        self._listener.close()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            for _ in range(2):  # on a connection that is new, and on one that is used again
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (block := connection.recv(1)):
                        return
                    head += block
                time.sleep(self._pause_s)
                left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                while left:
                    if not (block := connection.recv(min(left, 1 << 20))):
                        return
                    left -= len(block)
                    self.taken += len(block)
                connection.sendall(answer(200, {"key": "k"}))


def test_the_timeout_for_connecting_does_not_govern_bodies() -> None:
    body = bytes(32 << 20)  # more than sockets buffer
    with _Slow(pause_s=0.5) as server, Client(server.url) as client:
        session = client.session(Usecase("attachments", compression="none"))
        for _ in range(2):
            assert session.put(body, "k") == "k"
    assert server.taken == 2 * len(body)


def test_writes_have_the_patience_of_reads() -> None:
    with _Slow(pause_s=2) as server, Client(server.url, timeout_ms=100) as client:
        session = client.session(Usecase("attachments", compression="none"))
        with pytest.raises(HTTPError):
            session.put(bytes(32 << 20), "k")


@pytest.mark.parametrize(
    ("timeout_ms", "given", "connect_s", "between_s"),
    [
        (None, {}, 0.1, None),
        (500, {}, 0.1, 0.5),
        (None, {"timeout": urllib3.Timeout(connect=3)}, 3, None),
        (500, {"timeout": urllib3.Timeout(connect=3)}, 3, 0.5),
        (None, {"timeout": urllib3.Timeout(connect=3, read=2)}, 3, 2),
        (None, {"timeout": 4}, 4, 4),
    ],
)
def test_timeouts(
    timeout_ms: int | None, given: Any, connect_s: float, between_s: float | None
) -> None:
    socket.setdefaulttimeout(77)  # which nobody asked for
    try:
        with Client("http://127.0.0.1:1", timeout_ms=timeout_ms, connection_kwargs=given) as client:
            timeout = client._transport._pool.timeout
            assert timeout.read_timeout == between_s
            assert timeout.connect_timeout == connect_s
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.parametrize("status", [429, 503, 413])
def test_retry_after_is_left_to_the_caller(status: int) -> None:
    with scripted(answer(status, headers={"Retry-After": "30"})) as (session, raw):
        for contents in (b"x", io.BytesIO(b"x")):
            with pytest.raises(RuntimeError, match=str(status)):
                session.put(contents, "k")
        assert len(raw.requests) == 2


def test_redirects_are_followed_where_nothing_is_sent() -> None:
    def moved(request: Request) -> bytes:
        if request.target.endswith("/there"):
            return answer(200, b"x")
        return answer(307, headers={"Location": "/v1/there"})

    with scripted(moved) as (session, raw):
        assert session.get("k").payload.read() == b"x"
        with pytest.raises(RuntimeError, match="307"):
            session.put(io.BytesIO(b"x"), "k")
        assert [request.method for request in raw.requests] == ["GET", "GET", "PUT"]


def test_a_token_does_not_go_to_another_host() -> None:
    with RawServer(lambda _: answer(200, b"x")) as other:
        away = answer(302, headers={"Location": f"{other.url}/v1/x"})
        with scripted(away, token="secret") as (session, _), pytest.raises(HTTPError):
            session.get("k")
        assert other.requests == []


def test_headers_of_the_pool_reach_every_verb() -> None:
    imitation = Imitation()
    kwargs = {"headers": {"X-Mine": "1", "User-Agent": "me"}, "maxsize": 3}
    with RawServer(imitation) as raw, Client(raw.url, connection_kwargs=kwargs) as client:
        session = client.session(UC)
        session.put(b"x", "k")
        session.get("k").payload.read()
        session.head("k")
        session.delete("k")
        assert pool_of(client).maxsize == 3
    assert [r.method for r in raw.requests] == ["PUT", "GET", "HEAD", "DELETE"]
    for request in raw.requests:
        assert request.headers["x-mine"] == "1"
        assert request.headers["user-agent"] == "me"
        assert request.headers["accept-encoding"] == "identity"
    assert kwargs["headers"] == {"X-Mine": "1", "User-Agent": "me"}


def test_headers_of_the_pool_win() -> None:
    kwargs = {"headers": {"Content-Type": "c/d", "X-OS-Auth": "Bearer other"}}
    with scripted(answer(200, {"key": "k"}), connection_kwargs=kwargs, token="mine") as (s, raw):
        s.put(b"x", "k", content_type="a/b")
    assert raw.requests[0].headers["content-type"] == "c/d"
    assert raw.requests[0].headers["x-os-auth"] == "Bearer other"


def test_retries_of_the_pool_win(connects: list[Any]) -> None:
    with Client(
        f"http://127.0.0.1:{closed_port()}", retries=7, connection_kwargs={"retries": False}
    ) as client:
        session = client.session(UC)
        with pytest.raises(NewConnectionError):
            session.get("k")
    assert len(connects) == 1


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_path_in_the_url_goes_first(slash: str) -> None:
    with (
        RawServer(lambda _: answer(200, {"key": "k"})) as raw,
        Client(f"{raw.url}/some/where{slash}") as client,
    ):
        session = client.session(UC, a=1)
        session.put(b"x", "k")
        assert raw.requests[0].target == "/some/where/v1/objects/attachments/a=1/k"
        assert session.object_url("k") == raw.url + raw.requests[0].target


def test_ipv6_and_https() -> None:
    try:
        server = RawServer(lambda _: answer(200, b"x"), socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server as raw, Client(raw.url) as client:
        session = client.session(UC)
        assert session.get("k").payload.read() == b"x"
        assert session.object_url("k") == f"http://[::1]:{raw.port}/v1/objects/attachments/_/k"
    with Client("https://[::1]:8443/p/") as client:
        assert client.session(UC).object_url("ü") == (
            "https://[::1]:8443/p/v1/objects/attachments/_/%C3%BC"
        )
        assert isinstance(client._transport._pool, urllib3.HTTPSConnectionPool)
        assert issubclass(
            _connection_class(client._transport._pool), urllib3.connection.HTTPSConnection
        )


def test_threads_keep_their_connections() -> None:
    together = threading.Barrier(10)

    def meet(_: Request) -> bytes:
        together.wait(PATIENCE_S)
        return answer(200, b"x")

    with scripted(meet) as (session, raw), ThreadPoolExecutor(10) as threads:
        for _ in range(5):
            got = threads.map(lambda _: session.get("k").payload.read(), range(10))
            assert [*got] == [b"x"] * 10
        assert raw.connections == 10


def test_a_hundred_at_once() -> None:
    imitation = Imitation(knows=True)
    with RawServer(imitation) as raw, Client(raw.url) as client, ThreadPoolExecutor(16) as threads:
        session = client.session(UC)

        def there_and_back(number: int) -> bool:
            content = b"%d" % number * 1000
            key = session.put(content, f"k/{number}")
            return session.get(key).payload.read() == content

        assert all(threads.map(there_and_back, range(100)))
    assert len(imitation.objects) == 100


# -- traces --------------------------------------------------------------------------------


def _sdk(initialised: bool) -> Any:
    sdk: Any = types.ModuleType("sentry_sdk")
    sdk.is_initialized = lambda: initialised
    sdk.get_traceparent = lambda: "abc-def-1"
    sdk.get_baggage = lambda: "sentry-trace_id=abc"
    return sdk


@pytest.mark.parametrize(
    ("asked", "sdk", "sent"),
    [
        (True, _sdk(True), True),
        (True, _sdk(False), False),
        (True, None, False),
        (False, _sdk(True), False),
    ],
)
def test_traces(monkeypatch: pytest.MonkeyPatch, asked: bool, sdk: Any, sent: bool) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", sdk)
    with scripted(answer(204), propagate_traces=asked) as (session, raw):
        session.delete("k")
    headers = raw.requests[0].headers
    assert headers.get("sentry-trace") == ("abc-def-1" if sent else None)
    assert headers.get("baggage") == ("sentry-trace_id=abc" if sent else None)
    assert "traceparent" not in headers


def test_a_closed_client() -> None:
    with scripted(answer(204)) as (session, _):
        session._client.close()
        with pytest.raises(urllib3.exceptions.ClosedPoolError):
            session.delete("k")


def test_tls() -> None:
    certificate = Certificate.make("127.0.0.1")
    try:
        assert certificate.ca_bundle is not None
        kwargs = {
            "ca_certs": str(certificate.ca_bundle),
            "timeout": urllib3.Timeout(connect=PATIENCE_S),
        }
        body = bytes(3 << 20)
        with (
            RawServer(Imitation(), tls=certificate.context) as raw,
            Client(raw.url, connection_kwargs=kwargs) as client,
        ):
            session = client.session(Usecase("attachments", "none"))
            for _ in range(2):
                session.put(io.BytesIO(body), "k")
                assert session.get("k").payload.read() == body
            assert raw.connections == 1
            assert session.object_url("k").startswith(f"https://127.0.0.1:{raw.port}/v1/")
    finally:
        certificate.discard()


def test_what_is_no_tls_is_asked_once() -> None:
    with RawServer(lambda _: None) as raw:
        url = raw.url.replace("http:", "https:")
        kwargs = {"timeout": urllib3.Timeout(connect=5, read=5)}
        with Client(url, connection_kwargs=kwargs) as client:
            session = client.session(UC)
            with pytest.raises(MaxRetryError):
                session.put(io.BytesIO(b"x"), "k")
        assert raw.connections == 1
