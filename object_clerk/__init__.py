"""Every byte that goes to or comes from an object store is retried, verified, accounted for.

Start with :class:`ObjectClerk`::

    from object_clerk import ObjectClerk

    with ObjectClerk.from_env() as clerk:
        receipt = clerk.upload_object("night.fits", "raw", "2026/night.fits")
        print(receipt.verdict)

The names below are imported when they are first used, so that what needs only a few of them, as
the command line does for its help, does not wait for boto3.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

from object_clerk._version import __version__

if TYPE_CHECKING:
    from object_clerk.clerk import ObjectClerk
    from object_clerk.config import ClerkConfig
    from object_clerk.exceptions import (
        BucketNotFoundException,
        DeleteIncomplete,
        DestinationExists,
        MoveIncomplete,
        ObjectChanged,
        ObjectClerkConfigurationException,
        ObjectClerkConnectionException,
        ObjectClerkException,
        ObjectClerkFileException,
        ObjectClerkOperationException,
        ObjectClerkParameterException,
        ObjectClerkServerAuthException,
        ObjectClerkServerInternalException,
        ObjectClerkTimeoutException,
        ObjectClerkTypeException,
        ObjectNotFoundException,
        ObjectSaveException,
        ObjectUnverifiable,
        ObjectVerificationException,
        PreconditionFailed,
        SourceNotFound,
        UnsupportedError,
    )
    from object_clerk.receipt import (
        DeleteOutcome,
        Receipt,
        SweptUpload,
        UnfinishedUpload,
        Verdict,
        Verification,
    )
    from object_clerk.retry import RetryPolicy

__all__ = [
    "BucketNotFoundException",
    "ClerkConfig",
    "DeleteIncomplete",
    "DeleteOutcome",
    "DestinationExists",
    "MoveIncomplete",
    "ObjectChanged",
    "ObjectClerk",
    "ObjectClerkConfigurationException",
    "ObjectClerkConnectionException",
    "ObjectClerkException",
    "ObjectClerkFileException",
    "ObjectClerkOperationException",
    "ObjectClerkParameterException",
    "ObjectClerkServerAuthException",
    "ObjectClerkServerInternalException",
    "ObjectClerkTimeoutException",
    "ObjectClerkTypeException",
    "ObjectNotFoundException",
    "ObjectSaveException",
    "ObjectUnverifiable",
    "ObjectVerificationException",
    "PreconditionFailed",
    "Receipt",
    "RetryPolicy",
    "SourceNotFound",
    "SweptUpload",
    "UnfinishedUpload",
    "UnsupportedError",
    "Verdict",
    "Verification",
    "__version__",
]

# What the log says is for the application to show or not.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "ObjectClerk": "clerk",
    "ClerkConfig": "config",
    "DeleteOutcome": "receipt",
    "Receipt": "receipt",
    "SweptUpload": "receipt",
    "UnfinishedUpload": "receipt",
    "Verdict": "receipt",
    "Verification": "receipt",
    "RetryPolicy": "retry",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'exceptions')}")
    globals()[name] = value = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
