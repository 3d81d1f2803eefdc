"""What the clerk finds out about a server, compared with what plain boto3 finds out."""

from __future__ import annotations

import functools
import threading
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from object_clerk import (
    BucketNotFoundException,
    ObjectClerkParameterException,
    ObjectClerkServerAuthException,
)
from object_clerk.connection import request
from object_clerk.endpoint import Endpoint, Support
from object_clerk.endpoint.features import FEATURES
from object_clerk.testing import body_after, drop_after, status_after, status_before
from tests.contract.support import Wire, crc64nvme, keys, unfinished

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import Exchange, FaultProxy, Request
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

#: Conditions on what a key holds: attribute of Endpoint and name of the trait.
CONDITIONS = (
    "put_if_none_match",
    "complete_if_none_match",
    "complete_if_match",
    "copy_source_if_match",
    "copy_if_none_match",
    "copy_if_match",
    "get_if_match",
    "delete_if_match",
)
PREFIX = "scratch/"
#: An ETag that no object has, as it is sent.
NEVER = f'"{"0" * 32}"'


@pytest.fixture
def fresh(make_clerk: MakeClerk) -> ObjectClerk:
    """A clerk that knows nothing of the server yet."""
    return make_clerk()


def learn_delete(clerk: ObjectClerk, bucket: str, key: str = "") -> Support:
    op = clerk._new_operation("move_object", bucket, key)
    call = functools.partial(clerk._connection.call, op)
    clerk.endpoint.learn_delete(call, bucket, key)
    return clerk.endpoint.delete_if_match


def learn_condition(clerk: ObjectClerk, feature: str, bucket: str) -> Support:
    op = clerk._new_operation("upload_object", bucket, PREFIX)
    call = functools.partial(clerk._connection.call, op)
    insist = functools.partial(request, op, clerk._connection)
    return clerk.endpoint.learn_condition(feature, call, insist, bucket, PREFIX)


def versions(s3: S3Client, bucket: str) -> list[str]:
    """Return the keys of all versions and delete markers."""
    listed = s3.list_object_versions(Bucket=bucket)
    return [
        *(each["Key"] for each in listed.get("Versions", [])),
        *(each["Key"] for each in listed.get("DeleteMarkers", [])),
    ]


def condition(request: Request) -> bool:
    """Whether a request has a condition."""
    names = {name.lower() for name, _ in request.headers}
    return bool(names & {"if-match", "if-none-match", "x-amz-copy-source-if-match"})


def with_condition(log: list[Exchange]) -> list[Exchange]:
    return [each for each in log if each.fault is not None]


# -- what is found ---------------------------------------------------------------------------


def test_findings_are_those_of_plain_boto3(fresh: ObjectClerk, traits: Traits, bucket: str) -> None:
    fresh.examine_endpoint(bucket, PREFIX)
    endpoint = fresh.endpoint

    expected = {name: getattr(traits, name) for name in CONDITIONS}
    assert {name: getattr(endpoint, name) is Support.HONOURED for name in CONDITIONS} == expected
    assert (endpoint.crc32 is Support.HONOURED) == traits.verifies_checksum_header
    assert (endpoint.content_md5 is Support.HONOURED) == traits.verifies_content_md5
    assert (endpoint.checksums is Support.HONOURED) == traits.returns_checksum
    assert (endpoint.full_object is Support.HONOURED) == traits.full_object_checksum
    assert (endpoint.object_size is Support.HONOURED) == traits.object_size_compared
    found = fresh.endpoint.report()["partNumber"]
    assert ("HEAD" in found, "GET" in found) == (traits.head_part_number, traits.get_part_number)
    assert endpoint.versioning is Support.IGNORED


