"""Real S3 servers on loopback, installed, started and stopped by the test-suite itself."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import ceph, live, minio, ministack, moto, rclone, swift
from .common import (
    Endpoint,
    ServerModule,
    StartFailed,
    Unavailable,
    Workplace,
    foreign_variables,
)
from .traits import ODD_KEYS, TRAITS, Traits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "NAMES",
    "ODD_KEYS",
    "TRAITS",
    "Server",
    "StartFailed",
    "Traits",
    "Unavailable",
    "foreign_variables",
    "install",
    "running",
]

_MODULES: dict[str, ServerModule] = {
    "moto": moto,
    "ministack": ministack,
    "rclone": rclone,
    "swift": swift,
    "ceph": ceph,
    "minio": minio,
    "live": live,
}
NAMES = tuple(_MODULES)
_START_ATTEMPTS = 2


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    endpoint_url: str
    access_key: str
    secret_key: str
    traits: Traits


def _module(name: str) -> ServerModule:
    if name not in _MODULES:
        raise ValueError(f"no such server: {name!r}; known: {', '.join(NAMES)}")
    return _MODULES[name]


def install(name: str) -> None:
    """Download or build what server `name` needs.

    Raises:
        Unavailable: It cannot be installed here.
    """
    _module(name).install()


@contextlib.contextmanager
def running(name: str) -> Iterator[Server]:
    """Start server `name`, and stop it when the `with` body ends, however it ends.

    Raises:
        Unavailable: It is not installed and cannot be here.
        StartFailed: It is installed but did not come up.
    """
    with contextlib.ExitStack() as stack:
        endpoint = _started(_module(name), name, stack)
        keys = (endpoint.access_key, endpoint.secret_key)
        if name in TRAITS:
            traits = TRAITS[name]
        else:
            from .probes import measure  # nothing is known about a foreign endpoint: ask it

            traits = measure(Server(name, endpoint.url, *keys, Traits()))
        yield Server(name, endpoint.url, *keys, traits)


def _started(module: ServerModule, name: str, stack: contextlib.ExitStack) -> Endpoint:
    for attempt in range(1, _START_ATTEMPTS + 1):
        with contextlib.ExitStack() as attempted:
            directory = attempted.enter_context(
                tempfile.TemporaryDirectory(
                    prefix=f"object-clerk-{name}-", ignore_cleanup_errors=True
                )
            )
            place = Workplace(Path(directory))
            attempted.callback(place.stop)
            try:
                endpoint = module.start(place)
            except StartFailed:
                # A free port may be taken by somebody else before the server binds it.
                if attempt == _START_ATTEMPTS:
                    raise
                continue
            stack.push(attempted.pop_all())
            return endpoint
    raise AssertionError("unreachable")
