"""ObjectStore: one interface over S3, a directory, memory, and whatever adapters there are.

::

    from object_clerk.store import ObjectStore

    store = ObjectStore({"framework": "filesystem", "root_bucket": "raw",
                         "connection": {"root": "objects"}})
    store.upload_file("night.fits", "2026/night.fits")
"""

from object_clerk.store.aio import AsyncBody, AsyncListing, AsyncObjectStore, AsyncOpenedObject
from object_clerk.store.client import ObjectStoreClient, ObjectStoreComponentFactory
from object_clerk.store.configurations import (
    FilesystemConnectionConfiguration,
    Framework,
    ObjectStoreConfiguration,
    ObjectStoreConnectionConfiguration,
    StoreConfigurationError,
)
from object_clerk.store.models import (
    Bucket,
    Capability,
    Object,
    ObjectInfo,
    ObjectMetadata,
    ObjectVersion,
    OpenedObject,
)
from object_clerk.store.store import ObjectStore

__all__ = [
    "AsyncBody",
    "AsyncListing",
    "AsyncObjectStore",
    "AsyncOpenedObject",
    "Bucket",
    "Capability",
    "FilesystemConnectionConfiguration",
    "Framework",
    "Object",
    "ObjectInfo",
    "ObjectMetadata",
    "ObjectStore",
    "ObjectStoreClient",
    "ObjectStoreComponentFactory",
    "ObjectStoreConfiguration",
    "ObjectStoreConnectionConfiguration",
    "ObjectVersion",
    "OpenedObject",
    "StoreConfigurationError",
]
