"""Uploads that nobody finished: found, and swept away when they are old."""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    BucketNotFoundException,
    DeleteIncomplete,
    ObjectClerkParameterException,
    ObjectClerkServerAuthException,
    ObjectClerkTypeException,
    SweptUpload,
    UnfinishedUpload,
)
from object_clerk.names import STAGE_MARK, random_key
from object_clerk.testing import rewrite_response_header, status_before
from object_clerk.transfer.uploads import Uploads
from tests.contract.support import LARGE, Wire, blob, keys, unfinished
from tests.servers import ODD_KEYS

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy
    from tests.servers import Traits

HOUR_S = 3600
DAY_S = 24 * HOUR_S


def begin(s3: S3Client, bucket: str, *names: str) -> set[tuple[str, str]]:
    """Begin uploads and leave them alone."""
    return {(key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in names}


def ids(found: list[UnfinishedUpload] | list[SweptUpload]) -> set[tuple[str, str | None]]:
    return {(each.key, each.upload_id) for each in found}


def set_clock(proxy: FaultProxy, later_s: float) -> None:
    """Let the server's answers to questions be dated so much later than they are."""
    date = email.utils.formatdate(time.time() + later_s, usegmt=True)
    proxy.clear()
    for method in ("GET", "HEAD"):
        proxy.add(rewrite_response_header("Date", date, method=method, times=None))


# -- listing ---------------------------------------------------------------------------------


def test_none(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Neither before there ever was one, nor when all have ended."""
    assert list(clerk.list_uploads(bucket)) == []

    clerk.upload_object(blob(LARGE), bucket, "complete")
    for key, upload_id in begin(s3, bucket, "aborted"):
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    assert list(clerk.list_uploads(bucket)) == []


def test_all(clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    """Each once, with its key as it is, two of the same key too."""
    # MinIO takes no upload in parts to a key that ends in a slash.
    odd = [key for key in ODD_KEYS.values() if key not in {*traits.unsupported_keys, "folder/"}]
    begun = begin(s3, bucket, "a", "b/c", "b/c2", *odd) | begin(s3, bucket, "a")
    found = list(clerk.list_uploads(bucket))

    assert len(found) == len(begun)
    assert ids(found) == begun
    if traits.upload_initiated:
        assert all(
            each.initiated is not None and abs(each.initiated.timestamp() - time.time()) < DAY_S
            for each in found
        )


def test_prefix(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """A prefix is the beginning of a key, whether or not it is a whole one or ends in a slash."""
    begun = begin(s3, bucket, "a", "b/c", "b/c2", "b/d", "bb", "c")
    for prefix in ("b", "b/", "b/c", "d", "", "b/c2x"):
        expected = {each for each in begun if each[0].startswith(prefix)}
        assert ids(list(clerk.list_uploads(bucket, prefix))) == expected


@pytest.mark.parametrize("page_size", [1, 2, 3, 5])
def test_pages(clerk: ObjectClerk, s3: S3Client, bucket: str, page_size: int) -> None:
    begun = begin(s3, bucket, "a", "b", "c/d", "e") | begin(s3, bucket, "b")
    found = list(
        Uploads(
            clerk._new_listing("list_uploads", bucket),
            clerk._connection,
            bucket,
            None,
            page_size=page_size,
        )
    )

    assert len(found) == len(begun)
    assert ids(found) == begun


def test_missing_bucket(clerk: ObjectClerk, bucket: str) -> None:
    """It shows where the listing is asked for."""
    for verb in (clerk.list_uploads, clerk.sweep_uploads):
        with pytest.raises(BucketNotFoundException):
            verb(f"{bucket}-missing")


def test_denied(proxied: ObjectClerk, proxy: FaultProxy, bucket: str) -> None:
    proxy.add(status_before(403, "AccessDenied", query="uploads", times=None))
    for verb in (proxied.list_uploads, proxied.sweep_uploads):
        with pytest.raises(ObjectClerkServerAuthException):
            verb(bucket)


def test_a_page_is_asked_for_again(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    begun = begin(s3, bucket, "a")
    proxy.add(status_before(503, "SlowDown", query="uploads"))

    assert ids(list(proxied.list_uploads(bucket))) == begun
    assert [each.fault for each in proxy.log] == ["status_before", None]


# -- sweeping --------------------------------------------------------------------------------


def test_old_ones_are_swept(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """What is old enough is removed; objects, and what is younger, stay."""
    begun = begin(s3, bucket, "a", "b/c") | begin(s3, bucket, "a")
    s3.put_object(Bucket=bucket, Key="a", Body=b"mine")
    set_clock(proxy, DAY_S - 60)
    early = proxied.sweep_uploads(bucket)
    if traits.upload_initiated:
        assert early == []
        set_clock(proxy, DAY_S + 60)
        swept = proxied.sweep_uploads(bucket)
    else:
        swept = early  # where all were begun long ago, or so they say

    assert ids(swept) == begun
    assert all(each.deleted and each.code is None for each in swept)
    assert unfinished(s3, bucket) == []
    assert keys(s3, bucket) == ["a"]
    assert proxied.sweep_uploads(bucket) == []


def test_what_was_begun_just_now(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """0 takes everything, even what by rounded dates begins in the future."""
    for _ in range(3):
        begun = begin(s3, bucket, "a")
        swept = clerk.sweep_uploads(bucket, older_than_s=0)

        assert ids(swept) == begun


def test_age_is_told_by_the_clock_of_the_server(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """By its clock these were begun in the future; what time it is here does not count."""
    begin(s3, bucket, "a")
    proxy.add(rewrite_response_header("Date", "Sat, 01 Jan 2000 00:00:00 GMT", times=None))

    assert proxied.sweep_uploads(bucket, older_than_s=1) == []
    assert unfinished(s3, bucket) == ["a"]


def test_without_a_date_our_clock_has_to_do(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, traits: Traits, bucket: str
) -> None:
    begin(s3, bucket, "a")
    proxy.add(rewrite_response_header("Date", None, times=None))
    swept = proxied.sweep_uploads(bucket, older_than_s=HOUR_S)

    assert len(swept) == (0 if traits.upload_initiated else 1)
    assert len(unfinished(s3, bucket)) == 1 - len(swept)


def test_temporary_objects_are_swept(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """Those of ours, and only those."""
    staged = random_key("b/c", STAGE_MARK)
    others = [f"a{STAGE_MARK}notes", f"b/c{STAGE_MARK}{'0' * 31}", f"{staged}.txt", "b/c"]
    for key in (staged, *others):
        s3.put_object(Bucket=bucket, Key=key, Body=b"content")
    assert proxied.sweep_uploads(bucket) == []
    set_clock(proxy, DAY_S + 60)
    (swept,) = proxied.sweep_uploads(bucket)

    assert (swept.key, swept.deleted, swept.upload_id) == (staged, True, None)
    assert swept.initiated is not None
    assert keys(s3, bucket) == sorted(others)


def test_what_an_examination_has_left(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """Scratch objects are swept too; others below the same prefix are not."""
    proxy.add(status_before(403, "AccessDenied", method="DELETE", times=None))
    proxied.examine_endpoint(bucket)
    mine = f"{proxied.config.probe_prefix}mine"
    s3.put_object(Bucket=bucket, Key=mine, Body=b"content")
    left = set(keys(s3, bucket)) - {mine}
    assert left
    set_clock(proxy, DAY_S + 60)
    swept = proxied.sweep_uploads(bucket)

    assert left <= {each.key for each in swept}
    assert keys(s3, bucket) == [mine]
    assert unfinished(s3, bucket) == []


def test_what_a_staged_upload_has_left(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    proxy.add(status_before(403, "AccessDenied", method="DELETE", path=STAGE_MARK, times=None))
    proxied.upload_object(b"content", bucket, "key", stage=True)
    assert len(keys(s3, bucket)) == 2
    set_clock(proxy, DAY_S + 60)
    (swept,) = proxied.sweep_uploads(bucket)

    assert swept.key.startswith("key.")
    assert keys(s3, bucket) == ["key"]


def test_only_below_the_prefix(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    begun = begin(s3, bucket, "a", "b/c")
    staged = [random_key(key, STAGE_MARK) for key in ("a", "b/c")]
    for key in staged:
        s3.put_object(Bucket=bucket, Key=key, Body=b"content")
    set_clock(proxy, DAY_S + 60)
    swept = proxied.sweep_uploads(bucket, "b/")

    assert {each.key for each in swept} == {"b/c", staged[1]}
    assert unfinished(s3, bucket) == ["a"]
    assert keys(s3, bucket) == [staged[0]]
    assert len(begun) == 2


def test_dry_run_removes_nothing(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    begun = begin(s3, bucket, "a")
    staged = random_key("a", STAGE_MARK)
    s3.put_object(Bucket=bucket, Key=staged, Body=b"content")
    set_clock(proxy, DAY_S + 60)
    found = proxied.sweep_uploads(bucket, dry_run=True)

    assert ids(found) == {*begun, (staged, None)}
    assert not any(each.deleted for each in found)
    assert {each.method for each in proxy.log} == {"GET"}
    assert (unfinished(s3, bucket), keys(s3, bucket)) == (["a"], [staged])


def test_that_it_is_gone_meanwhile_is_fine(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    begin(s3, bucket, "a")
    set_clock(proxy, DAY_S + 60)
    proxy.add(status_before(404, "NoSuchUpload", method="DELETE"))
    (swept,) = proxied.sweep_uploads(bucket)

    assert swept.deleted
    assert [each.fault for each in proxy.log if each.method == "DELETE"] == ["status_before"]


def test_some_are_refused(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """The others are removed all the same, and the error tells of each."""
    begin(s3, bucket, "a", "locked", "z")
    staged = random_key("a", STAGE_MARK)
    s3.put_object(Bucket=bucket, Key=staged, Body=b"content")
    set_clock(proxy, DAY_S + 60)
    proxy.add(
        status_before(
            403, "AccessDenied", message="locked", method="DELETE", path="/locked", times=None
        )
    )
    with pytest.raises(DeleteIncomplete, match="1 of 4 leftovers") as caught:
        proxied.sweep_uploads(bucket)

    outcomes = {each.key: each for each in caught.value.outcomes}
    assert {key for key, each in outcomes.items() if each.deleted} == {"a", "z", staged}
    assert (outcomes["locked"].code, outcomes["locked"].message) == ("AccessDenied", "locked")
    assert unfinished(s3, bucket) == ["locked"]
    assert keys(s3, bucket) == []


def test_temporary_objects_are_refused(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    begin(s3, bucket, "a")
    staged = random_key("a", STAGE_MARK)
    s3.put_object(Bucket=bucket, Key=staged, Body=b"content")
    set_clock(proxy, DAY_S + 60)
    proxy.add(status_before(403, "AccessDenied", method="POST", query="delete", times=None))
    with pytest.raises(DeleteIncomplete, match="AccessDenied") as caught:
        proxied.sweep_uploads(bucket)

    assert {each.key: each.deleted for each in caught.value.outcomes} == {"a": True, staged: False}
    assert unfinished(s3, bucket) == []


def test_a_server_that_is_down_is_asked_no_more(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    begin(s3, bucket, *"abcde")
    set_clock(proxy, DAY_S + 60)
    proxy.add(status_before(503, "SlowDown", method="DELETE", times=None))
    with pytest.raises(DeleteIncomplete, match="5 of 5") as caught:
        proxied.sweep_uploads(bucket)

    assert {each.code for each in caught.value.outcomes} == {"SlowDown"}
    assert len([each for each in proxy.log if each.method == "DELETE"]) == 3  # tries of one


# -- bad arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize("age", [-1, float("nan"), "1d", None, True])
def test_an_impossible_age(clerk: ObjectClerk, bucket: str, age: Any) -> None:
    wire = Wire(clerk)
    with pytest.raises((ObjectClerkParameterException, ObjectClerkTypeException)):
        clerk.sweep_uploads(bucket, older_than_s=age)

    assert wire.sent == []


def test_an_impossible_prefix(clerk: ObjectClerk, bucket: str) -> None:
    wrong: Any = 5
    wire = Wire(clerk)
    for verb in (clerk.list_uploads, clerk.sweep_uploads):
        with pytest.raises(ObjectClerkTypeException):
            verb(bucket, wrong)

    assert wire.sent == []
