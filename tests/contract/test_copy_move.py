"""Copies and moves: proved, complete with metadata, and never the end of the source."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from boto3.s3.transfer import TransferConfig

from object_clerk import (
    BucketNotFoundException,
    MoveIncomplete,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.testing import (
    body_after,
    flip_response_bit,
    rewrite_response_header,
    status_before,
)
from tests.contract.support import (
    LARGE,
    MIB,
    SMALL,
    THRESHOLD,
    Wire,
    blob,
    keys,
    put_in_parts,
    stored,
    unfinished,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk, Receipt
    from object_clerk.testing import Fault, FaultProxy
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
VERBS = pytest.mark.parametrize("verb", ["copy_object", "move_object"])

#: The request that makes a copy, for a fault.
COPY: Any = {"method": "PUT", "path": "/to"}


def run(clerk: ObjectClerk, verb: str, source: tuple[str, str], target: tuple[str, str]) -> Receipt:
    """Copy or move."""
    method: Callable[..., Receipt] = getattr(clerk, verb)
    return method(*source, *target)


@SIZES
@VERBS
def test_within_a_bucket(
    verb: str, size: int, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 13, 14: the copy equals the source; a move takes the source away."""
    clerk.upload_object(blob(size), bucket, "from")
    receipt = run(clerk, verb, (bucket, "from"), (bucket, "to/here"))

    assert stored(s3, bucket, "to/here") == blob(size)
    assert keys(s3, bucket) == (["from", "to/here"] if verb == "copy_object" else ["to/here"])
    assert clerk.get_object(bucket, "to/here") == blob(size)
    assert (receipt.operation, receipt.bucket, receipt.key) == (verb, bucket, "to/here")
    assert (receipt.size, receipt.source) == (size, f"{bucket}/from")
    assert receipt.verdict is Verdict.CONTENT
    assert unfinished(s3, bucket) == []


@SIZES
@VERBS
def test_between_buckets(
    verb: str, size: int, clerk: ObjectClerk, s3: S3Client, bucket: str, other_bucket: str
) -> None:
    """Check 13, 14: the same from bucket to bucket, over an object that is there."""
    clerk.upload_object(blob(size), bucket, "key")
    clerk.upload_object(b"old", other_bucket, "key")
    receipt = run(clerk, verb, (bucket, "key"), (other_bucket, "key"))

    assert stored(s3, other_bucket, "key") == blob(size)
    assert keys(s3, bucket) == (["key"] if verb == "copy_object" else [])
    assert receipt.verdict is Verdict.CONTENT


