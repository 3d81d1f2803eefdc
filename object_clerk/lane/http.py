"""One exchange of HTTP at a time, over connections that are kept: the standard library's own."""

from __future__ import annotations

import contextlib
import http.client
import select
import ssl
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore import exceptions as boto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: How much of a body is read at once to be sent.
BLOCK_BYTES = 1 << 20


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

    def __init__(self, answer: http.client.HTTPResponse, origin: Origin, done: _Done) -> None:
        self._answer = answer
        self._origin = origin
        self._done: _Done | None = done
        self._left = answer.length
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
            if isinstance(error, (OSError, http.client.HTTPException)):
                raise boto.ResponseStreamingError(error=error) from error
            raise

    def _took(self, count: int, wanted: bool) -> None:
        if self._left is not None:
            self._left -= count
        if count == 0 and wanted and self._left:
            self._finish(keep=False)
            raise boto.IncompleteReadError(
                actual_bytes=self._answer_length() - self._left,
                expected_bytes=self._answer_length(),
            )
        if self._answer.isclosed() or self._left == 0:
            self._finish(keep=not self._answer.will_close)

    def _answer_length(self) -> int:
        return int(self._answer.headers.get("content-length", 0))

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
        self._idle: dict[Origin, deque[http.client.HTTPConnection]] = {}
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
        connection = self._taken(origin) or self._connected(origin)
        with contextlib.ExitStack() as on_error:
            on_error.callback(connection.close)
            broken = _send(connection, method, target, headers, body, origin)
            with _speaking(origin):
                answer = connection.getresponse()
                on_error.callback(answer.close)
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
            return Answer(answer.status, _joined(answer.headers.items()), content)

    def close(self) -> None:
        """Close the idle connections."""
        _close_all(self._idle)

    def _taken(self, origin: Origin) -> http.client.HTTPConnection | None:
        """An idle connection on which nothing has come since: it would be the server's goodbye."""
        idle = self._idle.get(origin)
        while connection := _popped(idle):
            poll = select.poll()
            poll.register(connection.sock, select.POLLIN)
            if not poll.poll(0):
                return connection
            connection.close()
        return None

    def keep(self, origin: Origin, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next request, if there are not enough of them."""
        idle = self._idle.setdefault(origin, deque())
        if connection.sock is None or len(idle) >= self._most_idle:
            connection.close()
        else:
            idle.append(connection)

    def _connected(self, origin: Origin) -> http.client.HTTPConnection:
        try:
            connection = self._made(origin)
        except ssl.SSLError as error:
            raise boto.SSLError(endpoint_url=str(origin), error=error) from error
        except TimeoutError as error:
            raise boto.ConnectTimeoutError(endpoint_url=str(origin), error=error) from error
        except OSError as error:
            raise boto.EndpointConnectionError(endpoint_url=str(origin), error=error) from error
        connection.sock.settimeout(self._read_timeout_s)
        return connection

    def _made(self, origin: Origin) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        timeout = self._connect_timeout_s
        if origin.scheme == "https":
            if self._context is None:
                self._context = self._tls()
            connection = http.client.HTTPSConnection(
                origin.host, origin.port, timeout=timeout, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(origin.host, origin.port, timeout=timeout)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection


class _Done(NamedTuple):
    """What becomes of a connection when its answer was read."""

    wire: Wire
    origin: Origin
    connection: http.client.HTTPConnection

    def __call__(self, keep: bool) -> None:
        if keep:
            self.wire.keep(self.origin, self.connection)
        else:
            self.connection.close()


def _popped(idle: deque[http.client.HTTPConnection] | None) -> http.client.HTTPConnection | None:
    try:
        return idle.pop() if idle is not None else None
    except IndexError:
        return None


def _close_all(idle: dict[Origin, deque[http.client.HTTPConnection]]) -> None:
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
    except (OSError, http.client.HTTPException) as error:
        raise boto.ConnectionClosedError(endpoint_url=str(origin), error=error) from error


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Any,
    origin: Origin,
) -> Exception | None:
    """Send a request; if the server hangs up meanwhile, the error: it may have said why."""
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    content = None if hasattr(body, "read") else body
    broken = _sent(connection.endheaders, content, origin)
    if content is None and body is not None:
        # What the source raises is not the connection's fault, even if it is an OSError.
        while not broken and (block := body.read(BLOCK_BYTES)):
            broken = _sent(connection.send, block, origin)
    return broken


def _sent(send: Callable[[Any], None], data: Any, origin: Origin) -> Exception | None:
    with _speaking(origin):
        try:
            send(data)
        except (ConnectionError, ssl.SSLError) as error:
            return error
    return None


def _joined(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers, the values of one that is in several lines joined."""
    if len({name.lower() for name, _ in lines}) == len(lines):
        return lines
    values: dict[str, list[str]] = {}
    for name, value in lines:
        values.setdefault(name.lower(), [name]).append(value)
    return [(first, ", ".join(rest)) for first, *rest in values.values()]
