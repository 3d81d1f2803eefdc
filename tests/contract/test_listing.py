"""Listings: every key once, whatever the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import BucketNotFoundException, ObjectNotFoundException
from tests.contract.support import Wire, md5
from tests.servers import ODD_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

KEYS = ["a", "b/1", "b/2", "b/3/x", "c d", "e+f", "z/1"]


@pytest.fixture
def filled(s3: S3Client, bucket: str) -> str:
    """A bucket with KEYS."""
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def names(entries: Iterable[dict[str, Any]]) -> list[str]:
    """Return keys, and common prefixes in brackets."""
    return [each.get("Key") or f"[{each['Prefix']}]" for each in entries]


def test_entries_are_those_of_s3(clerk: ObjectClerk, filled: str) -> None:
    """Check 16: entries have Key, Size, ETag, LastModified; their number is all."""
    entries = list(clerk.list_objects(filled))

    assert names(entries) == KEYS
    for entry in entries:
        assert entry["Size"] == len(entry["Key"])
        assert entry["ETag"].strip('"') == md5(entry["Key"].encode())
        assert entry["LastModified"].tzinfo is not None


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 1000])
def test_pages(page_size: int, make_clerk: MakeClerk, filled: str) -> None:
    """Check 16: all keys over many pages, with page size 1 as well."""
    clerk = make_clerk(list_objects_page_size=page_size)
    wire = Wire(clerk)

    assert names(clerk.list_objects(filled)) == KEYS
    # MinIO loses keys when it is asked for one at a time, so two are.
    assert len(wire.sent) >= -(-len(KEYS) // max(page_size, 2))
    wire.sent.clear()
    assert names(clerk.list_objects(filled, page_size=3)) == KEYS
    assert all("max-keys=3" in each.query for each in wire.sent)


def test_page_size_as_second_argument(clerk: ObjectClerk, filled: str) -> None:
    """Check 18: list_objects(bucket, 1000) works; an int is the page size, a str the prefix."""
    wire = Wire(clerk)
    assert names(clerk.list_objects(filled, 1000)) == KEYS
    assert len(wire.sent) == 1
    assert names(clerk.list_objects(filled, 2)) == KEYS
    assert "max-keys=2" in wire.sent[-1].query
    assert names(clerk.list_objects(filled, "b/")) == ["b/1", "b/2", "b/3/x"]
    assert names(clerk.list_objects(filled, prefix="e+")) == ["e+f"]


@pytest.mark.parametrize("page_size", [1, 1000])
def test_delimiter(page_size: int, clerk: ObjectClerk, filled: str) -> None:
    """Check 16: a delimiter rolls keys up, each prefix once, in order, over any pages."""
    top = clerk.list_objects(filled, delimiter="/", page_size=page_size)
    assert names(top) == ["a", "[b/]", "c d", "e+f", "[z/]"]
    inner = clerk.list_objects(filled, "b/", delimiter="/", page_size=page_size)
    assert names(inner) == ["b/1", "b/2", "[b/3/]"]


@pytest.mark.parametrize("page_size", [1, 1000])
def test_start_after(page_size: int, clerk: ObjectClerk, filled: str) -> None:
    """Check 16: only keys after the one given, which need not exist."""
    for start, expected in (("b/2", KEYS[3:]), ("b/20", KEYS[3:]), ("zz", [])):
        entries = clerk.list_objects(filled, start_after=start, page_size=page_size)
        assert names(entries) == expected
    entries = clerk.list_objects(filled, "b/", start_after="b/1", page_size=page_size)
    assert names(entries) == ["b/2", "b/3/x"]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_limit(limit: int, clerk: ObjectClerk, filled: str) -> None:
    """Check 16: a limit ends the listing, and no more is asked for than that."""
    wire = Wire(clerk)
    for page_size in (2, 1000):
        entries = clerk.list_objects(filled, limit=limit, page_size=page_size)
        assert names(entries) == KEYS[:limit]
    if limit <= 2:
        assert len(wire.sent) == 2


def test_prefix_without_keys(clerk: ObjectClerk, filled: str) -> None:
    """Check 16: nothing there is nothing, not an error."""
    assert list(clerk.list_objects(filled, "missing/")) == []
    assert names(clerk.list_objects(filled, "")) == KEYS


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_prefix_that_is_a_key_itself(
    page_size: int, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 16: the key that equals the prefix is not the end of the listing."""
    expected = ["t/0", "t/0-a", "t/0-b"]
    for key in (*expected, "t/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")

    assert names(clerk.list_objects(bucket, "t/0", page_size=page_size)) == expected


def test_empty_bucket(clerk: ObjectClerk, bucket: str) -> None:
    """Check 16: empty bucket -> empty, for every page size."""
    assert list(clerk.list_objects(bucket)) == []
    assert list(clerk.list_objects(bucket, 1)) == []
    assert list(clerk.list_objects(bucket, delimiter="/")) == []


def test_missing_bucket_shows_at_the_call(clerk: ObjectClerk, bucket: str) -> None:
    """Check 16: missing bucket -> not found, when it is asked for and not when it is used."""
    with pytest.raises(BucketNotFoundException) as caught:
        clerk.list_objects(f"{bucket}-missing")
    assert isinstance(caught.value, ObjectNotFoundException)


@pytest.mark.parametrize("page_size", [1, 1000])
def test_odd_keys(
    page_size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 16, 27: keys come as they are, over pages and as start and prefix too."""
    odd = sorted(
        (key for key in ODD_KEYS.values() if key not in traits.unsupported_keys),
        key=str.encode,
    )
    for key in odd:
        s3.put_object(Bucket=bucket, Key=key, Body=b"content")

    assert sorted(names(clerk.list_objects(bucket, page_size)), key=str.encode) == odd
    for key in odd:
        assert names(clerk.list_objects(bucket, key, page_size=page_size)) == [key]


def test_iterator_is_lazy(clerk: ObjectClerk, filled: str) -> None:
    """Check 16: pages are fetched when they are needed; an end stays the end."""
    wire = Wire(clerk)
    entries = clerk.list_objects(filled, 2)
    assert len(wire.sent) == 1
    assert next(entries)["Key"] == "a"
    assert next(entries)["Key"] == "b/1"
    assert len(wire.sent) == 1
    assert next(entries)["Key"] == "b/2"
    assert len(wire.sent) == 2
    assert len(list(entries)) == len(KEYS) - 3
    assert list(entries) == []
