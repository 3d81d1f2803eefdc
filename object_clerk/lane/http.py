"""One exchange of HTTP at a time, over sockets that are kept.

Requests are a few lines of text, and written here. Answers are the standard library's to read.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import weakref
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore import exceptions as boto
from botocore.httpsession import create_urllib3_context, get_cert_path

from object_clerk.lane.response import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: How much of a body is sent at once. The timeout is for each such piece, so that a line that is
#: slow, but not silent, is not given up.
BLOCK_BYTES = 128 << 10

#: What is raised where a connection breaks, or what comes makes no sense: sizes, for example.
BROKEN = (OSError, http.client.HTTPException, ValueError, OverflowError, MemoryError)

#: A body of up to so many bytes is sent with its headers: copying it costs less than to send twice.
ONE_SEND_BYTES = 64 << 10


class Origin(NamedTuple):
    """Where a request goes."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port else "")


class Answer(NamedTuple):
    """The answer to a request; the body is a :class:`Body` if it was asked for as a stream.

    No header is there twice: the values of one in several lines are joined by commas.
    """

    status: int
    headers: list[tuple[str, str]]
    body: Any


class Body:
    """The body of an answer, read as it comes. Its connection is kept if it is read to its end."""

    def __init__(self, answer: Response, origin: Origin, done: _Done) -> None:
        self._answer = answer
        self._origin = origin
        self._done: _Done | None = done
        self._left = self._length = answer.length
        self._took(0, False)  # nothing may be there to be read

    def read(self, amount: int | None = None) -> bytes:
        """Read ``amount`` bytes or all; fewer, or none, at the end.

        Raises:
            botocore.exceptions.ReadTimeoutError: nothing came for too long.
            botocore.exceptions.ResponseStreamingError: the connection broke.
            botocore.exceptions.IncompleteReadError: it ended before it should.
        """
        with self._reading():
            data = self._answer.read(None if amount is not None and amount < 0 else amount)
        self._took(len(data), amount != 0)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Read into ``buffer``; the number of bytes, 0 at the end. Raises as :meth:`read` does."""
        with self._reading():
            count = self._answer.readinto(buffer)
        self._took(count, len(buffer) > 0)
        return count

    def close(self) -> None:
        """Give the connection up; what was not read is lost."""
        self._finish(keep=False)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._finish(keep=False)
            if isinstance(error, TimeoutError):
                raise boto.ReadTimeoutError(endpoint_url=str(self._origin), error=error) from error
            if isinstance(error, BROKEN):
                raise boto.ResponseStreamingError(error=error) from error
            raise

    def _took(self, count: int, wanted: bool) -> None:
        if self._left is not None:
            self._left -= count
        if count == 0 and wanted and self._left:
            self._finish(keep=False)
            assert self._length is not None
            raise boto.IncompleteReadError(
                actual_bytes=self._length - self._left, expected_bytes=self._length
            )
        if self._answer.isclosed() or self._left == 0:
            self._finish(keep=not self._answer.will_close)

    def _finish(self, *, keep: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._answer.close()
            done(keep)


class Wire:
    """Connections to servers, each used by one request at a time.

    Args:
        connect_timeout_s: how long a connection may take to be made.
        read_timeout_s: how long the server may be silent.
        most_idle: connections kept for each origin.
        tls: makes what https needs; asked once, when https is first used.
    """

    def __init__(
        self,
        connect_timeout_s: float,
        read_timeout_s: float,
        most_idle: int,
        tls: Callable[[], ssl.SSLContext],
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._most_idle = most_idle
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._idle: dict[Origin, deque[socket.socket]] = {}
        weakref.finalize(self, _close_all, self._idle).atexit = False

    def exchange(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Any,
        *,
        stream: bool,
    ) -> Answer:
        """Send a request once, and read the answer.

        Args:
            origin: where to.
            method: such as ``PUT``.
            target: path and query.
            headers: all headers, also ``host`` and ``content-length``.
            body: bytes, something to be read, or None.
            stream: whether to hand over the body of a success as it comes.

        Raises:
            botocore.exceptions.BotoCoreError: the same that boto3 would raise, by whether the
                request can have reached the server.
        """
        head = _head(method, target, headers)
        connection = self._taken(origin) or self._connected(origin)
        with contextlib.ExitStack() as on_error:
            on_error.callback(connection.close)
            broken = _send(connection, head, body, origin)
            with _speaking(origin):
                answer = Response(connection, method)
                on_error.callback(answer.close)
                answer.begin()
                if answer.status < 200:
                    raise http.client.HTTPException(f"status {answer.status} is no answer")
                handed_over = stream and answer.status < 300
                content: Any = b""
                try:
                    content = b"" if handed_over else answer.read()
                except http.client.IncompleteRead as error:
                    if answer.status < 300:
                        raise
                    broken, content = error, error.partial  # its status says enough
            if broken and answer.status < 300:  # it cannot have had all of the body
                raise boto.ConnectionClosedError(endpoint_url=str(origin), error=broken) from broken
            if not broken:
                on_error.pop_all()
                done = _Done(self, origin, connection)
                if handed_over:
                    content = Body(answer, origin, done)
                else:
                    done(keep=not answer.will_close)
            return Answer(answer.status, answer.lines, content)

    def close(self) -> None:
        """Close the idle connections."""
        _close_all(self._idle)

    def _taken(self, origin: Origin) -> socket.socket | None:
        """An idle connection on which nothing has come since: it would be the server's goodbye."""
        idle = self._idle.get(origin)
        while connection := _popped(idle):
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            # TLS may have read more than was asked for, which the socket does not show.
            waiting = isinstance(connection, ssl.SSLSocket) and connection.pending()
            if not waiting and not poll.poll(0):
                return connection
            connection.close()
        return None

    def keep(self, origin: Origin, connection: socket.socket) -> None:
        """Keep a connection for the next request, if there are not enough of them."""
        idle = self._idle.setdefault(origin, deque())
        if len(idle) >= self._most_idle:
            connection.close()
        else:
            idle.append(connection)

    def _connected(self, origin: Origin) -> socket.socket:
        try:
            connection = self._made(origin)
        except ssl.SSLError as error:
            raise boto.SSLError(endpoint_url=str(origin), error=error) from error
        except TimeoutError as error:
            raise boto.ConnectTimeoutError(endpoint_url=str(origin), error=error) from error
        except OSError as error:
            raise boto.EndpointConnectionError(endpoint_url=str(origin), error=error) from error
        connection.settimeout(self._read_timeout_s)
        return connection

    def _made(self, origin: Origin) -> socket.socket:
        if origin.scheme == "https" and self._context is None:
            self._context = self._tls()
        connection = socket.create_connection(origin[1:], self._connect_timeout_s)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.scheme == "https":
                assert self._context is not None
                connection = self._context.wrap_socket(connection, server_hostname=origin.host)
        except BaseException:
            connection.close()
            raise
        return connection


