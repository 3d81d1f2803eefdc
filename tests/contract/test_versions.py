"""Buckets with versions: what was overwritten or deleted can be named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk import ObjectClerkException, ObjectNotFoundException, Verdict
from tests.contract.support import LARGE, SMALL, blob

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])


@pytest.fixture
def versioned(s3: S3Client, traits: Traits, bucket: str) -> str:
    """A bucket that keeps versions."""
    if not traits.versioning:
        pytest.skip("trait versioning: this server keeps no versions")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def versions(s3: S3Client, bucket: str, key: str) -> list[str]:
    """Return the ids of all versions, the oldest first."""
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key).get("Versions", [])
    return [each["VersionId"] for each in reversed(listed)]


@SIZES
def test_old_version_is_read(
    size: int, clerk: ObjectClerk, s3: S3Client, versioned: str, tmp_path: Path
) -> None:
    """Check 6: an overwritten version is read, verified, in every way there is."""
    first = clerk.upload_object(blob(size), versioned, "key")
    second = clerk.upload_object(b"second", versioned, "key")
    old, new = versions(s3, versioned, "key")

    assert (first.version_id, second.version_id) == (old, new)
    assert clerk.get_object(versioned, "key") == b"second"
    assert clerk.get_object(versioned, "key", version_id=old) == blob(size)
    receipt = clerk.download_object(versioned, "key", tmp_path / "file", version_id=old)
    assert (tmp_path / "file").read_bytes() == blob(size)
    assert (receipt.version_id, receipt.verdict) == (old, Verdict.CONTENT)
    with clerk.open_object(versioned, "key", version_id=old) as reader:
        assert reader.read() == blob(size)
    info = clerk.get_object_info(versioned, "key", version_id=old)
    assert info["content-length"] == str(size)
    assert clerk.exists(versioned, "key", version_id=old)


def test_deletion_leaves_a_marker(clerk: ObjectClerk, s3: S3Client, versioned: str) -> None:
    """Check 12: a deleted object is gone and its versions are there."""
    clerk.upload_object(b"first", versioned, "key")
    clerk.delete_object(versioned, "key")

    with pytest.raises(ObjectNotFoundException):
        clerk.get_object(versioned, "key")
    assert not clerk.exists(versioned, "key")
    (version,) = versions(s3, versioned, "key")
    assert clerk.get_object(versioned, "key", version_id=version) == b"first"


def test_deletion_of_a_version(clerk: ObjectClerk, s3: S3Client, versioned: str) -> None:
    """Check 12: a version that is named is deleted for good, and no other."""
    for content in (b"first", b"second"):
        clerk.upload_object(content, versioned, "key")
    old, new = versions(s3, versioned, "key")
    clerk.delete_object(versioned, "key", version_id=old)

    assert versions(s3, versioned, "key") == [new]
    assert clerk.get_object(versioned, "key") == b"second"
    with pytest.raises(ObjectClerkException):
        clerk.get_object(versioned, "key", version_id=old)


@SIZES
def test_move_can_be_undone(size: int, clerk: ObjectClerk, s3: S3Client, versioned: str) -> None:
    """Check 14: after a move the source is gone, but its version is there."""
    clerk.upload_object(blob(size), versioned, "from")
    clerk.move_object(versioned, "from", versioned, "to")

    assert not clerk.exists(versioned, "from")
    assert clerk.get_object(versioned, "to") == blob(size)
    (version,) = versions(s3, versioned, "from")
    assert clerk.get_object(versioned, "from", version_id=version) == blob(size)


def test_presigned_version(clerk: ObjectClerk, s3: S3Client, versioned: str) -> None:
    """Check 30: a URL can name a version."""
    from tests.contract.test_presign import fetch

    for content in (b"first", b"second"):
        clerk.upload_object(content, versioned, "key")
    old, _ = versions(s3, versioned, "key")

    assert fetch(clerk.presign_get(versioned, "key", version_id=old)) == (200, b"first")


def test_version_that_never_was(clerk: ObjectClerk, versioned: str) -> None:
    """Check 10: a version id that does not exist is an error, never the current object."""
    clerk.upload_object(b"content", versioned, "key")
    other = clerk.upload_object(b"content", versioned, "other")
    assert other.version_id is not None

    with pytest.raises(ObjectClerkException):
        clerk.get_object(versioned, "key", version_id=other.version_id)


def test_versions_are_listed(clerk: ObjectClerk, s3: S3Client, versioned: str) -> None:
    """By key, of each key the latest first; delete markers among them."""
    made = [clerk.upload_object(data, versioned, "a/key").version_id for data in (b"1", b"22")]
    other = clerk.upload_object(b"333", versioned, "b").version_id
    clerk.delete_object(versioned, "a/key")

    found = list(clerk.list_versions(versioned))

    assert [(each["Key"], bool(each.get("IsDeleteMarker"))) for each in found] == [
        ("a/key", True), ("a/key", False), ("a/key", False), ("b", False),
    ]  # fmt: skip
    assert [each["IsLatest"] for each in found] == [True, False, False, True]
    # Two of one second may come in any order where the server has no finer times.
    assert {each["VersionId"] for each in found[1:3]} == set(made)
    assert (found[3]["VersionId"], found[3]["Size"]) == (other, 3)
    assert [each["Key"] for each in clerk.list_versions(versioned, "b")] == ["b"]
    assert list(clerk.list_versions(versioned, "c")) == []


def test_versions_over_several_pages(
    clerk: ObjectClerk, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version comes once, whatever a page ends with."""
    made = {
        (key, clerk.upload_object(data, versioned, key).version_id)
        for key in ("a", "b", "c")
        for data in (b"1", b"22", b"333")
    }
    monkeypatch.setattr("object_clerk.transfer.versions.PAGE_SIZE", 2)

    found = [(each["Key"], each["VersionId"]) for each in clerk.list_versions(versioned)]

    assert len(found) == 9
    assert set(found) == made
    assert [key for key, _ in found] == sorted(key for key, _ in found)


def test_versions_of_a_bucket_that_is_not_there(clerk: ObjectClerk, bucket: str) -> None:
    with pytest.raises(ObjectClerkException) as caught:
        clerk.list_versions(f"{bucket}-missing")
    assert caught.value.bucket == f"{bucket}-missing"
