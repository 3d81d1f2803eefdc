"""Buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    DestinationExists,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
)
from object_clerk.store import Bucket, Capability
from object_clerk.testing.store.ground import Ground, content, failing, lacks, new_bucket

if TYPE_CHECKING:
    from object_clerk.store import ObjectStore


def _names(store: ObjectStore) -> list[str]:
    return [each.name for each in store.list_buckets()]


class Buckets(Ground):
    """Buckets are listed, made and deleted."""

    def test_bucket_list(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 12: all buckets by name, and when they were made."""
        buckets = list(store.list_buckets())
        assert all(isinstance(each, Bucket) for each in buckets)
        assert all(each.created_time.utcoffset() is not None for each in buckets)
        names = [each.name for each in buckets]
        assert names == sorted(names)
        assert {store.root_bucket, other_bucket} <= set(names)

    def test_bucket_create_and_delete(self, store: ObjectStore) -> None:
        """Check 21: a bucket that was made can be used, and deleted when it is empty."""
        name, client = new_bucket(), store.client
        if lacks(store, Capability.BUCKETS, lambda: client.create_bucket(name)):
            return
        client.create_bucket(name)
        assert name in _names(store)
        store.put_object_v2(b"content", "key", name)
        with failing(ObjectClerkOperationException, name):
            client.delete_bucket(name)
        assert content(store, "key", name) == b"content"
        store.delete_object("key", name)
        client.delete_bucket(name)
        assert name not in _names(store)
        with pytest.raises(BucketNotFoundException):
            store.put_object_v2(b"content", "key", name)

    def test_bucket_create_again(self, store: ObjectStore) -> None:
        """Check 21: a bucket that is there is an error, unless that is expected."""
        name, client = store.root_bucket, store.client
        if lacks(store, Capability.BUCKETS, lambda: client.create_bucket(name, exist_ok=True)):
            return
        store.put_object_v2(b"content", "key")
        with failing(DestinationExists, name):
            client.create_bucket(name)
        client.create_bucket(name, exist_ok=True)
        assert content(store, "key") == b"content"

    def test_bucket_delete_missing(self, store: ObjectStore) -> None:
        """Check 21: a bucket that is not there cannot be deleted."""
        name, client = new_bucket(), store.client
        if lacks(store, Capability.BUCKETS, lambda: client.delete_bucket(name)):
            return
        with failing(BucketNotFoundException, name):
            client.delete_bucket(name)

    def test_bucket_impossible_names(self, store: ObjectStore) -> None:
        """Check 21: what cannot be a bucket is refused before anything is made."""
        before = _names(store)
        for name in ("", "a/b", "../b", "a\0b", "b" * 256):
            for verb in (store.client.create_bucket, store.client.delete_bucket):
                with pytest.raises(ObjectClerkParameterException):
                    verb(name)
        assert _names(store) == before
