"""Objects in memory: threads, and nothing of ours in the hands of callers."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from object_clerk.exceptions import (
    DestinationExists,
    ObjectClerkConfigurationException,
    ObjectSaveException,
    ObjectVerificationException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.receipt import Verdict
from object_clerk.store import (
    Capability,
    FilesystemConnectionConfiguration,
    ObjectStore,
    ObjectStoreConnectionConfiguration,
    StoreConfigurationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.store.adapters.memory import MemoryClient

CONFIG: dict[str, Any] = {"framework": "memory", "root_bucket": "raw"}


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore(CONFIG) as opened:
        yield opened


def content(store: ObjectStore, key: str) -> bytes:
    with store.get_object(key) as opened:
        return opened.body.read()


def side_by_side(*calls: Callable[[], object]) -> None:
    """Make calls in threads that begin at the same time; the first error is raised."""
    barrier = threading.Barrier(len(calls))
    errors: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        barrier.wait(20)
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise errors[0]


def test_each_store_is_a_world_of_its_own(store: ObjectStore) -> None:
    store.put_object_v2(b"content", "key")

    with ObjectStore(CONFIG) as other:
        assert list(other.list_objects()) == []
    assert store.client.capabilities == {
        Capability.BUCKETS,
        Capability.CONDITIONS,
        Capability.CONDITIONAL_DELETES,
        Capability.METADATA,
        Capability.RANGES,
    }
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(store)


@pytest.mark.parametrize("place", ["connection", "options"])
def test_there_are_no_settings(place: str) -> None:
    with pytest.raises(ObjectClerkConfigurationException, match=rf"{place}\.speed: is not known"):
        ObjectStore({**CONFIG, place: {"speed": 3}}).client  # noqa: B018 - made when it is asked for


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"root": "/tape"}, "root"),
        ({"endpoint": "h", "access_key": "a", "secret_key": "h0kus"}, "secret_key"),
        (FilesystemConnectionConfiguration(root=Path("/tape")), "root"),
        (
            ObjectStoreConnectionConfiguration(
                endpoint="h", access_key="a", secret_key=SecretStr("h0kus")
            ),
            "endpoint",
        ),
    ],
)
def test_connection_of_another_framework_is_refused(given: object, field: str) -> None:
    with pytest.raises(
        StoreConfigurationError, match=rf"connection\.{field}: is not known; memory has no"
    ) as caught:
        ObjectStore({**CONFIG, "connection": given})
    assert "durable" not in str(caught.value)  # nobody gave it
    assert "h0kus" not in str(caught.value)


def test_objects_live_as_long_as_the_store() -> None:
    store = ObjectStore(CONFIG)
    with store:
        store.put_object_v2(b"content", "key")
        store.client.create_bucket("other")
    store.close()

    with store:
        assert content(store, "key") == b"content"
        assert [bucket.name for bucket in store.list_buckets()] == ["other", "raw"]


def test_content_is_a_copy(store: ObjectStore) -> None:
    data = bytearray(b"content")
    store.put_object_v2(cast("bytes", data), "key")
    data[:] = b"another"
    store.put_object_v2(cast("bytes", memoryview(b"0-1-2-3-")[::2]), "steps")

    assert content(store, "key") == b"content"
    assert content(store, "steps") == b"0123"


def test_metadata_is_a_copy(store: ObjectStore) -> None:
    given_ = {"Observer": "me"}
    store.put_object_v2(b"content", "key", metadata=given_, content_type="image/fits")
    given_["Observer"] = "you"
    for info in (
        store.head_object("key"),
        next(store.list_objects()),
        store.get_object("key").info,
    ):
        assert info.content_type == "image/fits"
        assert info.metadata == {"observer": "me"}
        cast("dict[str, str]", info.metadata)["observer"] = "you"
        cast("dict[str, str]", info.digests)["md5"] = "0" * 32

    store.copy_object("key", "copy")
    assert store.head_object("copy").metadata == {"observer": "me"}
    assert content(store, "copy") == b"content"


def test_receipts(store: ObjectStore) -> None:
    put = store.put_object_v2(io.BytesIO(b"hello"), "key", length=5)
    copied = store.copy_object("key", "copy")

    assert (put.verdict, copied.verdict) == (Verdict.TRANSPORT, Verdict.CONTENT)
    assert put.etag == copied.etag == put.digests["md5"] == "5d41402abc4b2a76b9719d911017c592"
    assert put.digests == copied.digests == store.head_object("copy").digests
    assert copied.source == "raw/key"
    unchecked = store.put_object_v2(b"hello", "key", verify_checksum=False)
    assert unchecked.verdict is Verdict.NONE
    assert unchecked.etag == put.etag


def test_stream_of_another_length_is_not_stored(store: ObjectStore) -> None:
    for length in (0, 4, 6):
        with pytest.raises(ObjectSaveException):
            store.put_object_v2(io.BytesIO(b"hello"), "key", length=length)

    assert list(store.list_objects()) == []


def test_damage_is_noticed(store: ObjectStore) -> None:
    """Memory has bad bits, too."""
    store.put_object_v2(b"content", "key")
    objects = cast("MemoryClient", store.client)._buckets["raw"].objects
    objects[b"key"] = (objects[b"key"][0], b"contend")

    with pytest.raises(ObjectVerificationException):
        content(store, "key")
    with pytest.raises(ObjectVerificationException) as caught:
        store.copy_object("key", "copy", dst_bucket="raw")
    assert str(caught.value).startswith("copy_object raw/key: the bytes are not those that were")
    assert [each.key for each in store.list_objects()] == ["key"]


def test_urls_come_with_the_gateway(store: ObjectStore) -> None:
    for presign in (store.get_presigned_url, store.get_presigned_upload_url):
        with pytest.raises(UnsupportedError, match="come with the gateway"):
            presign("key")


def test_reader_keeps_its_generation(store: ObjectStore) -> None:
    data = os.urandom(3 << 20)
    store.put_object_v2(data, "key")
    with store.get_object("key") as opened:
        begin = opened.body.read(10)
        store.put_object_v2(b"new", "key")
        store.delete_object("key")
        assert begin + opened.body.read() == data


# -- order -------------------------------------------------------------------------------------

_KEYS = st.text(st.sampled_from("aAb/\x01~é\ud7ff\ue000\uffff\U00010000\U0010ffff"), min_size=1)


@given(
    changes=st.lists(st.tuples(_KEYS, st.booleans()), max_size=40),
    prefix=st.just("") | _KEYS,
    start_after=st.none() | _KEYS,
)
@example(changes=[("a", True), ("b", True), ("a\uffff", True)], prefix="a", start_after=None)
def test_order_is_that_of_utf8(
    changes: list[tuple[str, bool]], prefix: str, start_after: str | None
) -> None:
    there: set[str] = set()
    with ObjectStore(CONFIG) as store:
        for key, stays in changes:
            store.put_object_v2(b"", key)
            if stays:
                there.add(key)
            else:
                store.delete_object(key)
                there.discard(key)
        listed = [each.key for each in store.list_objects(prefix=prefix, start_after=start_after)]

    wanted = (
        key
        for key in there
        if key.startswith(prefix) and (start_after is None or key.encode() > start_after.encode())
    )
    assert listed == sorted(wanted, key=str.encode)


def test_listing_while_others_write(store: ObjectStore) -> None:
    for number in range(0, 3000, 2):
        store.put_object_v2(b"", f"{number:04}")
    listing = store.list_objects()
    seen = [next(listing).key for _ in range(10)]

    for number in range(1, 3000, 100):
        store.put_object_v2(b"", f"{number:04}")
    for number in range(0, 3000, 100):
        store.delete_object(f"{number:04}")
    seen += [each.key for each in listing]

    assert seen == sorted(set(seen))
    assert {f"{number:04}" for number in range(0, 3000, 2) if number % 100} <= set(seen)


def test_pages_end_where_they_should(store: ObjectStore) -> None:
    for number in range(2001):
        store.put_object_v2(b"", f"{number:04}")

    for limit in (1, 999, 1000, 1001, 2000, 2001, 5000):
        listed = [each.key for each in store.list_objects(limit=limit)]
        assert listed == [f"{number:04}" for number in range(min(limit, 2001))]


# -- threads -----------------------------------------------------------------------------------


def test_readers_see_whole_objects(store: ObjectStore) -> None:
    def whole(name: str, number: int) -> bytes:
        return hashlib.sha256(f"{name} {number}".encode()).digest() * (100 * (number + 1))

    store.put_object_v2(whole("a", 0), "key")
    possible = {whole(name, number) for name in "ab" for number in range(50)}

    def write(name: str) -> None:
        for number in range(50):
            store.put_object_v2(whole(name, number), "key")

    def read() -> None:
        for _ in range(100):
            assert content(store, "key") in possible
            assert len(list(store.list_objects())) == 1

    side_by_side(lambda: write("a"), lambda: write("b"), read, read)

    assert content(store, "key") in (whole("a", 49), whole("b", 49))


def test_only_one_makes_what_is_absent(store: ObjectStore) -> None:
    won: list[tuple[str, int]] = []

    def claim(name: str) -> None:
        for number in range(100):
            try:
                store.put_object_v2(name.encode(), f"{number}", if_absent=True)
                won.append((name, number))
            except DestinationExists:
                pass

    side_by_side(*(lambda name=name: claim(name) for name in "abcd"))

    assert sorted(number for _, number in won) == list(range(100))
    assert all(content(store, f"{number}") == name.encode() for name, number in won)


def test_if_match_makes_a_counter(store: ObjectStore) -> None:
    store.put_object_v2(b"0", "count")

    def count() -> None:
        done = 0
        while done < 25:
            with store.get_object("count") as opened:
                new = f"{int(opened.body.read()) + 1}".encode()
            try:
                store.put_object_v2(new, "count", if_match=opened.info.etag)
                done += 1
            except PreconditionFailed:
                pass

    side_by_side(*[count] * 4)

    assert content(store, "count") == b"100"


def test_condition_is_checked_when_the_content_is_there(store: ObjectStore) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            store.put_object_v2(b"other", "key")
            return super().read(size)

    with pytest.raises(DestinationExists):
        store.put_object_v2(Slow(b"mine"), "key", if_absent=True)

    assert content(store, "key") == b"other"