@VERBS
def test_empty_object(verb: str, clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 13: an empty object is copied like any other."""
    s3.put_object(Bucket=bucket, Key="from", Body=b"")
    receipt = run(clerk, verb, (bucket, "from"), (bucket, "to"))

    assert stored(s3, bucket, "to") == b""
    assert (receipt.size, receipt.verdict) == (0, Verdict.CONTENT)


@SIZES
@VERBS
def test_metadata_goes_along(
    verb: str, size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 13: content type and metadata are kept, also by a copy in parts."""
    metadata = {"first": "Value", "second": "a b"}
    clerk.upload_object(
        blob(size), bucket, "from", content_type="image/fits", metadata=dict(metadata)
    )
    before = s3.head_object(Bucket=bucket, Key="from")
    run(clerk, verb, (bucket, "from"), (bucket, "to"))

    head = s3.head_object(Bucket=bucket, Key="to")
    assert head["ContentType"] == "image/fits"
    found = {name.lower(): value for name, value in head["Metadata"].items()}
    if not traits.metadata_case_kept:
        found = {name: value for name, value in found.items() if name in metadata}
    record = {name: found.pop(name) for name in list(found) if name.startswith("clerk-")}
    assert found == metadata
    assert bool(record) == (size == LARGE and traits.metadata_case_kept)
    assert head["ContentLength"] == before["ContentLength"]


LAYOUTS = {
    "one piece above the threshold": None,
    "parts of 8 MiB": 8 * MIB,
    "odd parts": 7 * MIB + 3,
}


@VERBS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_objects_that_others_wrote(
    layout: str, verb: str, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 13: a source of any layout is copied and proved, whatever ETag the copy gets."""
    data = blob(LARGE + 4 * MIB)
    part = LAYOUTS[layout]
    if part is None:
        s3.put_object(Bucket=bucket, Key="from", Body=data)
    elif layout == "parts of 8 MiB":
        config = TransferConfig(multipart_threshold=part)
        s3.upload_fileobj(io.BytesIO(data), bucket, "from", Config=config)
    else:
        put_in_parts(s3, bucket, "from", data, part)
    receipt = run(clerk, verb, (bucket, "from"), (bucket, "to"))

    assert stored(s3, bucket, "to") == data
    assert receipt.verdict is Verdict.CONTENT
    assert keys(s3, bucket) == (["from", "to"] if verb == "copy_object" else ["to"])


def test_between_clerks_of_different_thresholds(
    clerk: ObjectClerk, make_clerk: MakeClerk, s3: S3Client, bucket: str
) -> None:
    """Check 13, 25: a small object of one clerk is a large one of another."""
    other = make_clerk(transfer_config={"multipart_threshold": 64 * MIB})
    other.upload_object(blob(LARGE), bucket, "whole")
    clerk.upload_object(blob(LARGE), bucket, "parts")

    assert clerk.copy_object(bucket, "whole", bucket, "a").verdict is Verdict.CONTENT
    assert other.copy_object(bucket, "parts", bucket, "b").verdict is Verdict.CONTENT
    assert stored(s3, bucket, "a") == stored(s3, bucket, "b") == blob(LARGE)
    assert clerk.get_object(bucket, "b") == other.get_object(bucket, "a") == blob(LARGE)


@VERBS
def test_onto_itself(verb: str, clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 15: move/copy onto itself is refused and never loses data, any size."""
    for size in (0, SMALL, THRESHOLD - 1, THRESHOLD, LARGE):
        clerk.upload_object(blob(size), bucket, "key", allow_empty=True)
        wire = Wire(clerk)
        with pytest.raises(ObjectClerkParameterException, match="same object"):
            run(clerk, verb, (bucket, "key"), (bucket, "key"))

        assert wire.sent == []
        assert stored(s3, bucket, "key") == blob(size)


@SIZES
def test_source_is_deleted_last(size: int, clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 14: the one DELETE comes after everything else, and is for the source."""
    clerk.upload_object(blob(size), bucket, "from")
    wire = Wire(clerk)
    clerk.move_object(bucket, "from", bucket, "to")

    # An aborted multipart copy (where the server has none) is a DELETE too, with an uploadId.
    deletes = wire.where(lambda each: each.method == "DELETE" and "uploadId" not in each.query)
    # The server is asked about conditional deletes with a key that nobody has.
    deletes = [each for each in deletes if ".object-clerk-" not in each.path]
    # Swift refuses any If-Match of an object in parts, and is asked again without.
    assert 1 <= len(deletes) <= 2
    assert {each.path for each in deletes} == {f"/{bucket}/from"}
    assert wire.sent[-1] is deletes[-1]
    since = wire.sent[wire.sent.index(deletes[0]) :]
    assert {(each.method, each.path) for each in since} <= {
        ("DELETE", f"/{bucket}/from"),
        ("HEAD", f"/{bucket}/from"),
    }


@SIZES
@VERBS
def test_failed_copy_leaves_everything(
    verb: str,
    size: int,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
) -> None:
    """Check 14: a failed copy leaves the source, what was under the target, and no parts."""
    s3.put_object(Bucket=bucket, Key="to", Body=b"old")
    proxied.upload_object(blob(size), bucket, "from")
    proxy.add(status_before(500, "InternalError", method="PUT", path="/to", times=None))
    with pytest.raises(ObjectClerkServerInternalException) as caught:
        run(proxied, verb, (bucket, "from"), (bucket, "to"))

    assert caught.value.attempts == 3
    assert stored(s3, bucket, "from") == blob(size)
    assert stored(s3, bucket, "to") == b"old"
    assert unfinished(s3, bucket) == []


@VERBS
def test_copy_that_does_not_verify(
    verb: str, proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """Check 14: a copy that reads back wrong raises; neither source nor copy is deleted."""
    proxied.upload_object(blob(SMALL), bucket, "from")
    proxy.add(flip_response_bit(0, method="GET", path="/to", times=None))
    with pytest.raises(ObjectVerificationException) as caught:
        run(proxied, verb, (bucket, "from"), (bucket, "to"))

    assert caught.value.attempts == 3
    assert keys(s3, bucket) == ["from", "to"]
    assert stored(s3, bucket, "from") == blob(SMALL)
    assert "DELETE" not in {each.method for each in proxy.log}


@VERBS
def test_answer_to_the_copy_is_proof_where_its_etag_is_computed(
    verb: str,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """Check 14: as the answer to an upload is. Elsewhere the copy is looked at, and read."""
    proxied.examine_endpoint(bucket)
    proxied.upload_object(blob(SMALL), bucket, "from")
    proxy.clear_log()
    receipt = run(proxied, verb, (bucket, "from"), (bucket, "to"))

    computed = traits.copy_etag_computed and traits.multipart_etag_kept
    asked = [each.method for each in proxy.log if each.path.endswith("/to")]
    assert asked == (["PUT"] if computed else ["PUT", "HEAD", "GET"])
    assert (receipt.verdict, receipt.size) == (Verdict.CONTENT, SMALL)
    assert f'"{receipt.etag}"' == s3.head_object(Bucket=bucket, Key="to")["ETag"]
    assert stored(s3, bucket, "to") == blob(SMALL)


@VERBS
@pytest.mark.parametrize(
    "fault",
    [
        body_after(200, b"<CopyObjectResult><ETag>%032d</ETag></CopyObjectResult>" % 0, **COPY),
        body_after(200, b"<CopyObjectResult></CopyObjectResult>", **COPY),
        rewrite_response_header("x-amz-server-side-encryption", "aws:kms", **COPY),
    ],
    ids=["other", "none", "encrypted"],
)
def test_answer_to_the_copy_with_another_etag_is_no_proof(
    fault: Fault, verb: str, proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """Check 14: nor is one that need not be an MD5. Then the copy is looked at."""
    proxied.examine_endpoint(bucket)
    proxied.upload_object(blob(SMALL), bucket, "from")
    proxy.clear_log()
    proxy.add(fault)
    receipt = run(proxied, verb, (bucket, "from"), (bucket, "to"))

    assert len(proxy.fired) == 1
    assert [each.method for each in proxy.log if each.path.endswith("/to")][:2] == ["PUT", "HEAD"]
    assert receipt.verdict is Verdict.CONTENT
    assert stored(s3, bucket, "to") == blob(SMALL)


def test_source_that_cannot_be_deleted(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """Check 14: the copy is there and proved, the error says so, and again is safe."""
    proxied.upload_object(blob(SMALL), bucket, "from")
    proxy.add(status_before(403, "AccessDenied", method="DELETE", times=None))
    with pytest.raises(MoveIncomplete) as caught:
        proxied.move_object(bucket, "from", bucket, "to")

    assert keys(s3, bucket) == ["from", "to"]
    assert caught.value.receipt is not None
    assert (caught.value.receipt.key, caught.value.receipt.verdict) == ("to", Verdict.CONTENT)
    assert caught.value.status == 403
    proxy.clear()
    proxied.move_object(bucket, "from", bucket, "to")
    assert keys(s3, bucket) == ["to"]
    assert stored(s3, bucket, "to") == blob(SMALL)


@SIZES
@VERBS
def test_without_verification_nothing_is_read(
    verb: str, size: int, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 7: verify_checksum=False skips all verification on copy/move."""
    clerk.upload_object(blob(size), bucket, "from")
    wire = Wire(clerk)
    method: Callable[..., Receipt] = getattr(clerk, verb)
    receipt = method(bucket, "from", bucket, "to", verify_checksum=False)

    assert wire.where(lambda each: each.method == "GET" and not each.query) == []
    assert receipt.verdict is Verdict.NONE
    assert stored(s3, bucket, "to") == blob(size)
    assert ("from" in keys(s3, bucket)) == (verb == "copy_object")


@VERBS
def test_missing_source_or_bucket(verb: str, clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 10: a missing source, source bucket or target bucket is not found; nothing is lost."""
    s3.put_object(Bucket=bucket, Key="to", Body=b"old")
    missing = f"{bucket}-missing"
    for source in ((bucket, "from"), (missing, "from")):
        with pytest.raises(ObjectNotFoundException):
            run(clerk, verb, source, (bucket, "to"))
    for size in (SMALL, LARGE):
        clerk.upload_object(blob(size), bucket, "from")
        with pytest.raises(BucketNotFoundException):
            run(clerk, verb, (bucket, "from"), (missing, "to"))
        assert stored(s3, bucket, "from") == blob(size)

    assert stored(s3, bucket, "to") == b"old"


def test_errors_are_of_the_package(clerk: ObjectClerk, bucket: str) -> None:
    """Check 29: one except clause catches them all."""
    with pytest.raises(ObjectClerkException):
        clerk.move_object(bucket, "missing", bucket, "to")
