"""The lane's connections, against a server that does whatever a test tells it to."""

from __future__ import annotations

import contextlib
import errno
import gc
import http.client
import io
import os
import socket
import ssl
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trustme
from botocore import exceptions as boto

from object_clerk.exceptions import ObjectClerkTimeoutException, ObjectSaveException
from object_clerk.lane.http import BLOCK_BYTES, ONE_SEND_BYTES, Origin, Wire, _send, tls
from object_clerk.lane.response import Response
from object_clerk.retry import Operation, Patience
from tests.unit import lanes
from tests.unit.upstream import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Talk = Callable[["Line"], None]

MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Line:
    """The server's end of one connection."""

    def __init__(self, server: Server, sock: socket.socket, number: int) -> None:
        self._server = server
        self._file = sock.makefile("rb")
        self.sock = sock
        self.number = number

    def request(self) -> bytes | None:
        """The request line, when all of the request has come; None if there is none."""
        first = self.head()
        if first is not None:
            self._file.read(self.length)
        return first

    def head(self) -> bytes | None:
        """The request line, when the headers have come."""
        lines = []
        while (line := self._file.readline()) not in (b"\r\n", b""):
            lines.append(line.rstrip())
        if not lines:
            return None
        self._server.requests.append((self.number, lines[0]))
        lengths = [each for each in lines if each.lower().startswith(b"content-length:")]
        self.length = int(lengths[0].partition(b":")[2]) if lengths else 0
        return lines[0]

    def say(self, *what: bytes) -> None:
        """Send something."""
        self.sock.sendall(b"".join(what))

    def until_gone(self) -> None:
        """Wait until the client hangs up."""
        while self._file.read(MIB):
            pass

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.sock.close()


