"""ObjectStore: buckets and objects of any backend, by one set of names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkTypeException
from object_clerk.locks import ForkSafeLock
from object_clerk.store.adapters import factory_of
from object_clerk.store.configurations import Framework, ObjectStoreConfiguration
from object_clerk.store.sources import find_configuration

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from datetime import timedelta
    from typing import IO

    from object_clerk.receipt import Receipt
    from object_clerk.store.client import ObjectStoreClient
    from object_clerk.store.models import (
        Bucket,
        ObjectInfo,
        ObjectVersion,
        OpenedObject,
    )


class ObjectStore:
    """Objects in buckets, on S3, in a directory, in memory, or behind a registered adapter.

    Everything is retried and verified where the backend is S3; the other backends check what they
    read against the digests they have kept. A bucket of None means ``root_bucket``. Bad arguments
    raise a ValueError (or TypeError) before anything is done, and what fails on the way raises a
    RuntimeError; all of them are also in the tree of :mod:`object_clerk.exceptions`.

    Making a store asks nothing of the backend, and neither does a listing before its first entry
    is taken. A store may be shared between threads, pickled, and used as a context manager.

    Args:
        config: a configuration or a dict that is one; None for what the environment and the files
            of ``CONFIG_PATH`` say, see :func:`~object_clerk.store.sources.find_configuration`.

    Raises:
        ObjectClerkConfigurationException: it is wrong, or there is none.
    """

    def __init__(self, config: ObjectStoreConfiguration | Mapping[str, Any] | None = None) -> None:
        found = find_configuration() if config is None else config
        self.config = ObjectStoreConfiguration.of(found)
        self.root_bucket = self.config.root_bucket
        self._factory = factory_of(self.config)
        self._client: ObjectStoreClient | None = None
        self._lock = ForkSafeLock()

    @classmethod
    def named(cls, name: str) -> ObjectStore:
        """The store with this name in the environment or the files of ``CONFIG_PATH``."""
        return cls(find_configuration(name))

    @property
    def client(self) -> ObjectStoreClient:
        """The backend; made when it is first used, and kept."""
        with self._lock:
            if self._client is None:
                self._client = self._factory.create_client()
            return self._client

    def close(self) -> None:
        """Give up connections and files. The next use makes new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ObjectStore({self.config.framework!s}, root_bucket={self.root_bucket!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.config.framework == Framework.MEMORY:
            raise ObjectClerkTypeException("a store in memory stays in its process")
        return ObjectStore, (self.config,)

    # -- files -----------------------------------------------------------------------------

    def upload_file(
        self,
        file_path: str | os.PathLike[str],
        key: str,
        bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Store a file; see :meth:`ObjectStoreClient.upload_object`."""
        return self.client.upload_file(file_path, key, bucket, **options)

    def upload_object(
        self,
        file_path: str | os.PathLike[str],
        key: str,
        bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Store a file; see :meth:`ObjectStoreClient.upload_object`."""
        return self.client.upload_object(file_path, key, bucket, **options)

    def put_object_v2(
        self,
        data: bytes | IO[bytes],
        key: str,
        bucket: str | None = None,
        length: int = -1,
        **options: Any,
    ) -> Receipt:
        """Store bytes or a stream; see :meth:`ObjectStoreClient.put_object_v2`."""
        return self.client.put_object_v2(data, key, bucket, length, **options)

    def download_file(
        self,
        key: str,
        file_path: str | os.PathLike[str],
        bucket: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Read an object into a file; see :meth:`ObjectStoreClient.download_file`."""
        return self.client.download_file(key, file_path, bucket, version, **options)

    def download_object(
        self,
        key: str,
        file_path: str | os.PathLike[str] | None = None,
        bucket: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> OpenedObject:
        """Read an object into a file, and hand it over.

        See :meth:`ObjectStoreClient.download_object`.
        """
        return self.client.download_object(key, file_path, bucket, version, **options)

    # -- objects ---------------------------------------------------------------------------

    def get_file(
        self, key: str, bucket: str | None = None, version: str | None = None, **options: Any
    ) -> OpenedObject:
        """Open an object; the same as :meth:`get_object`."""
        return self.client.get_object(key, bucket, version, **options)

    def get_object(
        self, key: str, bucket: str | None = None, version: str | None = None, **options: Any
    ) -> OpenedObject:
        """Open an object; see :meth:`ObjectStoreClient.get_object`."""
        return self.client.get_object(key, bucket, version, **options)

    def head_object(
        self, key: str, bucket: str | None = None, version: str | None = None
    ) -> ObjectInfo:
        """What is known of an object; see :meth:`ObjectStoreClient.head_object`."""
        return self.client.head_object(key, bucket, version)

    def delete_file(self, key: str, version: str | None = None, bucket: str | None = None) -> None:
        """Delete an object, as :meth:`delete_object` does; mind the order of the arguments."""
        self.client.delete_object(key, bucket, version)

    def delete_object(
        self,
        key: str,
        bucket: str | None = None,
        version: str | None = None,
        *,
        if_unchanged: ObjectInfo | None = None,
    ) -> None:
        """Delete an object; see :meth:`ObjectStoreClient.delete_object`."""
        self.client.delete_object(key, bucket, version, if_unchanged=if_unchanged)

    def copy_object(
        self,
        src_object: str,
        dst_object: str,
        src_bucket: str | None = None,
        dst_bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Copy an object; see :meth:`ObjectStoreClient.copy_object`."""
        return self.client.copy_object(src_object, dst_object, src_bucket, dst_bucket, **options)

    # -- listings --------------------------------------------------------------------------

    def list_buckets(self) -> Iterator[Bucket]:
        """All buckets that may be seen, by name."""
        return self.client.list_buckets()

    def list_files(
        self, prefix: str = "", bucket: str | None = None, **options: Any
    ) -> Iterator[ObjectInfo]:
        """The objects of a bucket; the same as :meth:`list_objects`."""
        return self.client.list_objects(bucket, prefix, **options)

    def list_objects(
        self, prefix: str = "", bucket: str | None = None, **options: Any
    ) -> Iterator[ObjectInfo]:
        """The objects of a bucket; see :meth:`ObjectStoreClient.list_objects`."""
        return self.client.list_objects(bucket, prefix, **options)

    def list_versions(self, prefix: str = "", bucket: str | None = None) -> Iterator[ObjectVersion]:
        """All generations of the objects; see :meth:`ObjectStoreClient.list_versions`."""
        return self.client.list_versions(prefix, bucket)

    # -- URLs ------------------------------------------------------------------------------

    def get_presigned_url(
        self, key: str, bucket: str | None = None, expires: float | timedelta | None = None
    ) -> str:
        """A URL to read an object with; see :meth:`ObjectStoreClient.get_presigned_url`."""
        return self.client.get_presigned_url(key, bucket, expires)

    def get_presigned_upload_url(
        self, key: str, bucket: str | None = None, expires: float | timedelta | None = None
    ) -> str:
        """A URL to write an object with; see :meth:`ObjectStoreClient.get_presigned_upload_url`."""
        return self.client.get_presigned_upload_url(key, bucket, expires)
