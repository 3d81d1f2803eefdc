"""S3, through an ObjectClerk: the frameworks ``minio`` and ``boto3``."""

from __future__ import annotations

import contextlib
import io
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, cast

from object_clerk import transfer
from object_clerk.checksum import record
from object_clerk.checksum.etag import bare
from object_clerk.clerk import ObjectClerk
from object_clerk.config import ClerkConfig
from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkParameterException,
    ObjectNotFoundException,
)
from object_clerk.store.client import ObjectStoreClient, ObjectStoreComponentFactory
from object_clerk.store.configurations import (
    ObjectStoreConnectionConfiguration,
    StoreConfigurationError,
    near_miss,
)
from object_clerk.store.models import (
    Bucket,
    Capability,
    ObjectInfo,
    ObjectVersion,
    OpenedObject,
)
from object_clerk.store.options import known
from object_clerk.transfer.files import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from object_clerk.receipt import Receipt
    from object_clerk.store.configurations import ObjectStoreConfiguration
    from object_clerk.transfer.delete import Generation

#: What ``options`` of the configuration may hold: arguments of ObjectClerk.
_HOOKS = ("on_event", "on_receipt")
_OPTIONS = (
    "client_config", "fast_lane", "list_objects_page_size", "metadata_record", "probe_prefix",
    "retry_backoff", "retry_deadline", "retry_delay", "retry_jitter", "retry_max_delay",
    "retry_tries", "transfer_config", *_HOOKS,
)  # fmt: skip

#: What the headers of the user's metadata begin with.
_METADATA = "x-amz-meta-"

#: What the clerk writes there about an upload is not the user's.
_RECORD = f"{_METADATA}{record.PREFIX}"

_READ = ("verify_checksum", "extra_args")
_WRITE = (
    "content_type", "metadata", "if_absent", "if_match", "verify_checksum", "storage_class",
    "stage", "extra_args",
)  # fmt: skip
_COPY = ("if_absent", "if_match", "verify_checksum")


