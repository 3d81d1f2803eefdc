"""Redis, for tests of limits that several gateways share: the distribution's."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .common import LOOPBACK, StartFailed, Workplace, free_ports
from .debian import Packages

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_TIMEOUT_S = 30
_START_ATTEMPTS = 2


PACKAGES = Packages(
    "redis", "usr/bin/redis-server", "redis-server", "redis-tools", "liblzf1", "libjemalloc2"
)


def install() -> None:
    """Unpack it."""
    PACKAGES.install()


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """Run an empty Redis on a free port, or on this one, and give its URL.

    Raises:
        Unavailable: it is not installed.
        StartFailed: it did not come up.
    """
    program, environment = PACKAGES.program()
    with contextlib.ExitStack() as stack:
        for attempt in range(1, _START_ATTEMPTS + 1):
            chosen = port or free_ports(1)[0]
            directory = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="object-clerk-redis-")
            )
            place = Workplace(Path(directory))
            stack.callback(place.stop)
            settings = ["--bind", LOOPBACK, "--port", chosen, "--dir", directory]
            nothing_kept = ["--save", "", "--appendonly", "no"]
            place.spawn("redis", [program, *settings, *nothing_kept], environment)
            try:
                _wait(place, chosen)
                break
            except StartFailed:
                # A free port may be taken by somebody else before the server binds it.
                if attempt == _START_ATTEMPTS:
                    raise
        yield f"redis://{LOOPBACK}:{chosen}/0"


def _wait(place: Workplace, port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _answers(port):
        place.check_alive()
        if time.monotonic() > deadline:
            raise StartFailed(f"no answer from Redis\n{place.logs()}")
        time.sleep(0.02)
    place.check_alive()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