class Server:
    """Has the same conversation on each connection.

    Attributes:
        requests: the connection and the first line of each request.
        gone: the connections on which the conversation is over.
    """

    def __init__(self, talk: Talk, context: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lines: list[Line] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.requests: list[tuple[int, bytes]] = []
        self.gone: list[int] = []
        port: int = self._listener.getsockname()[1]
        self.origin = Origin("https" if context else "http", "127.0.0.1", port)
        self._threads[0].start()

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self._lines)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(20)
            line = Line(self, sock, len(self._lines))
            self._lines.append(line)
            thread = threading.Thread(target=self._converse, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _converse(self, line: Line) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._context is not None:
                line.sock = self._context.wrap_socket(line.sock, server_side=True)
                line._file = line.sock.makefile("rb")
            self._talk(line)
        with contextlib.suppress(OSError):
            line.close()
        self.gone.append(line.number)

    def close(self) -> None:
        """Stop, and wait for all threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def make(talk: Talk, context: ssl.SSLContext | None = None) -> Server:
            server = Server(talk, context)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def wires() -> Iterator[Callable[..., Wire]]:
    with contextlib.ExitStack() as stack:

        def make(timeout_s: float = 20, most_idle: int = 10, verify: bool | str = True) -> Wire:
            wire = Wire(timeout_s, timeout_s, most_idle, lambda: tls(verify))
            stack.callback(wire.close)
            return wire

        yield make


@pytest.fixture
def wire(wires: Callable[..., Wire]) -> Wire:
    return wires()


def ask(
    wire: Wire,
    server: Server | Origin,
    target: str = "/",
    *,
    method: str = "GET",
    body: Any = None,
    stream: bool = False,
) -> Any:
    origin = server if isinstance(server, Origin) else server.origin
    headers = {"host": "x", **({} if body is None else {"content-length": str(len(body))})}
    return wire.exchange(origin, method, target, headers, body, stream=stream)


def answering(*answers: bytes) -> Talk:
    """Give these answers to the requests of a connection, the last one to all that follow."""

    def talk(line: Line) -> None:
        rest = list(answers)
        while line.request() is not None:
            line.say(rest.pop(0) if len(rest) > 1 else rest[0])

    return talk


def then_closing(answer: bytes) -> Talk:
    """Give one answer, and hang up."""

    def talk(line: Line) -> None:
        line.request()
        line.say(answer)

    return talk


def idle(wire: Wire) -> int:
    return sum(map(len, wire._idle.values()))


class Source:
    """A body that is read while it is sent."""

    def __init__(self, blocks: list[bytes | BaseException]) -> None:
        self._blocks = blocks

    def __len__(self) -> int:
        return 64 * MIB

    def read(self, _: int) -> bytes:
        block = self._blocks.pop(0)
        if isinstance(block, BaseException):
            raise block
        return block


class Sink:
    """A socket that notes what it is given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendall(self, data: bytes | memoryview) -> None:
        self.sent.append(bytes(data))


@pytest.mark.parametrize("size", [0, 1, ONE_SEND_BYTES, ONE_SEND_BYTES + 1, 5 * BLOCK_BYTES + 1])
def test_no_piece_is_so_large_that_a_slow_line_would_time_out(size: int) -> None:
    """The timeout is for all of what is handed to the socket at once."""
    sink, body = Sink(), bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert _send(cast("socket.socket", sink), b"head", body, Origin("http", "x", 1)) is None
    assert b"".join(sink.sent) == b"head" + body
    assert max(map(len, sink.sent)) <= BLOCK_BYTES
    assert len(sink.sent) == (1 if size <= ONE_SEND_BYTES else 1 + -(-size // BLOCK_BYTES))


class TestReuse:
    @pytest.mark.parametrize(
        "headers",
        [
            b"204 No Content\r\nContent-Length: 5\r\n\r\n",
            b"204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            b"200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
        ],
    )
    def test_not_where_an_answer_may_end_elsewhere(
        self, serve: Callable[..., Server], wire: Wire, headers: bytes
    ) -> None:
        server = serve(answering(b"HTTP/1.1 " + headers))
        for _ in range(2):
            assert ask(wire, server, method="DELETE").status in (200, 204)
        assert server.connections == 2

    def test_one_connection_for_many_requests(
        self, serve: Callable[..., Server], wire: Wire
    ) -> None:
        server = serve(answering(OK))
        for number in range(5):
            assert ask(wire, server, f"/{number}").body == b"ok"
            assert ask(wire, server, "/", method="PUT", body=b"x" * 100_000).status == 200
            assert ask(wire, server, f"/{number}", stream=True).body.read() == b"ok"
        assert server.connections == 1

    def test_the_head_of_an_object_has_a_length_and_no_body(
        self, serve: Callable[..., Server], wire: Wire
    ) -> None:
        server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"))
        for _ in range(2):
            assert ask(wire, server, method="HEAD").body == b""
        assert server.connections == 1

    def test_dropped_while_it_was_idle(self, serve: Callable[..., Server], wire: Wire) -> None:
        server = serve(then_closing(OK))
        for number in range(1, 4):
            assert ask(wire, server).body == b"ok"
            assert server.connections == number
            (kept,) = wire._idle[server.origin]
            wait_until(partial(_is_readable, kept))

    def test_the_server_says_close(self, serve: Callable[..., Server], wire: Wire) -> None:
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
        server = serve(answering(answer))
        for stream in (False, True):
            body = ask(wire, server, stream=stream).body
            assert (body.read() if stream else body) == b"ok"
        assert server.connections == 2
        wait_until(lambda: sorted(server.gone) == [0, 1])

    @pytest.mark.parametrize("stream", [False, True])
    def test_http_1_0(self, serve: Callable[..., Server], wire: Wire, stream: bool) -> None:
        server = serve(then_closing(b"HTTP/1.0 200 OK\r\n\r\nto the end"))
        for _ in range(2):
            body = ask(wire, server, stream=stream).body
            assert (body.read() if stream else body) == b"to the end"
        assert server.connections == 2
        assert idle(wire) == 0

    @pytest.mark.parametrize("stream", [False, True])
    def test_chunks(self, serve: Callable[..., Server], wire: Wire, stream: bool) -> None:
        chunks = b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
        server = serve(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))
        for _ in range(2):
            body = ask(wire, server, stream=stream).body
            assert (body.read() if stream else body) == b"abcde"
        assert server.connections == 1

    @pytest.mark.parametrize("status", [b"204 No Content", b"200 OK\r\nContent-Length: 0"])
    def test_an_empty_body_need_not_be_read(
        self, serve: Callable[..., Server], wire: Wire, status: bytes
    ) -> None:
        server = serve(answering(b"HTTP/1.1 " + status + b"\r\n\r\n"))
        for _ in range(2):
            ask(wire, server, stream=True).body.close()
        assert ask(wire, server, stream=True).body.read(10) == b""
        assert server.connections == 1

    def test_two_origins(self, serve: Callable[..., Server], wire: Wire) -> None:
        servers = [serve(answering(OK)) for _ in range(2)]
        for server in servers * 2:
            assert ask(wire, server).status == 200
        assert [server.connections for server in servers] == [1, 1]

    def test_not_more_are_kept_than_wanted(
        self, serve: Callable[..., Server], wires: Callable[..., Wire]
    ) -> None:
        wire = wires(most_idle=2)
        server = serve(answering(OK))
        bodies = [ask(wire, server, stream=True).body for _ in range(4)]
        for body in bodies:
            assert body.read() == b"ok"
        assert idle(wire) == 2
        wait_until(lambda: len(server.gone) == 2)

    def test_close(self, serve: Callable[..., Server], wire: Wire) -> None:
        server = serve(answering(OK))
        bodies = [ask(wire, server, stream=True).body for _ in range(3)]
        for body in bodies:
            body.read()
        wire.close()
        assert idle(wire) == 0
        wait_until(lambda: len(server.gone) == 3)
        assert ask(wire, server).status == 200

    def test_nothing_is_left_open_if_it_is_forgotten(self, serve: Callable[..., Server]) -> None:
        server = serve(answering(OK))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            wire = Wire(20, 20, 10, lambda: tls(True))
            ask(wire, server)
            assert idle(wire) == 1
            del wire
            gc.collect()
            wait_until(lambda: server.gone == [0])
        assert [each for each in told if each.category is ResourceWarning] == []

    def test_threads(self, serve: Callable[..., Server], wires: Callable[..., Wire]) -> None:
        def talk(line: Line) -> None:
            while first := line.request():
                target = first.split()[1]
                line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target), target)

        server = serve(talk)
        wire = wires(most_idle=32)
        barrier = threading.Barrier(32)

        def work(number: int) -> bool:
            barrier.wait(20)
            targets = [f"/{number}/{i}" for i in range(10)]
            return [ask(wire, server, each).body.decode() for each in targets] == targets

        with ThreadPoolExecutor(32) as pool:
            assert all(pool.map(work, range(32)))
        assert server.connections <= 32
        assert idle(wire) == server.connections

    def test_fork(self, serve: Callable[..., Server]) -> None:
        """A child has a lane of its own, and leaves the connections of its parent alone."""
        server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"))
        made = lanes.connection(fast=True, endpoint_url=str(server.origin))

        def head() -> Any:
            op = Operation("test", "bucket", "k", Patience())
            return made.call(op, "head_object", Bucket="bucket", Key="k")["ContentLength"]

        assert head() == 7
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # the server's threads do not matter
            child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                status = 0 if head() == head() == 7 else 1
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert head() == 7
        assert [number for number, _ in server.requests] == [0, 1, 1, 0]
        made.close()


