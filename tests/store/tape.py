"""An adapter as somebody else would write it, with as little as there may be in one."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, ClassVar

from object_clerk import (
    BucketNotFoundException,
    ObjectNotFoundException,
    ObjectSaveException,
    Receipt,
    UnsupportedError,
    Verdict,
)
from object_clerk.exceptions import ObjectClerkFileException, SourceNotFound
from object_clerk.store import (
    Bucket,
    ObjectInfo,
    ObjectStoreClient,
    ObjectStoreComponentFactory,
    OpenedObject,
)
from object_clerk.store.options import known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from object_clerk.store import ObjectStoreConfiguration

MADE = datetime(2026, 3, 1, tzinfo=UTC)


class TapeClient(ObjectStoreClient):
    """It has two buckets and no capability at all."""

    def __init__(self, config: ObjectStoreConfiguration | Mapping[str, Any]) -> None:
        super().__init__(config)
        self.buckets = sorted({self.root_bucket, "first", "second"})
        self.objects: dict[tuple[str, str], tuple[ObjectInfo, bytes]] = {}
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def _find(self, bucket: str, key: str) -> tuple[ObjectInfo, bytes]:
        self._check(bucket)
        if (bucket, key) not in self.objects:
            raise ObjectNotFoundException("it is not on the tape", bucket=bucket, key=key)
        return self.objects[bucket, key]

    def _check(self, bucket: str) -> None:
        if bucket not in self.buckets:
            raise BucketNotFoundException("there is no such tape", bucket=bucket)

    def _list_buckets(self) -> Iterator[Bucket]:
        yield from (Bucket(name, MADE) for name in self.buckets)

    def _list_objects(self, *, bucket: str, prefix: str, **options: Any) -> Iterator[ObjectInfo]:
        self._check(bucket)
        given = known(options, "start_after", "limit")
        start = given.get("start_after", "").encode()
        names = sorted(
            key.encode()
            for home, key in list(self.objects)
            if home == bucket and key.startswith(prefix) and key.encode() > start
        )
        for name in names[: given.get("limit")]:
            if (found := self.objects.get((bucket, name.decode()))) is not None:
                yield found[0]

    def _get_object(self, *, key: str, bucket: str, **options: Any) -> OpenedObject:
        known(options, "verify_checksum")
        info, data = self._find(bucket, key)
        return OpenedObject(io.BytesIO(data), info.updated_time, info)

    def _download_object(
        self, *, key: str, file_path: Path, bucket: str, **options: Any
    ) -> Receipt:
        known(options, "verify_checksum")
        info, data = self._find(bucket, key)
        try:
            file_path.parent.mkdir(parents=True, exist_ok=True)
            file_path.write_bytes(data)
        except OSError as error:
            raise ObjectClerkFileException(f"{file_path}: {error.strerror}") from error
        return _receipt("download_object", bucket, info)

    def _upload_object(self, *, file_path: Path, key: str, bucket: str, **options: Any) -> Receipt:
        known(options)
        try:
            data = file_path.read_bytes()
        except FileNotFoundError as error:
            raise SourceNotFound(f"there is no file {file_path}") from error
        except OSError as error:
            raise ObjectSaveException(f"{file_path}: {error.strerror}") from error
        return self._keep("upload_object", bucket, key, data)

    def _put_object_v2(
        self, *, data: bytes | IO[bytes], length: int, key: str, bucket: str, **options: Any
    ) -> Receipt:
        known(options)
        if isinstance(data, (bytes, bytearray, memoryview)):
            content = bytes(data)
        else:
            try:
                content = b"".join(iter(lambda: data.read(1 << 20) or b"", b""))
            except (OSError, TypeError) as error:
                raise ObjectSaveException(f"the stream cannot be read: {error}") from error
        if length not in (-1, len(content)):
            raise ObjectSaveException(f"{length} bytes were promised, {len(content)} came")
        return self._keep("put_object_v2", bucket, key, content)

    def _copy_object(
        self, *, src_object: str, dst_object: str, src_bucket: str, dst_bucket: str, **options: Any
    ) -> Receipt:
        known(options)
        info, data = self._find(src_bucket, src_object)
        source = f"{src_bucket}/{info.key}"
        return self._keep("copy_object", dst_bucket, dst_object, data, source)

    def _keep(
        self, operation: str, bucket: str, key: str, data: bytes, source: str | None = None
    ) -> Receipt:
        self._check(bucket)
        etag = hashlib.md5(data).hexdigest()
        info = ObjectInfo(key, datetime.now(UTC), len(data), etag)
        self.objects[bucket, key] = (info, data)
        return _receipt(operation, bucket, info, source)

    def _delete_object(self, *, key: str, bucket: str, **options: Any) -> None:
        self._check(bucket)
        self.objects.pop((bucket, key), None)

    def _get_presigned_url(self, *, key: str, bucket: str, expires: int) -> str:
        raise UnsupportedError("a tape has no URL")

    def _get_presigned_upload_url(self, *, key: str, bucket: str, expires: int) -> str:
        raise UnsupportedError("a tape has no URL")


def _receipt(operation: str, bucket: str, info: ObjectInfo, source: str | None = None) -> Receipt:
    return Receipt(
        operation=operation,
        bucket=bucket,
        key=info.key,
        size=info.size,
        etag=info.etag,
        source=source,
        verdict=Verdict.TRANSPORT,
        basis="it was seen on the tape",
    )


class TapeFactory(ObjectStoreComponentFactory):
    """Makes tapes, and remembers them."""

    made: ClassVar[list[TapeClient]] = []

    def _create_client(self) -> TapeClient:
        self.made.append(TapeClient(self.config))
        return self.made[-1]
