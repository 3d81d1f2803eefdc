"""Measures every field of `Traits` on a running server, with plain boto3.

A probe is a function named like the field. It returns the field's value and must not depend on
another probe; all of them share one bucket.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import email.utils
import hashlib
import http.client
import ssl
import time
import urllib.parse
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from . import ODD_KEYS, Server, Traits
from .arrange import client, empty, fresh_bucket

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MINIMUM_PART = 5 * 1024 * 1024
_WRITERS = 16
_WRONG_ETAG = f'"{"0" * 32}"'

Value = bool | str | frozenset[str]


@dataclass(frozen=True)
class Subject:
    """What a probe works on."""

    server: Server
    s3: S3Client
    bucket: str

    def put(self, body: bytes = b"content", **more: Any) -> tuple[str, str]:
        """Store an object under a new key; return the key and its ETag."""
        key = new_key()
        return key, self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)["ETag"]

    def body(self, key: str, **more: Any) -> bytes:
        """Return an object's content."""
        return self.s3.get_object(Bucket=self.bucket, Key=key, **more)["Body"].read()

    def begin(self) -> dict[str, Any]:
        """Start a multipart upload; return the arguments that name it."""
        key = new_key()
        upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key=key)
        return {"Bucket": self.bucket, "Key": key, "UploadId": upload["UploadId"]}

    def parts(self, upload: dict[str, Any], bodies: Sequence[bytes]) -> list[dict[str, Any]]:
        """Upload parts; return the list that completes the upload."""
        done = []
        for number, body in enumerate(bodies, start=1):
            reply = self.s3.upload_part(**upload, PartNumber=number, Body=body)
            done.append({"PartNumber": number, "ETag": reply["ETag"]})
        return done

    def complete(self, upload: dict[str, Any], parts: list[dict[str, Any]], **more: Any) -> str:
        """Complete a multipart upload; return the ETag of the reply."""
        listed: Any = {"Parts": parts}
        return self.s3.complete_multipart_upload(**upload, MultipartUpload=listed, **more)["ETag"]

    def give_up(self, upload: dict[str, Any]) -> None:
        """Abort a multipart upload if it is still there."""
        code(self.s3.abort_multipart_upload, **upload)


Probe = Callable[[Subject], Value]
PROBES: dict[str, Probe] = {}


def _probe(function: Probe) -> Probe:
    PROBES[function.__name__] = function
    return function


def new_key() -> str:
    """Return a key that was not used before."""
    return f"probe/{uuid.uuid4().hex}"


