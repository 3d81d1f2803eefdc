"""Listings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
)
from object_clerk.store import ObjectInfo, ObjectMetadata, ObjectStore
from object_clerk.testing.store.ground import Gap, Ground, failing, keys, new_bucket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from object_clerk.testing.store.ground import Config

#: In the order of their UTF-8 bytes, which is neither that of words nor that of UTF-16.
KEYS = [
    "A", "a", "a!", "a-b", "a.b", "a/1", "a/2", "a/2/x", "a/2/y", "a0", "ab", "b c", "b+c",
    "\u00e4", "\uff01", "\U0001f600",
]  # fmt: skip


def _store(store: ObjectStore, names: Iterable[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put_object_v2(key.encode(), key), names))


class Listing(Ground):
    """Every object is listed once, in order."""

    @pytest.fixture
    def stored(self, store: ObjectStore, gaps: frozenset[Gap]) -> list[str]:
        """Keys that were stored, in order."""
        names = KEYS
        if Gap.FOLDERS in gaps:
            folders = {key.rpartition("/")[0] for key in KEYS}
            names = [key for key in KEYS if key not in folders]
        _store(store, names)
        return names

    def test_list_entries(self, store: ObjectStore, stored: list[str]) -> None:
        """Check 11: the root shows all there is below it, with sizes and times."""
        for listed in (store.list_files(), store.list_objects()):
            entries = list(listed)
            assert [each.key for each in entries] == stored
            for each in entries:
                assert isinstance(each, ObjectMetadata)
                assert isinstance(each, ObjectInfo)
                assert type(each.size) is int
                assert each.size == len(each.key.encode())
                assert each.updated_time.utcoffset() is not None

    def test_list_buckets(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 11: the objects of one bucket, and of no other."""
        store.put_object_v2(b"content", "here")
        store.put_object_v2(b"content", "there", other_bucket)
        assert (keys(store), keys(store, other_bucket)) == (["here"], ["there"])
        assert [each.key for each in store.list_objects(bucket=other_bucket)] == ["there"]
        listed = store.client.list_objects(other_bucket, "the")
        assert [each.key for each in listed] == ["there"]

    def test_list_prefix(self, store: ObjectStore, stored: list[str]) -> None:
        """Check 11: a prefix is any beginning, not only that of a folder."""
        for prefix in ("", "a", "a/", "a/2", "a/2/", "b", "b+", "\u00e4", "z", "a/2/x", "a/2/xx"):
            expected = [key for key in stored if key.startswith(prefix)]
            assert keys(store, prefix=prefix) == expected
            assert [each.key for each in store.list_objects(prefix)] == expected

    def test_list_prefix_at_the_end_of_unicode(
        self, store: ObjectStore, gaps: frozenset[Gap]
    ) -> None:
        """Check 11: the last character there is has no successor, and its keys neighbours."""
        last = "\U0010ffff"
        names = ["a", f"a{last}", f"a{last}!", f"a{last}{last}", "b", last, f"{last}{last}x"]
        _store(store, names)
        assert keys(store) == names
        assert keys(store, prefix="a") == names[:4]
        if Gap.LAST_PREFIX in gaps:
            with pytest.raises(ObjectClerkOperationException):
                keys(store, prefix=last)
            return
        for prefix in (f"a{last}", last, f"{last}{last}", f"a{last}{last}"):
            expected = [key for key in names if key.startswith(prefix)]
            assert keys(store, prefix=prefix) == expected

    def test_list_start_after(self, store: ObjectStore, stored: list[str]) -> None:
        """Check 11: only what comes after a key, which need not exist."""
        for start in ("A", "a", "a/", "a/2", "a/2/xx", "\uff01", "\U0001f600", "\U0010ffff"):
            expected = [key for key in stored if key.encode() > start.encode()]
            assert keys(store, start_after=start) == expected
        assert keys(store, prefix="a/", start_after="a/2") == ["a/2/x", "a/2/y"]
        below = [key for key in stored if key.startswith("a/")]
        assert keys(store, prefix="a/", start_after="0") == below
        assert keys(store, prefix="a/", start_after="b") == []

    def test_list_limit(self, store: ObjectStore, stored: list[str]) -> None:
        """Check 11: at most so many."""
        for limit in (1, 5, len(stored), 100_000):
            assert keys(store, limit=limit) == stored[:limit]
        below = [key for key in stored if key.startswith("a/")]
        assert keys(store, prefix="a/", start_after="a/1", limit=2) == below[1:3]

    def test_list_not_recursive(self, store: ObjectStore, stored: list[str]) -> None:
        """Check 11: without recursion, what lies deeper is left out."""
        top = [key for key in stored if "/" not in key]
        assert keys(store, recursive=False) == top
        below = [key for key in stored if key.startswith("a/")]
        assert keys(store, prefix="a/", recursive=False) == [k for k in below if k.count("/") == 1]
        assert keys(store, recursive=False, limit=3) == top[:3]
        assert keys(store, prefix="a/", recursive=True) == below
        # Behind the limit of all keys there are more of the top.
        assert keys(store, recursive=False, limit=len(top)) == top

    def test_list_more_than_a_page(self, store: ObjectStore) -> None:
        """Check 11: more than 1000 keys, each once."""
        names = [f"{number % 7}/{number:05}" for number in range(1_013)]
        _store(store, names)
        assert keys(store) == sorted(names)
        assert keys(store, limit=1_003) == sorted(names)[:1_003]

    def test_list_nothing(self, store: ObjectStore) -> None:
        """Check 11: an empty bucket is no error."""
        assert list(store.list_files()) == []
        assert list(store.list_objects("prefix/")) == []

    def test_list_missing_bucket(self, store: ObjectStore) -> None:
        """Check 11: a missing bucket is told when the first entry is taken."""
        bucket = new_bucket()
        for listed in (store.list_files(bucket=bucket), store.list_objects(bucket=bucket)):
            for _ in range(2):  # who goes on after an error must not take it for the end
                with failing(BucketNotFoundException, bucket):
                    next(listed)

    def test_list_nothing_is_asked_before(self, unreachable: Config | None) -> None:
        """Check 5: neither a store nor a listing asks anything before it is used."""
        if unreachable is None:
            pytest.skip("no fixture 'unreachable': this backend is always there")
        with ObjectStore(unreachable) as store:
            listings = [store.list_files(), store.list_objects("a"), store.list_buckets()]
            assert store.client is store.client
        assert len(listings) == 3

    def test_list_impossible_arguments(self, store: ObjectStore) -> None:
        """Check 11: what makes no sense is refused at the call."""
        wrong: list[dict[str, Any]] = [{"limit": 0}, {"limit": -1}, {"prefix": "\ud800"}]
        for arguments in wrong:
            with pytest.raises(ObjectClerkParameterException):
                store.list_files(**arguments)
        wrong = [{"prefix": None}, {"prefix": b"a"}, {"start_after": 3}]
        for arguments in wrong:
            with pytest.raises(ObjectClerkTypeException):
                store.list_files(**arguments)
        with pytest.raises(TypeError):
            store.list_files(recursiv=False)

    def test_list_deletion_meanwhile(self, store: ObjectStore) -> None:
        """Check 11: what is listed can be deleted while the listing goes on."""
        names = [f"{number:03}" for number in range(30)]
        _store(store, names)
        seen = []
        for each in store.list_files():
            seen.append(each.key)
            store.delete_object(each.key)
        assert seen == names
        assert keys(store) == []

    def test_list_writing_meanwhile(self, store: ObjectStore) -> None:
        """Check 11: what stays is listed once, whatever comes and goes beside it."""
        names = [f"{number:03}" for number in range(30)]
        _store(store, names)
        seen = []
        for each in store.list_files():
            seen.append(each.key)
            store.put_object_v2(b"replaced", each.key)
            store.put_object_v2(b"new", f"{each.key}-new")
            store.delete_object(f"{each.key}-new")
        assert [key for key in seen if not key.endswith("-new")] == names

    def test_list_left_early(self, store: ObjectStore, stored: list[str]) -> None:
        """Check 11: a listing that nobody finishes leaves nothing open."""
        listed = store.list_files()
        assert next(listed).key == stored[0]
        listed.close()  # type: ignore[attr-defined]
        assert keys(store) == stored
