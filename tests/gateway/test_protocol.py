"""uvicorn with patience that ends: real connections, raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pickle
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from object_clerk.gateway import protocol as protocol_module
from object_clerk.gateway.middleware import Accounting, SlowClients
from object_clerk.gateway.protocol import PatientProtocol, protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

#: What ends a hang, and what nobody waits for.
PATIENCE_S = 30
LONG_S = 3600.0
SHORT_S = 0.3

HEAD = b"GET /x HTTP/1.1\r\nhost: h\r\n"


#: Path -> how many pieces there are in the answer, and how large each is.
_PIECES = {"/large": (200, 1 << 20), "/pieces": (6, 32 << 20)}

#: The same for answers of one piece.
_PIECE = {"/piece": 64 << 20, "/smaller": 16 << 20}


class App:
    """Reads bodies, except of /unread; some paths answer with many bytes."""

    def __init__(self) -> None:
        self.bodies: list[bytes | None] = []
        self.ended = threading.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        try:
            await self._serve(scope, receive, send)
        finally:
            self.ended.release()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["path"] != "/unread":
            while (message := await receive())["type"] == "http.request":
                body += message["body"]
                if not message["more_body"]:
                    break
            else:
                self.bodies.append(None)
                return
            self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        count, size = _PIECES.get(scope["path"], (0, 0))
        for _ in range(count):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": True})
        body = bytes(_PIECE.get(scope["path"], 0)) or b"fine"
        await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def served(
    app: ASGIApp, header_timeout_s: float = LONG_S, idle_timeout_s: float = LONG_S, **more: Any
) -> Iterator[Callable[[], socket.socket]]:
    """Run uvicorn in a thread; gives what connects to it."""
    http: Any = protocol(header_timeout_s, idle_timeout_s)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            http=http,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            **{"timeout_keep_alive": 3600, **more},
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            end = time.monotonic() + PATIENCE_S
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                assert time.monotonic() < end, "the server takes too long to start"
                time.sleep(0.01)
            address = listener.getsockname()
            yield lambda: socket.create_connection(address, timeout=PATIENCE_S)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def all_of(connection: socket.socket) -> bytes:
    """What comes until the server hangs up; a test that waits in vain fails by the timeout."""
    came = b""
    with contextlib.suppress(ConnectionResetError):
        while block := connection.recv(1 << 20):
            came += block
    return came


def error_in(answer: bytes) -> tuple[int, str]:
    """Status and message of an answer that has to be the error JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    said = json.loads(body)
    status = int(head.split(b" ")[1])
    assert b"content-type: application/json" in head
    assert b"connection: close" in head
    assert said == {"error": {"code": str(status), "message": said["error"]["message"]}}
    return status, said["error"]["message"]


# -- heads ---------------------------------------------------------------------------------


def test_a_head_that_does_not_end_is_408() -> None:
    with served(App(), SHORT_S) as connect, connect() as connection:
        connection.sendall(HEAD)
        status, message = error_in(all_of(connection))
    assert status == 408
    assert "head of the request" in message


def test_a_head_in_small_pieces_has_no_more_time() -> None:
    """Each piece comes soon after the one before; the time is for all of them."""
    with served(App(), SHORT_S) as connect, connect() as connection:
        began = time.monotonic()
        connection.settimeout(SHORT_S / 4)
        came = None
        while came is None and time.monotonic() < began + PATIENCE_S:
            with contextlib.suppress(OSError):
                connection.send(b"G" if came is None else b"")
            with contextlib.suppress(TimeoutError):
                came = connection.recv(4096)
    assert came
    assert error_in(came)[0] == 408


def test_who_says_nothing_is_hung_up_on() -> None:
    with served(App(), SHORT_S) as connect, connect() as connection:
        assert all_of(connection) == b""


