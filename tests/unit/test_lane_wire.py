"""What the lane sends and gives back is what boto3 would; what it does not know it leaves alone."""

from __future__ import annotations

import datetime
import functools
import hashlib
import io
import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import botocore
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from object_clerk.exceptions import Failure, ObjectClerkServerInternalException
from object_clerk.lane import METHODS
from object_clerk.lane.http import Answer
from object_clerk.lane.wire import Streamed
from object_clerk.retry import Operation, Patience
from tests.unit import lanes
from tests.unit.lanes import SETTINGS, Canned, Fast, Request, Slow, assert_same, connection, fast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.model import OperationModel, Shape

MODEL = connection(fast=False).client.meta.service_model
OPERATIONS = {
    botocore.xform_name(name): MODEL.operation_model(name) for name in MODEL.operation_names
}

#: A call of each method with much in it.
CALLS: dict[str, dict[str, Any]] = {
    "get_object": {
        "Key": "a key/\u00e4", "VersionId": "v=1&", "Range": "bytes=0-9", "IfMatch": '"e"',
        "IfNoneMatch": "*", "PartNumber": 2, "ResponseCacheControl": "no-cache, a=1",
    },
    "head_object": {"Key": "k", "ChecksumMode": "ENABLED", "PartNumber": 1, "VersionId": "null"},
    "put_object": {
        "Key": "k", "Body": b"body", "ContentMD5": "hBotaJrKa9FhFEdFPCLG/A==", "Tagging": "a=b&c=d",
        "Metadata": {"Author": "me, myself", "x": "y"}, "ACL": "public-read", "ContentLength": 4,
        "StorageClass": "STANDARD_IA", "ServerSideEncryption": "aws:kms", "IfNoneMatch": "*",
        "SSEKMSKeyId": "arn:aws:kms:x:1:key/2", "BucketKeyEnabled": True,
        "CacheControl": "no-cache", "ContentType": "text/plain; a=b", "ChecksumCRC32": "2H9+DA==",
        "ObjectLockLegalHoldStatus": "ON", "WriteOffsetBytes": 0,
    },
    "upload_part": {
        "Key": "k", "Body": b"part", "PartNumber": 10000, "UploadId": "u+/=~", "ContentLength": 4,
        "ContentMD5": "hBotaJrKa9FhFEdFPCLG/A==",
    },
    "copy_object": {
        "Key": "k", "CopySource": {"Bucket": "from", "Key": "a/../\u00e4 +?#%2F", "VersionId": "v"},
        "MetadataDirective": "REPLACE", "Metadata": {"a": "b"}, "CopySourceIfMatch": '"e"',
        "TaggingDirective": "COPY", "ChecksumAlgorithm": "SHA256", "BucketKeyEnabled": False,
    },
    "upload_part_copy": {
        "Key": "k", "CopySource": {"Bucket": "from", "Key": "k~"}, "PartNumber": 1,
        "UploadId": "u", "CopySourceRange": "bytes=0-5", "ExpectedSourceBucketOwner": "1",
    },
    "delete_object": {
        "Key": "k", "VersionId": "v", "IfMatch": '"e"', "IfMatchSize": 3, "MFA": "a b",
    },
    "list_objects_v2": {
        "Prefix": "\u00e4 /&=+%", "Delimiter": "/", "MaxKeys": 1000, "FetchOwner": True,
        "ContinuationToken": "1/+=", "StartAfter": "",
    },
    "create_multipart_upload": {
        "Key": "k", "Metadata": {"A-b_c": "1"}, "ChecksumAlgorithm": "CRC64NVME",
        "ChecksumType": "FULL_OBJECT", "ContentType": "a/b",
    },
    "list_parts": {"Key": "k", "UploadId": "u", "MaxParts": 2, "PartNumberMarker": 0},
}  # fmt: skip

#: What boto3 notes about its own retries, which are off.
_OF_RETRIES = "MaxAttemptsReached"


def both(name: str, method: str, parameters: Mapping[str, Any]) -> tuple[Request, Request]:
    """The request of boto3 and that of the lane."""
    theirs, ours = lanes.slow(name), fast(name)
    theirs.canned = ours.canned = Canned()
    theirs.requests.clear()
    ours.requests.clear()
    theirs.call(method, parameters)
    assert ours.call(method, parameters) is not None
    (their_request,), (our_request,) = theirs.requests, ours.requests
    return their_request, our_request


def region(name: str) -> str:
    return str(SETTINGS[name].get("region_name", "us-east-1"))


def test_every_method_is_here() -> None:
    assert CALLS.keys() == METHODS