def test_crc64nvme_that_is_honoured_is_checked(
    fresh: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """What is found is true, and where it is not asked about the report says why."""
    fresh.examine_endpoint(bucket, PREFIX)
    if fresh.endpoint.crc64nvme is not Support.HONOURED:
        said = fresh.endpoint.report()["x-amz-checksum-crc64nvme"]
        assert said.startswith("not asked, since") or traits.verifies_checksum_header
        return
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC64NVME")
    part: Any = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"], "PartNumber": 1}
    right, wrong = (b64encode(crc64nvme(data)).decode() for data in (b"right", b"wrong"))

    with pytest.raises(ClientError):
        s3.upload_part(**part, Body=b"right", ChecksumCRC64NVME=wrong)
    s3.upload_part(**part, Body=b"right", ChecksumCRC64NVME=right)


def test_if_match_of_a_put_and_how_it_is_spelled(
    fresh: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """What is found is true: an ETag in the spelling found holds, and another one does not."""
    fresh.examine_endpoint(bucket, PREFIX)
    endpoint = fresh.endpoint

    usual = endpoint.put_if_match is Support.HONOURED and endpoint.if_match_quoted
    assert usual == traits.put_if_match
    if endpoint.put_if_match is Support.HONOURED:
        etag = s3.put_object(Bucket=bucket, Key="key", Body=b"1")["ETag"]
        right = etag if endpoint.if_match_quoted else etag.strip('"')
        s3.put_object(Bucket=bucket, Key="key", Body=b"2", IfMatch=right)
        with pytest.raises(s3.exceptions.ClientError):
            s3.put_object(Bucket=bucket, Key="key", Body=b"3", IfMatch=right)


def test_etag_of_a_copy(fresh: ObjectClerk, traits: Traits, bucket: str) -> None:
    fresh.examine_endpoint(bucket, PREFIX)

    if traits.multipart_etag_kept:
        expected = Support.HONOURED if traits.copy_etag_computed else Support.IGNORED
    else:
        expected = Support.UNKNOWN  # the ETag of the source says nothing of parts either
    assert fresh.endpoint.copy_etag is expected


def test_etag_of_a_copy_that_its_answer_does_not_have(
    proxied: ObjectClerk, proxy: FaultProxy, traits: Traits, bucket: str
) -> None:
    """What a HEAD tells is not enough: the answer to CopyObject is what proves a copy."""
    other = b"<CopyObjectResult><ETag>%032d</ETag></CopyObjectResult>" % 0
    proxy.add(body_after(200, other, method="PUT", path="/copy", times=None))
    proxied.examine_endpoint(bucket, PREFIX)

    carried_over = traits.multipart_etag_kept and not traits.copy_etag_computed
    assert proxied.endpoint.copy_etag is (Support.IGNORED if carried_over else Support.UNKNOWN)
    assert proxy.fired


def test_report_names_every_feature_once(fresh: ObjectClerk, bucket: str) -> None:
    before = fresh.endpoint.report()
    report = fresh.examine_endpoint(bucket, PREFIX)

    assert list(report) == list(before) == [each.label for each in FEATURES]
    assert {"x-amz-checksum-crc32", "Content-MD5"} <= set(report)
    assert set(before.values()) == {Support.UNKNOWN.value}
    assert Support.UNKNOWN.value not in report.values()
    assert fresh.endpoint.report() == report


def test_advice_is_about_what_the_server_lacks(
    fresh: ObjectClerk, traits: Traits, bucket: str
) -> None:
    fresh.examine_endpoint(bucket, PREFIX)
    advice = fresh.endpoint.advice()

    about = {sentence.partition(":")[0] for sentence in advice}
    assert about == {
        each.feature
        for each in fresh.endpoint.findings()
        if each.support in (Support.IGNORED, Support.REFUSED)
    }
    assert ("DELETE If-Match" in about) == (not traits.delete_if_match)
    assert any("source_guard='require'" in each for each in advice) == (not traits.delete_if_match)


def test_features_are_the_attributes_of_an_endpoint() -> None:
    attributes = {name for name, value in vars(Endpoint()).items() if isinstance(value, Support)}

    assert {each.name for each in FEATURES} == attributes


# -- what is left ----------------------------------------------------------------------------


def test_nothing_is_left(fresh: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Neither objects nor uploads; what was there stays, under the same prefix too."""
    for key in (f"{PREFIX}mine", "mine"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"mine")
    fresh.examine_endpoint(bucket, PREFIX)

    assert keys(s3, bucket) == sorted(["mine", f"{PREFIX}mine"])
    assert unfinished(s3, bucket) == []
    assert fresh.endpoint.left_behind == ()


def test_every_request_is_about_the_prefix(fresh: ObjectClerk, bucket: str) -> None:
    wire = Wire(fresh)
    fresh.examine_endpoint(bucket, PREFIX)

    others = wire.where(lambda sent: not sent.path.startswith(f"/{bucket}/{PREFIX}"))
    assert [(sent.method, sent.query) for sent in others] == [("GET", "versioning")]
    assert len(wire.sent) <= 70
    assert not wire.where(lambda sent: "attributes" in sent.query)


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_no_version_is_left(
    fresh: ObjectClerk, s3: S3Client, traits: Traits, bucket: str, status: Any
) -> None:
    if not traits.versioning:
        pytest.skip("the server knows no versions")
    for each in dict.fromkeys(["Enabled", status]):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": each})
        s3.put_object(Bucket=bucket, Key="mine", Body=each.encode())
    before = versions(s3, bucket)
    fresh.examine_endpoint(bucket, PREFIX)

    assert versions(s3, bucket) == before
    assert before
    expected = Support.HONOURED if status == "Enabled" else Support.REFUSED
    assert fresh.endpoint.versioning is expected


@pytest.mark.parametrize("method", ["head_object", "complete_multipart_upload", "copy_object"])
def test_nothing_is_left_after_an_interruption(
    fresh: ObjectClerk,
    s3: S3Client,
    bucket: str,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = fresh._connection.call

    def interrupted(op: Any, name: str, /, **parameters: Any) -> dict[str, Any]:
        if name == method:
            raise KeyboardInterrupt
        return call(op, name, **parameters)

    monkeypatch.setattr(fresh._connection, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fresh.examine_endpoint(bucket, PREFIX)

    assert keys(s3, bucket) == []
    assert unfinished(s3, bucket) == []


def test_what_cannot_be_removed_is_named(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    proxy.add(status_before(403, "AccessDenied", method="DELETE", path=PREFIX, times=None))
    proxied.examine_endpoint(bucket, PREFIX)

    assert proxied.endpoint.left_behind
    assert set(keys(s3, bucket)) <= set(proxied.endpoint.left_behind)


# -- answers that must not be believed -------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "method", "query"),
    [
        ("put_if_none_match", "PUT", ""),
        ("complete_if_none_match", "POST", "uploadId"),
        ("delete_if_match", "DELETE", ""),
    ],
)
def test_a_refusal_that_was_carried_out_all_the_same(
    proxied: ObjectClerk,
    proxy: FaultProxy,
    traits: Traits,
    bucket: str,
    feature: str,
    method: str,
    query: str,
) -> None:
    """A server that says 412 and does it nevertheless honours nothing."""
    proxy.add(
        status_after(
            412, "PreconditionFailed", method=method, query=query, when=condition, times=None
        )
    )
    proxied.examine_endpoint(bucket, PREFIX)

    assert with_condition(proxy.log)
    if not getattr(traits, feature):
        assert getattr(proxied.endpoint, feature) is Support.IGNORED
        assert "all the same" in " ".join(proxied.endpoint.report().values())
    else:  # refused in truth
        assert getattr(proxied.endpoint, feature) is Support.HONOURED


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_lost_answer_is_no_refusal(
    fresh: ObjectClerk,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    traits: Traits,
    bucket: str,
    method: str,
) -> None:
    """A condition that holds is repeated after that, and does not hold any more."""

    def holds(request: Request) -> bool:
        return request.header("if-match") not in (None, NEVER)

    proxy.add(drop_after(method=method, when=holds))
    proxied.examine_endpoint(bucket, PREFIX)
    fresh.examine_endpoint(bucket, PREFIX)

    asked = traits.delete_if_match if method == "DELETE" else traits.put_if_match
    assert proxy.fired or not asked
    assert proxied.endpoint.report() == fresh.endpoint.report()


@pytest.mark.parametrize(
    ("status", "code", "support"),
    [
        (501, "NotImplemented", Support.REFUSED),
        (400, "InvalidArgument", Support.REFUSED),
        (403, "AccessDenied", Support.UNKNOWN),
        (503, "SlowDown", Support.UNKNOWN),
        (409, "ConditionalRequestConflict", Support.HONOURED),
    ],
)
def test_other_refusals_of_a_condition(
    proxied: ObjectClerk,
    proxy: FaultProxy,
    bucket: str,
    status: int,
    code: str,
    support: Support,
) -> None:
    proxy.add(status_before(status, code, when=condition, times=None))
    proxied.examine_endpoint(bucket, PREFIX)

    unconfirmed = {"put_if_match", "delete_if_match"}  # one that holds was refused as well
    shape = proxied.client.meta.service_model.operation_model("CopyObject").input_shape
    if shape is None or "IfNoneMatch" not in shape.members:  # boto3 1.36 cannot ask
        unconfirmed |= {"copy_if_none_match", "copy_if_match"}
    found = {
        name: getattr(proxied.endpoint, name) for name in CONDITIONS if name not in unconfirmed
    }
    assert found == dict.fromkeys(found, support)


def test_what_was_seen_is_not_unmade_by_an_unclear_answer(
    proxied: ObjectClerk, proxy: FaultProxy, bucket: str
) -> None:
    proxied.examine_endpoint(bucket, PREFIX)
    before = {each.name: getattr(proxied.endpoint, each.name) for each in FEATURES}
    proxy.add(status_before(403, "AccessDenied", when=condition, times=None))
    proxied.examine_endpoint(bucket, PREFIX)

    assert {each.name: getattr(proxied.endpoint, each.name) for each in FEATURES} == before


# -- errors ----------------------------------------------------------------------------------


def test_missing_bucket(fresh: ObjectClerk, bucket: str) -> None:
    with pytest.raises(BucketNotFoundException):
        fresh.examine_endpoint(f"{bucket}-missing", PREFIX)


def test_without_permission_to_write(proxied: ObjectClerk, proxy: FaultProxy, bucket: str) -> None:
    proxy.add(status_before(403, "AccessDenied", method="PUT", times=None))
    with pytest.raises(ObjectClerkServerAuthException):
        proxied.examine_endpoint(bucket, PREFIX)

    assert {each.method for each in proxy.log} == {"GET", "PUT"}  # nothing to be removed


def test_an_impossible_prefix_sends_nothing(fresh: ObjectClerk, bucket: str) -> None:
    wire = Wire(fresh)
    with pytest.raises(ObjectClerkParameterException):
        fresh.examine_endpoint(bucket, "")

    assert wire.sent == []


# -- asking without a trace ------------------------------------------------------------------


def test_delete_is_learnt_without_a_trace(
    fresh: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="mine", Body=b"mine")
    wire = Wire(fresh)
    support = learn_delete(fresh, bucket, "mine")

    assert support is (Support.HONOURED if traits.delete_if_match else Support.IGNORED)
    assert keys(s3, bucket) == ["mine"]
    deleted = wire.where(lambda sent: sent.method == "DELETE")
    assert all(sent.path.startswith(f"/{bucket}/mine.object-clerk-") for sent in deleted)
    assert [sent.method for sent in wire.sent if sent not in deleted] == ["GET"]

    del wire.sent[:]
    assert learn_delete(fresh, bucket, "mine") is support
    assert wire.sent == []  # once is enough


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_nothing_is_deleted_where_a_marker_would_be_left(
    fresh: ObjectClerk, s3: S3Client, traits: Traits, bucket: str, status: Any
) -> None:
    if not traits.versioning:
        pytest.skip("the server knows no versions")
    for each in dict.fromkeys(["Enabled", status]):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": each})
    wire = Wire(fresh)
    for _ in range(2):
        assert learn_delete(fresh, bucket) is Support.UNKNOWN

    assert wire.methods() == ["GET"]  # and it is asked once
    assert versions(s3, bucket) == []


def test_nothing_is_deleted_where_versions_may_be(
    proxied: ObjectClerk, proxy: FaultProxy, bucket: str
) -> None:
    proxy.add(status_before(403, "AccessDenied", query="versioning", times=None))

    assert learn_delete(proxied, bucket) is Support.UNKNOWN
    assert [each.method for each in proxy.log] == ["GET"]


def test_not_found_proves_nothing_where_it_is_always_said(
    proxied: ObjectClerk, proxy: FaultProxy, bucket: str
) -> None:
    """Some servers answer 404 to any DELETE of a missing key, conditions or not."""
    proxy.add(status_before(404, "NoSuchKey", method="DELETE", times=None))

    assert learn_delete(proxied, bucket) is Support.UNKNOWN
    assert [each.method for each in proxy.log] == ["GET", "DELETE", "DELETE"]


def test_a_long_key_is_cut_to_make_another(fresh: ObjectClerk, traits: Traits, bucket: str) -> None:
    expected = Support.HONOURED if traits.delete_if_match else Support.IGNORED

    assert learn_delete(fresh, bucket, "ä" * 512) is expected


# -- asking once -----------------------------------------------------------------------------


def test_an_answer_without_an_upload_is_unclear(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """It spoils no upload, and the next one asks again."""
    proxy.add(body_after(200, b"", method="POST", query="uploads"))
    op = proxied._new_operation("upload_object", bucket, "key")
    call = functools.partial(proxied._connection.call, op)
    insist = functools.partial(request, op, proxied._connection)
    for expected in (set[Support](), {Support.HONOURED, Support.IGNORED}):
        proxied.endpoint.learn(call, insist, bucket, "key")
        found = {proxied.endpoint.crc32, proxied.endpoint.content_md5} - {Support.UNKNOWN}
        assert found <= expected
        assert bool(found) == bool(expected)

    assert (proxied.endpoint.crc32 is Support.HONOURED) == traits.verifies_checksum_header


def test_threads_ask_once(fresh: ObjectClerk, bucket: str) -> None:
    wire = Wire(fresh)
    found: list[Support] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(learn_condition(fresh, "put_if_none_match", bucket))
        )
        for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    assert found == [fresh.endpoint.put_if_none_match] * 8
    assert len(wire.where(lambda sent: sent.query == "versioning")) == 1


@pytest.mark.parametrize(("status", "code", "again"), [(503, "SlowDown", 2), (403, "Denied", 1)])
def test_asked_again_only_if_that_may_help(
    proxied: ObjectClerk,
    proxy: FaultProxy,
    bucket: str,
    status: int,
    code: str,
    again: int,
) -> None:
    proxy.add(status_before(status, code, when=condition, times=None))
    for _ in range(2):
        assert learn_condition(proxied, "get_if_match", bucket) is Support.UNKNOWN

    assert sum(each.query == "versioning" for each in proxy.log) == again