def tls(verify: bool | str) -> ssl.SSLContext:
    """What botocore would make of ``verify``: True, or the path of a file or directory."""
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True
    path = verify if isinstance(verify, str) else get_cert_path(True) or ""
    context.load_verify_locations(**{"capath" if Path(path).is_dir() else "cafile": path})
    return context


class _Done(NamedTuple):
    """What becomes of a connection when its answer was read."""

    wire: Wire
    origin: Origin
    connection: socket.socket

    def __call__(self, keep: bool) -> None:
        if keep:
            self.wire.keep(self.origin, self.connection)
        else:
            self.connection.close()


def _popped(idle: deque[socket.socket] | None) -> socket.socket | None:
    try:
        return idle.pop() if idle is not None else None
    except IndexError:
        return None


def _close_all(idle: dict[Origin, deque[socket.socket]]) -> None:
    for connections in list(idle.values()):
        while connection := _popped(connections):
            connection.close()


@contextlib.contextmanager
def _speaking(origin: Origin) -> Iterator[None]:
    """What goes wrong with the connection becomes what botocore makes of it."""
    try:
        yield
    except TimeoutError as error:
        raise boto.ReadTimeoutError(endpoint_url=str(origin), error=error) from error
    except BROKEN as error:
        raise boto.ConnectionClosedError(endpoint_url=str(origin), error=error) from error


def _send(connection: socket.socket, head: bytes, body: Any, origin: Origin) -> Exception | None:
    """Send a request; if the server hangs up meanwhile, the error: it may have said why."""
    for block in _blocks(head, body):
        with _speaking(origin):
            try:
                connection.sendall(block)
            except (ConnectionError, ssl.SSLError) as error:
                return error
    return None


def _blocks(head: bytes, body: Any) -> Iterator[bytes | memoryview]:
    """A request in pieces. What the source raises is not the connection's fault."""
    if hasattr(body, "read"):
        yield head
        while block := body.read(BLOCK_BYTES):
            yield block
    elif len(body or b"") <= ONE_SEND_BYTES:
        yield head + (body or b"")
    else:
        yield head
        view = memoryview(body)
        for start in range(0, len(view), BLOCK_BYTES):
            yield view[start : start + BLOCK_BYTES]


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"the header {name} has a line break in it")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
