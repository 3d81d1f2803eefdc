"""Buckets: listed, made, and removed when they are empty."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from object_clerk import (
    BucketNotFoundException,
    DestinationExists,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
)
from object_clerk.testing import drop_after
from tests.contract.support import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy
    from tests.servers import Server


@pytest.fixture
def name(server: Server, s3: S3Client) -> Iterator[str]:
    """A name that no bucket has; one that gets it is removed afterwards."""
    if server.name == "live":
        pytest.skip("a foreign endpoint may not let us make buckets")
    made = f"clerk-{uuid.uuid4().hex[:20]}"
    yield made
    with contextlib.suppress(ClientError):
        s3.delete_bucket(Bucket=made)


def test_a_bucket_is_made_listed_and_deleted(clerk: ObjectClerk, name: str) -> None:
    clerk.create_bucket(name)
    listed = clerk.list_buckets()
    clerk.upload_object(b"content", name, "key")
    clerk.delete_object(name, "key")
    clerk.delete_bucket(name)

    (entry,) = [each for each in listed if each["Name"] == name]
    assert entry["CreationDate"].tzinfo is not None
    assert [each["Name"] for each in listed] == sorted(each["Name"] for each in listed)
    assert name not in [each["Name"] for each in clerk.list_buckets()]


def test_a_bucket_that_is_there(clerk: ObjectClerk, name: str) -> None:
    clerk.create_bucket(name)
    clerk.upload_object(b"content", name, "key")

    with pytest.raises(DestinationExists) as caught:
        clerk.create_bucket(name)
    clerk.create_bucket(name, exist_ok=True)

    assert (caught.value.operation, caught.value.bucket) == ("create_bucket", name)
    assert clerk.get_object(name, "key") == b"content"
    clerk.delete_object(name, "key")


def test_a_bucket_with_something_in_it_stays(clerk: ObjectClerk, name: str) -> None:
    clerk.create_bucket(name)
    clerk.upload_object(b"content", name, "key")

    with pytest.raises(ObjectClerkOperationException) as caught:
        clerk.delete_bucket(name)

    assert caught.value.status == 409
    assert clerk.get_object(name, "key") == b"content"
    clerk.delete_object(name, "key")


def test_deleting_a_bucket_that_is_not_there(clerk: ObjectClerk, name: str) -> None:
    with pytest.raises(BucketNotFoundException) as caught:
        clerk.delete_bucket(name)

    assert (caught.value.bucket, caught.value.attempts) == (name, 1)


def test_answers_that_are_lost(proxied: ObjectClerk, proxy: FaultProxy, name: str) -> None:
    """What was done before the answer was lost is neither an error nor done to somebody else's."""
    proxy.add(drop_after(method="PUT", times=1))
    proxied.create_bucket(name)
    assert proxied.exists(name, "key") is False

    proxy.add(drop_after(method="DELETE", times=1))
    proxied.delete_bucket(name)
    assert len(proxy.fired) == 2
    assert name not in [each["Name"] for each in proxied.list_buckets()]


@pytest.mark.parametrize("verb", ["create_bucket", "delete_bucket", "list_versions"])
@pytest.mark.parametrize("bad", ["", "a/b", "ä"])
def test_a_bad_name_is_refused_before_any_request(verb: str, bad: str, clerk: ObjectClerk) -> None:
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkParameterException):
        getattr(clerk, verb)(bad)
    assert wire.sent == []
