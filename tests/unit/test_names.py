"""Buckets, keys and metadata are checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.names import (
    STAGE_MARK,
    check_bucket,
    check_key,
    check_metadata,
    check_text,
    is_staged,
    random_key,
)
from tests.servers import ODD_KEYS


@pytest.mark.parametrize(
    "bucket",
    [
        "b", "my-bucket", "my.bucket_2", "OldStyle", "x" * 255,
        "arn:aws:s3:us-east-1:123456789012:accesspoint/name",
        "arn:aws:s3-outposts:us-east-1:1:outpost/o/accesspoint/n",
    ],
)  # fmt: skip
def test_buckets(bucket: str) -> None:
    assert check_bucket(bucket) == bucket


@pytest.mark.parametrize(
    "bucket", ["", "a/b", "a b", "b\n", "x" * 256, "b\u00fccket", "a?b", "arn:aws:ec2:x", "..%2f"]
)
def test_impossible_buckets(bucket: str) -> None:
    with pytest.raises(ObjectClerkParameterException):
        check_bucket(bucket)


@pytest.mark.parametrize("key", [*ODD_KEYS.values(), "k", "x" * 1024, "\u00e9" * 512, "\x01"])
def test_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * 1025, "\u00e9" * 513, "a\0b", "\ud800"])
def test_impossible_keys(key: str) -> None:
    with pytest.raises(ObjectClerkParameterException):
        check_key(key)


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["list"]])
@pytest.mark.parametrize("check", [check_bucket, check_key, lambda x: check_text("text", x)])
def test_only_text(check: Any, value: object) -> None:
    with pytest.raises(ObjectClerkTypeException, match=type(value).__name__):
        check(value)


@pytest.mark.parametrize("metadata", [{}, {"name": "value"}, {"x-y.z_1": ""}, {"a": '!~ "quoted"'}])
def test_metadata(metadata: dict[str, str]) -> None:
    assert check_metadata(metadata) == metadata


@pytest.mark.parametrize(
    "metadata",
    [{"": "v"}, {"a b": "v"}, {"a:": "v"}, {"\u00e9": "v"}, {"a": "\u00e9"}, {"a": "x\ny"},
     {"a": "\t"}, {"a": "\x7f"}, {"a\r\nb": "v"}],
)  # fmt: skip
def test_impossible_metadata(metadata: dict[str, str]) -> None:
    """Non-ASCII metadata is refused in words of ours, with advice where there is any."""
    with pytest.raises(ObjectClerkParameterException):
        check_metadata(metadata)


@pytest.mark.parametrize("metadata", [None, [("a", "b")], {"a": 5}, {5: "a"}, {"a": b"b"}])
def test_metadata_of_other_types(metadata: Any) -> None:
    with pytest.raises(ObjectClerkTypeException):
        check_metadata(metadata)


def test_text() -> None:
    assert check_text("content_type", "text/plain; charset=utf-8").startswith("text/plain")


@pytest.mark.parametrize("value", ["", "a\r\nX-Evil: 1", "\u00e9", "\0"])
def test_text_that_no_header_can_carry(value: str) -> None:
    with pytest.raises(ObjectClerkParameterException, match="content_type"):
        check_text("content_type", value)


LONG = ("\u00fc" * 512, "x/" * 512, "a/" + "b" * 1022)


@pytest.mark.parametrize("near", ["", "a", "a/", "a/b", "/", *LONG])
def test_random_keys(near: str) -> None:
    """They begin like the other key, as far as there is room, and are legal keys themselves."""
    one, two = (random_key(near, STAGE_MARK) for _ in range(2))

    assert one != two
    assert check_key(one) == one
    begins, mark, end = one.rpartition(STAGE_MARK)
    assert near.startswith(begins)
    assert near in LONG or begins == near
    assert (mark, len(end)) == (STAGE_MARK, 32)
    assert all(len(name.encode()) <= 255 for name in one.split("/"))


def test_what_is_a_temporary_object() -> None:
    assert is_staged(random_key("a", STAGE_MARK))
    for key in ("a", f"a{STAGE_MARK}", f"a{STAGE_MARK}notes", random_key("a", STAGE_MARK) + ".txt"):
        assert not is_staged(key)
    assert not is_staged(random_key("a", ".object-clerk-"))
