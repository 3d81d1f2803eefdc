"""Opening objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkConnectionException,
    ObjectClerkParameterException,
    ObjectClerkServerAuthException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    ObjectVerificationException,
)
from object_clerk.store import Object, ObjectInfo, ObjectStore
from object_clerk.testing.store.ground import Ground, blob, content, failing, new_bucket

if TYPE_CHECKING:
    from object_clerk.testing.store.ground import Config, Corrupt

_BLOCK = 1 << 16


def _just_now(when: datetime) -> bool:
    # Generous: it is about years, time zones and local time, not about clocks.
    return abs(datetime.now(UTC) - when) < timedelta(minutes=20)


class Reading(Ground):
    """Objects are opened, read and closed."""

    def test_read_body_is_a_file(self, store: ObjectStore) -> None:
        """Check 9: the body is read like a file, and the time has a time zone."""
        store.put_object_v2(b"content", "folder/key")
        for get in (store.get_file, store.get_object):
            opened = get("folder/key")
            assert isinstance(opened, Object)
            assert opened.body.readable()
            assert opened.body.read() == b"content"
            assert opened.body.read() == b""
            assert opened.updated_time.utcoffset() is not None
            assert _just_now(opened.updated_time)
            opened.body.close()

    def test_read_pieces(self, store: ObjectStore) -> None:
        """Check 9: a body is read in pieces of any size."""
        store.put_object_v2(b"0123456789", "key")
        with store.get_object("key") as opened:
            assert opened.body.read(3) == b"012"
            assert opened.body.read(0) == b""
            assert opened.body.read(1) == b"3"
            assert opened.body.read(100) == b"456789"
            assert opened.body.read(1) == b""

    def test_read_lines(self, store: ObjectStore) -> None:
        """Check 9: a body gives lines, as every binary file does."""
        store.put_object_v2(b"one\ntwo\n\nthree", "key")
        with store.get_object("key") as opened:
            assert list(opened.body) == [b"one\n", b"two\n", b"\n", b"three"]

    def test_read_large(self, store: ObjectStore) -> None:
        """Check 9: a large body comes in blocks, each as it was."""
        store.put_object_v2(blob(self.large), "key")
        read = bytearray()
        with store.get_object("key") as opened:
            while block := opened.body.read(_BLOCK):
                assert len(block) <= _BLOCK
                read += block
        assert read == blob(self.large)

    @pytest.mark.parametrize(
        ("begin", "end"),
        [(2, 5), (0, 1), (7, None), (-3, None), (-100, None), (0, 100), (9, 10), (10, None),
         (99, 200), (5, 5), (5, 2)],
    )  # fmt: skip
    def test_read_some_bytes(self, store: ObjectStore, begin: int, end: int | None) -> None:
        """Some bytes of an object are read as slices have them, and the rest is still told."""
        store.put_object_v2(b"0123456789", "key")
        with store.get_object("key", begin=begin, end=end) as opened:
            assert opened.info.size == 10
            assert opened.body.read() == b"0123456789"[begin:end]
            assert opened.body.read() == b""

    def test_read_some_bytes_of_many(self, store: ObjectStore) -> None:
        """They are read in bounded steps, however many are before and behind them."""
        store.put_object_v2(blob(self.large), "key")
        with store.get_object("key", begin=1_500_000, end=2_900_000) as opened:
            assert opened.body.read(10) == blob(self.large)[1_500_000:1_500_010]
            assert opened.body.read() == blob(self.large)[1_500_010:2_900_000]

    def test_read_some_bytes_of_nothing(self, store: ObjectStore) -> None:
        """An empty object has no bytes, whichever are asked for."""
        store.put_object_v2(b"", "key")
        for span in ((0, 5), (-5, None), (3, None)):
            with store.get_object("key", begin=span[0], end=span[1]) as opened:
                assert opened.body.read() == b""

    def test_read_bad_ends(self, store: ObjectStore) -> None:
        """Ends that are no ends of a slice are refused."""
        store.put_object_v2(b"0123456789", "key")
        for span in ({"begin": "1"}, {"begin": 1.5}, {"end": True}):
            with failing(ObjectClerkTypeException, "whole number"):
                store.get_object("key", **span)
        with failing(ObjectClerkParameterException, "end"):
            store.get_object("key", end=-1)
        with failing(ObjectNotFoundException):
            store.get_object("other", begin=1)

    def test_read_empty(self, store: ObjectStore) -> None:
        """Check 9: an object without content is an object."""
        store.put_object_v2(b"", "key")
        assert content(store, "key") == b""
        assert store.head_object("key").size == 0

    def test_read_close(self, store: ObjectStore) -> None:
        """Check 9: what is closed early is closed, and nothing else suffers."""
        store.put_object_v2(blob(self.large), "key")
        opened = store.get_object("key")
        assert opened.body.read(10) == blob(self.large)[:10]
        opened.body.close()
        opened.body.close()
        assert opened.body.closed
        with pytest.raises(ValueError, match="closed"):
            opened.body.read()
        with store.get_object("key") as unread:
            assert unread.info.size == self.large
        assert unread.body.closed
        assert content(store, "key") == blob(self.large)

    def test_read_info(self, store: ObjectStore) -> None:
        """Check 9: what is known of an object is the same wherever it is asked."""
        receipt = store.put_object_v2(b"content", "key")
        head = store.head_object("key")
        with store.get_object("key") as opened:
            got = opened.info
        (listed,) = store.list_files()
        for info in (head, got, listed):
            assert isinstance(info, ObjectInfo)
            assert (info.key, info.size, info.is_latest) == ("key", 7, True)
            assert info.etag == receipt.etag
            assert info.updated_time.utcoffset() is not None
        assert opened.updated_time == got.updated_time

    def test_read_missing_key(self, store: ObjectStore) -> None:
        """Check 8: an error of its own, whose text names bucket and key."""
        bucket = store.root_bucket
        for get in (store.get_file, store.get_object, store.head_object):
            with failing(ObjectNotFoundException, bucket, "missing/key"):
                get("missing/key")
        with pytest.raises(ObjectNotFoundException) as error:
            store.get_object("missing/key")
        assert not isinstance(error.value, BucketNotFoundException)
        assert isinstance(error.value, FileNotFoundError)

    def test_read_missing_bucket(self, store: ObjectStore) -> None:
        """Check 8: a missing bucket is told from a missing key."""
        bucket = new_bucket()
        for get in (store.get_file, store.get_object, store.head_object):
            with failing(BucketNotFoundException, bucket):
                get("key", bucket)

    def test_read_impossible_names(self, store: ObjectStore) -> None:
        """Check 8: keys and buckets that cannot be are refused, whatever is done with them."""
        for key in ("", "a\0b", "k" * 1025, "\ud800"):
            for verb in (store.get_object, store.head_object, store.delete_object):
                with pytest.raises(ObjectClerkParameterException):
                    verb(key)
            with pytest.raises(ObjectClerkParameterException):
                store.put_object_v2(b"content", key)
        for bucket in ("", "a/b", "..\\x", "b" * 256, "a\nb"):
            with pytest.raises(ObjectClerkParameterException):
                store.get_object("key", bucket)
            with pytest.raises(ObjectClerkParameterException):
                store.put_object_v2(b"content", "key", bucket)
            with pytest.raises(ObjectClerkParameterException):
                store.list_objects(bucket=bucket)
        no_key: list[Any] = [b"key", 3, None]
        for each in no_key:
            with pytest.raises(ObjectClerkTypeException):
                store.get_object(each)
        assert list(store.list_files()) == []

    def test_read_unreachable(self, unreachable: Config | None) -> None:
        """Check 8: a server that is down is a RuntimeError that names what was wanted."""
        if unreachable is None:
            pytest.skip("no fixture 'unreachable': this backend is always there")
        with ObjectStore(unreachable) as store:
            with failing(ObjectClerkConnectionException, store.root_bucket, "some/key"):
                store.get_object("some/key")
            with failing(ObjectClerkConnectionException, store.root_bucket, "some/key"):
                store.put_object_v2(b"content", "some/key")
            with failing(ObjectClerkConnectionException, store.root_bucket):
                list(store.list_files())
            with failing(ObjectClerkConnectionException):
                list(store.list_buckets())

    def test_read_wrong_credentials(self, store: ObjectStore, denied: Config | None) -> None:
        """Check 8: wrong credentials are told from anything else, and not shown."""
        if denied is None:
            pytest.skip("no fixture 'denied': this backend takes anybody")
        store.put_object_v2(b"content", "some/key")
        with ObjectStore(denied) as other:
            with failing(ObjectClerkServerAuthException, store.root_bucket, "some/key"):
                other.get_object("some/key")
            with failing(ObjectClerkServerAuthException, store.root_bucket, "some/key"):
                other.put_object_v2(b"changed", "some/key")
            with failing(ObjectClerkServerAuthException, store.root_bucket):
                list(other.list_files())
        assert content(store, "some/key") == b"content"

    def test_read_corrupted(self, store: ObjectStore, corrupt: Corrupt | None) -> None:
        """Check 9: of bytes that do not verify the last block is held back."""
        if corrupt is None:
            pytest.skip("no fixture 'corrupt': what is stored here cannot be damaged by a test")
        data = blob(self.large)
        store.put_object_v2(data, "key")
        corrupt(store.root_bucket, "key")
        read = bytearray()
        with store.get_object("key") as opened:
            with failing(ObjectVerificationException, store.root_bucket, "key"):
                while block := opened.body.read(_BLOCK):
                    read += block
            with pytest.raises(ObjectVerificationException):
                opened.body.read()
        assert len(read) < len(data)
        with store.get_object("key") as opened, pytest.raises(ObjectVerificationException):
            opened.body.read(len(data))  # who counts the bytes, and asks for no more
        with store.get_object("key", verify_checksum=False) as opened:
            damaged = opened.body.read()
        assert len(damaged) == len(data)
        assert damaged != data
