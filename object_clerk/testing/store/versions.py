"""Generations of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    PreconditionFailed,
)
from object_clerk.store import Capability, ObjectVersion
from object_clerk.testing.store.ground import (
    Gap,
    Ground,
    content,
    failing,
    keys,
    lacks,
    new_bucket,
    refused,
)

if TYPE_CHECKING:
    from pathlib import Path

    from object_clerk.store import ObjectStore

# Not a mark of the class: those of one part are those of the whole contract.
_VERSIONED = pytest.mark.usefixtures("versioned")


def _listed(store: ObjectStore, prefix: str = "") -> list[tuple[str, str | None]]:
    return [(each.key, each.version) for each in store.list_versions(prefix)]


class Versions(Ground):
    """What was replaced or deleted is kept where the backend keeps it."""

    def lacking(self, store: ObjectStore, gaps: frozenset[Gap], path: Path) -> bool:
        """Whether there are no versions; each way to ask for one is refused then."""
        if lacks(
            store,
            Capability.VERSIONS,
            lambda: list(store.list_versions()),
            lambda: store.get_object("key", version="1"),
            lambda: store.get_file("key", version="1"),
            lambda: store.head_object("key", version="1"),
            lambda: store.download_file("key", path / "file", version="1"),
            lambda: store.download_object("key", path / "file", version="1"),
            lambda: store.delete_object("key", version="1"),
            lambda: store.delete_file("key", "1"),
        ):
            assert not (path / "file").exists()
            return True
        if Gap.VERSIONS in gaps:
            pytest.skip(f"gap VERSIONS: {Gap.VERSIONS.value}")
        return False

    @_VERSIONED
    def test_version_read(self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path) -> None:
        """Check 15: an old generation is read in every way there is."""
        old = store.put_object_v2(b"first", "key")
        new = store.put_object_v2(b"the second", "key")
        if self.lacking(store, gaps, tmp_path):
            assert content(store, "key") == b"the second"
            return
        assert old.version_id
        assert new.version_id
        assert old.version_id != new.version_id
        assert content(store, "key") == b"the second"
        assert content(store, "key", version=old.version_id) == b"first"
        assert content(store, "key", version=new.version_id) == b"the second"
        with store.get_file("key", version=old.version_id) as opened:
            assert (opened.info.version, opened.body.read()) == (old.version_id, b"first")
        assert store.head_object("key", version=old.version_id).size == 5
        receipt = store.download_file("key", tmp_path / "file", version=old.version_id)
        assert receipt.version_id == old.version_id
        assert (tmp_path / "file").read_bytes() == b"first"
        with store.download_object("key", tmp_path / "new", version=old.version_id) as opened:
            assert opened.body.read() == b"first"

    @_VERSIONED
    def test_version_list(self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path) -> None:
        """Check 15: all generations, by key, of each the latest first."""
        if self.lacking(store, gaps, tmp_path):
            return
        made = [
            (key, store.put_object_v2(data, key).version_id)
            for key, data in (("b", b"1"), ("a/x", b"22"), ("b", b"333"), ("b", b"4444"))
        ]
        assert _listed(store) == [made[1], made[3], made[2], made[0]]
        assert _listed(store, "a/") == [made[1]]
        assert _listed(store, "missing") == []
        versions = list(store.list_versions("b"))
        assert all(isinstance(each, ObjectVersion) for each in versions)
        assert [each.size for each in versions] == [4, 3, 1]
        assert [each.is_latest for each in versions] == [True, False, False]
        assert not any(each.is_delete_marker for each in versions)
        assert all(each.updated_time.utcoffset() is not None for each in versions)
        assert keys(store) == ["a/x", "b"]

    @_VERSIONED
    def test_version_delete_marker(
        self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path
    ) -> None:
        """Check 13: what is deleted is hidden, and can be had back."""
        if self.lacking(store, gaps, tmp_path):
            return
        first = store.put_object_v2(b"first", "key")
        store.delete_object("key")
        assert keys(store) == []
        with pytest.raises(ObjectNotFoundException):
            store.get_object("key")
        marker, version = store.list_versions()
        assert (marker.is_delete_marker, marker.is_latest) == (True, True)
        assert (version.is_delete_marker, version.is_latest) == (False, False)
        assert content(store, "key", version=first.version_id) == b"first"
        store.delete_object("key", version=marker.version)
        assert content(store, "key") == b"first"
        assert _listed(store) == [("key", first.version_id)]

    @_VERSIONED
    def test_version_delete_one(
        self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path
    ) -> None:
        """Check 13: a generation that is named is deleted for good, and no other."""
        if self.lacking(store, gaps, tmp_path):
            return
        first, second, third = (
            store.put_object_v2(data, "key").version_id for data in (b"first", b"second", b"third")
        )
        assert first
        assert third
        store.delete_object("key", version=first)
        assert _listed(store) == [("key", third), ("key", second)]
        store.delete_file("key", third)
        assert _listed(store) == [("key", second)]
        assert content(store, "key") == b"second"
        with pytest.raises(ObjectClerkException):
            store.get_object("key", version=first)

    @_VERSIONED
    def test_version_delete_if_unchanged(
        self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path
    ) -> None:
        """Check 13: what is latest is hidden if it is what is meant, and all versions stay."""
        if self.lacking(store, gaps, tmp_path):
            return
        if Capability.CONDITIONAL_DELETES not in store.client.capabilities:
            return
        store.put_object_v2(b"content", "key")
        old = store.head_object("key")
        store.put_object_v2(b"content", "key")
        new = store.head_object("key")
        made = [("key", new.version), ("key", old.version)]
        with failing(ObjectClerkParameterException, "version"):
            store.delete_object("key", version=new.version, if_unchanged=new)
        for stale in (old, store.head_object("key", version=old.version)):
            with failing(PreconditionFailed, store.root_bucket, "key"):
                store.delete_object("key", if_unchanged=stale)
        assert _listed(store) == made
        if Gap.IF_UNCHANGED_VERSIONS in gaps:
            refused(store, lambda: store.delete_object("key", if_unchanged=new))
            assert _listed(store) == made
            return
        for info in (new, next(store.list_versions("key")), next(store.list_objects("key"))):
            store.delete_object("key", if_unchanged=info)
            assert keys(store) == []
            store.delete_object("key", if_unchanged=info)
            marker, *versions = store.list_versions()
            assert marker.is_delete_marker
            assert [(each.key, each.version) for each in versions] == made
            with pytest.raises(ObjectClerkParameterException):
                store.delete_object("key", if_unchanged=marker)
            store.delete_object("key", version=marker.version)
            assert content(store, "key") == b"content"

    @_VERSIONED
    def test_version_unknown(
        self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path
    ) -> None:
        """Check 13: a generation that never was is never taken for one that is."""
        if self.lacking(store, gaps, tmp_path):
            return
        store.put_object_v2(b"content", "key")
        other = store.put_object_v2(b"other", "other").version_id
        assert other
        for get in (store.get_object, store.head_object):
            with pytest.raises(ObjectClerkException):
                get("key", version=other)
        with pytest.raises(ObjectClerkException):
            store.download_file("key", tmp_path / "file", version=other)
        assert not (tmp_path / "file").exists()
        store.delete_object("key", version=other)  # as S3 does: there is nothing to delete
        assert content(store, "key") == b"content"
        assert content(store, "other") == b"other"

    @_VERSIONED
    def test_version_missing_bucket(
        self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path
    ) -> None:
        """Check 15: a missing bucket is told when the first entry is taken."""
        if self.lacking(store, gaps, tmp_path):
            return
        bucket = new_bucket()
        listed = store.list_versions(bucket=bucket)
        with failing(BucketNotFoundException, bucket):
            next(listed)

    @_VERSIONED
    def test_version_impossible(
        self, store: ObjectStore, gaps: frozenset[Gap], tmp_path: Path
    ) -> None:
        """Check 15: a version is a text."""
        if self.lacking(store, gaps, tmp_path):
            return
        store.put_object_v2(b"content", "key")
        with pytest.raises(ObjectClerkTypeException):
            store.get_object("key", version=1)  # type: ignore[arg-type]
        with pytest.raises(ObjectClerkTypeException):
            store.delete_object("key", version=1)  # type: ignore[arg-type]
        assert content(store, "key") == b"content"