_KEYS = (
    "a/../b",
    "..",
    ".",
    "a/./b",
    "//",
    "/",
    "a//b",
    "/a",
    "%2F",
    "a%20b",
    "%",
    "?",
    "a?b=c",
    "#",
    "a b",
    " ",
    "+",
    "a.",
    "a...",
    "~",
    "'\"<>&",
    "\\",
    "\u00e4",
    "a\u0308",
    "\U0001f600",
    "\n",
    "\x7f",
    "*",
    "!()[]{}|^`,;:@=$",
    "k" * 1024,
)


class TestRequests:
    @pytest.mark.parametrize("name", SETTINGS)
    @pytest.mark.parametrize("bucket", ["bucket", "dotted.bucket", "Under_score"])
    def test_endpoints(self, name: str, bucket: str) -> None:
        if name == "accelerated" and bucket != "bucket":
            assert fast(name).call("get_object", {"Bucket": bucket, "Key": "k"}) is None
            return
        for method, parameters in CALLS.items():
            pair = both(name, method, {"Bucket": bucket, **parameters})
            assert_same(*pair, region(name), SETTINGS[name].get("session_token"))

    @settings(max_examples=150)
    @given(data=st.data())
    def test_parameters(self, data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(sorted(METHODS)))
        model = OPERATIONS[method]
        parameters = data.draw(_parameters(model))
        assert_same(*both("path style", method, parameters), "us-east-1")

    @pytest.mark.parametrize("name", ["path style", "virtual", "base path"])
    def test_keys(self, name: str) -> None:
        for key, method in itertools.product(_KEYS, ("get_object", "put_object", "copy_object")):
            parameters: dict[str, Any] = {"Bucket": "bucket", "Key": key}
            if method == "copy_object":
                parameters["CopySource"] = {"Bucket": "bucket", "Key": key, "VersionId": "v"}
            assert_same(*both(name, method, parameters), "us-east-1")

    @pytest.mark.parametrize("body", [b"", b"abc", bytearray(b"abc"), None])
    @pytest.mark.parametrize("name", ["path style", "auto", "unsigned payload"])
    @pytest.mark.parametrize("digest", [{}, {"ContentMD5": "x"}, {"ChecksumCRC32": "x"}])
    def test_bodies(self, name: str, digest: dict[str, str], body: bytes | None) -> None:
        for method, more in (
            ("put_object", {}),
            ("upload_part", {"UploadId": "u", "PartNumber": 1}),
        ):
            parameters = {"Bucket": "bucket", "Key": "k", **digest, **more}
            if body is not None:
                parameters["Body"] = body
            assert_same(*both(name, method, parameters), "us-east-1")

    @pytest.mark.parametrize("name", ["path style", "auto"])
    def test_a_streamed_body(self, name: str) -> None:
        part = _Part(b"0123456789" * 1000)
        parameters = {"Bucket": "bucket", "Key": "k", "Body": part, "ContentMD5": "x"}
        pair = both(name, "put_object", parameters)
        assert_same(*pair, "us-east-1")
        assert part.begun == 2  # once by each
        assert part.hashed == (1 if name == "path style" else 0)

    def test_a_streamed_body_is_not_hashed_beside_a_checksum_over_tls(self) -> None:
        part = _Part(b"0123456789")
        parameters = {"Bucket": "bucket", "Key": "k", "Body": part, "ChecksumCRC64NVME": "x"}
        assert fast("auto").call("put_object", parameters) is not None
        assert part.hashed == 0

    def test_checksums_are_asked_for_of_whole_objects_alone(self) -> None:
        for parameters, wanted in (({}, True), ({"Range": "bytes=0-1"}, False)):
            _, ours = both("path style", "get_object", {"Bucket": "b-1", "Key": "k", **parameters})
            assert ("x-amz-checksum-mode" in ours.headers) is wanted

    def test_the_clock_of_the_server(self) -> None:
        made = Fast()
        for ahead_s in (0.0, 86400.0 * 400):
            made.lane.call("head_object", {"Bucket": "bucket", "Key": "k"}, ahead_s)
        then, later = (int(each.headers["x-amz-date"][:4]) for each in made.requests)
        assert later > then

    def test_the_trace_of_a_lambda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
        monkeypatch.setenv("_X_AMZN_TRACE_ID", 'Root=1-2;Parent="3";\u00e4')
        theirs, ours = Slow(), Fast()
        for made in (theirs, ours):
            made.call("head_object", {"Bucket": "bucket", "Key": "k"})
        assert_same(theirs.requests[0], ours.requests[0], "us-east-1")
        assert ours.requests[0].headers["x-amzn-trace-id"].startswith("Root=1-2;")


