"""Deleting only what is meant: a condition is kept, or refused before anything is deleted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    BucketNotFoundException,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.endpoint import Support
from object_clerk.testing import (
    Action,
    Drop,
    Fault,
    Reply,
    body_after,
    callback,
    drop_after,
    error_document,
    status_before,
)
from tests.contract.support import LARGE, SMALL, Wire, blob, keys, stored, stored_etag

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy, Request, ResponseHead, Turn
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
NEVER = "0" * 32
#: After so many seconds another write of the same bytes has another time: a HEAD tells seconds.
TICK_S = 1.1


@pytest.fixture
def knowing(clerk: ObjectClerk, bucket: str) -> ObjectClerk:
    """A clerk that has found out what the server honours, in a bucket without versions."""
    if clerk.endpoint.delete_if_match is Support.UNKNOWN:
        clerk.examine_endpoint(bucket)
    return clerk


@pytest.fixture
def proxied(proxied: ObjectClerk, knowing: ObjectClerk) -> ObjectClerk:
    """A clerk behind the proxy that knows the same."""
    proxied._connection.endpoint = knowing.endpoint
    return proxied


@pytest.fixture
def conditional(traits: Traits) -> None:
    """For tests of what happens while the condition is in force."""
    if not traits.delete_if_match:
        pytest.skip("trait delete_if_match: nothing is deleted on condition")


@pytest.fixture
def versioned(s3: S3Client, traits: Traits, bucket: str) -> str:
    """A bucket that keeps versions."""
    if not traits.versioning:
        pytest.skip("trait versioning: this server keeps no versions")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def is_delete(request: Request) -> bool:
    """Whether it deletes the object "key", and no version of it."""
    return request.method == "DELETE" and request.path.endswith("/key") and not request.query


def is_look(request: Request) -> bool:
    return request.method == "HEAD" and request.path.endswith("/key")


def honours(traits: Traits, size: int = SMALL) -> bool:
    """Whether such an object can be deleted on condition."""
    return traits.delete_if_match and (size == SMALL or traits.delete_if_match_of_parts)


@dataclass(frozen=True)
class LostOnTheWay(Action):
    """The request never arrives, and meanwhile something else happens."""

    meanwhile: Callable[[], object]

    def before(self, turn: Turn) -> Drop:
        self.meanwhile()
        return Drop()


@dataclass(frozen=True)
class LostOnTheWayBack(Action):
    """The answer never arrives, and meanwhile something else happens."""

    meanwhile: Callable[[], object]

    def after(self, turn: Turn, head: ResponseHead) -> Drop:
        self.meanwhile()
        return Drop()


@dataclass(frozen=True)
class RefusedMeanwhile(Action):
    """The server says that the condition does not hold, since something else has happened."""

    meanwhile: Callable[[], object]

    def before(self, turn: Turn) -> Reply:
        self.meanwhile()
        return Reply(412, error_document("PreconditionFailed"))


# -- what is there when it begins ------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["{}", '"{}"', 'W/"{}"'], ids=["bare", "quoted", "weak"])
@SIZES
def test_what_is_meant(
    size: int, spelled: str, knowing: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """It is deleted, however the ETag is spelled; where that is not safe, it is kept."""
    knowing.upload_object(blob(size), bucket, "key")
    s3.put_object(Bucket=bucket, Key="key2", Body=b"content")
    etag = spelled.format(stored_etag(s3, bucket, "key"))
    if honours(traits, size):
        knowing.delete_object(bucket, "key", if_match=etag)
        assert keys(s3, bucket) == ["key2"]
        return

    wire = Wire(knowing)
    with pytest.raises(UnsupportedError, match="If-Match") as caught:
        knowing.delete_object(bucket, "key", if_match=etag)
    assert (caught.value.bucket, caught.value.key) == (bucket, "key")
    assert keys(s3, bucket) == ["key", "key2"]
    assert traits.delete_if_match or wire.methods() == ["HEAD"]


@SIZES
def test_what_is_not_meant(
    size: int, make_clerk: MakeClerk, knowing: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Another ETag is seen on every server, and nothing is asked or deleted."""
    knowing.upload_object(blob(size), bucket, "key")
    for clerk in (make_clerk(), knowing):
        wire = Wire(clerk)
        with pytest.raises(PreconditionFailed, match=stored_etag(s3, bucket, "key")) as caught:
            clerk.delete_object(bucket, "key", if_match=NEVER)
        assert (caught.value.bucket, caught.value.key) == (bucket, "key")
        assert wire.methods() == ["HEAD"]
    assert stored(s3, bucket, "key") == blob(size)


