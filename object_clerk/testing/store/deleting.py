"""Deletions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import BucketNotFoundException, ObjectNotFoundException
from object_clerk.testing.store.ground import Gap, Ground, content, failing, keys, new_bucket

if TYPE_CHECKING:
    from object_clerk.store import ObjectStore


class Deleting(Ground):
    """Objects are deleted, and no others."""

    def test_delete(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 13: what is deleted is gone, in the bucket that is meant."""
        for bucket in (None, other_bucket):
            for key in ("a", "b/c", "bc"):
                store.put_object_v2(key.encode(), key, bucket)
        store.delete_file("a")
        assert (keys(store), keys(store, other_bucket)) == (["b/c", "bc"], ["a", "b/c", "bc"])
        store.delete_file("b/c", None, other_bucket)
        store.delete_object("bc", other_bucket)
        store.delete_object(key="b/c", bucket=store.root_bucket)
        assert (keys(store), keys(store, other_bucket)) == (["bc"], ["a"])
        assert content(store, "a", other_bucket) == b"a"
        with pytest.raises(ObjectNotFoundException):
            store.get_object("a")

    def test_delete_twice(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 13: to delete what is not there is no error, and changes nothing."""
        store.put_object_v2(b"content", "key")
        store.put_object_v2(b"other", "folder/key")
        for _ in range(2):
            store.delete_object("key")
        store.delete_file("never there")
        store.delete_file("folder/never there")
        if Gap.FOLDERS not in gaps:
            store.delete_file("folder")
            store.delete_file("folder/")
        assert keys(store) == ["folder/key"]

    def test_delete_anew(self, store: ObjectStore) -> None:
        """Check 13: what was deleted can be stored again."""
        for data in (b"first", b"second"):
            store.put_object_v2(data, "folder/key")
            assert content(store, "folder/key") == data
            store.delete_object("folder/key")
            assert keys(store) == []

    def test_delete_missing_bucket(self, store: ObjectStore) -> None:
        """Check 8: in a bucket that is missing nothing can be deleted."""
        bucket = new_bucket()
        with failing(BucketNotFoundException, bucket):
            store.delete_object("key", bucket)
        with failing(BucketNotFoundException, bucket):
            store.delete_file("key", bucket=bucket)