class _Part(Streamed):
    """A body that counts what is done with it."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self._size = len(data)
        self.begun = self.hashed = 0

    def __len__(self) -> int:
        return self._size

    def sha256(self) -> str:
        self.hashed += 1
        return hashlib.sha256(self._file.getvalue()).hexdigest()

    def begin_sending(self) -> None:
        self.begun += 1
        self._file.seek(0)

    def read(self, amount: int | None = None, /) -> bytes:
        return self._file.read(amount)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


# ---- parameters of a shape -----------------------------------------------------------------------

_ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(
    lambda text: " ".join(text.split()) or "x"
)
_NAME = st.from_regex("[A-Za-z0-9_-]{1,8}", fullmatch=True)
_SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "Bucket": st.sampled_from(["bucket", "dotted.bucket", "B_u"]),
    "Key": _ANY,
    "Body": st.binary(max_size=20),
    "Metadata": st.dictionaries(_NAME, _HEADER, max_size=3).filter(
        lambda metadata: len({name.lower() for name in metadata}) == len(metadata)
    ),
    "CopySource": st.fixed_dictionaries(
        {"Bucket": st.sampled_from(["bucket", "from"]), "Key": _ANY},
        optional={"VersionId": st.from_regex("[A-Za-z0-9._-]{1,9}", fullmatch=True)},
    ),
}
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(min_value=0, max_value=2**31),
    "long": st.integers(min_value=0, max_value=2**63),
    "boolean": st.booleans(),
}


def _is_plain(operation: str, member: str, shape: Shape) -> bool:
    if member.startswith(("SSECustomer", "CopySourceSSECustomer")) or member == "ContentLength":
        return False
    if member in ("ChecksumAlgorithm", "ChecksumMode"):
        return operation in ("HeadObject", "CopyObject", "CreateMultipartUpload")
    return shape.type_name in ("string", *_VALUES)


@functools.cache
def _parameters(model: OperationModel) -> st.SearchStrategy[dict[str, Any]]:
    assert model.input_shape is not None
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for member, shape in model.input_shape.members.items():
        if member in _SPECIAL:
            values = _SPECIAL[member]
        elif _is_plain(model.name, member, shape):
            in_query = shape.serialization.get("location") == "querystring"
            values = _VALUES.get(shape.type_name, _ANY if in_query else _HEADER)
        else:
            continue
        there = required if member in model.input_shape.required_members else optional
        there[member] = values
    return st.fixed_dictionaries(required, optional=optional)


# ---- answers -------------------------------------------------------------------------------------

WHERE: dict[str, Any] = {"Bucket": "bucket", "Key": "k"}
MINIMAL: dict[str, dict[str, Any]] = {
    method: {
        "Bucket": "bucket",
        **{
            name: value
            for name, value in parameters.items()
            if name in OPERATIONS[method].input_shape.required_members  # type: ignore[union-attr]
        },
    }
    for method, parameters in CALLS.items()
}
DATE = "Sat, 21 Nov 2026 10:20:30 GMT"


def _xml(root: str, inside: str) -> bytes:
    start = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return (
        f'{start}<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</{root}>'.encode()
    )


BODIES = {
    "copy_object": _xml(
        "CopyObjectResult",
        '<ETag>"e"</ETag><LastModified>2026-11-21T10:20:30.123Z</LastModified>',
    ),
    "upload_part_copy": _xml("CopyPartResult", "<ETag>&quot;e&quot;</ETag>"),
    "list_objects_v2": _xml(
        "ListBucketResult",
        "<Name>b</Name><Prefix>a%20b</Prefix><EncodingType>url</EncodingType><KeyCount>1</KeyCount>"
        "<IsTruncated>false</IsTruncated><Contents><Key>a%2Bb+c</Key><Size>1</Size>"
        "<LastModified>2026-11-21T10:20:30.000Z</LastModified></Contents>"
        "<CommonPrefixes><Prefix>%C3%A4/</Prefix></CommonPrefixes>",
    ),
    "create_multipart_upload": _xml("InitiateMultipartUploadResult", "<UploadId>u</UploadId>"),
    "list_parts": _xml(
        "ListPartsResult",
        "<Part><PartNumber>1</PartNumber><Size>5</Size></Part><MaxParts>2</MaxParts>",
    ),
}


def answers(
    method: str, canned: Canned, parameters: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """What boto3 and the lane return, and their bodies."""
    theirs, ours = lanes.slow("path style"), fast("path style")
    theirs.canned = ours.canned = canned
    given = MINIMAL[method] if parameters is None else parameters
    their_answer, our_answer = theirs.call(method, given), ours.call(method, given)
    their_answer["ResponseMetadata"].pop(_OF_RETRIES, None)
    assert our_answer is not None
    bodies = [
        each.pop("Body").read() if "Body" in each else b"" for each in (their_answer, our_answer)
    ]
    return their_answer, our_answer, bodies[0], bodies[1]


def raised(made: Slow | Fast, method: str, canned: Canned) -> Exception:
    """What it raises."""
    made.canned = canned
    with pytest.raises(Exception) as caught:  # noqa: PT011 - compared with what the other raises
        made.call(method, MINIMAL[method])
    return caught.value


_AMONG_HEADERS = {
    "string": _HEADER | st.sampled_from(["", "\u00e4", "a, b", '"e"', "W/\"e\""]),
    "integer": st.integers(min_value=0).map(str) | st.sampled_from(["+7", " 7", "1_0"]),
    "long": st.integers(min_value=0).map(str),
    "boolean": st.sampled_from(["true", "false", "True", "TRUE", "yes", ""]),
    "timestamp": st.sampled_from([
        DATE, "Mon, 21 Nov 2026 10:20:30 GMT", "2026-11-21T10:20:30Z", "1700000000",
        "2026-11-21T10:20:30.5+01:00", "Sat, 21 Nov 2026 10:20:30 +0100", "21 Nov 2026",
        "Saturday, 21-Nov-26 10:20:30 GMT", "Sat Nov 21 10:20:30 2026", "20261121T102030Z",
    ]),
}  # fmt: skip
_EXPIRES = st.sampled_from(
    [DATE, "0", "-1", "never", "1700000000", "Sat, 99 Nov 2026 10:20:30 GMT"]
)
_CASES: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [str.lower, str.upper, str.title, str]
)


@st.composite
def _headers_of(draw: st.DrawFn, model: OperationModel) -> tuple[tuple[str, str], ...]:
    assert model.output_shape is not None
    found: list[tuple[str, str]] = []
    for member, shape in model.output_shape.members.items():
        if member == "ContentLength" or shape.serialization.get("location") != "header":
            continue
        if not draw(st.booleans()):
            continue
        values = _EXPIRES if member == "Expires" else _AMONG_HEADERS[shape.type_name]
        found.append((draw(_CASES)(shape.serialization["name"]), draw(values)))
    for name in draw(st.lists(_NAME, max_size=3, unique_by=str.lower)):
        found.append((draw(_CASES)("x-amz-meta-") + name, draw(_HEADER)))
    for name in ("x-amzn-RequestId", "x-amz-request-id", "X-Amz-Id-2", "Date", "Content-Length"):
        if draw(st.booleans()):
            found.append((name, draw(st.sampled_from(["12", ""]))))
    return tuple({name.lower(): (name, value) for name, value in found}.values())


class TestAnswers:
    @settings(max_examples=150)
    @given(data=st.data())
    def test_headers(self, data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(sorted(METHODS)))
        headers = data.draw(_headers_of(OPERATIONS[method]))
        status = data.draw(st.sampled_from([200, 204, 206]))
        body = BODIES.get(method, b"") if status == 200 else b""
        if method == "get_object":
            body = b"twelve bytes"
        canned = Canned(status, headers, body)
        try:
            theirs, answer, their_body, our_body = answers(method, canned)
        except ValueError:  # boto3's, as it is
            ours = raised(fast("path style"), method, canned)
            assert isinstance(ours, (ResponseParserError, ClientError))
        else:
            assert answer == theirs
            assert our_body == their_body

    @pytest.mark.parametrize("method", sorted(METHODS))
    def test_bodies(self, method: str) -> None:
        body = BODIES.get(method, b"content" if method == "get_object" else b"")
        canned = Canned(
            200, (("ETag", '"e"'), ("x-amz-request-id", "r"), ("x-amz-id-2", "h")), body
        )
        theirs, ours, their_body, our_body = answers(method, canned)
        assert ours == theirs
        assert our_body == their_body == (body if method == "get_object" else b"")
        assert ours["ResponseMetadata"]["RequestId"] == "r"

    @pytest.mark.parametrize("body", [b"<html>no</html>", b"<Unknown/>"])
    def test_another_document(self, body: bytes) -> None:
        for method in sorted(METHODS):
            theirs, ours, _, _ = answers(method, Canned(body=body))
            assert ours == theirs

    @pytest.mark.parametrize("encoding", [None, "url"])
    def test_encoded_keys(self, encoding: str | None) -> None:
        parameters = {"Bucket": "bucket", **({"EncodingType": encoding} if encoding else {})}
        canned = Canned(body=BODIES["list_objects_v2"])
        theirs, ours, _, _ = answers("list_objects_v2", canned, parameters)
        assert ours == theirs
        assert ours["Contents"][0]["Key"] == ("a%2Bb+c" if encoding else "a+b c")

    @pytest.mark.parametrize("text", ["0", "-1", "tomorrow", DATE, "2026-11-21"])
    def test_expires_need_not_be_a_time(self, text: str) -> None:
        for method in ("get_object", "head_object"):
            theirs, ours, _, _ = answers(method, Canned(200, (("Expires", text),)))
            assert ours == theirs
            assert ours["ExpiresString"] == text

    def test_a_header_in_two_lines(self) -> None:
        lines = (
            ("x-amz-meta-A", "1"),
            ("ETag", '"e"'),
            ("X-Amz-Meta-a", "2"),
            ("Via", "p"),
            ("via", "q"),
        )
        theirs, ours, _, _ = answers("head_object", Canned(200, lines))
        assert ours == theirs
        assert ours["Metadata"] == {"A": "1, 2"}

    def test_a_body_that_is_not_handed_over_is_closed(self) -> None:
        made = Fast()
        body = lanes.StreamStub(b"x")
        answer = Answer(200, [("Content-Length", "many")], body)
        made.lane._wire.exchange = lambda *_, **__: answer  # type: ignore[method-assign]
        with pytest.raises(ResponseParserError):
            made.call("get_object", WHERE)
        assert body.closed


_ERROR = (
    "<Error><Code>{}</Code><Message>no</Message><RequestId>r</RequestId><HostId>h</HostId>"
    "<Resource>/b/k</Resource><Extra><Deep>1</Deep></Extra></Error>"
)


_STATUSES = (300, 304, 400, 403, 404, 409, 412, 416, 500, 501, 503)
_BODIES_OF_ERRORS = (
    b"",
    _ERROR.format("Whatever").encode(),
    _xml("Error", "<Code>X</Code>"),
    b"<html><b>no</b>",
    b"<html>no</html>",
    b"not XML",
    b"<Error><Code>Cut",
    b"<Other><RequestId>1</RequestId></Other>",
)


class TestErrors:
    @pytest.mark.parametrize("method", sorted(METHODS))
    def test_statuses(self, method: str) -> None:
        headers = (("x-amz-request-id", "r"), ("Retry-After", "1"))
        for status, body in itertools.product(_STATUSES, _BODIES_OF_ERRORS):
            if (method, status) == ("head_object", 400):  # see TestElsewhere
                continue
            if status != 300 or not body:  # boto3 takes a body with 300 for that of a success
                self._compare(method, Canned(status, headers, body))

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (404, "NoSuchKey"), (404, "NoSuchBucket"), (403, "InvalidObjectState"),
            (404, "NoSuchUpload"), (503, "SlowDown"), (403, "RequestTimeTooSkewed"),
            (416, "InvalidRange"),
        ],
    )  # fmt: skip
    def test_codes(self, status: int, code: str) -> None:
        more = "<StorageClass>GLACIER</StorageClass><AccessTier>ARCHIVE_ACCESS</AccessTier>"
        body = f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()
        headers = (("via", "a"), ("Via", "b"), ("x-amz-id-2", "h"), ("x-amz-request-id", "r"))
        ours = self._compare("get_object", Canned(status, headers, body))
        assert ours.response["ResponseMetadata"]["HTTPHeaders"]["via"] == "a, b"

    @pytest.mark.parametrize(
        "method", ["copy_object", "upload_part_copy", "put_object", "list_parts"]
    )
    @pytest.mark.parametrize(
        "body",
        [_ERROR.format("InternalError").encode(), b"garbage", b"<Cut><Off>"],
    )
    def test_an_error_with_status_200(self, method: str, body: bytes) -> None:
        ours = self._compare(method, Canned(200, (), body))
        assert ours.response["ResponseMetadata"]["HTTPStatusCode"] == 500

    @pytest.mark.parametrize("method", ["copy_object", "delete_object"])
    def test_garbage_with_another_success(self, method: str) -> None:
        canned = Canned(206, (), b"garbage")
        assert type(raised(lanes.slow("path style"), method, canned)) is ResponseParserError
        assert type(raised(fast("path style"), method, canned)) is ResponseParserError

    def _compare(self, method: str, canned: Canned) -> ClientError:
        theirs = raised(lanes.slow("path style"), method, canned)
        ours = raised(fast("path style"), method, canned)
        assert isinstance(theirs, ClientError)
        assert isinstance(ours, ClientError)
        assert type(ours).__name__ == type(theirs).__name__
        assert ours.operation_name == theirs.operation_name
        metadata: dict[str, Any] = dict(theirs.response["ResponseMetadata"])
        metadata.pop(_OF_RETRIES, None)
        theirs.response["ResponseMetadata"] = metadata  # type: ignore[typeddict-item]
        assert ours.response == theirs.response
        return ours


# ---- what is left to boto3 -----------------------------------------------------------------------

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


def _op() -> Operation:
    return Operation("test", "bucket", "k", Patience())


class TestDeclined:
    @pytest.mark.parametrize(
        ("method", "parameters"),
        [
            ("get_object", {"SSECustomerKey": "k" * 32, "SSECustomerAlgorithm": "AES256"}),
            ("get_object", {"SSECustomerKeyMD5": "x"}),
            ("get_object", {"ChecksumMode": "ENABLED"}),
            ("get_object", {"IfModifiedSince": NOW}),
            ("get_object", {"ResponseExpires": NOW}),
            ("get_object", {"PartNumber": "1"}),
            ("get_object", {"PartNumber": True}),
            ("get_object", {"Range": 5}),
            ("get_object", {"Range": ""}),
            ("get_object", {"Range": "bytes=0-1\r\nx-amz-acl: public-read"}),
            ("get_object", {"Range": "b\u00fctes"}),
            ("get_object", {"Range": " bytes=0-1"}),
            ("get_object", {"Range": "bytes=0-1,  3-4"}),
            ("get_object", {"Unknown": "x"}),
            ("get_object", {"Metadata": {"a": "b"}}),
            ("get_object", {"CopySource": {"Bucket": "b", "Key": "k"}}),
            ("get_object", {"Key": ""}),
            ("get_object", {"Key": b"k"}),
            ("get_object", {"Bucket": ""}),
            ("get_object", {"Bucket": "a b"}),
            ("get_object", {"Bucket": "a/b"}),
            ("get_object", {"Bucket": "b\u00fccket"}),
            ("get_object", {"Bucket": 5}),
            ("get_object", {"Bucket": "bucket--use1-az4--x-s3"}),
            ("get_object", {"Bucket": "arn:aws:s3:us-west-2:123456789012:accesspoint/my"}),
            ("get_object", {"Bucket": "arn:aws:s3::123456789012:accesspoint/my.mrap"}),
            ("put_object", {"ChecksumAlgorithm": "CRC32"}),
            ("put_object", {"SSECustomerKey": "k" * 32}),
            ("put_object", {"Body": "text"}),
            ("put_object", {"Body": io.BytesIO(b"x")}),
            ("put_object", {"Body": memoryview(b"x")}),
            ("put_object", {"Body": b"abc", "ContentLength": 2}),
            ("put_object", {"Expires": NOW}),
            ("put_object", {"ObjectLockRetainUntilDate": NOW}),
            ("put_object", {"Metadata": {"a": "b\nc"}}),
            ("put_object", {"Metadata": {"a": "\u00e4"}}),
            ("put_object", {"Metadata": {"\u00e4": "a"}}),
            ("put_object", {"Metadata": {"a": " b"}}),
            ("put_object", {"Metadata": {"a": ""}}),
            ("put_object", {"Metadata": {"a": 1}}),
            ("put_object", {"Metadata": {1: "a"}}),
            ("put_object", {"Metadata": {"a": "1", "A": "2"}}),
            ("put_object", {"Metadata": {"a b": "1"}}),
            ("put_object", {"Metadata": [("a", "b")]}),
            ("copy_object", {"CopySource": "from/k"}),
            ("copy_object", {"CopySource": {"Bucket": "from"}}),
            ("copy_object", {"CopySource": {"Bucket": "from", "Key": b"k"}}),
            ("copy_object", {"CopySource": {"Bucket": "from", "Key": "k", "VersionId": 1}}),
            ("copy_object", {"CopySource": {"Bucket": "from", "Key": "k", "VersionId": "\u00e4"}}),
            ("copy_object", {"CopySource": {"Bucket": "arn:aws:s3:x:1:accesspoint/a", "Key": "k"}}),
            ("copy_object", {"CopySourceSSECustomerKey": "k" * 32}),
            ("copy_object", {"CopySource": None}),
            ("list_objects_v2", {"OptionalObjectAttributes": ["RestoreStatus"]}),
            ("list_objects", {}),
            ("head_bucket", {}),
        ],
    )  # fmt: skip
    def test_parameters(self, method: str, parameters: dict[str, Any]) -> None:
        made = fast("path style")
        made.requests.clear()
        assert made.call(method, {**MINIMAL.get(method, {"Bucket": "b-1"}), **parameters}) is None
        assert made.requests == []

    @pytest.mark.parametrize("method", sorted(METHODS))
    def test_what_is_required_and_is_not_there(self, method: str) -> None:
        made = fast("path style")
        made.requests.clear()
        for name in MINIMAL[method]:
            rest = {each: value for each, value in MINIMAL[method].items() if each != name}
            assert made.call(method, rest) is None
        assert made.requests == []

    @pytest.mark.parametrize(
        "config",
        [
            {"signature_version": "s3"},
            {"signature_version": "s3v4a"},
            {"signature_version": botocore.UNSIGNED},
            {"proxies": {"http": "http://proxy.example:3128"}},
            {"client_cert": "/some/cert.pem"},
            {"tcp_keepalive": True},
            {"request_checksum_calculation": "when_supported"},
            {"response_checksum_validation": "when_supported"},
        ],
    )
    def test_settings(self, config: dict[str, Any]) -> None:
        made = connection(fast=True, client_config=config)
        assert made.client is not None
        assert made._lane is None

    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize("is_exempt", [False, True])
    def test_a_proxy_in_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, scheme: str, is_exempt: bool
    ) -> None:
        monkeypatch.setenv(f"{scheme}_proxy", "http://proxy.example:3128")
        if is_exempt:
            monkeypatch.setenv("no_proxy", "store.example")
        made = connection(fast=True, endpoint_url=f"{scheme}://store.example")
        assert made.client is not None
        assert (made._lane is not None) is is_exempt

    def test_no_lane_was_wanted(self) -> None:
        made = connection(fast=False)
        assert made.client is not None
        assert made._lane is None

    def test_no_credentials(self) -> None:
        made = connection(fast=True, access_key=None, secret_key=None)
        assert made.client is not None
        assert made._lane is None

    @pytest.mark.parametrize("how", ["register", "register_first", "register_last"])
    @pytest.mark.parametrize("used", [False, True])
    def test_a_hook(self, how: str, used: bool) -> None:
        made = Fast()
        if used:
            assert made.call("head_object", WHERE) is not None
        events = made.made.client.meta.events
        hook = mock.Mock(return_value=None)
        getattr(events, how)("before-send.s3", hook)
        assert made.call("head_object", WHERE) is None
        events.unregister("before-send.s3", hook)
        assert made.call("head_object", WHERE) is not None

    def test_hooks_are_told_apart(self) -> None:
        made = Fast()
        events = made.made.client.meta.events
        one, two = lambda **_: None, lambda **_: None
        events.register("before-send.s3", one, unique_id="one")
        events.register("before-send.s3", two)
        events.unregister("before-send.s3", unique_id="one")
        assert made.call("head_object", WHERE) is None
        events.unregister("before-send.s3", two)
        assert made.call("head_object", WHERE) is not None

    def test_a_hook_that_was_there_before(self) -> None:
        made = Fast()
        made.made.client.meta.events.unregister("before-sign.s3", made.made._set_clock)
        assert made.call("head_object", WHERE) is None

    def test_a_hook_that_was_never_registered_does_not_make_up_for_another(self) -> None:
        made = Fast()
        events = made.made.client.meta.events
        events.unregister("before-send.s3", lambda **_: None)
        events.register("before-send.s3", lambda **_: None)
        assert made.call("head_object", WHERE) is None

    def test_the_stubber(self) -> None:
        made = connection(fast=True)
        with Stubber(made.client) as stubber:
            stubber.add_response("head_object", {"ContentLength": 7}, WHERE)
            answer = made.call(_op(), "head_object", **WHERE)
            stubber.assert_no_pending_responses()
        assert answer["ContentLength"] == 7

    @pytest.mark.parametrize("name", ["head_object", "_make_api_call"])
    def test_a_method_that_was_replaced(self, name: str) -> None:
        made = connection(fast=True)
        assert made.client is not None
        for owner in (made.client, type(made.client)):
            with mock.patch.object(owner, name, autospec=owner is not made.client) as replaced:
                replaced.return_value = {"ContentLength": 7}
                assert made.call(_op(), "head_object", **WHERE)["ContentLength"] == 7
                assert replaced.call_count == 1

    def test_a_tracer_in_every_client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It registers its handlers while a client is made, before the lane can see it."""
        begin = BaseClient.__init__

        @functools.wraps(begin)
        def traced(self: BaseClient, *args: Any, **how: Any) -> None:
            begin(self, *args, **how)

        monkeypatch.setattr(BaseClient, "__init__", traced)
        made = connection(fast=True)
        assert made.client is not None
        assert made._lane is None

    def test_a_plugin_of_botocore(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BOTOCORE_EXPERIMENTAL__PLUGINS", "none=json")
        made = connection(fast=True)
        assert made.client is not None
        assert made._lane is None

    def test_moto_in_this_process(self) -> None:
        """In a process of its own, since moto puts its handler into all later clients."""
        done = subprocess.run(
            [sys.executable, "-c", _MOTO], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == ""
        assert done.stdout.split() == ["content", "content"]


_MOTO = """
import socket, sys
def refuse(*_, **__):
    sys.exit("a request went to the network")
socket.socket.connect = socket.getaddrinfo = refuse
import object_clerk
from moto import mock_aws
with mock_aws():
    clerk = object_clerk.ObjectClerk(
        endpoint_url="https://s3.us-east-1.amazonaws.com", access_key="a", secret_key="s"
    )
    clerk.client.create_bucket(Bucket="bucket")
    clerk.upload_object(b"content", "bucket", "key")
    print(clerk.get_object("bucket", "key").decode())
    print(clerk.client.get_object(Bucket="bucket", Key="key")["Body"].read().decode())
"""


class TestElsewhere:
    """Answers that say that the bucket is in another region: boto3 finds it."""

    BODY = b"all of the body" * 100

    def _made(
        self, monkeypatch: pytest.MonkeyPatch, canned: Canned
    ) -> tuple[Any, list[str], list[Request]]:
        """A connection whose lane gets an answer, and whose boto3 gets a success."""
        made = connection(fast=True)
        lane = lanes.lane_of(made)
        seen: list[str] = []
        theirs = Slow()

        def exchange(*args: Any, **_: Any) -> Answer:
            seen.append("lane")
            lanes.read_all(args[4])
            return Answer(canned.status, list(canned.headers), canned.body)

        def send(request: Any, **_: Any) -> Any:
            seen.append("boto3")
            return theirs._send(request)

        monkeypatch.setattr(lane._wire, "exchange", exchange)
        events: Any = made.client.meta.events
        type(events).register(events, "before-send.s3", send)  # the lane does not notice
        return made, seen, theirs.requests

    @pytest.mark.parametrize(
        "canned",
        [
            Canned(301, (), _ERROR.format("PermanentRedirect").encode()),
            Canned(307, (("Location", "https://other.example/"),)),
            Canned(400, (), _ERROR.format("AuthorizationHeaderMalformed").encode()),
            Canned(400, (), _ERROR.format("IllegalLocationConstraintException").encode()),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("streamed", [False, True])
    def test_the_body_is_sent_whole(
        self, monkeypatch: pytest.MonkeyPatch, canned: Canned, streamed: bool
    ) -> None:
        made, seen, requests = self._made(monkeypatch, canned)
        body = _Part(self.BODY) if streamed else self.BODY
        for _ in range(2):
            made.call(_op(), "put_object", **WHERE, Body=body, ContentLength=len(self.BODY))
        assert seen == ["lane", "boto3", "boto3"]  # it need not be asked twice
        assert [request.body for request in requests] == [self.BODY] * 2
        digest = hashlib.sha256(self.BODY).hexdigest()
        assert {request.headers["x-amz-content-sha256"] for request in requests} == {digest}

    def test_a_head_without_a_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made, seen, _ = self._made(monkeypatch, Canned(400))
        for _ in range(2):
            made.call(_op(), "head_object", **WHERE)
        assert seen == ["lane", "boto3"] * 2  # it may have another reason

    def test_other_errors_are_final(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made, seen, _ = self._made(monkeypatch, Canned(503, (), _ERROR.format("SlowDown").encode()))
        with pytest.raises(ObjectClerkServerInternalException) as caught:
            made.call(_op(), "put_object", **WHERE, Body=self.BODY)
        assert caught.value.failure is Failure.THROTTLED
        assert seen == ["lane"]


class TestHomes:
    """Where botocore says that a bucket is."""

    def test_nothing_is_sent_to_find_out(self) -> None:
        made = connection(fast=True)
        lane = lanes.lane_of(made)
        sent: list[Any] = []
        events: Any = made.client.meta.events
        type(events).register(events, "before-send.s3", lambda request, **_: sent.append(request))
        home = lane._homes.of("bucket")
        assert home is not None
        assert (home.origin.port, home.path, home.region) == (9000, "/bucket/", "us-east-1")
        assert sent == []

    def test_it_is_asked_once(self) -> None:
        made = Fast()
        homes = made.lane._homes
        with mock.patch.object(homes, "_resolved", wraps=homes._resolved) as resolved:
            for _ in range(3):
                made.call("head_object", WHERE)
        assert resolved.call_count == 1

    def test_others_may_ask_boto3_meanwhile(self) -> None:
        """The request that is kept back is that of this thread alone."""
        made = connection(fast=True)
        lane = lanes.lane_of(made)
        assert lane._homes.of("bucket") is not None
        assert made.client.generate_presigned_url("get_object", Params=WHERE)
        with pytest.raises(ClientError):  # it goes all the way, and boto3 judges the answer
            _answered_by_boto3(made).head_object(**WHERE)


def _answered_by_boto3(made: Any) -> Any:
    events: Any = made.client.meta.events
    refusal = lambda request, **_: lanes.canned_for_boto3(request.url, Canned(404))  # noqa: E731
    type(events).register(events, "before-send.s3", refusal)
    return made.client


def test_config_of_botocore_is_what_it_was() -> None:
    """The settings that the lane reads are there in this version of botocore."""
    names = ("proxies", "client_cert", "tcp_keepalive", "user_agent", "max_pool_connections")
    made = connection(fast=True).client.meta.config
    assert isinstance(made, Config)
    assert all(hasattr(made, name) for name in names)