def test_missing_key_is_silent(make_clerk: MakeClerk, bucket: str) -> None:
    """As without the condition; nothing is asked for it, and nothing deleted."""
    clerk = make_clerk()
    wire = Wire(clerk)
    for _ in range(2):
        clerk.delete_object(bucket, "missing", if_match=NEVER)

    assert wire.methods() == ["HEAD", "HEAD"] * 2  # the second is that of the bucket
    assert clerk.endpoint.delete_if_match is Support.UNKNOWN


def test_missing_bucket(make_clerk: MakeClerk, knowing: ObjectClerk, bucket: str) -> None:
    for clerk in (make_clerk(), knowing):
        with pytest.raises(BucketNotFoundException):
            clerk.delete_object(f"{bucket}-missing", "key", if_match=NEVER)


@pytest.mark.parametrize(
    "if_match", ["", '""', 'W/""', "*", '"*"', "a\nb", "\u00e4", 3, True, b"a"]
)
def test_impossible_etags(if_match: Any, clerk: ObjectClerk, bucket: str) -> None:
    wire = Wire(clerk)
    with pytest.raises((ObjectClerkParameterException, ObjectClerkTypeException), match="if_match"):
        clerk.delete_object(bucket, "key", if_match=if_match)

    assert wire.sent == []


def test_version_and_condition_exclude_each_other(clerk: ObjectClerk, bucket: str) -> None:
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkParameterException, match="not both"):
        clerk.delete_object(bucket, "key", version_id="1", if_match=NEVER)
    with pytest.raises(ObjectClerkParameterException, match="version_id"):
        clerk.delete_object(bucket, "key", version_id="", if_match=NEVER)

    assert wire.sent == []


@pytest.mark.parametrize("support", [Support.IGNORED, Support.REFUSED])
def test_only_what_was_seen_to_count_is_relied_on(
    support: Support, make_clerk: MakeClerk, s3: S3Client, bucket: str
) -> None:
    clerk = make_clerk()
    clerk.endpoint.delete_if_match = support
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    wire = Wire(clerk)
    with pytest.raises(UnsupportedError, match="nothing was"):
        clerk.delete_object(bucket, "key", if_match=stored_etag(s3, bucket, "key"))

    assert wire.methods() == ["HEAD"]
    assert stored(s3, bucket, "key") == b"content"


def test_server_is_asked_once(
    make_clerk: MakeClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """The first time it is asked, without a trace; then there are a look and the deletion."""
    clerk = make_clerk()
    wire = Wire(clerk)

    def attempt(key: str) -> list[str]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"content")
        wire.sent.clear()
        try:
            clerk.delete_object(bucket, key, if_match=stored_etag(s3, bucket, key))
        except UnsupportedError:
            assert not honours(traits)
        return wire.methods()

    rest = ["HEAD", "DELETE"] if honours(traits) else ["HEAD"]
    first = attempt("one")
    assert first[:3] == ["HEAD", "GET", "DELETE"]
    assert first[-len(rest) :] == rest
    assert attempt("two") == rest
    assert keys(s3, bucket) == ([] if honours(traits) else ["one", "two"])


# -- what happens meanwhile ------------------------------------------------------------------


