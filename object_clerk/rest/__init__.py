"""Clients of the gateway, which speak HTTP and need no credentials of S3.

::

    from object_clerk.rest import RestStore

    with RestStore("http://localhost:8000", api_key) as store:
        store.put("my-key", b"Hello, World!")

The names below are imported when they are first used: the gateway shares the wire rules of this
package, and has no use for its clients.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from object_clerk.rest.aio import AsyncRestBody, AsyncRestStore
    from object_clerk.rest.client import RestBody, RestStore
    from object_clerk.rest.errors import KeyNotFound
    from object_clerk.rest.incoming import ObjectHead

__all__ = [
    "AsyncRestBody",
    "AsyncRestStore",
    "KeyNotFound",
    "ObjectHead",
    "RestBody",
    "RestStore",
]

_HOMES = {
    "AsyncRestBody": "aio",
    "AsyncRestStore": "aio",
    "KeyNotFound": "errors",
    "ObjectHead": "incoming",
    "RestBody": "client",
    "RestStore": "client",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    globals()[name] = value = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
