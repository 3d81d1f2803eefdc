"""Redis for tests of limits that several gateways share: the distribution's, unpacked, not set up.

To set it up would start a service. So its packages are only unpacked below the cache directory,
unless the program is there anyway.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .common import (
    LOOPBACK,
    StartFailed,
    Unavailable,
    Workplace,
    building,
    cache_directory,
    free_ports,
    is_built,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The program, and those of its libraries that hardly any system has.
_PACKAGES = ("redis-server", "redis-tools", "liblzf1", "libjemalloc2")
_START_TIMEOUT_S = 30
_START_ATTEMPTS = 2


def _unpacked() -> Path:
    return cache_directory() / "redis-debian"


def install() -> None:
    """Download and unpack the packages of the distribution; nothing of the system is changed.

    Raises:
        Unavailable: they cannot be had here.
    """
    if shutil.which("redis-server"):
        return
    try:
        with building(_unpacked()) as needed:
            if needed:
                _run(["apt-get", "download", *_PACKAGES])
                for package in sorted(_unpacked().glob("*.deb")):
                    _run(["dpkg-deb", "-x", package.name, "."])
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or ""
        raise Unavailable(f"cannot unpack {' '.join(_PACKAGES)}: {error} {output}") from error


def _run(command: list[str]) -> None:
    # As root, apt would hand the download over to a user who may not write here.
    options = ["-o", "APT::Sandbox::User=root"] if command[0] == "apt-get" else []
    subprocess.run(
        [command[0], *options, *command[1:]],
        cwd=_unpacked(),
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )


def _program() -> tuple[str, dict[str, str]]:
    """The program, and the environment in which it finds its libraries."""
    if found := shutil.which("redis-server"):
        return found, {}
    program = _unpacked() / "usr" / "bin" / "redis-server"
    if not (is_built(_unpacked()) and program.exists()):
        raise Unavailable("no redis-server; python -m tests.servers install redis unpacks Debian's")
    libraries = {str(path.parent) for path in (_unpacked() / "usr" / "lib").rglob("*.so.*")}
    return str(program), {"LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))}


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """Run an empty Redis on a free port, or on this one, and give its URL.

    Raises:
        Unavailable: it is not installed.
        StartFailed: it did not come up.
    """
    program, environment = _program()
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
