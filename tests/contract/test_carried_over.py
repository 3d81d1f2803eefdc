"""What copies take along besides bytes and metadata, and what they say of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ObjectClerkServerAuthException, Verdict
from object_clerk.testing import rewrite_response_header, status_before
from tests.contract.support import LARGE, SMALL, blob, keys, stored

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
HEADERS: Any = {
    "CacheControl": "max-age=7",
    "ContentDisposition": "attachment",
    "ContentEncoding": "identity",
    "ContentLanguage": "de",
    "ContentType": "image/fits",
}


def kept(s3: S3Client, bucket: str, key: str, *names: str) -> dict[str, Any]:
    """Those of the named facts that the server tells of an object."""
    head: Any = s3.head_object(Bucket=bucket, Key=key)
    return {name: head[name] for name in names if head.get(name)}


@SIZES
def test_content_headers(size: int, clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="from", Body=blob(size), **HEADERS)
    before = kept(s3, bucket, "from", *HEADERS)
    assert "ContentType" in before
    clerk.copy_object(bucket, "from", bucket, "to")

    assert kept(s3, bucket, "to", *HEADERS) == before


@SIZES
def test_tags(size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    if not traits.tagging:
        pytest.skip("trait tagging: this server has no tags")
    tags: Any = [{"Key": "project", "Value": "a b=c+d"}, {"Key": "x", "Value": ""}]
    s3.put_object(Bucket=bucket, Key="from", Body=blob(size))
    try:
        s3.put_object_tagging(Bucket=bucket, Key="from", Tagging={"TagSet": tags})
    except s3.exceptions.ClientError as error:
        pytest.skip(f"this server takes no tags: {error}")
    receipt = clerk.copy_object(bucket, "from", bucket, "to")

    found = s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"]
    assert sorted(found, key=lambda tag: tag["Key"]) == tags
    assert receipt.verdict is Verdict.CONTENT
    assert [note for note in receipt.notes if "tags" in note] == []


def test_tags_that_cannot_be_read_are_told_of(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """A copy in parts has to read them, which takes a permission of its own."""
    if not traits.upload_part_copy:
        pytest.skip("trait upload_part_copy: in one request the server takes them along itself")
    s3.put_object(Bucket=bucket, Key="from", Body=blob(LARGE))
    proxy.add(status_before(403, "AccessDenied", method="GET", query="tagging", times=None))
    receipt = proxied.copy_object(bucket, "from", bucket, "to")

    assert proxy.fired
    (note,) = receipt.notes
    assert note.startswith("tags, if any, were not carried over")
    assert stored(s3, bucket, "to") == blob(LARGE)


def test_tags_that_would_be_lost_stop_a_move(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """The server says that there are some; they are read before anything is copied."""
    s3.put_object(Bucket=bucket, Key="from", Body=blob(LARGE))
    proxy.add(status_before(403, "AccessDenied", method="GET", query="tagging", times=None))
    proxy.add(rewrite_response_header("x-amz-tagging-count", "2", method="HEAD", times=None))
    with pytest.raises(ObjectClerkServerAuthException):
        proxied.move_object(bucket, "from", bucket, "to")

    assert keys(s3, bucket) == ["from"]


@SIZES
@pytest.mark.parametrize(
    "wish", [{"StorageClass": "STANDARD_IA"}, {"ServerSideEncryption": "AES256"}], ids=str
)
def test_storage_class_and_encryption(
    wish: Any, size: int, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    try:
        s3.put_object(Bucket=bucket, Key="from", Body=blob(size), **wish)
    except s3.exceptions.ClientError as error:
        pytest.skip(f"this server does not take it: {error}")
    before = kept(s3, bucket, "from", *wish)
    if not before:
        pytest.skip("this server tells nothing of it")
    receipt = clerk.copy_object(bucket, "from", bucket, "to")

    assert kept(s3, bucket, "to", *wish) == before
    assert receipt.verdict is Verdict.CONTENT


@pytest.mark.parametrize(
    ("header", "value", "name"),
    [
        ("x-amz-object-lock-mode", "GOVERNANCE", "ObjectLockMode"),
        ("x-amz-object-lock-legal-hold", "ON", "ObjectLockLegalHoldStatus"),
    ],
)
def test_locks_are_not_carried_over_and_that_is_told(
    header: str,
    value: str,
    name: str,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    if not traits.upload_part_copy:
        pytest.skip("trait upload_part_copy: copies are made in one request")
    s3.put_object(Bucket=bucket, Key="from", Body=blob(LARGE))
    proxy.add(rewrite_response_header(header, value, method="HEAD", path="/from", times=None))
    receipt = proxied.copy_object(bucket, "from", bucket, "to")

    assert f"not carried over: {name}" in receipt.notes
    assert stored(s3, bucket, "to") == blob(LARGE)