def _is_readable(sock: Any) -> bool:
    flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
    with contextlib.suppress(BlockingIOError):
        return bool(sock.recv(1, flags) == b"")
    return False


class TestAnswers:
    def test_continue_is_no_answer(self, serve: Callable[..., Server], wire: Wire) -> None:
        noise = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"
        server = serve(answering(noise + noise + OK))
        for _ in range(2):
            assert ask(wire, server).body == b"ok"
        assert server.connections == 1

    def test_nor_are_hints(self, serve: Callable[..., Server], wire: Wire) -> None:
        server = serve(then_closing(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"))
        with pytest.raises(boto.ConnectionClosedError):
            ask(wire, server, method="PUT", body=b"x")
        assert idle(wire) == 0

    def test_headers(self, serve: Callable[..., Server], wire: Wire) -> None:
        lines = b'ETag: "e"\r\nVia: a\r\nX-Amz-Meta-N: \xe4 \r\nvia: b\nno header\r\nX: y\r\n z\r\n'
        server = serve(answering(b"HTTP/1.1 204 No Content\r\n" + lines + b"\r\n"))
        assert ask(wire, server).headers == [
            ("ETag", '"e"'),
            ("Via", "a, b"),
            ("X-Amz-Meta-N", "\u00e4 "),
            ("X", "y z"),
        ]

    @pytest.mark.parametrize(
        "answer",
        [
            b"garbage\r\n\r\n",
            b"HTTP/9 what\r\n\r\n",
            b"",
            b"HTTP/1.1 200 OK\r\nETag: x\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnumber\r\nfive!\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nfive!\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nfive!",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        ],
    )
    def test_nonsense(self, serve: Callable[..., Server], wire: Wire, answer: bytes) -> None:
        server = serve(then_closing(answer))
        with pytest.raises(boto.ConnectionClosedError):
            ask(wire, server)
        assert idle(wire) == 0

    @pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
    def test_an_error_that_is_cut_off_is_an_error(
        self, serve: Callable[..., Server], wire: Wire, framing: bytes
    ) -> None:
        server = serve(then_closing(b"HTTP/1.1 404 Gone\r\n" + framing + b"\r\n\r\n5\r\nfi"))
        assert ask(wire, server).status == 404
        assert ask(wire, server, stream=True).status == 404
        assert idle(wire) == 0

    @pytest.mark.parametrize("amount", [3, None, -1])
    @pytest.mark.parametrize("begun", [b"", b"five!"])
    def test_a_body_that_is_cut_off(
        self, serve: Callable[..., Server], wire: Wire, begun: bytes, amount: int | None
    ) -> None:
        server = serve(then_closing(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + begun))
        body = ask(wire, server, stream=True).body
        errors = (boto.IncompleteReadError, boto.ResponseStreamingError)
        with pytest.raises(errors):  # noqa: PT012 - some of the reads may succeed
            for _ in range(10):
                body.read(amount)
        assert idle(wire) == 0

    def test_a_body_that_is_cut_off_is_told_from_its_end_by_readinto(
        self, serve: Callable[..., Server], wire: Wire
    ) -> None:
        server = serve(then_closing(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!"))
        body = ask(wire, server, stream=True).body
        buffer = bytearray(10)
        assert body.readinto(memoryview(buffer)) == 5
        with pytest.raises(
            boto.IncompleteReadError, match="5 read, but total bytes expected is 10"
        ):
            body.readinto(memoryview(buffer)[5:])

    def test_chunks_that_are_cut_off(self, serve: Callable[..., Server], wire: Wire) -> None:
        start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        server = serve(then_closing(start + b"5\r\nfive!\r\n5\r\nfi"))
        body = ask(wire, server, stream=True).body
        assert body.read(5) == b"five!"
        with pytest.raises(boto.ResponseStreamingError):
            body.read(5)
        assert idle(wire) == 0

    def test_pieces(self, serve: Callable[..., Server], wire: Wire) -> None:
        content = os.urandom(100_000)
        server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + content))
        body = ask(wire, server, stream=True).body
        buffer = bytearray(60_000)
        count = body.readinto(memoryview(buffer))
        assert body.read(0) == b""
        assert bytes(buffer[:count]) + body.read(10) + body.read(-1) == content
        assert body.read() == b""
        assert body.readinto(memoryview(buffer)) == 0
        assert ask(wire, server, stream=True).body.read(None) == content
        assert server.connections == 1

    def test_half_a_body(self, serve: Callable[..., Server], wire: Wire) -> None:
        server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"))
        body = ask(wire, server, stream=True).body
        assert body.read(5) == b"01234"
        body.close()
        body.close()
        wait_until(lambda: server.gone == [0])
        assert ask(wire, server, stream=True).body.read() == b"0123456789"
        assert server.connections == 2

    @pytest.mark.parametrize(
        "begun",
        [b"", b"HTTP/1.1 200 OK\r\n", OK[:-1], b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx"],
    )
    def test_silence(
        self, serve: Callable[..., Server], wires: Callable[..., Wire], begun: bytes
    ) -> None:
        def talk(line: Line) -> None:
            line.request()
            line.say(begun)
            line.until_gone()

        wire = wires(timeout_s=0.1)
        server = serve(talk)
        with pytest.raises(boto.ReadTimeoutError) as caught:
            ask(wire, server)
        assert idle(wire) == 0
        wait_until(lambda: server.gone == [0])  # it is not the error that keeps it open
        assert caught.value.kwargs["endpoint_url"] == str(server.origin)

    def test_silence_in_a_body(
        self, serve: Callable[..., Server], wires: Callable[..., Wire]
    ) -> None:
        def talk(line: Line) -> None:
            line.request()
            line.say(OK[:-1])
            line.until_gone()

        wire = wires(timeout_s=0.1)
        server = serve(talk)
        body = ask(wire, server, stream=True).body
        assert body.read(1) == b"o"
        with pytest.raises(boto.ReadTimeoutError):
            body.read(1)
        wait_until(lambda: server.gone == [0])
        assert idle(wire) == 0


class TestSending:
    @pytest.mark.parametrize("size", [8 * MIB, 1])
    @pytest.mark.parametrize("status", [b"413 Too Large", b"403 Forbidden"])
    def test_an_error_before_the_body_was_read(
        self, serve: Callable[..., Server], wire: Wire, size: int, status: bytes
    ) -> None:
        def talk(line: Line) -> None:
            line.head()
            line.say(
                b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
            )

        server = serve(talk)
        answer = ask(wire, server, method="PUT", body=b"x" * size)
        assert (answer.status, answer.body) == (int(status[:3]), b"no")
        assert idle(wire) == 0

    def test_an_error_in_the_middle_of_a_source(
        self, serve: Callable[..., Server], wire: Wire
    ) -> None:
        def talk(line: Line) -> None:
            line.head()
            line.say(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 2\r\n\r\nno")

        source = Source([b"x" * MIB] * 64)
        answer = ask(wire, serve(talk), method="PUT", body=source)
        assert (answer.status, answer.body) == (503, b"no")
        assert len(source._blocks) > 0  # the rest was not read
        assert idle(wire) == 0

    def test_a_success_before_the_body_was_read_is_none(
        self, serve: Callable[..., Server], wire: Wire
    ) -> None:
        def talk(line: Line) -> None:
            line.head()
            line.say(OK)

        with pytest.raises(boto.ConnectionClosedError):
            ask(wire, serve(talk), method="PUT", body=b"x" * 16 * MIB)
        assert idle(wire) == 0

    @pytest.mark.parametrize(
        "error",
        [
            ObjectSaveException("it became shorter"),
            ObjectClerkTimeoutException("too late"),
            OSError(errno.EIO, "broken disk"),
            TimeoutError("slow disk"),
            BrokenPipeError("a pipe of its own"),
            http.client.IncompleteRead(b""),
            boto.ConnectionClosedError(endpoint_url="another"),
            ssl.SSLError("of the source"),
            KeyboardInterrupt(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_errors_of_the_source_stay_what_they_are(
        self, serve: Callable[..., Server], wire: Wire, error: BaseException
    ) -> None:
        def talk(line: Line) -> None:
            line.head()
            line.until_gone()

        server = serve(talk)
        with pytest.raises(type(error)) as caught:
            ask(wire, server, method="PUT", body=Source([b"x", error]))
        assert caught.value is error
        wait_until(lambda: server.gone == [0])
        assert idle(wire) == 0

    def test_an_interrupt_while_the_answer_is_awaited(
        self, serve: Callable[..., Server], wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(answering(OK))
        assert ask(wire, server).status == 200
        with monkeypatch.context() as patched:
            patched.setattr(Response, "begin", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                ask(wire, server)
        assert idle(wire) == 0
        wait_until(lambda: server.gone == [0])
        assert ask(wire, server).body == b"ok"

    def test_an_interrupt_while_a_body_is_read(
        self, serve: Callable[..., Server], wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = serve(answering(OK))
        body = ask(wire, server, stream=True).body
        with monkeypatch.context() as patched:
            patched.setattr(http.client.HTTPResponse, "read", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                body.read()
        assert idle(wire) == 0
        wait_until(lambda: server.gone == [0])

    @pytest.mark.parametrize(
        "key", ["a/../b", "..", "./a", "//", "/a//", "%2F", "?a=b#c", "a +&=;", "a.", "\u00e4~*'()"]
    )
    def test_the_request_line_is_boto3s(self, serve: Callable[..., Server], key: str) -> None:
        server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        op = Operation("test", "bucket", key, Patience())
        for fast in (False, True):
            made = lanes.connection(fast=fast, endpoint_url=str(server.origin))
            made.call(op, "head_object", Bucket="bucket", Key=key, VersionId="a b/+~")
            made.close()
        (_, theirs), (_, ours) = server.requests
        assert ours == theirs


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


class TestConnecting:
    def test_refused(self, wire: Wire) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(boto.EndpointConnectionError):
            ask(wire, Origin("http", "127.0.0.1", port))

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (TimeoutError("timed out"), boto.ConnectTimeoutError),
            (OSError(errno.ENETUNREACH, "unreachable"), boto.EndpointConnectionError),
            (OSError(errno.EHOSTUNREACH, "no route"), boto.EndpointConnectionError),
            (socket.gaierror(socket.EAI_NONAME, "unknown"), boto.EndpointConnectionError),
            (KeyboardInterrupt(), KeyboardInterrupt),
        ],
    )
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_no_way(
        self,
        wire: Wire,
        monkeypatch: pytest.MonkeyPatch,
        scheme: str,
        error: BaseException,
        expected: type[BaseException],
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(socket, "create_connection", fail)
        with pytest.raises(expected):
            ask(wire, Origin(scheme, "store.example", 9000))

    @pytest.mark.parametrize("port", [None, 8080])
    def test_an_address_with_colons(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch, port: int | None
    ) -> None:
        asked = []

        def fail(address: Any, *_: Any, **__: Any) -> None:
            asked.append(address)
            raise OSError(errno.ENETUNREACH, "unreachable")

        monkeypatch.setattr(socket, "create_connection", fail)
        made = lanes.connection(
            fast=True, endpoint_url="http://[2001:db8::1]" + (f":{port}" if port else "")
        )
        home = lanes.lane_of(made)._homes.of("bucket")
        assert home is not None
        with pytest.raises(boto.EndpointConnectionError):
            ask(wire, home.origin)
        assert asked == [("2001:db8::1", port or 80)]

    def test_no_certificates(self, wires: Callable[..., Wire], tmp_path: Path) -> None:
        (tmp_path / "bad.pem").write_text("no certificate")
        for path, expected in (
            ("missing.pem", boto.EndpointConnectionError),
            ("bad.pem", boto.SSLError),
        ):
            wire = wires(verify=str(tmp_path / path))
            with pytest.raises(expected):
                ask(wire, Origin("https", "127.0.0.1", 9))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "trust.pem"))
    return str(tmp_path / "trust.pem")


def context_for(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


class TestTls:
    def test_what_came_after_an_answer_is_not_the_next_one(
        self,
        serve: Callable[..., Server],
        wires: Callable[..., Wire],
        authority: trustme.CA,
        trust: str,
    ) -> None:
        """The rest of a record waits where the socket does not show it."""
        forged = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforged!"
        # Both are in one record, and the headers are just what is read at once.
        begin, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\nContent-Length: 7\r\n\r\n"
        answer = begin + b"x" * (io.DEFAULT_BUFFER_SIZE - len(begin + end)) + end
        server = serve(answering(answer + forged), context_for(authority, "127.0.0.1"))
        wire = wires(verify=trust)
        assert ask(wire, server, method="HEAD").status == 200
        ask(wire, server, method="HEAD")
        assert server.connections == 2

    def test_right(
        self,
        serve: Callable[..., Server],
        wires: Callable[..., Wire],
        authority: trustme.CA,
        trust: str,
    ) -> None:
        wire = wires(verify=trust)
        server = serve(answering(OK), context_for(authority, "127.0.0.1"))
        for _ in range(3):
            assert ask(wire, server).body == b"ok"
            assert ask(wire, server, method="PUT", body=b"x" * MIB).status == 200
            assert ask(wire, server, stream=True).body.read(2) == b"ok"
        assert server.connections == 1

    @pytest.mark.parametrize("wrong", ["name", "authority", "all of the world"])
    def test_wrong(
        self,
        serve: Callable[..., Server],
        wires: Callable[..., Wire],
        authority: trustme.CA,
        trust: str,
        wrong: str,
    ) -> None:
        issuer = trustme.CA() if wrong == "authority" else authority
        name = "store.example" if wrong == "name" else "127.0.0.1"
        server = serve(answering(OK), context_for(issuer, name))
        wire = wires(verify=True if wrong == "all of the world" else trust)
        with pytest.raises(boto.SSLError, match=r"(?i)certificate"):
            ask(wire, server)
        assert server.requests == []

    def test_a_directory_of_certificates(
        self,
        serve: Callable[..., Server],
        wires: Callable[..., Wire],
        authority: trustme.CA,
        tmp_path: Path,
    ) -> None:
        server = serve(answering(OK), context_for(authority, "127.0.0.1"))
        with pytest.raises(boto.SSLError):  # there are none in it
            ask(wires(verify=str(tmp_path)), server)

    @pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    def test_a_handshake_that_is_cut_off(
        self, serve: Callable[..., Server], wires: Callable[..., Wire], trust: str, said: bytes
    ) -> None:
        def talk(line: Line) -> None:
            line.sock.recv(10)
            line.say(said)

        origin = serve(talk).origin._replace(scheme="https")
        with pytest.raises((boto.SSLError, boto.EndpointConnectionError)):
            ask(wires(verify=trust), origin)

    def test_a_handshake_without_an_end(
        self, serve: Callable[..., Server], wires: Callable[..., Wire], trust: str
    ) -> None:
        origin = serve(Line.until_gone).origin._replace(scheme="https")
        with pytest.raises(boto.ConnectTimeoutError):
            ask(wires(timeout_s=0.1, verify=trust), origin)

    def test_an_error_before_the_body_was_read(
        self,
        serve: Callable[..., Server],
        wires: Callable[..., Wire],
        authority: trustme.CA,
        trust: str,
    ) -> None:
        def talk(line: Line) -> None:
            line.head()
            line.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            line.until_gone()

        server = serve(talk, context_for(authority, "127.0.0.1"))
        wire = wires(verify=trust)
        assert ask(wire, server, method="PUT", body=b"x" * MIB).status == 403
