"""Copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    DestinationExists,
    ObjectClerkParameterException,
    ObjectNotFoundException,
    PreconditionFailed,
)
from object_clerk.store import Capability, ObjectStore
from object_clerk.testing.store.ground import (
    Gap,
    Ground,
    blob,
    content,
    failing,
    keys,
    lacks,
    new_bucket,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Copying(Ground):
    """Objects are copied with what belongs to them, whole or not at all."""

    def test_copy(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 14: within a bucket and across, in all directions."""
        root = store.root_bucket
        store.put_object_v2(b"content", "a/source")
        receipt = store.copy_object("a/source", "b/target")
        self.proved(receipt, 7, "b/target", root)
        assert receipt.source == f"{root}/a/source"
        receipt = store.copy_object("a/source", "a/source", dst_bucket=other_bucket)
        self.proved(receipt, 7, "a/source", other_bucket)
        store.put_object_v2(b"changed", "a/source", other_bucket)
        receipt = store.copy_object("a/source", "back", other_bucket)
        self.proved(receipt, 7, "back", root)
        receipt = store.copy_object("back", "there", src_bucket=root, dst_bucket=other_bucket)
        self.proved(receipt, 7, "there", other_bucket)
        assert {key: content(store, key) for key in keys(store)} == {
            "a/source": b"content",
            "b/target": b"content",
            "back": b"changed",
        }
        assert keys(store, other_bucket) == ["a/source", "there"]
        assert content(store, "there", other_bucket) == b"changed"

    def test_copy_target_is_replaced(self, store: ObjectStore) -> None:
        """Check 14: a copy replaces what was there."""
        store.put_object_v2(b"old and long content", "target")
        store.put_object_v2(b"content", "source")
        store.copy_object("source", "target")
        assert content(store, "target") == b"content"
        store.delete_object("source")
        assert content(store, "target") == b"content"

    @pytest.mark.parametrize("size", ["empty", "large"])
    def test_copy_sizes(self, size: str, store: ObjectStore) -> None:
        """Check 14: nothing and much."""
        data = blob(self.large if size == "large" else 0)
        store.put_object_v2(data, "source")
        self.proved(store.copy_object("source", "target"), len(data), "target", store.root_bucket)
        assert content(store, "target") == data

    def test_copy_metadata(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 14: content type and metadata are copied too."""
        about: dict[str, Any] = {"content_type": "image/fits", "metadata": {"night": "2026-03-01"}}
        if lacks(
            store, Capability.METADATA, lambda: store.put_object_v2(b"content", "source", **about)
        ):
            return
        store.put_object_v2(b"content", "source", **about)
        for bucket in (store.root_bucket, other_bucket):
            store.copy_object("source", "target", dst_bucket=bucket)
            info = store.head_object("target", bucket)
            assert info.content_type == "image/fits"
            found = {name.lower(): value for name, value in (info.metadata or {}).items()}
            assert found["night"] == "2026-03-01"

    def test_copy_onto_itself(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 14: an object is not copied onto itself, however it is named."""
        store.put_object_v2(b"content", "key")
        for buckets in ((None, None), (store.root_bucket, None), (None, store.root_bucket)):
            with failing(ObjectClerkParameterException, store.root_bucket, "key"):
                store.copy_object("key", "key", *buckets)
        assert content(store, "key") == b"content"
        assert store.copy_object("key", "key", dst_bucket=other_bucket).size == 7

    def test_copy_missing(self, store: ObjectStore) -> None:
        """Check 14: without a source the target stays what it was."""
        store.put_object_v2(b"before", "target")
        with failing(ObjectNotFoundException, store.root_bucket):
            store.copy_object("missing", "target")
        with pytest.raises(ObjectNotFoundException) as caught:
            store.copy_object("missing", "target")
        assert not isinstance(caught.value, BucketNotFoundException)
        assert "missing" in str(caught.value)
        assert content(store, "target") == b"before"
        assert keys(store) == ["target"]

    def test_copy_missing_bucket(self, store: ObjectStore) -> None:
        """Check 8: either bucket may be missing."""
        bucket = new_bucket()
        store.put_object_v2(b"content", "source")
        with failing(BucketNotFoundException, bucket):
            store.copy_object("source", "target", src_bucket=bucket)
        with failing(BucketNotFoundException, bucket):
            store.copy_object("source", "target", dst_bucket=bucket)
        assert keys(store) == ["source"]

    def test_copy_conditions(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 20: copies have the conditions that writes have."""
        store.put_object_v2(b"content", "source")
        before = store.put_object_v2(b"before", "target")

        def copy(to: str, **condition: Any) -> Callable[[], object]:
            return lambda: store.copy_object("source", to, **condition)

        absent, match = {"if_absent": True}, {"if_match": before.etag}
        if lacks(store, Capability.CONDITIONS, copy("new", **absent), copy("target", **match)):
            return
        if Gap.COPY_IF_ABSENT in gaps:
            refused(store, copy("new", **absent))
        else:
            with failing(DestinationExists, store.root_bucket, "target"):
                copy("target", **absent)()
            assert content(store, "target") == b"before"
            copy("new", **absent)()
            assert content(store, "new") == b"content"
        if Gap.COPY_IF_MATCH in gaps:
            refused(store, copy("target", **match))
        else:
            with failing(PreconditionFailed, store.root_bucket, "target"):
                copy("target", if_match="0" * 32)()
            assert content(store, "target") == b"before"
            copy("target", **match)()
            assert content(store, "target") == b"content"

    def test_copy_unknown_option(self, store: ObjectStore) -> None:
        """Check 20: what nobody knows is refused, and what was meant is named."""
        store.put_object_v2(b"content", "source")
        meant = "if_absent" if Capability.CONDITIONS in store.client.capabilities else "if_absnt"
        with pytest.raises(TypeError, match=meant):
            store.copy_object("source", "target", if_absnt=True)
        assert keys(store) == ["source"]
