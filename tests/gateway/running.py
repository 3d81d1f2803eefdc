"""A gateway in a thread of the test, and what a client needs to use it."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn

from object_clerk.gateway import server
from object_clerk.gateway.app import create_app
from object_clerk.gateway.protocol import protocol
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from object_clerk.store import ObjectStore

ALL = ("read", "write", "delete")


@dataclasses.dataclass(frozen=True)
class Running:
    """A gateway that answers.

    Attributes:
        url: where.
        app: what runs.
        tokens: its tokens.
        token: one that may do everything.
        client: sends that token; what it is given as a path goes out as it is.
    """

    url: str
    app: FastAPI
    tokens: TokenFile
    token: str
    client: httpx2.Client

    def new_token(self, *scopes: str, prefix: str = "") -> dict[str, str]:
        """The header with a token of its own."""
        name = f"token-{time.monotonic_ns()}"
        made = self.tokens.add(name, 1, scopes or ALL, prefix)
        return {"authorization": f"Bearer {made.text}"}

    def connect(self) -> socket.socket:
        """A raw connection."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def raw(self, request: bytes) -> bytes:
        """All that comes back for these bytes, until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def keys(self, **parameters: Any) -> list[str]:
        """All keys, page by page."""
        found: list[str] = []
        while True:
            page = self.client.get("/objects", params=parameters).json()
            found += page["keys"]
            if not page["has_more"]:
                return found
            parameters["cursor"] = page["next_cursor"]


@contextlib.contextmanager
def gateway(
    directory: Path, store: ObjectStore | None = None, **settings: Any
) -> Iterator[Running]:
    """A gateway over a store, in this process.

    Args:
        directory: where its tokens and keys are.
        store: None for what the settings say.
        **settings: fields of GatewaySettings.
    """
    chosen = {"rate_limit": None, "anonymous_rate_limit": None, **settings}
    made = GatewaySettings(auth_tokens_file=directory / "tokens.json", **chosen)
    tokens = TokenFile(made.auth_tokens_file)
    token = tokens.add("all", 1, ALL).text
    app = create_app(made, store)
    with server.listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(
            app,
            http=protocol(made.header_timeout_s, made.idle_timeout_s),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=10,
        )
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        try:
            end = time.monotonic() + 30
            while not running.started:
                assert thread.is_alive(), "the gateway did not start"
                assert time.monotonic() < end, "the gateway takes too long to start"
                time.sleep(0.01)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            headers = {"authorization": f"Bearer {token}"}
            with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
                yield Running(url, app, tokens, token, client)
        finally:
            running.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the gateway does not end"