def test_a_later_head_has_its_time_from_its_first_byte() -> None:
    """Between two requests uvicorn's own time counts, which is long here."""
    with served(App(), SHORT_S) as connect, connect() as connection:
        connection.sendall(HEAD + b"\r\n")
        answer = connection.recv(4096)
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += connection.recv(4096)
        time.sleep(2 * SHORT_S)
        connection.sendall(HEAD + b"\r\n" + HEAD)
        second = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200")
    assert error_in(second[second.rindex(b"HTTP/1.1") :])[0] == 408


def test_what_takes_its_time_after_the_head_is_none_of_this() -> None:
    """A body that comes late, and an answer that comes late."""
    app = App()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(2 * SHORT_S)
        await app(scope, receive, send)

    with served(late, SHORT_S) as connect, connect() as connection:
        head = b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"
        connection.sendall(head)
        time.sleep(3 * SHORT_S)
        connection.sendall(b"abc")
        assert all_of(connection).startswith(b"HTTP/1.1 200")
    assert app.bodies == [b"abc"]


def test_a_head_that_is_too_large_is_431() -> None:
    with served(App(), h11_max_incomplete_event_size=2000) as connect, connect() as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"x" * 100 if _ else HEAD + b"long: ")
                time.sleep(0.001)
        assert error_in(all_of(connection))[0] == 431


# -- bodies --------------------------------------------------------------------------------


CHUNKED = b"PUT /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"


