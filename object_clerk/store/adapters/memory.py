"""Objects in the memory of this process, for tests and for what need not last."""

from __future__ import annotations

import bisect
import dataclasses
import io
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from object_clerk.locks import ForkSafeLock
from object_clerk.store.adapters._local import (
    LocalClient,
    bucket_full,
    bucket_there,
    check_unchanged,
    following,
    no_bucket,
    no_object,
    no_settings,
)
from object_clerk.store.client import ObjectStoreComponentFactory
from object_clerk.store.models import Bucket, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from object_clerk.store.adapters._local import Wish
    from object_clerk.store.configurations import ObjectStoreConfiguration


class _Bucket:
    """Objects by key, and their keys in order. Only whoever has the lock may touch it.

    At every moment each key in the list has an object: a forked child may begin at any moment.
    """

    def __init__(self) -> None:
        self.created_time = datetime.now(UTC)
        self.objects: dict[bytes, tuple[ObjectInfo, bytes]] = {}
        self._keys: list[bytes] = []

    def look(self, key: bytes) -> ObjectInfo | None:
        found = self.objects.get(key)
        return None if found is None else found[0]

    def put(self, key: bytes, info: ObjectInfo, data: bytes) -> None:
        self.objects[key] = (info, data)
        place = bisect.bisect_left(self._keys, key)
        if self._keys[place : place + 1] != [key]:
            self._keys.insert(place, key)

    def remove(self, key: bytes) -> None:
        place = bisect.bisect_left(self._keys, key)
        if self._keys[place : place + 1] == [key]:
            del self._keys[place]
        self.objects.pop(key, None)

    def page(self, begin: bytes, end: bytes, count: int) -> list[ObjectInfo]:
        """The first ``count`` objects from ``begin`` on, and before ``end``."""
        first, last = (bisect.bisect_left(self._keys, each) for each in (begin, end))
        return [self.objects[key][0] for key in self._keys[first : min(last, first + count)]]


class MemoryClient(LocalClient):
    """Objects in memory. They end with the client, and belong to it alone; closing ends nothing.

    Args:
        config: the configuration of the store.
    """

    kept = "hashed as it was taken into memory"

    def __init__(self, config: ObjectStoreConfiguration | Mapping[str, Any]) -> None:
        super().__init__(config)
        self._lock = ForkSafeLock()
        self._buckets = {self.root_bucket: _Bucket()}

    def _bucket(self, name: str) -> _Bucket:
        if name == self.root_bucket:
            return self._buckets.setdefault(name, _Bucket())
        if name not in self._buckets:
            raise no_bucket(name)
        return self._buckets[name]

    def _find(self, bucket: str, key: str) -> tuple[ObjectInfo, IO[bytes]]:
        with self._lock:
            found = self._bucket(bucket).objects.get(key.encode())
        if found is None:
            raise no_object()
        return _shown(found[0]), io.BytesIO(found[1])

    def _look(self, bucket: str, key: str) -> ObjectInfo | None:
        with self._lock:
            found = self._bucket(bucket).look(key.encode())
        return None if found is None else _shown(found)

    def _keep(
        self, bucket: str, blocks: Iterator[bytes], describe: Callable[[], ObjectInfo], wish: Wish
    ) -> ObjectInfo:
        data = b"".join(blocks)
        info = describe()
        key = info.key.encode()
        with self._lock:
            home = self._bucket(bucket)
            there = home.look(key)
            wish.check(None if there is None else there.etag)
            info = following(info, there)
            home.put(key, info, data)
        return info

    def _delete_object(
        self, *, key: str, bucket: str, if_unchanged: ObjectInfo | None = None, **_: Any
    ) -> None:
        with self._lock:
            home = self._bucket(bucket)
            check_unchanged(home.look(key.encode()), if_unchanged)
            home.remove(key.encode())

    def _page(self, bucket: str, begin: bytes, end: bytes, count: int) -> list[ObjectInfo]:
        with self._lock:
            return [_shown(info) for info in self._bucket(bucket).page(begin, end, count)]

    def _list_buckets(self) -> Iterator[Bucket]:
        with self._lock:
            found = [Bucket(name, each.created_time) for name, each in self._buckets.items()]
        yield from sorted(found, key=lambda bucket: bucket.name)

    def _create_bucket(self, *, bucket: str, exist_ok: bool) -> None:
        with self._lock:
            if bucket in self._buckets and not exist_ok:
                raise bucket_there(bucket)
            self._buckets.setdefault(bucket, _Bucket())

    def _delete_bucket(self, *, bucket: str) -> None:
        with self._lock:
            if bucket not in self._buckets:
                raise no_bucket(bucket)
            if self._buckets[bucket].objects:
                raise bucket_full(bucket)
            del self._buckets[bucket]


def _shown(info: ObjectInfo) -> ObjectInfo:
    """A copy whose metadata can be changed without a change of ours."""
    return dataclasses.replace(info, metadata=dict(info.metadata or {}), digests=dict(info.digests))


class MemoryFactory(ObjectStoreComponentFactory):
    """Has one client, so that the objects of a store live as long as the store."""

    def __init__(self, config: ObjectStoreConfiguration) -> None:
        super().__init__(config)
        no_settings(config)
        self._client = MemoryClient(config)

    def _create_client(self) -> MemoryClient:
        return self._client
