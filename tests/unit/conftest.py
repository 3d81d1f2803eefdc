"""Unit tests open no sockets; those of the testing kit and of connections are excepted."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.testing import FaultProxy
from tests.unit.upstream import Upstream, connect

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator

pytest.register_assert_rewrite("tests.unit.lanes")

#: How the modules begin whose subject is a server, a proxy or a connection.
MAY_OPEN_SOCKETS = ("test_testing_", "test_lane_http")


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.path.stem.startswith(MAY_OPEN_SOCKETS):
        return

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a unit test wanted to use a socket")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url, upstream_timeout=20) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[http.client.HTTPConnection]:
    connection = connect(proxy)
    yield connection
    connection.close()
