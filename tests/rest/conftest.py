"""Servers that answer as a test says, and both clients behind one face."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.rest import AsyncRestBody, AsyncRestStore, RestStore, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from object_clerk import events

KEY = "secret-api-key"


@dataclasses.dataclass(frozen=True)
class Received:
    """A request as it was on the wire; ``whole`` tells whether its body came to its end."""

    line: str
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def method(self) -> str:
        return self.line.split()[0]

    @property
    def target(self) -> str:
        return self.line.split()[1]


#: What becomes of a request: bytes are sent as they are; a function gets the connection.
Step = bytes | Callable[[socket.socket], None]

_OVER = b"HTTP/1.1 599 Unexpected\r\nContent-Length: 0\r\n\r\n"


def reply(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> bytes:
    """A whole answer. Names of headers have underscores for hyphens; an empty one is left out."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    given = {"content-length": str(len(content))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode("latin-1") + content


def found(body: bytes, **headers: str) -> bytes:
    """The answer to a GET, with its digest."""
    digest = wire.repr_digest(hashlib.sha256(body).digest())
    return reply(200, body, **{"repr_digest": digest, "etag": '"e1"', **headers})


def described(body: bytes, **headers: str) -> bytes:
    """The answer to a HEAD for these bytes."""
    return found(body, **headers).removesuffix(body) if body else found(body, **headers)


def stored(key: str, body: bytes, /, **more: Any) -> bytes:
    """The answer to a PUT of these bytes."""
    sha256 = hashlib.sha256(body).hexdigest()
    told = {"key": key, "size": len(body), "sha256": sha256} | more
    return reply(200, told, etag='"e1"')


def refusal(status: int, message: str, **headers: str) -> bytes:
    """An error of the gateway."""
    return reply(status, wire.error_json(status, message), **headers)


def lost(connection: socket.socket) -> None:
    """The request is taken, and the connection closed without an answer."""


def cut(answer: bytes, keep: int) -> bytes:
    """An answer that breaks off after so many bytes of its body; send it and close."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\nConnection: close\r\n\r\n" + body[:keep]


class Script:
    """A server on a raw socket: each request gets the next answer of a list.

    Attributes:
        url: where it is.
        requests: what came, in order.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._steps: list[Step] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._run(self._accept)

    def answers(self, *steps: Step) -> None:
        """What the next requests get; those beyond get status 599."""
        self._steps = list(steps)

    def targets(self) -> list[tuple[str, str]]:
        """Method and target of each request."""
        return [(each.method, each.target) for each in self.requests]

    def close(self) -> None:
        """End all threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            stream = connection.makefile("rb")
            with stream:
                while (request := _request(stream)) is not None:
                    with self._lock:
                        self.requests.append(request)
                        step = self._steps.pop(0) if self._steps else _OVER
                    if callable(step):
                        step(connection)
                        return
                    connection.sendall(step)
                    if b"connection: close" in step.partition(b"\r\n\r\n")[0].lower():
                        return


def _request(stream: Any) -> Received | None:
    line = stream.readline().decode("latin-1").strip()
    if not line:
        return None
    headers: dict[str, str] = {}
    while text := stream.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        return Received(line, headers, *_chunks(stream))
    length = int(headers.get("content-length", 0))
    body = stream.read(length)
    return Received(line, headers, body, len(body) == length)


def _chunks(stream: Any) -> tuple[bytes, bool]:
    body = b""
    while True:
        size = stream.readline().strip()
        if not size:
            return body, False
        body += stream.read(int(size, 16))
        stream.readline()
        if size == b"0":
            return body, True


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.close()


class Body:
    """An object that was opened by the async client, used as if by the other."""

    def __init__(self, runner: asyncio.Runner, body: AsyncRestBody) -> None:
        self.runner = runner
        self.body = body

    @property
    def receipt(self) -> Any:
        return self.body.receipt

    @property
    def head(self) -> Any:
        return self.body.head

    def read(self, size: int = -1) -> bytes:
        return self.runner.run(self.body.read(size))

    def close(self) -> None:
        self.runner.run(self.body.close())

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Awaited:
    """An AsyncRestStore, used as if it were a RestStore."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.runner = asyncio.Runner()
        try:
            self.store = AsyncRestStore(*args, **kwargs)
        except BaseException:
            self.runner.close()
            raise

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.store, name)
        return lambda *args, **kwargs: self.runner.run(verb(*args, **kwargs))

    def __repr__(self) -> str:
        return repr(self.store)

    def __enter__(self) -> Awaited:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, key: str) -> Body:
        return Body(self.runner, self.runner.run(self.store.open(key)))

    def keys(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        found = self.store.keys(*args, **kwargs)

        def each() -> Iterator[str]:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield self.runner.run(_next(found))

        return each()

    def close(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()


async def _next(found: Any) -> str:
    return await anext(found)


@dataclasses.dataclass
class Clients:
    """Makes clients of one kind, and closes them in the end.

    Attributes:
        kind: ``sync`` or ``async``.
        seen: the events of all of them.
    """

    kind: str
    seen: list[events.Event]
    stack: contextlib.ExitStack

    def __call__(self, base_url: str, **given: Any) -> RestStore:
        """A client that retries soon, unless it is told otherwise."""
        quick = {"api_key": KEY, "timeout": 30.0, "retry_delay": 0.01, "on_event": self.seen.append}
        kind: Any = RestStore if self.kind == "sync" else Awaited
        made: RestStore = self.stack.enter_context(kind(base_url, **{**quick, **given}))
        return made

    def of(self, kind: type[events.Event]) -> list[Any]:
        """The events of this class."""
        return [each for each in self.seen if type(each) is kind]


@pytest.fixture(params=["sync", "async"])
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    with contextlib.ExitStack() as stack:
        yield Clients(request.param, [], stack)


@pytest.fixture
def store(clients: Clients, script: Script) -> RestStore:
    """A client of the scripted server."""
    return clients(script.url)