class S3Client(ObjectStoreClient):
    """Objects on an S3 store. Every call is retried and verified as the clerk does it.

    Args:
        config: the configuration of the store.
        clerk: does the work; closed with the client.
    """

    capabilities = frozenset(Capability)

    def __init__(
        self, config: ObjectStoreConfiguration | Mapping[str, Any], clerk: ObjectClerk
    ) -> None:
        super().__init__(config)
        self.clerk = clerk

    def close(self) -> None:
        """Close all connections."""
        self.clerk.close()

    def _list_buckets(self) -> Iterator[Bucket]:
        for entry in self.clerk.list_buckets():
            yield Bucket(entry["Name"], entry["CreationDate"])

    def _create_bucket(self, *, bucket: str, exist_ok: bool) -> None:
        self.clerk.create_bucket(bucket, exist_ok=exist_ok)

    def _delete_bucket(self, *, bucket: str) -> None:
        self.clerk.delete_bucket(bucket)

    def _list_objects(self, *, bucket: str, prefix: str, **options: Any) -> Iterator[ObjectInfo]:
        for entry in self.clerk.list_objects(bucket, prefix or None, **options):
            if "Key" in entry:  # else all that has a delimiter after the prefix, rolled up
                yield ObjectInfo(
                    key=entry["Key"],
                    updated_time=entry["LastModified"],
                    size=entry["Size"],
                    etag=bare(entry.get("ETag")),
                )

    def _list_level(self, *, bucket: str, prefix: str, **options: Any) -> Iterator[ObjectInfo]:
        return self._list_objects(bucket=bucket, prefix=prefix, delimiter="/", **options)

    def _list_versions(self, *, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        for entry in self.clerk.list_versions(bucket, prefix or None):
            yield ObjectVersion(
                key=entry["Key"],
                updated_time=entry["LastModified"],
                size=entry.get("Size", 0),
                etag=bare(entry.get("ETag")),
                version=entry.get("VersionId"),
                is_latest=bool(entry.get("IsLatest")),
                is_delete_marker=bool(entry.get("IsDeleteMarker")),
            )

    def _get_object(
        self, *, key: str, bucket: str, version: str | None = None, **options: Any
    ) -> OpenedObject:
        chosen = known(options, *_READ, "begin", "end")
        # Some bytes are preceded by a HEAD, whose answer does not tell a missing bucket.
        with self._missing(bucket, key) if "begin" in chosen else contextlib.nullcontext():
            reader = self.clerk.open_object(bucket, key, version_id=version, **chosen)
        info = _info(key, reader.answer["ResponseMetadata"]["HTTPHeaders"])
        body = io.BufferedReader(reader, self.clerk.config.download.block_bytes)
        return OpenedObject(cast("IO[bytes]", body), info.updated_time, info)

    def _head_object(self, *, key: str, bucket: str, version: str | None = None) -> ObjectInfo:
        with self._missing(bucket, key):
            return _info(key, self.clerk.get_object_info(bucket, key, version_id=version))

    def _download_object(
        self, *, key: str, file_path: Path, bucket: str, version: str | None = None, **options: Any
    ) -> Receipt:
        chosen = known(options, *_READ, "resume")
        with self._missing(bucket, key):
            if not file_path.parent.exists():
                self.clerk.get_object_info(bucket, key, version_id=version)  # is it worth making?
                with writing(str(file_path.parent)):
                    file_path.parent.mkdir(parents=True, exist_ok=True)
            return self.clerk.download_object(bucket, key, file_path, version_id=version, **chosen)

    def _upload_object(self, *, file_path: Path, key: str, bucket: str, **options: Any) -> Receipt:
        chosen = known(options, *_WRITE)
        return self.clerk.upload_object(file_path, bucket, key, allow_empty=True, **chosen)

    def _put_object_v2(
        self, *, data: bytes | IO[bytes], length: int, key: str, bucket: str, **options: Any
    ) -> Receipt:
        chosen = known(options, *_WRITE)
        return self.clerk.upload_object(data, bucket, key, allow_empty=True, **chosen)

    def _copy_object(
        self, *, src_object: str, dst_object: str, src_bucket: str, dst_bucket: str, **options: Any
    ) -> Receipt:
        chosen = known(options, *_COPY)
        with self._missing(src_bucket, src_object):
            return self.clerk.copy_object(src_bucket, src_object, dst_bucket, dst_object, **chosen)

    def _delete_object(
        self,
        *,
        key: str,
        bucket: str,
        version: str | None = None,
        if_unchanged: ObjectInfo | None = None,
    ) -> None:
        if if_unchanged is None:
            self.clerk.delete_object(bucket, key, version_id=version)
        else:
            self.clerk._delete_unchanged(bucket, key, _generation(if_unchanged))

    @contextlib.contextmanager
    def _missing(self, bucket: str, key: str) -> Iterator[None]:
        """Tell a missing bucket from a missing object, which the answer to a HEAD does not."""
        try:
            yield
        except BucketNotFoundException:
            raise
        except ObjectNotFoundException:
            self.clerk.exists(bucket, key)  # raises if there is no such bucket
            raise

    def _get_presigned_url(self, *, key: str, bucket: str, expires: int) -> str:
        return self.clerk.presign_get(bucket, key, expires)

    def _get_presigned_upload_url(self, *, key: str, bucket: str, expires: int) -> str:
        return self.clerk.presign_put(bucket, key, expires)


class S3Factory(ObjectStoreComponentFactory):
    """Makes clients of S3 stores. Its settings are checked at once, before there is a client."""

    def __init__(self, config: ObjectStoreConfiguration) -> None:
        super().__init__(config)
        self._settings = settings_of(config)

    def _create_client(self) -> S3Client:
        return S3Client(self.config, ObjectClerk(**self._settings))


def settings_of(config: ObjectStoreConfiguration) -> dict[str, Any]:
    """The arguments of the ObjectClerk of a store.

    Raises:
        ObjectClerkConfigurationException: one of ``options`` is not known, or impossible.
    """
    connection = config.connection
    assert isinstance(connection, ObjectStoreConnectionConfiguration)
    token = connection.session_token
    ca_bundle = connection.ca_bundle
    where: dict[str, Any] = {
        "endpoint_url": connection.url,
        "access_key": connection.access_key,
        "secret_key": connection.secret_key.get_secret_value(),
        "session_token": None if token is None else token.get_secret_value(),
        "region_name": connection.region,
        "ca_bundle": None if ca_bundle is None else str(ca_bundle),
    }
    for name in config.options:
        if name not in _OPTIONS:
            raise StoreConfigurationError.about(
                (f"options.{name}", f"is not known; {near_miss(name, _OPTIONS)}")
            )
    settings = {name: value for name, value in config.options.items() if name not in _HOOKS}
    ClerkConfig.load(connection=False, **where, **settings)
    return {**where, **config.options}


def _generation(info: ObjectInfo) -> Generation:
    """What an object has to be to be the one that was described."""
    if info.etag is None:
        raise ObjectClerkParameterException("if_unchanged has no ETag")
    version = None if info.version == "null" else info.version
    return transfer.delete.Generation(info.etag, info.size, info.updated_time, version)


def _info(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """What the headers of a HEAD or GET answer say."""
    given = {name.lower(): value for name, value in headers.items()}
    return ObjectInfo(
        key=key,
        updated_time=parsedate_to_datetime(given["last-modified"]),
        size=int(given["content-length"]),
        etag=bare(given.get("etag")),
        content_type=given.get("content-type"),
        content_encoding=given.get("content-encoding"),
        metadata={
            name.removeprefix(_METADATA): value
            for name, value in given.items()
            if name.startswith(_METADATA) and not name.startswith(_RECORD)
        },
        version=given.get("x-amz-version-id"),
    )
