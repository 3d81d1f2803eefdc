"""A gateway in a thread of the test, a clock that the test moves, and raw requests."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2
import uvicorn

from object_clerk.gateway.app import create_app
from object_clerk.gateway.protocol import protocol
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.v1 import Service
from object_clerk.gateway.v1 import service as service_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pytest

    from object_clerk.store import ObjectStore


#: What the keys of this scope begin with in the store.
ROOT = ".sessions/tests/org.42/project.7"


class Clock:
    """Says what time it is, and goes on when it is told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, 0, 250_001, UTC)

    def __call__(self) -> datetime:
        return self.now

    def go(self, **time: float) -> None:
        """Let so much time pass."""
        self.now += timedelta(**time)


@dataclasses.dataclass(frozen=True)
class Running:
    """A gateway that answers.

    Attributes:
        url: where.
        service: what serves /v1.
        clock: its clock.
        client: what it is given as a path goes out as it is.
    """

    url: str
    service: Service
    clock: Clock
    client: httpx2.Client

    def connect(self) -> socket.socket:
        """A raw connection."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=60)

    def raw(self, *lines: str, body: bytes = b"") -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers as they stand on the wire, and body of the answer to a raw request."""
        said = "\r\n".join((*lines, "Host: x", "Connection: close", "", "")).encode()
        with self.connect() as connection:
            connection.sendall(said + body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, rest = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (f.partition(":") for f in fields)]
        return int(status.split()[1]), headers, rest

    def stored(self) -> list[str]:
        """What is in the store."""
        return [each.key for each in self.service.store.store.list_objects()]


def path(key: str = "key", scope: str = "org=42;project=7", usecase: str = "tests") -> str:
    """The path of an object."""
    return f"/v1/objects/{usecase}/{scope}/{quote(key)}"


@contextlib.contextmanager
def serving(
    directory: Path,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    variables: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """A gateway over a store, in this process.

    Args:
        directory: for its files.
        store: where objects are.
        monkeypatch: sets the variables, and the clock.
        variables: of the environment; without any, everybody may do everything.
        **settings: fields of GatewaySettings.
    """
    clock = Clock()
    monkeypatch.setattr(service_module, "now_utc", clock)
    for name, text in (variables or {"OS__AUTH__ENFORCE": "false"}).items():
        monkeypatch.setenv(name, text)
    made = GatewaySettings(auth_tokens_file=directory / "tokens.json", **settings)
    app = create_app(made, store)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,
            http=protocol(header_timeout_s=20, idle_timeout_s=made.idle_timeout_s),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=60,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            end = time.monotonic() + 60
            while not server.started:
                assert thread.is_alive(), "the gateway did not start"
                assert time.monotonic() < end, "the gateway takes too long to start"
                time.sleep(0.01)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            # Tests share it among threads, and it may close an idle connection that another thread
            # has just been given.
            limits = httpx2.Limits(max_connections=100)
            with httpx2.Client(base_url=url, timeout=60, limits=limits) as client:
                yield Running(url, app.state.sessions, clock, client)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the gateway does not end"
