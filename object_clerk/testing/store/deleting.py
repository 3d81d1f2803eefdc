"""Deletions."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.store import Capability
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
    from collections.abc import Callable

    from object_clerk.store import ObjectInfo, ObjectStore


def _opened(store: ObjectStore, **span: Any) -> ObjectInfo:
    with store.get_object("key", **span) as opened:
        return opened.info


#: The ways to get to know a generation of the object "key".
_LOOKS: dict[str, Callable[[ObjectStore], ObjectInfo]] = {
    "head": lambda store: store.head_object("key"),
    "get": _opened,
    "some bytes": lambda store: _opened(store, begin=1, end=3),
    "list": lambda store: next(store.list_objects("key")),
}
_BY_EACH_LOOK = pytest.mark.parametrize("look", _LOOKS.values(), ids=_LOOKS)


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

    # -- conditions --------------------------------------------------------------------------

    @_BY_EACH_LOOK
    def test_delete_if_unchanged(
        self,
        look: Callable[[ObjectStore], ObjectInfo],
        store: ObjectStore,
        gaps: frozenset[Gap],
    ) -> None:
        """What was looked at is deleted, and to do so again is no error."""
        store.put_object_v2(b"content", "key")
        store.put_object_v2(b"content", "key2")
        info = look(store)

        def delete() -> None:
            store.delete_object("key", if_unchanged=info)

        if lacks(store, Capability.CONDITIONAL_DELETES, delete):
            return
        if Gap.IF_UNCHANGED in gaps:
            refused(store, delete)
            return
        delete()
        assert keys(store) == ["key2"]
        delete()
        store.put_object_v2(b"another", "key")
        with failing(PreconditionFailed, store.root_bucket, "key"):
            delete()
        assert content(store, "key") == b"another"

    @_BY_EACH_LOOK
    def test_delete_if_unchanged_and_replaced(
        self,
        look: Callable[[ObjectStore], ObjectInfo],
        store: ObjectStore,
        gaps: frozenset[Gap],
    ) -> None:
        """What was replaced is kept, in either size."""
        if Capability.CONDITIONAL_DELETES not in store.client.capabilities:
            return
        # That it was replaced is seen without the help of a server.
        kinds = (PreconditionFailed, *([UnsupportedError] if Gap.IF_UNCHANGED in gaps else []))
        for data in (b"CONTENT", b"new and longer content", b""):
            store.put_object_v2(b"content", "key")
            info = look(store)
            store.put_object_v2(data, "key")
            with pytest.raises(kinds):
                store.delete_object("key", if_unchanged=info)
            assert content(store, "key") == data

    @_BY_EACH_LOOK
    def test_delete_if_unchanged_and_replaced_by_the_same(
        self,
        look: Callable[[ObjectStore], ObjectInfo],
        store: ObjectStore,
        gaps: frozenset[Gap],
    ) -> None:
        """The same bytes that were written again, or copied there, are another generation."""
        if Capability.CONDITIONAL_DELETES not in store.client.capabilities:
            return
        if Gap.IF_UNCHANGED in gaps:
            pytest.skip(f"gap IF_UNCHANGED: {Gap.IF_UNCHANGED.value}")
        store.put_object_v2(b"content", "source")
        store.put_object_v2(b"content", "key")
        infos = [look(store)]
        for _ in range(1 if self.tick_s else 20):
            time.sleep(self.tick_s)
            store.put_object_v2(b"content", "key")
            infos.append(look(store))
        time.sleep(self.tick_s)
        store.copy_object("source", "key")
        infos.append(look(store))
        assert len({each.updated_time for each in infos}) == len(infos)
        for info in infos[:-1]:
            with failing(PreconditionFailed, store.root_bucket, "key"):
                store.delete_object("key", if_unchanged=info)
        assert keys(store) == ["key", "source"]
        store.delete_object("key", if_unchanged=infos[-1])
        assert keys(store) == ["source"]

    def test_delete_if_unchanged_in_the_bucket_that_is_meant(
        self, store: ObjectStore, other_bucket: str, gaps: frozenset[Gap]
    ) -> None:
        """Each bucket has its own object; in one that is missing nothing can be deleted."""
        if Capability.CONDITIONAL_DELETES not in store.client.capabilities:
            return
        store.put_object_v2(b"content", "key")
        store.put_object_v2(b"another", "key", other_bucket)
        info = store.head_object("key", other_bucket)
        missing = new_bucket()
        with failing(BucketNotFoundException, missing):
            store.delete_object("key", missing, if_unchanged=info)
        if Gap.IF_UNCHANGED in gaps:
            return
        with failing(PreconditionFailed, store.root_bucket):
            store.delete_object("key", if_unchanged=info)
        store.delete_object("key", other_bucket, if_unchanged=info)
        assert (keys(store), keys(store, other_bucket)) == (["key"], [])

    def test_delete_if_unchanged_impossible(self, store: ObjectStore) -> None:
        """What describes no object, or another one, is refused before anything is deleted."""
        if Capability.CONDITIONAL_DELETES not in store.client.capabilities:
            return
        store.put_object_v2(b"content", "key")
        info = store.head_object("key")
        wrong: list[Any] = ["etag", info.etag, True, {"key": "key"}, info.updated_time]
        for each in wrong:
            with pytest.raises(ObjectClerkTypeException):
                store.delete_object("key", if_unchanged=each)
        with failing(ObjectClerkParameterException, "other"):
            store.delete_object("key", if_unchanged=dataclasses.replace(info, key="other"))
        assert content(store, "key") == b"content"
