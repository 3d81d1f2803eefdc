"""Keys that something on the way might mangle."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from object_clerk import ObjectClerkException, ObjectNotFoundException
from tests.contract.support import LARGE, blob, keys
from tests.servers import ODD_KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from tests.servers import Traits

LONGEST = ("k" * 200 + "/") * 5 + "k" * 19


@pytest.mark.parametrize("name", ODD_KEYS)
def test_odd_key(
    name: str,
    clerk: ObjectClerk,
    s3: S3Client,
    traits: Traits,
    bucket: str,
    tmp_path: Path,
) -> None:
    """Check 27: blanks, Unicode, +, %, leading / round-trip through every verb."""
    key, data = ODD_KEYS[name], name.encode()
    if key in traits.unsupported_keys:
        # Whatever the server makes of it, the clerk does not pretend.
        with contextlib.suppress(ObjectClerkException):
            clerk.upload_object(data, bucket, key)
            assert clerk.get_object(bucket, key) == data
        return
    clerk.upload_object(data, bucket, key)

    assert keys(s3, bucket) == [key]
    assert clerk.get_object(bucket, key) == data
    assert clerk.exists(bucket, key)
    assert clerk.get_object_info(bucket, key)["content-length"] == str(len(data))
    clerk.download_object(bucket, key, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    with clerk.open_object(bucket, key) as reader:
        assert reader.read() == data
    assert [each["Key"] for each in clerk.list_objects(bucket)] == [key]
    clerk.copy_object(bucket, key, bucket, "copy")
    clerk.move_object(bucket, "copy", bucket, f"moved-{key}" if key[0] not in "/." else "moved")
    clerk.move_object(bucket, key, bucket, "target")
    assert not clerk.exists(bucket, key)
    clerk.move_object(bucket, "target", bucket, key)
    assert clerk.get_object(bucket, key) == data
    clerk.delete_object(bucket, key)
    with pytest.raises(ObjectNotFoundException):
        clerk.get_object(bucket, key)


def test_odd_key_in_parts(clerk: ObjectClerk, bucket: str) -> None:
    """Check 27: a multipart upload and copy carry the key in other places."""
    # Ceph 16 decodes a "%" in the source of UploadPartCopy twice: another object, or a crash.
    key = ODD_KEYS["unicode"] + "100%25 of a%20b"
    clerk.upload_object(blob(LARGE, 1), bucket, unquote(key))
    for source in (key, ODD_KEYS["percent"]):
        clerk.upload_object(blob(LARGE), bucket, source)
        clerk.copy_object(bucket, source, bucket, f"{source} & copy?")
        assert clerk.get_object(bucket, f"{source} & copy?") == blob(LARGE)
    plain = ODD_KEYS["unicode"] + ODD_KEYS["plus and space"]
    clerk.move_object(bucket, key, bucket, plain)
    clerk.copy_object(bucket, plain, bucket, f"{plain}?")
    assert clerk.get_object(bucket, f"{plain}?") == blob(LARGE)


def test_longest_key(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 27: a key of 1024 bytes is stored under all of them."""
    assert len(LONGEST) == 1024
    clerk.upload_object(b"content", bucket, LONGEST)

    assert clerk.get_object(bucket, LONGEST) == b"content"
    assert keys(s3, bucket) == [LONGEST]


def test_keys_that_differ_little(clerk: ObjectClerk, bucket: str) -> None:
    """Check 27: nothing on the way takes one key for another."""
    similar = ["a b", "a+b", "a%20b", "a%2Bb", "A b", "a  b"]
    for key in similar:
        clerk.upload_object(key.encode(), bucket, key)
    for key in similar:
        assert clerk.get_object(bucket, key) == key.encode()
