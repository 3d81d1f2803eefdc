"""Every byte that goes to or comes from an object store is retried, verified, accounted for.

Start with :class:`ObjectClerk`::

    from object_clerk import ObjectClerk

    with ObjectClerk.from_env() as clerk:
        receipt = clerk.upload_object("night.fits", "raw", "2026/night.fits")
        print(receipt.verdict)
"""

from object_clerk._version import __version__
from object_clerk.clerk import ObjectClerk
from object_clerk.config import ClerkConfig
from object_clerk.exceptions import (
    BucketNotFoundException,
    DeleteIncomplete,
    MoveIncomplete,
    ObjectChanged,
    ObjectClerkConfigurationException,
    ObjectClerkConnectionException,
    ObjectClerkException,
    ObjectClerkFileException,
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
)
from object_clerk.receipt import DeleteOutcome, Receipt, Verdict
from object_clerk.retry import RetryPolicy

__all__ = [
    "BucketNotFoundException",
    "ClerkConfig",
    "DeleteIncomplete",
    "DeleteOutcome",
    "MoveIncomplete",
    "ObjectChanged",
    "ObjectClerk",
    "ObjectClerkConfigurationException",
    "ObjectClerkConnectionException",
    "ObjectClerkException",
    "ObjectClerkFileException",
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
    "Verdict",
    "__version__",
]
