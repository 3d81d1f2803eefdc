"""Uploads that are proved beside their key before they are put in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from object_clerk import (
    DestinationExists,
    ObjectClerkException,
    ObjectClerkServerAuthException,
    ObjectSaveException,
    UnsupportedError,
    Verdict,
)
from object_clerk.endpoint import Support
from object_clerk.names import STAGE_MARK, is_staged
from object_clerk.testing import flip_response_bit, status_before
from tests.contract.support import (
    LARGE,
    SMALL,
    Wire,
    blob,
    crc64nvme,
    etag_of_parts,
    keys,
    md5,
    stored,
    unfinished,
)
from tests.contract.support import THRESHOLD as PART

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import Fault, FaultProxy
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])


@SIZES
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replaced"])
def test_object_is_put_in_its_place(
    old: bytes | None, size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    if old is not None:
        s3.put_object(Bucket=bucket, Key="a/key", Body=old)
    alone = clerk.endpoint.gives_crc64nvme  # not with the first upload in parts
    wire = Wire(clerk)
    receipt = clerk.upload_object(
        blob(size), bucket, "a/key", stage=True, content_type="image/fits", metadata={"a": "b"}
    )

    assert stored(s3, bucket, "a/key") == blob(size)
    assert keys(s3, bucket) == ["a/key"]
    assert unfinished(s3, bucket) == []
    assert (receipt.operation, receipt.key, receipt.source) == ("upload_object", "a/key", None)
    assert (receipt.size, receipt.verdict) == (size, Verdict.CONTENT)
    assert "staged, and proved there by " in receipt.basis
    expected = {"md5": md5(blob(size))}
    if size != SMALL:
        expected = {"md5-parts": etag_of_parts(blob(size), PART)}
        if alone:
            expected = {"crc64nvme": crc64nvme(blob(size)).hex()}
    assert receipt.digests == expected
    head = s3.head_object(Bucket=bucket, Key="a/key")
    assert head["ContentType"] == "image/fits"
    assert {name.lower(): value for name, value in head["Metadata"].items()}["a"] == "b"
    # Bytes go to a key beside it, and to no other.
    bodies = {
        unquote(each.path.split("/", 2)[2])
        for each in wire.sent
        if each.method == "PUT" and "x-amz-copy-source" not in each.headers
    }
    (beside,) = bodies - {"a/key"}
    assert beside.startswith("a/key")
    assert is_staged(beside)
    assert bodies == {beside}


def upload_fails() -> Fault:
    return status_before(403, "AccessDenied", method="PUT", path=STAGE_MARK, times=None)


def copy_fails() -> Fault:
    return status_before(
        403, "AccessDenied", times=None, when=lambda request: _makes(request, "key")
    )


def copy_is_spoiled() -> Fault:
    return flip_response_bit(
        5, method="GET", times=None, when=lambda request: request.path.endswith("/key")
    )


def _makes(request: Any, key: str) -> bool:
    """Whether a request would make the object by a copy, in one request or in parts."""
    begins = request.method == "POST" and "uploads" in request.query
    copies = request.method == "PUT" and request.header("x-amz-copy-source")
    return bool(request.path.endswith(f"/{key}") and (begins or copies))


@SIZES
@pytest.mark.parametrize("fault", [upload_fails, copy_fails])
def test_failure_leaves_what_was_there(
    fault: Any, size: int, proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=b"old")
    proxy.add(fault())
    with pytest.raises(ObjectClerkServerAuthException) as caught:
        proxied.upload_object(blob(size), bucket, "key", stage=True)

    assert proxy.fired
    assert (caught.value.bucket, caught.value.key) == (bucket, "key")
    assert keys(s3, bucket) == ["key"]
    assert stored(s3, bucket, "key") == b"old"
    assert unfinished(s3, bucket) == []


def test_empty_source_leaves_nothing(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    with pytest.raises(ObjectSaveException, match="empty"):
        clerk.upload_object(b"", bucket, "key", stage=True)
    assert keys(s3, bucket) == []

    clerk.upload_object(b"", bucket, "key", stage=True, allow_empty=True)
    assert keys(s3, bucket) == ["key"]


def test_staged_object_that_cannot_be_removed_is_told(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    proxy.add(status_before(403, "AccessDenied", method="DELETE", path=STAGE_MARK, times=None))
    receipt = proxied.upload_object(b"content", bucket, "key", stage=True)

    (left,) = [key for key in keys(s3, bucket) if key != "key"]
    assert is_staged(left)
    assert [note for note in receipt.notes if left in note and "left behind" in note]
    assert stored(s3, bucket, "key") == b"content"


@SIZES
def test_with_a_condition(size: int, clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """The condition is about the key, not about the key beside it."""
    if clerk.endpoint.put_if_none_match is Support.UNKNOWN:
        clerk.examine_endpoint(bucket)
    s3.put_object(Bucket=bucket, Key="key", Body=b"old")
    with pytest.raises(DestinationExists):
        clerk.upload_object(blob(size), bucket, "key", stage=True, if_absent=True)
    assert keys(s3, bucket) == ["key"]
    assert stored(s3, bucket, "key") == b"old"

    honours = (clerk.endpoint.put_if_none_match, clerk.endpoint.complete_if_none_match)
    if Support.HONOURED in honours:
        clerk.upload_object(blob(size), bucket, "other", stage=True, if_absent=True)
        assert stored(s3, bucket, "other") == blob(size)
        assert keys(s3, bucket) == ["key", "other"]
    else:
        with pytest.raises(UnsupportedError):
            clerk.upload_object(blob(size), bucket, "other", stage=True, if_absent=True)
        assert keys(s3, bucket) == ["key"]


@SIZES
def test_in_a_bucket_with_versions(
    size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Nothing is left of the staged object, not even a version or a marker."""
    if not traits.versioning:
        pytest.skip("trait versioning: this server keeps no versions")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="key", Body=b"old")
    receipt = clerk.upload_object(blob(size), bucket, "key", stage=True)

    listed = s3.list_object_versions(Bucket=bucket)
    found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
    assert [each["Key"] for each in found] == ["key", "key"]
    assert receipt.version_id in [None, *(each["VersionId"] for each in found)]
    assert stored(s3, bucket, "key") == blob(size)


def test_name_beside_the_longest_key(
    clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    key = "/".join(["k" * 200] * 5)
    clerk.upload_object(b"content", bucket, key, stage=True)

    assert keys(s3, bucket) == [key]


def test_copy_that_does_not_verify_is_not_told_as_success(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    proxy.add(copy_is_spoiled())
    try:
        receipt = proxied.upload_object(blob(SMALL), bucket, "key", stage=True)
    except ObjectClerkException:
        assert proxy.fired
    else:  # this server computes the ETag of a copy anew, so nothing had to be read
        assert not proxy.fired
        assert receipt.verdict is Verdict.CONTENT
    assert [key for key in keys(s3, bucket) if is_staged(key)] == []
