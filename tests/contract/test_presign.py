"""Presigned URLs, used by a client that knows nothing of S3."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from object_clerk import ObjectClerkParameterException, ObjectNotFoundException
from tests.contract.support import LARGE, SMALL, Wire, blob, stored
from tests.servers import ODD_KEYS

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from tests.servers import Traits

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(
    url: str, method: str = "GET", data: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    """Make a plain HTTP request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:  # urllib would claim that it is a form
        named = {"Content-Type": "application/octet-stream", **named}
    request = urllib.request.Request(url, data=data, method=method, headers=named)
    try:
        with _DIRECTLY.open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
def test_get(size: int, clerk: ObjectClerk, bucket: str) -> None:
    """Check 30: anybody with the URL reads the object; making it takes no request."""
    clerk.upload_object(blob(size), bucket, "folder/key")
    wire = Wire(clerk)
    url = clerk.presign_get(bucket, "folder/key")

    assert wire.sent == []
    assert fetch(url) == (200, blob(size))


@pytest.mark.parametrize("name", ["unicode", "plus and space", "percent", "query"])
def test_odd_keys(name: str, clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 27: a URL names the very key."""
    key = ODD_KEYS[name]

    assert fetch(clerk.presign_put(bucket, key), "PUT", b"content")[0] == 200
    assert stored(s3, bucket, key) == b"content"
    assert fetch(clerk.presign_get(bucket, key)) == (200, b"content")


def test_put(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 30: anybody with the URL writes the object."""
    url = clerk.presign_put(bucket, "key", 600)
    status, _ = fetch(url, "PUT", blob(SMALL))

    assert status == 200
    assert stored(s3, bucket, "key") == blob(SMALL)
    assert clerk.get_object(bucket, "key") == blob(SMALL)


def test_put_with_content_type(
    clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 30: a content type that was signed is the one that must be sent."""
    url = clerk.presign_put(bucket, "key", content_type="image/fits")
    if traits.verifies_signatures:
        assert fetch(url, "PUT", b"content", Content_Type="text/html")[0] == 403
        assert not clerk.exists(bucket, "key")
    assert fetch(url, "PUT", b"content", Content_Type="image/fits")[0] == 200

    assert s3.head_object(Bucket=bucket, Key="key")["ContentType"] == "image/fits"


def test_url_is_good_for_nothing_else(
    clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 30: another key or another method is refused where signatures are verified."""
    if not traits.verifies_signatures:
        pytest.skip("trait verifies_signatures: this server takes any signature")
    for key in ("key", "other"):
        clerk.upload_object(key.encode(), bucket, key)
    url = clerk.presign_get(bucket, "key")

    assert fetch(url)[0] == 200
    assert fetch(url.replace("/key?", "/other?"))[0] == 403
    assert fetch(url, "PUT", b"forged")[0] == 403
    assert fetch(url, "DELETE")[0] == 403
    assert fetch(clerk.presign_put(bucket, "key"))[0] == 403
    assert stored(s3, bucket, "key") == b"key"


def test_expired(clerk: ObjectClerk, traits: Traits, bucket: str) -> None:
    """Check 30: a URL stops working when its time is over."""
    if not traits.presigned_expiry:
        pytest.skip("trait presigned_expiry: this server takes an expired URL")
    clerk.upload_object(b"content", bucket, "key")
    url = clerk.presign_get(bucket, "key", expires_in_s=1)
    deadline = time.monotonic() + 5
    while (status := fetch(url)[0]) == 200 and time.monotonic() < deadline:
        time.sleep(0.2)

    assert status in (400, 401, 403)


def test_missing_object(clerk: ObjectClerk, bucket: str) -> None:
    """Check 10: a URL of nothing can be made and gives 404."""
    assert fetch(clerk.presign_get(bucket, "missing"))[0] == 404
    with pytest.raises(ObjectNotFoundException):
        clerk.get_object(bucket, "missing")


def test_url_names_the_server(clerk: ObjectClerk, bucket: str) -> None:
    """Check 1: the URL is of the endpoint, path-style, and signed by version 4."""
    parts = urlsplit(clerk.presign_get(bucket, "a key"))
    own = urlsplit(clerk.endpoint_url or "")

    assert (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
    assert parts.path == f"/{bucket}/a%20key"
    assert "X-Amz-Signature=" in parts.query
    assert "X-Amz-Expires=3600" in parts.query


@pytest.mark.parametrize("seconds", [0, -1, 604_801, 1.5, True, "60", None])
def test_impossible_expiry(seconds: int, clerk: ObjectClerk, bucket: str) -> None:
    """Check 29: a life that S3 does not grant is refused, not passed on."""
    for presign in (clerk.presign_get, clerk.presign_put):
        with pytest.raises(ObjectClerkParameterException):
            presign(bucket, "key", seconds)
    clerk.presign_get(bucket, "key", 604_800)
