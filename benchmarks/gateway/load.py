"""A client that costs so little that the server is what is measured."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = bytes(1 << 20)


class Failed(Exception):
    """A server gave an answer that it should not have given."""


class Connection:
    """One connection that is kept.

    Args:
        address: where the server is.
        headers: what every request has besides.
    """

    def __init__(self, address: tuple[str, int], headers: str) -> None:
        self._socket = socket.create_connection(address, timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = f"Host: {address[0]}\r\n{headers}"
        self._buffer = bytearray(1 << 20)

    def put(self, path: str, body: bytes, times: int = 1) -> None:
        """Store ``times`` times the bytes, in one body."""
        length = len(body) * times
        head = f"PUT {path} HTTP/1.1\r\n{self._headers}Content-Length: {length}\r\n\r\n"
        self._socket.sendall(head.encode() + (body if times == 1 else b""))
        for _ in range(times if times > 1 else 0):
            self._socket.sendall(body)
        self._answer(200, 201, 204)

    def get(self, path: str) -> int:
        """Read a body, and tell its length."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())
        return self._answer(200)

    def _answer(self, *expected: int) -> int:
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0:
            if not (block := self._socket.recv(65536)):
                raise Failed(f"the connection was closed: {head[:200]!r}")
            head += block
        status = int(head[9:12])
        if status not in expected:
            raise Failed(f"{head[:end].decode(errors='replace')}")
        length = 0
        for line in head[:end].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() == b"transfer-encoding" and length == 0:
                raise Failed("the body is chunked: its length is not told")
        left = length - (len(head) - end - 4)
        while left:
            if not (count := self._socket.recv_into(self._buffer, min(left, len(self._buffer)))):
                raise Failed("the body broke off")
            left -= count
        return length

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def side_by_side(count: int, connect: Callable[[], Connection], jobs: Iterator[Job]) -> None:
    """Do all jobs over ``count`` connections."""
    lock = threading.Lock()
    failures: list[Exception] = []

    def work() -> None:
        connection = connect()
        try:
            while not failures:
                with lock:
                    job = next(jobs, None)
                if job is None:
                    return
                job(connection)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


if TYPE_CHECKING:
    Job = Callable[[Connection], object]
