"""Presigned URLs, used by a client that knows nothing of the store."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.store import Capability, ObjectStore
from object_clerk.testing.store.ground import Gap, Ground, content, keys, lacks

if TYPE_CHECKING:
    from object_clerk.testing.store.ground import Config

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_REFUSALS = (400, 401, 403)


def _fetch(url: str, method: str = "GET", data: bytes | None = None) -> tuple[int, bytes]:
    """Make a plain HTTP request: its status and its body."""
    # Otherwise urllib would claim that it is a form.
    headers = {} if data is None else {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - of the store
    try:
        with _DIRECTLY.open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _lacking(store: ObjectStore) -> bool:
    return lacks(
        store,
        Capability.PRESIGNED_URLS,
        lambda: store.get_presigned_url("key"),
        lambda: store.get_presigned_upload_url("key"),
    )


class Urls(Ground):
    """A URL is good for one object, one method, and some time."""

    def test_url_download(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 16: anybody who has the URL can read the object."""
        if _lacking(store):
            return
        store.put_object_v2(b"content", "folder/a key+%.txt")
        store.put_object_v2(b"other", "folder/a key+%.txt", other_bucket)
        url = store.get_presigned_url("folder/a key+%.txt")
        assert _fetch(url) == (200, b"content")
        url = store.get_presigned_url("folder/a key+%.txt", other_bucket, 60)
        assert _fetch(url) == (200, b"other")

    def test_url_upload(self, store: ObjectStore) -> None:
        """Check 16: anybody who has the URL can write the object."""
        if _lacking(store):
            return
        url = store.get_presigned_upload_url("folder/a key+%.txt", expires=60)
        status, _ = _fetch(url, "PUT", b"from outside")
        assert status in (200, 201, 204)
        assert content(store, "folder/a key+%.txt") == b"from outside"
        assert keys(store) == ["folder/a key+%.txt"]

    def test_url_missing_object(self, store: ObjectStore) -> None:
        """Check 16: a URL of nothing can be made, and leads to nothing."""
        if _lacking(store):
            return
        assert _fetch(store.get_presigned_url("missing"))[0] == 404

    def test_url_good_for_nothing_else(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 16: other methods and other keys are refused."""
        if _lacking(store):
            return
        if Gap.SIGNATURES in gaps:
            pytest.skip(f"gap SIGNATURES: {Gap.SIGNATURES.value}")
        for key in ("key", "other"):
            store.put_object_v2(key.encode(), key)
        read, write = store.get_presigned_url("key"), store.get_presigned_upload_url("key")
        assert _fetch(read) == (200, b"key")
        assert _fetch(read, "PUT", b"forged")[0] in _REFUSALS
        assert _fetch(read, "DELETE")[0] in _REFUSALS
        assert _fetch(write)[0] in _REFUSALS
        assert _fetch(write, "DELETE")[0] in _REFUSALS
        assert _fetch(read.replace("/key?", "/other?"))[0] in _REFUSALS
        assert _fetch(write.replace("/key?", "/other?"), "PUT", b"forged")[0] in _REFUSALS
        assert _fetch(read.partition("?")[0])[0] in _REFUSALS
        assert {key: content(store, key) for key in keys(store)} == {
            "key": b"key",
            "other": b"other",
        }

    def test_url_expired(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 16: a URL stops working when its time is over."""
        if _lacking(store):
            return
        if Gap.EXPIRY in gaps:
            pytest.skip(f"gap EXPIRY: {Gap.EXPIRY.value}")
        store.put_object_v2(b"content", "key")
        read = store.get_presigned_url("key", expires=1)
        write = store.get_presigned_upload_url("key", expires=1)
        for _ in range(150):
            if (status := _fetch(read)[0]) != 200:
                break
            time.sleep(0.2)
        assert status in _REFUSALS
        assert _fetch(write, "PUT", b"too late")[0] in _REFUSALS
        assert content(store, "key") == b"content"
        assert _fetch(store.get_presigned_url("key", expires=3600)) == (200, b"content")

    def test_url_life(self, store: ObjectStore) -> None:
        """Check 17: the life of a URL is 1 second to a week, an hour if nobody says."""
        if _lacking(store):
            return
        for sign in (store.get_presigned_url, store.get_presigned_upload_url):
            for good in (None, 1, 60.5, 604_800, timedelta(minutes=5), timedelta(days=7)):
                assert urlsplit(sign("key", expires=good)).scheme in ("http", "https")
            bad: list[Any] = [0, -1, 0.5, 604_801, timedelta(0), timedelta(days=8), float("nan")]
            for expires in bad:
                with pytest.raises(ObjectClerkParameterException):
                    sign("key", expires=expires)
            bad = ["60", True, b"1", [60]]
            for expires in bad:
                with pytest.raises(ObjectClerkTypeException):
                    sign("key", expires=expires)

    def test_url_life_of_s3(self, store: ObjectStore) -> None:
        """Check 16: where URLs are signed as those of S3, the life can be read in them."""
        if _lacking(store):
            return
        for expires, seconds in ((None, "3600"), (60, "60"), (timedelta(minutes=5), "300")):
            for sign in (store.get_presigned_url, store.get_presigned_upload_url):
                query = parse_qs(urlsplit(sign("key", expires=expires)).query)
                assert query.get("X-Amz-Expires", [seconds]) == [seconds]

    def test_url_impossible_names(self, store: ObjectStore) -> None:
        """Check 16: nothing is signed for what cannot be."""
        if _lacking(store):
            return
        for sign in (store.get_presigned_url, store.get_presigned_upload_url):
            for key, bucket in (("", None), ("a\0b", None), ("key", ""), ("key", "a/b")):
                with pytest.raises(ObjectClerkParameterException):
                    sign(key, bucket)

    def test_url_nothing_is_asked(self, unreachable: Config | None) -> None:
        """Check 18: a URL is made without the server."""
        if unreachable is None:
            pytest.skip("no fixture 'unreachable': this backend is always there")
        with ObjectStore(unreachable) as store:
            if Capability.PRESIGNED_URLS in store.client.capabilities:
                for sign in (store.get_presigned_url, store.get_presigned_upload_url):
                    assert "/some/key" in urlsplit(sign("some/key")).path
