"""Unit tests open no sockets; those of the testing kit, which is made of them, are excepted."""

from __future__ import annotations

import socket
from typing import Any

import pytest

#: Modules whose subject is a server or a proxy.
MAY_OPEN_SOCKETS = ("test_testing_proxy", "test_testing_server")


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.path.stem in MAY_OPEN_SOCKETS:
        return

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a unit test wanted to use a socket")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
