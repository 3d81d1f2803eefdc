"""Several threads, and several stores."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkOperationException
from object_clerk.store import Capability, ObjectStore, ObjectStoreConfiguration
from object_clerk.testing.store.ground import Gap, Ground, blob, content, keys

if TYPE_CHECKING:
    from object_clerk.testing.store.ground import Config

_THREADS = 8


class Sharing(Ground):
    """A store is used by several threads, and beside other stores."""

    def test_share_threads(self, store: ObjectStore) -> None:
        """Check 25: what threads do with different keys does not mix."""

        def work(number: int) -> list[bytes]:
            mine = [f"{number}/{name}" for name in "abc"]
            for key in mine:
                store.put_object_v2(key.encode() * 1000, key)
            assert keys(store, prefix=f"{number}/") == mine
            store.copy_object(mine[0], f"{number}/copy")
            store.delete_object(mine[1])
            return [content(store, key) for key in keys(store, prefix=f"{number}/")]

        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(work, range(_THREADS)))
        for number, contents in enumerate(found):
            expected = [f"{number}/{name}".encode() * 1000 for name in "aca"]
            assert contents == [expected[0], expected[1], expected[2]]

    def test_share_one_key(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 25: of several writers of a key one is last, and nobody reads a mixture."""
        size = 200_003
        tolerated = [ObjectClerkOperationException] if Gap.ATOMIC in gaps else []
        versions = [bytes([number]) * size for number in range(_THREADS)]

        def work(number: int) -> set[bytes]:
            store.put_object_v2(versions[number], "key")
            seen = set()
            for _ in range(3):
                with contextlib.suppress(*tolerated):
                    seen.add(content(store, "key"))
            return seen

        store.put_object_v2(versions[0], "key")
        with ThreadPoolExecutor(_THREADS) as pool:
            seen = set().union(*pool.map(work, range(_THREADS)))
        assert seen <= set(versions)
        assert content(store, "key") in versions
        assert keys(store) == ["key"]

    def test_share_two_readers(self, store: ObjectStore) -> None:
        """Check 25: two bodies of one object are read side by side."""
        data = blob(self.large)
        store.put_object_v2(data, "key")
        with store.get_object("key") as one, store.get_object("key") as other:
            assert one.body.read(1000) == other.body.read(1000) == data[:1000]
            assert one.body.read() == data[1000:]
            assert other.body.read() == data[1000:]

    def test_share_two_stores(self, store: ObjectStore, config: Config, other_bucket: str) -> None:
        """Check 25: each store has its own default bucket."""
        own = ObjectStoreConfiguration.of(config)
        with ObjectStore(own.model_copy(update={"root_bucket": other_bucket})) as other:
            if Capability.BUCKETS in other.client.capabilities:
                other.client.create_bucket(other_bucket, exist_ok=True)
            store.put_object_v2(b"one", "key")
            other.put_object_v2(b"two", "key")
            assert (content(store, "key"), content(other, "key")) == (b"one", b"two")
            other.delete_object("key")
            assert (keys(store), keys(other)) == (["key"], [])

    def test_share_client_is_kept(self, store: ObjectStore) -> None:
        """Check 5: a store makes its client once."""
        client = store.client
        store.put_object_v2(b"content", "key")
        assert store.client is client
        assert client.root_bucket == store.root_bucket == store.config.root_bucket
