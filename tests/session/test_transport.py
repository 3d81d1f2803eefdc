"""Connections, timeouts, retries, and what every request carries."""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
import time
import traceback
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, ReadTimeoutError

from object_clerk.session import (
    Client,
    ObjectNotFound,
    RequestError,
    Session,
    TokenGenerator,
    Usecase,
)
from object_clerk.session.auth import check_presigned
from object_clerk.session.transport import MOST_REDIRECTS, _between_s, _connection_class
from object_clerk.testing.tls import Certificate
from tests.session.imitation import Imitation
from tests.session.keys import KEY, pem
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


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_ms": 100},
        {"connection_kwargs": {"timeout": urllib3.Timeout(total=0.1)}},
        {"connection_kwargs": {"timeout": urllib3.Timeout(total=0.1, read=5)}},
    ],
)
def test_writes_have_the_patience_of_reads(options: Any) -> None:
    with _Slow(pause_s=2) as server, Client(server.url, **options) as client:
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
        (None, {"timeout": urllib3.Timeout(total=3)}, 3, 3),
        (500, {"timeout": urllib3.Timeout(total=3)}, 3, 0.5),
        (None, {"timeout": urllib3.Timeout(total=3, connect=1, read=5)}, 1, 3),
    ],
)
def test_timeouts(
    timeout_ms: int | None, given: Any, connect_s: float, between_s: float | None
) -> None:
    socket.setdefaulttimeout(77)  # which nobody asked for
    try:
        with Client("http://127.0.0.1:1", timeout_ms=timeout_ms, connection_kwargs=given) as client:
            timeout = client._transport._pool.timeout.clone()
            assert timeout.connect_timeout == connect_s
            timeout.start_connect()
            assert timeout.read_timeout == pytest.approx(between_s, abs=0.1)
            assert _between_s(timeout) == between_s
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.parametrize("status", [429, 503, 413])
def test_retry_after_is_left_to_the_caller(status: int) -> None:
    with scripted(answer(status, headers={"Retry-After": "30"})) as (session, raw):
        for contents in (b"x", io.BytesIO(b"x")):
            with pytest.raises(RuntimeError, match=str(status)):
                session.put(contents, "k")
        assert len(raw.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("whole", [False, True])
def test_redirects_are_followed_to_the_same_object(status: int, whole: bool) -> None:
    def moved(request: Request) -> bytes:
        if request.target.startswith("/there/"):
            return answer(200, b"x")
        origin = raw.url if whole else ""
        return answer(status, headers={"Location": f"{origin}/there{request.target}"})

    with scripted(moved, token="secret") as (session, raw):
        for _ in range(2):
            assert session.get("a b").payload.read() == b"x"
            assert session.head("a b") is not None
        for request in raw.requests:
            assert request.method in ("GET", "HEAD")
            assert request.path.endswith("/v1/objects/attachments/org=42/a%20b")
            assert request.headers["x-os-auth"] == "Bearer secret"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "there",
    [
        "/login",
        "/login?next={}",
        "{}/other",
        "/v1/objects/attachments/org=42/",
        "",
        "http://[",
    ],
)
def test_a_redirect_to_something_else_is_an_error(status: int, there: str) -> None:
    def login(request: Request) -> bytes:
        if request.target.startswith("/login"):
            return answer(200, b"<html>please log in</html>")
        return answer(status, headers={"Location": there.format(request.target)})

    with scripted(login) as (session, raw):
        for verb in (session.get, session.head):
            with pytest.raises(RequestError) as caught:
                verb("k")
            assert caught.value.status == status
        assert len(raw.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_else_is_redirected(status: int) -> None:
    def moved(request: Request) -> bytes:
        if request.target.startswith("/there/"):
            return answer(200, {"key": "k", "etag": "e", "upload_id": "u"})
        return answer(status, headers={"Location": f"/there{request.target}"})

    with scripted(moved) as (session, raw):
        upload = session.resume_multipart_upload("k", "u")
        verbs: tuple[Any, ...] = (
            lambda: session.put(io.BytesIO(b"x"), "k"),
            lambda: session.put(b"x"),
            lambda: session.delete("k"),
            lambda: session.extend_expiry("k", from_now=timedelta(1)),
            lambda: session.initiate_multipart_upload(key="k"),
            lambda: upload.put_part(b"x", part_number=1),
            lambda: upload.complete([]),
            lambda: upload.abort(),
        )
        for verb in verbs:
            with pytest.raises(RequestError) as caught:
                verb()
            assert caught.value.status == status
        assert len(raw.requests) == len(verbs)


def test_redirects_end() -> None:
    with scripted(lambda request: answer(302, headers={"Location": f"/x{request.target}"})) as (
        session,
        raw,
    ):
        with pytest.raises(RequestError) as caught:
            session.get("k")
        assert caught.value.status == 302
        assert len(raw.requests) == MOST_REDIRECTS + 1


def test_a_token_does_not_go_to_another_host() -> None:
    with RawServer(lambda _: answer(200, b"x")) as other:

        def away(request: Request) -> bytes:
            return answer(302, headers={"Location": other.url + request.target})

        with scripted(away, token="secret") as (session, _):
            with pytest.raises(RequestError) as caught:
                session.get("k")
            assert caught.value.status == 302
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


# -- forks ---------------------------------------------------------------------------------


def _forked(work: Any) -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads; whether it works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    try:
        os._exit(0 if work() else 1)
    except BaseException:
        os._exit(2)


def _outcome(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_has_connections_of_its_own() -> None:
    """On a socket that two share, each may read what the other has asked for."""
    imitation = Imitation(knows=True)
    asked = threading.Barrier(2)

    def meet(request: Request) -> Any:
        if request.method == "GET":
            asked.wait(PATIENCE_S)
        return imitation(request)

    with RawServer(meet) as raw, Client(raw.url, timeout_ms=PATIENCE_S * 1000) as client:
        session = client.session(UC)
        for key in ("a", "b"):
            session.put(key.encode() * 100, key)

        def right(key: str) -> bool:
            return session.get(key).payload.read() == key.encode() * 100

        children = [_forked(lambda key=key: right(key)) for key in ("a", "b")]
        assert [_outcome(child) for child in children] == [0, 0]
        assert raw.connections == 3
        session.put(b"x", "c")
        assert raw.connections == 3  # the parent's is as good as before


def test_a_closed_client_is_closed_in_a_child_too() -> None:
    with scripted(answer(204)) as (session, _):
        session._client.close()

        def closed() -> bool:
            try:
                session.delete("k")
            except urllib3.exceptions.ClosedPoolError:
                return True
            return False

        assert _outcome(_forked(closed)) == 0


# -- answers that are none -----------------------------------------------------------------


class _Hasty:
    """A server that answers large bodies before they have ended, and takes no more of them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._run)]

    def __enter__(self) -> _Hasty:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline().decode():
                size = 0
                while (header := reader.readline().lower()) not in (b"\r\n", b""):
                    if header.startswith(b"content-length:"):
                        size = int(header.partition(b":")[2])
                if line.startswith("POST") and "upload_type" in line:
                    connection.sendall(answer(200, {"key": "probe", "session": "abcd"}))
                elif "upload_type" in line:
                    connection.sendall(answer(501))
                else:
                    connection.sendall(answer(200, {"key": "k", "etag": "e"}))
                if size > 1 << 20:
                    connection.shutdown(socket.SHUT_WR)
                    return


@pytest.mark.parametrize("verb", ["put", "declined", "part"])
def test_success_before_the_body_has_ended_is_none(verb: str) -> None:
    body = bytes(32 << 20)
    with _Hasty() as server, Client(server.url, timeout_ms=PATIENCE_S * 1000) as client:
        session = client.session(Usecase("attachments", "none"))
        verbs: dict[str, Any] = {
            "put": lambda: session.put(body, "k"),
            "declined": lambda: session.put(body, "k", resumable_threshold_bytes=1),
            "part": lambda: session.resume_multipart_upload("k", "u").put_part(body, part_number=1),
        }
        with pytest.raises(RequestError, match="before it had all bytes"):
            verbs[verb]()


BROKEN = (b"broken header line\r\n", b": nameless\r\n", b"a b: c\r\n", b"x-snme-a: b\rc\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        b" continued: c\r\n",
        *BROKEN,
        *(b"content-type: text/plain\r\n" + broken for broken in BROKEN),
    ],
)
@pytest.mark.parametrize("status", [200, 404])
def test_headers_that_get_lost(lines: bytes, status: int) -> None:
    """Python leaves out what follows a malformed line: encoding, digests, lengths."""
    head = b"HTTP/1.1 %d Whatever\r\n" % status
    rest = b"content-length: 3\r\ncontent-encoding: zstd\r\nconnection: close\r\n\r\nabc"
    with scripted(lambda _: [head + lines + rest]) as (session, _):
        for verb in (session.get, session.head):
            with pytest.raises(RequestError, match="headers") as caught:
                verb("k")
            assert caught.value.status == status
            assert not isinstance(caught.value, ObjectNotFound)
        assert pool_of(session._client).qsize() == 10


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/mixed; boundary=x", "message/rfc822", "text/plain; a"],
)
def test_media_types_that_email_has_rules_for(content_type: str) -> None:
    reply = answer(200, b"x", {"Content-Type": content_type, "Content-Transfer-Encoding": "base64"})
    with scripted(reply) as (session, _):
        response = session.get("k")
        assert response.payload.read() == b"x"
        assert response.metadata.content_type == content_type


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 207, 226])
@pytest.mark.parametrize("span", [{}, {"begin": 1}])
def test_other_successes_are_no_objects(status: int, span: Any) -> None:
    with scripted(answer(status, b"" if status == 204 else b"accepted")) as (session, _):
        with pytest.raises(RequestError) as caught:
            session.get("k", **span)
        assert caught.value.status == status


def _read_to_the_end(session: Session, kept: list[Any]) -> None:
    kept.append(session.get("k"))
    kept[-1].payload.read()


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, b"x" * 1000, {"Content-Encoding": "gzip"}),
        answer(200, b"x" * 1000, {"Repr-Digest": "sha-256=:YQ==:"}),
        answer(206, b"x" * 1000),
        answer(202, b"x" * (3 << 20)),
        answer(500, b"x" * (3 << 20)),
        answer(302, b"x" * 1000, {"Location": "/login"}),
        answer(200, b"junk" * 1000, {"Content-Encoding": "zstd"}),
        [answer(200, b"x" * 1000)[:-1]],
        [answer(404, b"x" * 1000)[:-1]],
        [b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n"],
    ],
)
def test_what_is_refused_gives_its_connection_back(reply: Any) -> None:
    kwargs = {"maxsize": 1, "block": True}
    with scripted(lambda _: reply, connection_kwargs=kwargs) as (session, _):
        kept: list[Any] = []  # an error holds on to what it came from
        for _ in range(2):
            with pytest.raises(Exception, match=r".") as caught:
                _read_to_the_end(session, kept)
            kept.append(caught.value)
            assert pool_of(session._client).qsize() == 1


# -- URLs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://h?", "http://h/p?", "http://h/p#", "http://h/p/?#", "http://h\\p"]
)
def test_urls_that_end_early(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(url)


@pytest.mark.parametrize(
    ("prefix", "sent"),
    [("/ü", "/%C3%BC"), ("/a%2fb", "/a%2Fb"), ("/a/../b/", "/b"), ("/a%zz", "/a%25zz"), ("/", "")],
)
def test_a_prefix_is_signed_as_it_is_sent(prefix: str, sent: str) -> None:
    key = "a b'(%ü"
    with (
        RawServer(lambda _: answer(200, b"x")) as raw,
        Client(raw.url + prefix, token=TokenGenerator("kid", pem(KEY))) as client,
    ):
        session = client.session(UC)
        session.get(key).payload.read()
        target = raw.requests[0].target
        assert target.startswith(f"{sent}/v1/objects/attachments/_/")
        assert session.object_url(key) == raw.url + target
        url = session.presigned_object_url("GET", key)
        assert url.partition("?")[0] == raw.url + target
        urllib3.request("GET", url)
        check_presigned("GET", target, url.partition("?")[2], lambda _: [KEY.public_key()])
        assert raw.requests[1].target == url.removeprefix(raw.url)


def test_names_of_uploads_stand_in_no_error() -> None:
    with Client(f"http://127.0.0.1:{closed_port()}", retries=0) as client:
        upload = client.session(UC).resume_multipart_upload("k", "opens-it")
        with pytest.raises(MaxRetryError) as caught:
            upload.list_parts()
        assert "/v1/objects:multipart:parts/attachments/_/k " in str(caught.value)
        assert isinstance(caught.value.reason, NewConnectionError)
        assert "opens-it" not in "".join(traceback.format_exception(caught.value))
