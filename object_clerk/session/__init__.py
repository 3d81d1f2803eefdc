"""Sessions with an object store over HTTP: usecases, scopes, expiry, compression, signed tokens.

::

    from object_clerk.session import Client, Usecase

    client = Client("http://localhost:8888")
    session = client.session(Usecase("attachments"), org=42, project=1337)
    key = session.put(b"Hello, world!")

The names below are imported when they are first used: the gateway shares some of the modules and
needs no client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from object_clerk.session.auth import Permission, SecretKey, TokenGenerator, TokenProvider
    from object_clerk.session.client import Client
    from object_clerk.session.errors import (
        ExpiryExtensionRejected,
        MultipartCompleteError,
        ObjectNotFound,
        RequestError,
    )
    from object_clerk.session.metadata import (
        Compression,
        ExpirationPolicy,
        Metadata,
        TimeToIdle,
        TimeToLive,
    )
    from object_clerk.session.metrics import MetricsBackend, NoOpMetricsBackend
    from object_clerk.session.multipart import MultipartUpload
    from object_clerk.session.payload import GetResponse
    from object_clerk.session.scope import Scope
    from object_clerk.session.session import Session
    from object_clerk.session.usecase import Usecase
    from object_clerk.session.utils import guess_mime_type, parse_accept_encoding

__all__ = [
    "Client",
    "Compression",
    "ExpirationPolicy",
    "ExpiryExtensionRejected",
    "GetResponse",
    "Metadata",
    "MetricsBackend",
    "MultipartCompleteError",
    "MultipartUpload",
    "NoOpMetricsBackend",
    "ObjectNotFound",
    "Permission",
    "RequestError",
    "Scope",
    "SecretKey",
    "Session",
    "TimeToIdle",
    "TimeToLive",
    "TokenGenerator",
    "TokenProvider",
    "Usecase",
    "guess_mime_type",
    "parse_accept_encoding",
]

_HOMES = {
    "Client": "client",
    "Compression": "metadata",
    "ExpirationPolicy": "metadata",
    "ExpiryExtensionRejected": "errors",
    "GetResponse": "payload",
    "Metadata": "metadata",
    "MetricsBackend": "metrics",
    "MultipartCompleteError": "errors",
    "MultipartUpload": "multipart",
    "NoOpMetricsBackend": "metrics",
    "ObjectNotFound": "errors",
    "Permission": "auth",
    "RequestError": "errors",
    "Scope": "scope",
    "SecretKey": "auth",
    "Session": "session",
    "TimeToIdle": "metadata",
    "TimeToLive": "metadata",
    "TokenGenerator": "auth",
    "TokenProvider": "auth",
    "Usecase": "usecase",
    "guess_mime_type": "utils",
    "parse_accept_encoding": "utils",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    globals()[name] = value = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
