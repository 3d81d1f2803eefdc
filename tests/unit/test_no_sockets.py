"""The guard of this directory does guard."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from object_clerk import ObjectClerk


def test_sockets_are_refused() -> None:
    with pytest.raises(AssertionError, match="wanted to use a socket"):
        socket.create_connection(("127.0.0.1", 9))
    with socket.socket() as sock, pytest.raises(AssertionError):
        sock.bind(("127.0.0.1", 0))
    with pytest.raises(AssertionError):
        urllib.request.urlopen("http://127.0.0.1:9/")


def test_making_a_clerk_needs_none() -> None:
    with ObjectClerk("127.0.0.1", 9, "access", "secret") as clerk:
        assert clerk.client.meta.endpoint_url == "http://127.0.0.1:9"