@pytest.mark.usefixtures("conditional")
def test_replaced_in_the_last_moment(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """It is the server that decides, in the moment in which the object would go."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    proxy.add(
        callback(lambda: s3.put_object(Bucket=bucket, Key="key", Body=b"newer"), when=is_delete)
    )
    with pytest.raises(PreconditionFailed, match="replaced it") as caught:
        proxied.delete_object(bucket, "key", if_match=stored_etag(s3, bucket, "key"))

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert caught.value.status == 412
    assert stored(s3, bucket, "key") == b"newer"


@pytest.mark.usefixtures("conditional")
def test_gone_in_the_last_moment(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    proxy.add(callback(lambda: s3.delete_object(Bucket=bucket, Key="key"), when=is_delete))
    proxied.delete_object(bucket, "key", if_match=stored_etag(s3, bucket, "key"))

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert keys(s3, bucket) == []


@pytest.mark.usefixtures("conditional")
def test_lost_answer_is_no_failure(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """The second attempt finds nothing to delete; that is what was wanted."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    proxy.add(drop_after(when=is_delete))
    proxied.delete_object(bucket, "key", if_match=stored_etag(s3, bucket, "key"))

    assert [each.fault for each in proxy.fired] == ["drop_after"]
    assert keys(s3, bucket) == []
    assert len([each for each in proxy.log if each.method == "DELETE"]) == 1


@pytest.mark.usefixtures("conditional")
@pytest.mark.parametrize("body", [b"content", b"another"], ids=["same", "other"])
@pytest.mark.parametrize("lost", [LostOnTheWay, LostOnTheWayBack])
def test_written_anew_after_an_attempt(
    lost: Callable[[Callable[[], object]], Action],
    body: bytes,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
) -> None:
    """The first attempt may have deleted what was meant: what is there now is of somebody else."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    etag = stored_etag(s3, bucket, "key")

    def meanwhile() -> None:
        time.sleep(TICK_S)
        s3.put_object(Bucket=bucket, Key="key", Body=body)

    proxy.add(Fault(name="lost", action=lost(meanwhile), when=is_delete))
    with pytest.raises(PreconditionFailed, match="kept"):
        proxied.delete_object(bucket, "key", if_match=etag)

    assert [each.fault for each in proxy.fired] == ["lost"]
    assert stored(s3, bucket, "key") == body


@pytest.mark.usefixtures("conditional")
def test_refused_and_gone(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """Some servers say 412 of an object that an attempt before has deleted."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    etag = stored_etag(s3, bucket, "key")
    gone = RefusedMeanwhile(lambda: s3.delete_object(Bucket=bucket, Key="key"))
    proxy.add(Fault(name="gone", action=gone, when=is_delete))
    proxied.delete_object(bucket, "key", if_match=etag)

    assert [each.fault for each in proxy.fired] == ["gone"]


def test_refused_although_it_holds(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """A server that compares something else is not taken for one where it was replaced."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    proxy.add(status_before(412, "PreconditionFailed", when=is_delete, times=None))
    with pytest.raises(UnsupportedError):
        proxied.delete_object(bucket, "key", if_match=stored_etag(s3, bucket, "key"))

    assert stored(s3, bucket, "key") == b"content"


@pytest.mark.parametrize("when", [is_look, is_delete])
def test_server_that_stays_busy(
    when: Callable[[Request], bool],
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """It is given up after the attempts that are allowed, and these do not multiply."""
    if when is is_delete and not honours(traits):
        pytest.skip("trait delete_if_match: nothing is deleted on condition")
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    proxy.add(status_before(503, "SlowDown", when=when, times=None))
    with pytest.raises(ObjectClerkException) as caught:
        proxied.delete_object(bucket, "key", if_match=stored_etag(s3, bucket, "key"))

    assert caught.value.attempts == len(proxy.fired) == 3
    assert stored(s3, bucket, "key") == b"content"


# -- where there are versions ----------------------------------------------------------------


def made(s3: S3Client, bucket: str) -> tuple[list[str], list[str]]:
    """The ids of versions and of delete markers."""
    listed = s3.list_object_versions(Bucket=bucket)
    versions = [each["VersionId"] for each in listed.get("Versions", [])]
    return versions, [each["VersionId"] for each in listed.get("DeleteMarkers", [])]


def test_versions_stay(make_clerk: MakeClerk, s3: S3Client, traits: Traits, versioned: str) -> None:
    """What is latest is compared, and hidden by a marker; who asks for it leaves nothing."""
    clerk = make_clerk()
    for body in (b"older", b"latest"):
        s3.put_object(Bucket=versioned, Key="key", Body=body)
    (latest, older), _ = made(s3, versioned)
    stale = s3.head_object(Bucket=versioned, Key="key", VersionId=older)["ETag"]
    with pytest.raises(PreconditionFailed):
        clerk.delete_object(versioned, "key", if_match=stale)
    etag = stored_etag(s3, versioned, "key")
    if not traits.delete_if_match_of_versions:
        with pytest.raises(UnsupportedError):
            clerk.delete_object(versioned, "key", if_match=etag)
        assert made(s3, versioned) == ([latest, older], [])
        return

    clerk.delete_object(versioned, "key", if_match=etag)
    assert keys(s3, versioned) == []
    versions, markers = made(s3, versioned)
    assert (versions, len(markers)) == ([latest, older], 1)
    clerk.delete_object(versioned, "key", if_match=etag)
    assert made(s3, versioned) == (versions, markers)  # no second marker


@pytest.fixture
def marking(
    make_clerk: MakeClerk, proxy: FaultProxy, s3: S3Client, traits: Traits, versioned: str
) -> ObjectClerk:
    """A clerk behind the proxy that knows that it can delete "key" on condition."""
    if not traits.delete_if_match_of_versions:
        pytest.skip("trait delete_if_match_of_versions: nothing is deleted on condition")
    clerk = make_clerk(endpoint_url=proxy.endpoint_url)
    clerk.examine_endpoint(versioned)
    proxy.clear_log()
    s3.put_object(Bucket=versioned, Key="key", Body=b"content")
    return clerk


@pytest.fixture
def hiding(marking: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str) -> ObjectClerk:
    """The same; somebody writes the same bytes right before its deletion."""
    proxy.add(
        callback(
            lambda: s3.put_object(
                Bucket=versioned, Key="key", Body=b"content", Metadata={"of": "somebody"}
            ),
            when=is_delete,
        )
    )
    return marking


def test_only_versions_of_the_key_are_listed(
    marking: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str
) -> None:
    for other in ("a", "key2"):
        s3.put_object(Bucket=versioned, Key=other, Body=b"content")
    marking.delete_object(versioned, "key", if_match=stored_etag(s3, versioned, "key"))

    assert keys(s3, versioned) == ["a", "key2"]
    (listed,) = (each.query for each in proxy.log if each.method == "GET")
    assert {"versions", "prefix=key"} <= {each.rstrip("=") for each in listed.split("&")}


def test_written_after_the_marker(
    marking: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str
) -> None:
    """It is not hidden, and what was meant was deleted before."""
    proxy.add(
        callback(
            lambda: s3.put_object(Bucket=versioned, Key="key", Body=b"newer"),
            method="GET",
            query="versions",
        )
    )
    marking.delete_object(versioned, "key", if_match=stored_etag(s3, versioned, "key"))

    assert stored(s3, versioned, "key") == b"newer"
    versions, markers = made(s3, versioned)
    assert (len(versions), len(markers)) == (2, 1)


def test_version_that_is_deleted_for_good_meanwhile(
    marking: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str
) -> None:
    """The marker hides nothing, and stays."""
    (version,), _ = made(s3, versioned)
    s3.put_object(Bucket=versioned, Key="key2", Body=b"content")
    proxy.add(
        callback(
            lambda: s3.delete_object(Bucket=versioned, Key="key", VersionId=version),
            method="GET",
            query="versions",
        )
    )
    marking.delete_object(versioned, "key", if_match=stored_etag(s3, versioned, "key"))

    versions, markers = made(s3, versioned)
    assert (len(versions), len(markers)) == (1, 1)
    assert keys(s3, versioned) == ["key2"]


def test_same_bytes_in_the_last_moment_are_uncovered(
    hiding: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str
) -> None:
    with pytest.raises(PreconditionFailed, match="the same bytes"):
        hiding.delete_object(versioned, "key", if_match=stored_etag(s3, versioned, "key"))

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert s3.head_object(Bucket=versioned, Key="key")["Metadata"] == {"of": "somebody"}
    versions, markers = made(s3, versioned)
    assert (len(versions), markers) == (2, [])


def test_answer_that_is_no_listing_is_asked_for_again(
    hiding: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str
) -> None:
    xml: dict[str, str | None] = {"Content-Type": "application/xml", "Transfer-Encoding": None}
    proxy.add(body_after(200, b"<Nothing/>", xml, method="GET", query="versions"))
    with pytest.raises(PreconditionFailed, match="the same bytes"):
        hiding.delete_object(versioned, "key", if_match=stored_etag(s3, versioned, "key"))

    assert [each.fault for each in proxy.fired] == ["callback", "body_after"]
    assert made(s3, versioned)[1] == []


def test_marker_that_cannot_be_taken_back_is_named(
    hiding: ObjectClerk, proxy: FaultProxy, s3: S3Client, versioned: str
) -> None:
    proxy.add(status_before(403, "AccessDenied", method="DELETE", query="versionId", times=None))
    with pytest.raises(PreconditionFailed, match="could not be removed") as caught:
        hiding.delete_object(versioned, "key", if_match=stored_etag(s3, versioned, "key"))

    versions, (marker,) = made(s3, versioned)
    assert len(versions) == 2
    assert marker in str(caught.value)


def test_versions_that_cannot_be_listed(
    hiding: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    versioned: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was deleted on condition, so that is no error; what it may hide is logged."""
    proxy.add(status_before(403, "AccessDenied", method="GET", query="versions", times=None))
    hiding.delete_object(versioned, "key", if_match=stored_etag(s3, versioned, "key"))

    assert keys(s3, versioned) == []
    assert "is not known" in caplog.text


# -- what cannot be told ---------------------------------------------------------------------


@pytest.mark.usefixtures("conditional")
def test_same_bytes_in_the_last_moment_are_deleted(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """The window that is left without versions: they have the ETag that was meant."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    proxy.add(
        callback(lambda: s3.put_object(Bucket=bucket, Key="key", Body=b"content"), when=is_delete)
    )
    proxied.delete_object(bucket, "key", if_match=stored_etag(s3, bucket, "key"))

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert keys(s3, bucket) == []
