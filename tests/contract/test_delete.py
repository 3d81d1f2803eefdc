"""Deletion: of one key, of many, of none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk import (
    BucketNotFoundException,
    DeleteIncomplete,
    DeleteOutcome,
    ObjectNotFoundException,
)
from object_clerk.testing import body_after
from tests.contract.support import LARGE, Wire, blob, keys
from tests.servers import ODD_KEYS

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy
    from tests.servers import Traits


def test_existing_object(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 12: delete existing -> later not found; its neighbours stay."""
    clerk.upload_object(b"content", bucket, "key")
    clerk.upload_object(blob(LARGE), bucket, "multipart")
    clerk.upload_object(b"content", bucket, "key2")
    for key in ("key", "multipart"):
        clerk.delete_object(bucket, key)
        with pytest.raises(ObjectNotFoundException):
            clerk.get_object(bucket, key)

    assert keys(s3, bucket) == ["key2"]


def test_missing_key_is_silent(clerk: ObjectClerk, bucket: str) -> None:
    """Check 12: delete missing key silent."""
    clerk.delete_object(bucket, "missing")
    clerk.delete_object(bucket, "missing/too")


def test_missing_bucket(clerk: ObjectClerk, bucket: str) -> None:
    """Check 12: missing bucket not found, for one key and for many."""
    missing = f"{bucket}-missing"
    with pytest.raises(BucketNotFoundException):
        clerk.delete_object(missing, "key")
    with pytest.raises(BucketNotFoundException):
        clerk.delete_objects(missing, ["key"])


def test_many(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 12: an outcome for each key in the order given, each once; missing is no error."""
    for key in ("a", "b", "c", "stays"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"content")
    wire = Wire(clerk)
    outcomes = clerk.delete_objects(bucket, iter(["c", "a", "missing", "b", "a"]))

    assert [each.key for each in outcomes] == ["c", "a", "missing", "b"]
    assert all(each.deleted for each in outcomes)
    assert keys(s3, bucket) == ["stays"]
    assert len(wire.sent) == 1


def test_none(clerk: ObjectClerk, bucket: str) -> None:
    """Check 12: no keys, no request."""
    wire = Wire(clerk)

    assert clerk.delete_objects(bucket, []) == []
    assert wire.sent == []


def test_more_than_a_thousand(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 12: more keys than one request takes."""
    present = ["key-0000", "key-0999", "key-1000"]
    for key in present:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.put_object(Bucket=bucket, Key="stays", Body=b"")
    wire = Wire(clerk)
    outcomes = clerk.delete_objects(bucket, [f"key-{number:04}" for number in range(1001)])

    assert [each.key for each in outcomes] == [f"key-{number:04}" for number in range(1001)]
    assert all(each.deleted for each in outcomes)
    assert len(wire.sent) == 2
    assert keys(s3, bucket) == ["stays"]


def test_odd_keys(clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    """Check 12, 27: keys that XML has to escape are the keys that are deleted."""
    odd = [key for key in ODD_KEYS.values() if key not in traits.unsupported_keys]
    for key in odd:
        s3.put_object(Bucket=bucket, Key=key, Body=b"content")
    outcomes = clerk.delete_objects(bucket, odd)

    assert [(each.key, each.deleted) for each in outcomes] == [(key, True) for key in odd]
    assert keys(s3, bucket) == []


def test_some_refused(proxied: ObjectClerk, proxy: FaultProxy, bucket: str) -> None:
    """Check 12: the error holds an outcome for each key, with the server's reason."""
    answer = (
        b'<?xml version="1.0" encoding="UTF-8"?><DeleteResult>'
        b"<Deleted><Key>a</Key></Deleted>"
        b"<Error><Key>b</Key><Code>AccessDenied</Code><Message>locked</Message></Error>"
        b"</DeleteResult>"
    )
    xml: dict[str, str | None] = {"Content-Type": "application/xml", "Transfer-Encoding": None}
    proxy.add(body_after(200, answer, xml, method="POST", query="delete"))
    with pytest.raises(DeleteIncomplete, match="AccessDenied") as caught:
        proxied.delete_objects(bucket, ["a", "b"])

    assert list(caught.value.outcomes) == [
        DeleteOutcome("a", deleted=True),
        DeleteOutcome("b", deleted=False, code="AccessDenied", message="locked"),
    ]
