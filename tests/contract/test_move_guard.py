"""Moves delete what they have copied and nothing else, as far as the server lets them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    MoveIncomplete,
    ObjectChanged,
    ObjectClerkParameterException,
    ObjectNotFoundException,
    Verdict,
)
from object_clerk.endpoint import Support
from object_clerk.testing import callback, drop_after, status_before
from tests.contract.support import LARGE, SMALL, Wire, blob, keys, stored, unfinished

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy, Request
    from tests.servers import Server, Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
GUARDS = pytest.mark.parametrize("guard", ["check", "require", "tombstone"])
ON_CONDITION = "the source was deleted on the condition that it was still what was copied"
BURIED = (
    "the source was replaced by a tombstone on condition, and that was deleted: "
    "a write in between would be lost"
)
WINDOW = re.compile(r"the source was compared \d+ ms before it was deleted, .* would be lost")


@pytest.fixture
def knowing(clerk: ObjectClerk, bucket: str) -> ObjectClerk:
    """A clerk that has found out what the server honours."""
    if clerk.endpoint.put_if_match is Support.UNKNOWN:
        clerk.examine_endpoint(bucket)
    return clerk


@pytest.fixture
def proxied(proxied: ObjectClerk, knowing: ObjectClerk) -> ObjectClerk:
    """A clerk behind the proxy that knows the same."""
    proxied._connection.endpoint = knowing.endpoint
    return proxied


@pytest.fixture
def versioned(s3: S3Client, traits: Traits, bucket: str) -> str:
    """A bucket that keeps versions."""
    if not traits.versioning:
        pytest.skip("trait versioning: this server keeps no versions")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def is_delete(request: Request) -> bool:
    """Whether it is the deletion of the source itself."""
    return request.method == "DELETE" and request.path.endswith("/from") and not request.query


def deletes_on_condition(traits: Traits, size: int) -> bool:
    """Whether the server compares the ETag of such an object before it deletes it."""
    return traits.delete_if_match and (size == SMALL or traits.delete_if_match_of_parts)


def can_bury(clerk: ObjectClerk) -> bool:
    return clerk.endpoint.put_if_match is Support.HONOURED


@GUARDS
@SIZES
def test_each_guard(
    size: int, guard: str, knowing: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """The receipt tells how the source was deleted; where it must not be, it is kept."""
    knowing.upload_object(blob(size), bucket, "from")
    on_condition = deletes_on_condition(traits, size)
    safe = can_bury(knowing) if guard == "tombstone" else on_condition
    if guard != "check" and not safe:
        with pytest.raises(MoveIncomplete, match="run the move again") as caught:
            knowing.move_object(bucket, "from", bucket, "to", source_guard=guard)
        assert stored(s3, bucket, "from") == stored(s3, bucket, "to") == blob(size)
        assert caught.value.receipt is not None
        assert (caught.value.receipt.key, caught.value.receipt.verdict) == ("to", Verdict.CONTENT)
        return

    receipt = knowing.move_object(bucket, "from", bucket, "to", source_guard=guard)
    assert keys(s3, bucket) == ["to"]
    assert stored(s3, bucket, "to") == blob(size)
    assert receipt.verdict is Verdict.CONTENT
    if guard == "tombstone":
        assert BURIED in receipt.notes
    elif on_condition:
        assert ON_CONDITION in receipt.notes
    else:
        assert WINDOW.fullmatch(receipt.notes[-1])
    assert unfinished(s3, bucket) == []


@SIZES
def test_source_that_was_replaced_before_the_last_look(
    size: int, proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """E16: on every server the newer object is kept, and the copy of the old one too."""
    proxied.upload_object(blob(size), bucket, "from")

    def replaces() -> None:
        s3.put_object(Bucket=bucket, Key="from", Body=b"newer")

    proxy.add(callback(replaces, method="HEAD", path="/from", skip=1))
    with pytest.raises(ObjectChanged) as caught:
        proxied.move_object(bucket, "from", bucket, "to")

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert "replaced" in str(caught.value)
    assert stored(s3, bucket, "from") == b"newer"
    deleted = [each.path for each in proxy.log if each.method == "DELETE" and not each.query]
    assert not [path for path in deleted if path.endswith("/from")]


@pytest.mark.parametrize("guard", ["check", "require"])
@SIZES
def test_source_that_is_replaced_in_the_last_moment(
    size: int,
    guard: str,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    server: Server,
    bucket: str,
) -> None:
    """E16: the server compares in the same step."""
    if not server.traits.delete_if_match:
        pytest.skip("trait delete_if_match: what is written in the last moment would be lost")
    proxied.upload_object(blob(size), bucket, "from")
    proxy.add(
        callback(lambda: s3.put_object(Bucket=bucket, Key="from", Body=b"newer"), when=is_delete)
    )
    with pytest.raises(ObjectChanged):
        proxied.move_object(bucket, "from", bucket, "to", source_guard=guard)

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert stored(s3, bucket, "from") == b"newer"
    assert stored(s3, bucket, "to") == blob(size)


def test_source_that_is_replaced_before_the_tombstone(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    if not can_bury(proxied):
        pytest.skip("this server honours no If-Match of a PUT, so there are no tombstones")
    proxied.upload_object(blob(SMALL), bucket, "from")
    proxy.add(
        callback(
            lambda: s3.put_object(Bucket=bucket, Key="from", Body=b"newer"),
            method="PUT",
            when=lambda request: request.path.endswith("/from"),
        )
    )
    with pytest.raises(ObjectChanged):
        proxied.move_object(bucket, "from", bucket, "to", source_guard="tombstone")

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert stored(s3, bucket, "from") == b"newer"


def test_tombstone_of_a_move_that_was_broken_off(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """E21: only the tombstone is left; it is no object, and the move can be run again."""
    if not can_bury(proxied):
        pytest.skip("this server honours no If-Match of a PUT, so there are no tombstones")
    proxied.upload_object(blob(SMALL), bucket, "from")
    proxy.add(status_before(500, "InternalError", when=is_delete, times=None))
    with pytest.raises(MoveIncomplete):
        proxied.move_object(bucket, "from", bucket, "to", source_guard="tombstone")
    proxy.clear()
    assert stored(s3, bucket, "from") == b""

    with pytest.raises(ObjectNotFoundException, match=f"moved to {bucket}/to"):
        proxied.copy_object(bucket, "from", bucket, "other")
    with pytest.raises(ObjectNotFoundException, match=f"moved to {bucket}/to"):
        proxied.move_object(bucket, "from", bucket, "other")
    assert stored(s3, bucket, "from") == b""
    receipt = proxied.move_object(bucket, "from", bucket, "to", source_guard="tombstone")
    assert keys(s3, bucket) == ["to"]
    assert stored(s3, bucket, "to") == blob(SMALL)
    assert (receipt.verdict, receipt.size) == (Verdict.IDENTITY, SMALL)
    assert "earlier move" in receipt.basis


@GUARDS
def test_deletion_whose_answer_was_lost(
    guard: str,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """The second attempt finds nothing to delete; that is what was wanted."""
    if guard == "tombstone" and not can_bury(proxied):
        pytest.skip("this server honours no If-Match of a PUT, so there are no tombstones")
    if guard == "require" and not traits.delete_if_match:
        pytest.skip("trait delete_if_match: nothing is deleted")
    proxied.upload_object(blob(SMALL), bucket, "from")
    proxy.add(drop_after(when=is_delete))
    receipt = proxied.move_object(bucket, "from", bucket, "to", source_guard=guard)

    assert [each.fault for each in proxy.fired] == ["drop_after"]
    assert keys(s3, bucket) == ["to"]
    assert receipt.attempts == 2


# -- where there are versions ----------------------------------------------------------------


@SIZES
def test_marker_can_be_taken_back(
    size: int, clerk: ObjectClerk, s3: S3Client, versioned: str
) -> None:
    """The source is there as a version, and the receipt tells how to have it again."""
    clerk.upload_object(blob(size), versioned, "from")
    receipt = clerk.move_object(versioned, "from", versioned, "to")

    assert keys(s3, versioned) == ["to"]
    (marker,) = s3.list_object_versions(Bucket=versioned, Prefix="from")["DeleteMarkers"]
    note = receipt.notes[-1]
    assert "still there as a version" in note
    assert f"deleting its marker {marker['VersionId']} brings it back" in note
    s3.delete_object(Bucket=versioned, Key="from", VersionId=marker["VersionId"])
    assert stored(s3, versioned, "from") == blob(size)


def test_version_below_the_marker_is_uncovered(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str
) -> None:
    """Somebody wrote a newer one in the last moment: it is current again, and nothing is lost."""
    proxied.upload_object(blob(SMALL), versioned, "from")
    proxy.add(
        callback(lambda: s3.put_object(Bucket=versioned, Key="from", Body=b"newer"), when=is_delete)
    )
    with pytest.raises(ObjectChanged):
        proxied.move_object(versioned, "from", versioned, "to")

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert stored(s3, versioned, "from") == b"newer"
    listed = s3.list_object_versions(Bucket=versioned, Prefix="from")
    assert listed.get("DeleteMarkers", []) == []
    assert len(listed["Versions"]) == 2
    assert stored(s3, versioned, "to") == blob(SMALL)


# -- nonsense --------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", ["nonsense", "", None, True])
def test_nonsense_is_told_before_any_request(guard: Any, clerk: ObjectClerk, bucket: str) -> None:
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkParameterException, match="'check', 'require', 'tombstone'"):
        clerk.move_object(bucket, "from", bucket, "to", source_guard=guard)

    assert wire.sent == []