def test_broken_chunking_is_400_and_no_body(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(CHUNKED)
        connection.sendall(b"no number\r\nhello\r\n0\r\n\r\n")
        assert error_in(all_of(connection))[0] == 400
        assert app.ended.acquire(timeout=PATIENCE_S)
    assert app.bodies == [None]
    assert "Traceback" not in caplog.text


def test_broken_chunking_ends_a_request_although_answers_were_not_taken() -> None:
    """The connection stays until they are, or until the time is over."""
    app = App()
    with served(app) as connect, connect() as connection:
        connection.sendall(b"GET /piece HTTP/1.1\r\nhost: h\r\n\r\n")
        assert app.ended.acquire(timeout=PATIENCE_S)
        connection.sendall(CHUNKED + b"no number\r\n")
        assert app.ended.acquire(timeout=PATIENCE_S)
        assert app.bodies == [b"", None]


def test_what_is_no_http_is_400() -> None:
    with served(App()) as connect, connect() as connection:
        connection.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert error_in(all_of(connection))[0] == 400


def test_broken_chunking_of_a_head_request_is_400_without_a_body() -> None:
    with served(App()) as connect, connect() as connection:
        connection.sendall(CHUNKED.replace(b"PUT", b"HEAD") + b"no number\r\n")
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.endswith(b"\r\n\r\n")


def test_broken_chunking_after_the_answer_has_begun_breaks_it_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (message := await receive())["type"] == "http.request":
            await send({**message, "type": "http.response.body"})

    with served(echo) as connect, connect() as connection:
        connection.sendall(CHUNKED)
        came = b""
        while b"hello" not in came:
            came += connection.recv(4096)
        connection.sendall(b"no number\r\n")
        came += all_of(connection)
    assert came.startswith(b"HTTP/1.1 200")
    assert not came.endswith(b"0\r\n\r\n")
    assert "Fatal error" not in caplog.text


def test_a_body_that_nobody_reads_has_to_end_in_time() -> None:
    """The answer comes at once; the client may go on sending for a while, and not for ever."""
    with served(App(), 2 * SHORT_S) as connect, connect() as connection:
        connection.sendall(b"PUT /unread HTTP/1.1\r\nhost: h\r\ncontent-length: 9999999\r\n\r\n")
        came = connection.recv(4096)
        assert came.startswith(b"HTTP/1.1 200")
        end = time.monotonic() + PATIENCE_S
        with pytest.raises(ConnectionError):  # noqa: PT012 - which of them finds out is open
            while time.monotonic() < end:
                connection.sendall(b"x")
                time.sleep(0.01)


def test_a_body_that_nobody_reads_and_nobody_sends_is_not_waited_for() -> None:
    with served(App(), SHORT_S) as connect, connect() as connection:
        connection.sendall(b"PUT /unread HTTP/1.1\r\nhost: h\r\ncontent-length: 9999999\r\n\r\n")
        assert all_of(connection).startswith(b"HTTP/1.1 200")


def test_a_body_that_nobody_reads_may_end() -> None:
    with served(App()) as connect, connect() as connection:
        connection.sendall(b"PUT /unread HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nab")
        came = connection.recv(4096)
        connection.sendall(b"cd" + HEAD + b"connection: close\r\n\r\n")
        came += all_of(connection)
    assert came.count(b"HTTP/1.1 200") == 2


# -- answers that are not taken ------------------------------------------------------------


def test_who_takes_nothing_of_an_answer_is_hung_up_on() -> None:
    """The middleware would tell the application; here the connection ends in any case."""
    app = App()
    with served(app, idle_timeout_s=SHORT_S) as connect, connect() as connection:
        connection.sendall(b"GET /pieces HTTP/1.1\r\nhost: h\r\n\r\n")
        assert app.ended.acquire(timeout=PATIENCE_S)
        came = all_of(connection)
    assert came.startswith(b"HTTP/1.1 200")
    assert len(came) < 32 << 20


def test_the_middleware_hangs_up_without_waiting_for_what_was_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection that is only closed would stay until the client takes what it does not take."""
    app = App()
    with (
        caplog.at_level(logging.INFO),
        served(Accounting(SlowClients(app, SHORT_S)), idle_timeout_s=SHORT_S) as connect,
        connect() as connection,
    ):
        connection.sendall(b"GET /pieces HTTP/1.1\r\nhost: h\r\n\r\n")
        assert app.ended.acquire(timeout=PATIENCE_S)
        assert len(all_of(connection)) < 32 << 20
    (said,) = [each for each in caplog.records if each.name == "object_clerk.gateway.access"]
    assert vars(said)["outcome"] == "aborted"
    assert {each.levelname for each in caplog.records} == {"INFO"}


def test_who_takes_an_answer_in_time_gets_all_of_it() -> None:
    """It is about the time for a piece: all of them may take longer."""
    with served(App(), idle_timeout_s=2 * SHORT_S) as connect, connect() as connection:
        connection.sendall(b"GET /large HTTP/1.0\r\nhost: h\r\n\r\n")
        began, size = time.monotonic(), 0
        while block := connection.recv(1 << 20, socket.MSG_WAITALL):
            size += len(block)
            time.sleep(0.006)
        took_s = time.monotonic() - began
    assert took_s > 2 * SHORT_S
    assert size > 200 << 20


def test_who_takes_an_answer_slowly_and_steadily_gets_all_of_it() -> None:
    """One piece takes several times as long as it may lie there without being taken."""
    idle_timeout_s = 1.0
    app = Accounting(SlowClients(App(), idle_timeout_s))
    with (
        served(app, idle_timeout_s=idle_timeout_s) as connect,
        connect() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 10)
        connection.sendall(b"GET /smaller HTTP/1.0\r\nhost: h\r\n\r\n")
        began, size = time.monotonic(), 0
        while time.monotonic() < began + 4 * idle_timeout_s:
            size += len(connection.recv(20 << 10))
            time.sleep(0.1)
        assert size < 4 << 20  # nearly all of it lies there
        size += len(all_of(connection))
    assert size > 16 << 20


# -- what it is made of --------------------------------------------------------------------


def test_it_can_be_sent_to_workers() -> None:
    made = pickle.loads(pickle.dumps(protocol(3, 4)))
    assert made.func is PatientProtocol
    assert made.keywords == {"header_timeout_s": 3, "idle_timeout_s": 4}


@pytest.mark.parametrize("what", ["_METHODS", "_ATTRIBUTES"])
def test_an_unknown_uvicorn_is_used_as_it_is(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = {"_METHODS": ("gone",), "_ATTRIBUTES": {H11Protocol: {"gone"}}}
    monkeypatch.setattr(protocol_module, what, new[what])
    assert protocol(3, 4) is H11Protocol
    assert "gone" in caplog.text