def code(call: Callable[..., object], **arguments: Any) -> str:
    """Return the error code (or type) with which `call` fails; empty if it does not."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except (BotoCoreError, KeyError) as error:
        return type(error).__name__
    return ""


def _is_precondition_failure(error: str) -> bool:
    return error in ("PreconditionFailed", "412")


def measure(server: Server) -> Traits:
    """Return what `server` does."""
    s3 = client(server, attempts=1)
    with fresh_bucket(server, s3) as bucket:
        subject = Subject(server, s3, bucket)
        values: dict[str, Any] = {name: probe(subject) for name, probe in PROBES.items()}
    return Traits(**values)


# --- who is asking


@_probe
def verifies_signatures(subject: Subject) -> bool:
    s3 = client(subject.server, attempts=1, secret_key="not-the-secret-key")
    return code(s3.list_objects_v2, Bucket=subject.bucket) != ""


@_probe
def unknown_access_key_rejected(subject: Subject) -> bool:
    s3 = client(subject.server, attempts=1, access_key="nobody:nobody")
    return code(s3.list_objects_v2, Bucket=subject.bucket) != ""


@_probe
def presigned_expiry(subject: Subject) -> bool:
    key, _ = subject.put()
    url = subject.s3.generate_presigned_url(
        "get_object", Params={"Bucket": subject.bucket, "Key": key}, ExpiresIn=1
    )
    time.sleep(2.5)  # whole seconds count, and a server may grant the one it is in
    return _status(url) >= 400


def _status(url: str) -> int:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port)
    )
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}?{parts.query}")
        return connection.getresponse().status


# --- what arrives is what was sent


@_probe
def verifies_content_md5(subject: Subject) -> bool:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    put = code(
        subject.s3.put_object,
        Bucket=subject.bucket,
        Key=new_key(),
        Body=b"content",
        ContentMD5=wrong,
    )
    upload = subject.begin()
    part = code(subject.s3.upload_part, **upload, PartNumber=1, Body=b"content", ContentMD5=wrong)
    subject.give_up(upload)
    return put != "" and part != ""


@_probe
def verifies_signed_sha256(subject: Subject) -> bool:
    s3 = client(subject.server, attempts=1)

    def replace_body(request: Any, **_: Any) -> None:
        request.body = b"tampered"

    # After signing: the length stays right, so that only the hash can tell.
    s3.meta.events.register("before-send.s3.PutObject", replace_body)
    return code(s3.put_object, Bucket=subject.bucket, Key=new_key(), Body=b"original") != ""


@_probe
def verifies_checksum_header(subject: Subject) -> bool:
    wrong = {"ChecksumCRC32": base64.b64encode(b"\0\0\0\1").decode()}
    put = subject.s3.put_object
    return code(put, Bucket=subject.bucket, Key=new_key(), Body=b"content", **wrong) != ""


@_probe
def returns_checksum(subject: Subject) -> bool:
    key, _ = subject.put(ChecksumAlgorithm="CRC32")
    head = subject.s3.head_object(Bucket=subject.bucket, Key=key, ChecksumMode="ENABLED")
    return "ChecksumCRC32" in head


@_probe
def range_without_checksum(subject: Subject) -> bool:
    key, _ = subject.put(ChecksumAlgorithm="CRC32")
    ranged = subject.s3.get_object(Bucket=subject.bucket, Key=key, Range="bytes=1-3")
    ranged["Body"].read()
    return "ChecksumCRC32" not in ranged


# --- keys and metadata


@_probe
def unsupported_keys(subject: Subject) -> frozenset[str]:
    return frozenset(key for key in ODD_KEYS.values() if not _key_works(subject, key))


def _key_works(subject: Subject, key: str) -> bool:
    content = key.encode()
    try:
        subject.s3.put_object(Bucket=subject.bucket, Key=key, Body=content)
        read = subject.body(key)
        # With this prefix the listing is the key alone, provided that it is listed as it is.
        listed = subject.s3.list_objects_v2(Bucket=subject.bucket, Prefix=key)
    except (ClientError, BotoCoreError):
        return False
    return read == content and [o["Key"] for o in listed.get("Contents", [])] == [key]


@_probe
def key_length_enforced(subject: Subject) -> bool:
    put = subject.s3.put_object
    return code(put, Bucket=subject.bucket, Key=("k" * 200 + "/") * 5 + "k" * 20, Body=b"") != ""


@_probe
def metadata_case_kept(subject: Subject) -> bool:
    metadata = {"first-name": "Value", "second": "a b=c"}
    key, _ = subject.put(Metadata=metadata)
    return subject.s3.head_object(Bucket=subject.bucket, Key=key)["Metadata"] == metadata


@_probe
def tagging(subject: Subject) -> bool:
    key, _ = subject.put()
    where: Any = {"Bucket": subject.bucket, "Key": key}
    tags: Any = [{"Key": "colour", "Value": "blue"}]
    if code(subject.s3.put_object_tagging, **where, Tagging={"TagSet": tags}):
        return False
    kept: Any = subject.s3.get_object_tagging(**where)["TagSet"]
    return bool(kept == tags)


@contextlib.contextmanager
def _versioned(subject: Subject) -> Iterator[dict[str, Any]]:
    """Where an object may be in a bucket with versions; raises if there is no such thing.

    A bucket of its own, since the other probes are for a plain one.
    """
    bucket = f"clerk-{uuid.uuid4().hex[:20]}"
    s3 = subject.s3
    s3.create_bucket(Bucket=bucket)
    try:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        yield {"Bucket": bucket, "Key": "k"}
    finally:
        with contextlib.suppress(ClientError, BotoCoreError):
            empty(s3, bucket)
            s3.delete_bucket(Bucket=bucket)


@_probe
def versioning(subject: Subject) -> bool:
    s3 = subject.s3
    try:
        with _versioned(subject) as where:
            first = s3.put_object(**where, Body=b"first")
            s3.put_object(**where, Body=b"second")
            old = s3.get_object(**where, VersionId=first["VersionId"])
            return old["Body"].read() == b"first"
    except (ClientError, BotoCoreError, KeyError):
        return False


# --- conditions


@_probe
def get_if_match(subject: Subject) -> bool:
    key, _ = subject.put()
    wrong = {"IfMatch": _WRONG_ETAG}
    return _is_precondition_failure(
        code(subject.s3.get_object, Bucket=subject.bucket, Key=key, **wrong)
    )


@_probe
def get_if_none_match(subject: Subject) -> bool:
    key, etag = subject.put()
    get = subject.s3.get_object
    return code(get, Bucket=subject.bucket, Key=key, IfNoneMatch=etag) in ("304", "NotModified")


@_probe
def put_if_none_match(subject: Subject) -> bool:
    put, where = subject.s3.put_object, {"Bucket": subject.bucket, "Key": new_key()}
    first = code(put, **where, Body=b"first", IfNoneMatch="*")
    second = code(put, **where, Body=b"second", IfNoneMatch="*")
    return first == "" and _is_precondition_failure(second)


@_probe
def put_if_none_match_atomic(subject: Subject) -> bool:
    where = {"Bucket": subject.bucket, "Key": new_key()}

    def write(number: int) -> bool:
        body = str(number).encode() * 100_000
        return code(subject.s3.put_object, **where, Body=body, IfNoneMatch="*") == ""

    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
        return sum(pool.map(write, range(_WRITERS))) == 1


@_probe
def put_if_match(subject: Subject) -> bool:
    key, etag = subject.put()
    put, where = subject.s3.put_object, {"Bucket": subject.bucket, "Key": key}
    right = code(put, **where, Body=b"second", IfMatch=etag)
    wrong = code(put, **where, Body=b"third", IfMatch=etag)  # no longer the present one
    return right == "" and _is_precondition_failure(wrong)


@_probe
def complete_if_none_match(subject: Subject) -> bool:
    upload = subject.begin()
    parts = subject.parts(upload, [b"content"])
    subject.s3.put_object(Bucket=subject.bucket, Key=upload["Key"], Body=b"was first")
    error = code(subject.complete, upload=upload, parts=parts, IfNoneMatch="*")
    if error:
        subject.give_up(upload)
    return error != "" and subject.body(upload["Key"]) == b"was first"


@_probe
def complete_if_match(subject: Subject) -> bool:
    upload = subject.begin()
    parts = subject.parts(upload, [b"content"])
    subject.s3.put_object(Bucket=subject.bucket, Key=upload["Key"], Body=b"was first")
    error = code(subject.complete, upload=upload, parts=parts, IfMatch=_WRONG_ETAG)
    subject.give_up(upload)
    return _is_precondition_failure(error) and subject.body(upload["Key"]) == b"was first"


@_probe
def copy_source_if_match(subject: Subject) -> bool:
    key, _ = subject.put()
    return _is_precondition_failure(
        code(
            subject.s3.copy_object,
            Bucket=subject.bucket,
            Key=new_key(),
            CopySource={"Bucket": subject.bucket, "Key": key},
            CopySourceIfMatch=_WRONG_ETAG,
        )
    )


def _copy_is_refused(subject: Subject, **condition: str) -> bool:
    source, _ = subject.put(b"source")
    target, _ = subject.put(b"was first")
    where: Any = {"Bucket": subject.bucket, "Key": source}
    copy = subject.s3.copy_object
    error = code(copy, Bucket=subject.bucket, Key=target, CopySource=where, **condition)
    return _is_precondition_failure(error) and subject.body(target) == b"was first"


@_probe
def copy_if_none_match(subject: Subject) -> bool:
    return _copy_is_refused(subject, IfNoneMatch="*")


@_probe
def copy_if_match(subject: Subject) -> bool:
    return _copy_is_refused(subject, IfMatch=_WRONG_ETAG)


@_probe
def delete_if_match(subject: Subject) -> bool:
    key, _ = subject.put()
    wrong = {"IfMatch": _WRONG_ETAG}
    error = code(subject.s3.delete_object, Bucket=subject.bucket, Key=key, **wrong)
    return _is_precondition_failure(error)


@_probe
def delete_if_match_of_parts(subject: Subject) -> bool:
    upload = subject.begin()
    subject.complete(upload, subject.parts(upload, [b"content"]))
    where = {"Bucket": subject.bucket, "Key": upload["Key"]}
    etag = subject.s3.head_object(**where)["ETag"]
    return code(subject.s3.delete_object, **where, IfMatch=etag) == ""


@_probe
def delete_if_match_of_versions(subject: Subject) -> bool:
    s3 = subject.s3
    try:
        with _versioned(subject) as where:
            older = s3.put_object(**where, Body=b"older")["ETag"]
            latest = s3.put_object(**where, Body=b"latest")["ETag"]
            refused = [code(s3.delete_object, **where, IfMatch=each) for each in (older, latest)]
            gone = code(s3.head_object, **where) == "404"
            return _is_precondition_failure(refused[0]) and refused[1] == "" and gone
    except (ClientError, BotoCoreError, KeyError):
        return False


# --- copies


@_probe
def copy_to_itself_rejected(subject: Subject) -> bool:
    key, _ = subject.put()
    source = {"Bucket": subject.bucket, "Key": key}
    return code(subject.s3.copy_object, Bucket=subject.bucket, Key=key, CopySource=source) != ""


@_probe
def copy_etag_computed(subject: Subject) -> bool:
    upload = subject.begin()
    subject.complete(upload, subject.parts(upload, [b"content"]))
    key = new_key()
    source: Any = {"Bucket": subject.bucket, "Key": upload["Key"]}
    subject.s3.copy_object(Bucket=subject.bucket, Key=key, CopySource=source)
    etag = subject.s3.head_object(Bucket=subject.bucket, Key=key)["ETag"]
    return etag == f'"{hashlib.md5(b"content").hexdigest()}"'


@_probe
def upload_part_copy(subject: Subject) -> bool:
    source, _ = subject.put(b"0123456789")
    upload = subject.begin()
    try:
        reply = subject.s3.upload_part_copy(
            **upload,
            PartNumber=1,
            CopySource={"Bucket": subject.bucket, "Key": source},
            CopySourceRange="bytes=2-6",
        )
        etag = reply["CopyPartResult"]["ETag"]
        subject.complete(upload, [{"PartNumber": 1, "ETag": etag}])
        return subject.body(upload["Key"]) == b"23456"
    except (ClientError, BotoCoreError, KeyError):
        subject.give_up(upload)
        return False


# --- multipart uploads


def _two_parts(subject: Subject) -> tuple[dict[str, Any], list[dict[str, Any]], list[bytes]]:
    bodies = [b"1" * MINIMUM_PART, b"two"]
    upload = subject.begin()
    return upload, subject.parts(upload, bodies), bodies


@_probe
def multipart_etag_kept(subject: Subject) -> bool:
    upload, parts, bodies = _two_parts(subject)
    subject.complete(upload, parts)
    of_parts = b"".join(hashlib.md5(body).digest() for body in bodies)
    expected = f'"{hashlib.md5(of_parts).hexdigest()}-{len(bodies)}"'
    head = subject.s3.head_object(Bucket=subject.bucket, Key=upload["Key"])
    return head["ETag"] == expected


@_probe
def complete_reply_has_etag(subject: Subject) -> bool:
    upload, parts, _ = _two_parts(subject)
    etag = subject.complete(upload, parts)
    head = subject.s3.head_object(Bucket=subject.bucket, Key=upload["Key"])
    return etag.strip('"') == head["ETag"].strip('"')


@_probe
def complete_repeatable(subject: Subject) -> bool:
    upload, parts, _ = _two_parts(subject)
    subject.complete(upload, parts)
    return code(subject.complete, upload=upload, parts=parts) == ""


@_probe
def part_replaceable(subject: Subject) -> bool:
    upload = subject.begin()
    subject.parts(upload, [b"first try"])
    try:
        parts = subject.parts(upload, [b"second"])
    except ClientError:
        subject.give_up(upload)
        return False
    subject.complete(upload, parts)
    return subject.body(upload["Key"]) == b"second"


@_probe
def upload_survives_bad_part(subject: Subject) -> bool:
    upload = subject.begin()
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    code(subject.s3.upload_part, **upload, PartNumber=1, Body=b"content", ContentMD5=wrong)
    try:
        subject.complete(upload, subject.parts(upload, [b"content"]))
    except ClientError:
        subject.give_up(upload)
        return False
    return subject.body(upload["Key"]) == b"content"


@_probe
def wrong_part_etag_rejected(subject: Subject) -> bool:
    upload = subject.begin()
    subject.parts(upload, [b"content"])
    wrong = [{"PartNumber": 1, "ETag": _WRONG_ETAG}]
    error = code(subject.complete, upload=upload, parts=wrong)
    subject.give_up(upload)
    return error != ""


@_probe
def min_part_size_enforced(subject: Subject) -> bool:
    upload = subject.begin()
    parts = subject.parts(upload, [b"small", b"last"])
    error = code(subject.complete, upload=upload, parts=parts)
    subject.give_up(upload)
    return error != ""


@_probe
def no_such_upload_on_part(subject: Subject) -> bool:
    # The id of an upload that was: an invented one may be refused for its form alone.
    upload = subject.begin()
    subject.give_up(upload)
    part = code(subject.s3.upload_part, **upload, PartNumber=1, Body=b"content")
    return part == "NoSuchUpload"


@_probe
def no_such_upload_on_complete(subject: Subject) -> bool:
    upload = subject.begin()
    parts = subject.parts(upload, [b"content"])
    subject.give_up(upload)
    return code(subject.complete, upload=upload, parts=parts) == "NoSuchUpload"


@_probe
def get_part_number(subject: Subject) -> bool:
    upload, parts, bodies = _two_parts(subject)
    subject.complete(upload, parts)
    return subject.body(upload["Key"], PartNumber=2) == bodies[1]


@_probe
def head_part_number(subject: Subject) -> bool:
    upload, parts, _ = _two_parts(subject)
    subject.complete(upload, parts)
    head = subject.s3.head_object(Bucket=subject.bucket, Key=upload["Key"], PartNumber=1)
    return head.get("PartsCount") == len(parts)


@_probe
def full_object_checksum(subject: Subject) -> bool:
    whole: Any = {"ChecksumType": "FULL_OBJECT"}
    right = base64.b64encode(zlib.crc32(b"content").to_bytes(4, "big")).decode()
    where: dict[str, Any] = {"Bucket": subject.bucket, "Key": new_key()}
    create = subject.s3.create_multipart_upload
    where["UploadId"] = create(**where, ChecksumAlgorithm="CRC32", **whole)["UploadId"]
    part: dict[str, Any] = {"PartNumber": 1, "ChecksumCRC32": right}
    part["ETag"] = subject.s3.upload_part(**where, Body=b"content", **part)["ETag"]
    errors = [
        code(subject.complete, upload=where, parts=[part], ChecksumCRC32=crc32, **whole)
        for crc32 in ("AAAAAQ==", right)
    ]
    subject.give_up(where)
    return errors[0] != "" and errors[1] == ""


@_probe
def object_size_compared(subject: Subject) -> bool:
    upload = subject.begin()
    parts = subject.parts(upload, [b"content"])
    errors = [
        code(subject.complete, upload=upload, parts=parts, MpuObjectSize=size) for size in (6, 7)
    ]
    subject.give_up(upload)
    return errors[0] != "" and errors[1] == ""


@_probe
def upload_initiated(subject: Subject) -> bool:
    upload = subject.begin()
    listed = subject.s3.list_multipart_uploads(Bucket=subject.bucket)
    subject.give_up(upload)
    (date,) = [
        each["Initiated"] for each in listed["Uploads"] if each["UploadId"] == upload["UploadId"]
    ]
    now = email.utils.parsedate_to_datetime(listed["ResponseMetadata"]["HTTPHeaders"]["date"])
    return abs((now - date).total_seconds()) < 60


# --- the rest


@_probe
def get_object_attributes(subject: Subject) -> bool:
    key, _ = subject.put()
    try:
        found = subject.s3.get_object_attributes(
            Bucket=subject.bucket, Key=key, ObjectAttributes=["ETag", "ObjectSize"]
        )
    except (ClientError, BotoCoreError):
        return False
    return found.get("ObjectSize") == len(b"content")


@_probe
def create_again(subject: Subject) -> str:
    return code(subject.s3.create_bucket, Bucket=subject.bucket)
