"""The stub server of the benchmarks: what is measured on it was really checked by it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import os
import shutil
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from benchmarks import stub
from object_clerk import ObjectClerk, Verdict
from object_clerk.checksum.algorithm import CRC64NVME
from tests.servers import Unavailable, arrange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from tests.servers import Server

MIB = 1 << 20
DATA = os.urandom(11 * MIB)
IN_PARTS = {"multipart_threshold": 5 * MIB, "multipart_chunksize": 5 * MIB}


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    try:
        with stub.running(listed=2500) as server:
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def s3(started: Server) -> S3Client:
    return arrange.client(started)


@pytest.fixture
def clerk(started: Server) -> Iterator[ObjectClerk]:
    with ObjectClerk(
        endpoint_url=started.endpoint_url,
        access_key=started.access_key,
        secret_key=started.secret_key,
        transfer_config=IN_PARTS,
        retry_tries=2,
    ) as made:
        yield made


def code(call: Callable[..., object], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def test_everything_that_can_be_asked_is_honoured(clerk: ObjectClerk) -> None:
    report = clerk.examine_endpoint("b")
    assert clerk.endpoint.left_behind == ()
    assert report.pop("versions") == "the bucket keeps none"
    assert report.pop("ETag of a copy") == "computed anew"
    assert report.pop("stored checksums").startswith("returned (")
    assert report.pop("partNumber") == "a part can be asked for (by HEAD and GET)"
    refused = ("a wrong one is rejected", "one that does not hold is refused")
    assert {name: said for name, said in report.items() if said not in refused} == {}


def test_parts_there_and_back(clerk: ObjectClerk) -> None:
    assert clerk.upload_object(DATA, "b", "large").verdict is Verdict.CONTENT
    assert clerk.get_object("b", "large") == DATA
    copied = clerk.copy_object("b", "large", "b", "copy")
    assert copied.basis == "copied in the source's parts, with the same ETags"
    clerk.move_object("b", "copy", "b", "moved")
    assert clerk.get_object("b", "moved") == DATA
    assert not clerk.exists("b", "copy")


def test_single_objects_there_and_back(clerk: ObjectClerk) -> None:
    clerk.upload_object(b"small", "b", "small")
    assert clerk.get_object("b", "small") == b"small"
    clerk.delete_object("b", "small")
    assert not clerk.exists("b", "small")


@pytest.mark.parametrize("member", ["ContentMD5", "ChecksumCRC32", "ChecksumCRC64NVME"])
def test_wrong_digests_are_refused(s3: S3Client, member: str) -> None:
    size = {"ContentMD5": 16, "ChecksumCRC32": 4, "ChecksumCRC64NVME": 8}[member]
    wrong = {member: base64.b64encode(b"\0" * size).decode()}
    where = {"Bucket": "b", "Key": "wrong"}
    assert code(s3.put_object, Body=b"body", **where, **wrong) == "BadDigest"
    assert code(s3.head_object, **where) == "404"


def test_checksum_of_the_whole_is_that_of_the_parts_put_together(s3: S3Client) -> None:
    algorithm = CRC64NVME.new()
    if algorithm is None:
        pytest.skip("CRC64NVME takes the extra crt")
    algorithm.update(DATA)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    extra = {"ChecksumAlgorithm": "CRC64NVME"}
    s3.upload_fileobj(io.BytesIO(DATA), "b", "whole", ExtraArgs=extra, Config=config)
    head = s3.head_object(Bucket="b", Key="whole", ChecksumMode="ENABLED")
    assert base64.b64decode(head["ChecksumCRC64NVME"]) == algorithm.digest()
    assert head["ETag"].endswith('-3"')


def test_trailing_checksums_are_read(started: Server, s3: S3Client) -> None:
    """As chunks that a client of https sends; a wrong one is refused."""
    body, crc = b"chunked", base64.b64encode(zlib.crc32(b"chunked").to_bytes(4)).decode()
    for sent, status in ((crc, 200), ("AAAAAA==", 400)):
        framed = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (
            len(body), body, sent.encode(),
        )  # fmt: skip
        headers = {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-decoded-content-length": str(len(body)),
        }
        assert request(started, "PUT", "/b/chunked", framed, headers) == status
    assert s3.get_object(Bucket="b", Key="chunked")["Body"].read() == body


def request(started: Server, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    url = urlsplit(started.endpoint_url)
    with contextlib.closing(http.client.HTTPConnection(url.netloc, timeout=20)) as connection:
        connection.request(method, path, body, headers)
        return connection.getresponse().status


def test_listings(clerk: ObjectClerk, s3: S3Client) -> None:
    keys = [entry["Key"] for entry in clerk.list_objects("list")]
    assert len(keys) == 2500
    assert keys == sorted(set(keys))
    assert sum(1 for _ in clerk.list_objects("list-1500")) == 1500
    for key in ("d/a/1", "d/a/2", "d/b", "e"):
        s3.put_object(Bucket="tree", Key=key, Body=b"")
    page = s3.list_objects_v2(Bucket="tree", Prefix="d/", Delimiter="/")
    assert [each["Prefix"] for each in page["CommonPrefixes"]] == ["d/a/"]
    assert [each["Key"] for each in page["Contents"]] == ["d/b"]


def test_bodies_of_null_buckets_are_not_kept(clerk: ObjectClerk, s3: S3Client) -> None:
    assert clerk.upload_object(DATA, "null", "large").verdict is Verdict.CONTENT
    assert s3.head_object(Bucket="null", Key="large")["ContentLength"] == len(DATA)
    assert code(s3.get_object, Bucket="null", Key="large") == "NotImplemented"


def test_how_bodies_came_is_told(started: Server, s3: S3Client) -> None:
    def seen() -> str | None:
        url = urlsplit(started.endpoint_url)
        with contextlib.closing(http.client.HTTPConnection(url.netloc, timeout=20)) as connection:
            connection.request("GET", "/")
            return connection.getresponse().getheader("x-stub-seen")

    seen()
    s3.put_object(Bucket="b", Key="k", Body=b"a question")
    assert seen() == ""
    s3.put_object(Bucket="b", Key="k", Body=bytes(100), ChecksumAlgorithm="CRC32")
    assert seen() == "signed,CRC32,"
    headers = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD", "Content-MD5": "ba"}
    assert request(started, "PUT", "/b/k", bytes(100), headers) == 400
    del headers["Content-MD5"]
    assert request(started, "PUT", "/b/k", bytes(100), headers) == 200
    assert seen() == "unsigned,"


def test_without_md5_checksums_still_count(started: Server) -> None:
    del started  # it says whether there can be another
    with stub.running(listed=1, md5=False) as other_server:
        other = arrange.client(other_server)
        etag = other.put_object(Bucket="b", Key="k", Body=b"x")["ETag"]
        assert etag.startswith('"stub')
        wrong = {"Body": b"x", "ChecksumCRC32": "AAAAAA=="}
        assert code(other.put_object, Bucket="b", Key="k", **wrong) == "BadDigest"


def test_missing_compiler_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Unavailable, match="there is no cc"):
        stub.build()
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'fatal error: openssl/evp.h: No such file' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(broken))
    monkeypatch.setenv("OBJECT_CLERK_TEST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match="libcrypto's headers"):
        stub.build()
