"""Uploads: every kind of source arrives whole, once, and proved, or nothing becomes visible."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    BucketNotFoundException,
    ObjectClerkParameterException,
    ObjectClerkServerInternalException,
    ObjectSaveException,
    ObjectVerificationException,
    PreconditionFailed,
    Verdict,
)
from object_clerk.testing import callback, flip_request_bit, status_before
from tests.contract.support import (
    LARGE,
    MIB,
    SMALL,
    THRESHOLD,
    Wire,
    blob,
    crc64nvme,
    etag_of_parts,
    keys,
    md5,
    stored,
    stored_etag,
    unfinished,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk, Receipt
    from object_clerk.testing import FaultProxy
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])


def _file(directory: Path, data: bytes) -> Path:
    path = directory / "source"
    path.write_bytes(data)
    return path


def _spooled(max_size: int) -> Callable[[Path, bytes], Any]:
    def make(_: Path, data: bytes) -> Any:
        file = tempfile.SpooledTemporaryFile(max_size=max_size)  # noqa: SIM115 - closed by the test
        file.write(data)
        file.seek(0)
        return file

    return make


SOURCES: dict[str, Callable[[Path, bytes], Any]] = {
    "str": lambda directory, data: str(_file(directory, data)),
    "Path": _file,
    "BufferedReader": lambda directory, data: _file(directory, data).open("rb"),
    "BufferedRandom": lambda directory, data: _file(directory, data).open("r+b"),
    "FileIO": lambda directory, data: _file(directory, data).open("rb", buffering=0),
    "BytesIO": lambda _, data: io.BytesIO(data),
    "bytes": lambda _, data: data,
    "bytearray": lambda _, data: bytearray(data),
    "memoryview": lambda _, data: memoryview(data),
    "memoryview of words": lambda _, data: memoryview(data + b"\0" * (-len(data) % 4)).cast("I"),
    "SpooledTemporaryFile in memory": _spooled(64 * MIB),
    "SpooledTemporaryFile on disk": _spooled(1024),
}


@contextlib.contextmanager
def closing(source: Any) -> Iterator[Any]:
    """Close what the test has opened, if it can be closed."""
    try:
        yield source
    finally:
        if hasattr(source, "close"):
            source.close()


@contextlib.contextmanager
def piped(data: bytes) -> Iterator[io.BufferedReader]:
    """Yield the reading end of a pipe into which another thread writes `data`."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe, contextlib.suppress(BrokenPipeError):
            rest = memoryview(data)
            while rest:
                rest = rest[pipe.write(rest) :]

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with os.fdopen(reading, "rb") as pipe:
            yield pipe
    finally:
        writer.join()


def expected_verdict(traits: Traits, size: int) -> Verdict:
    """Return how well an upload of this size can be proved without reading it back."""
    kept = size < THRESHOLD or traits.multipart_etag_kept
    return Verdict.CONTENT if kept else Verdict.TRANSPORT


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((kind, SMALL) for kind in SOURCES),
        *((kind, LARGE) for kind in ("Path", "FileIO", "BytesIO", "bytes", "memoryview of words")),
        ("SpooledTemporaryFile on disk", LARGE),
    ],
)
def test_every_kind_of_source_arrives(
    kind: str, size: int, clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 2: upload from path, file, buffer: the same bytes come back."""
    data = blob(size)
    with closing(SOURCES[kind](tmp_path, data)) as source:
        receipt = clerk.upload_object(source, bucket, "key")

        if kind == "memoryview of words":
            data += b"\0" * (-len(data) % 4)
        assert stored(s3, bucket, "key") == data
        assert clerk.get_object(bucket, "key") == data
        assert receipt.size == len(data)
        if hasattr(source, "closed"):
            assert not source.closed, "Check 3: the caller's stream is not closed"


@SIZES
@pytest.mark.parametrize("kind", ["BufferedReader", "FileIO", "BytesIO"])
def test_stream_is_uploaded_from_where_it_stands(
    kind: str, size: int, clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 2: a stream positioned mid-way gives what is left of it."""
    data = blob(size)
    with closing(SOURCES[kind](tmp_path, data)) as source:
        source.seek(1001)
        receipt = clerk.upload_object(source, bucket, "key")

        assert stored(s3, bucket, "key") == data[1001:]
        assert receipt.size == size - 1001
        assert source.tell() == size


@SIZES
@pytest.mark.parametrize("kind", ["BufferedReader", "BytesIO", "SpooledTemporaryFile on disk"])
def test_stream_at_its_end_is_uploaded_whole(
    kind: str, size: int, clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 2: a buffer that was just written stands at its end; all of it is meant."""
    data = blob(size)
    with closing(SOURCES[kind](tmp_path, data)) as source:
        source.seek(0, os.SEEK_END)
        clerk.upload_object(source, bucket, "key")

    assert stored(s3, bucket, "key") == data


@pytest.mark.parametrize(
    "size",
    [1, SMALL, THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 2 * THRESHOLD, LARGE],
    ids=lambda size: f"{size} bytes",
)
def test_pipe(size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    """Check 2: a stream that cannot be rewound arrives, in the parts any other source makes."""
    data = blob(size)
    with piped(data) as pipe:
        receipt = clerk.upload_object(pipe, bucket, "key")

        assert not pipe.closed
    assert stored(s3, bucket, "key") == data
    assert (receipt.size, receipt.verdict) == (size, expected_verdict(traits, size))
    if size < THRESHOLD:
        assert receipt.etag == md5(data)
    elif traits.multipart_etag_kept:
        assert receipt.etag == etag_of_parts(data, THRESHOLD)
    assert unfinished(s3, bucket) == []


@pytest.mark.parametrize(
    "size",
    [1, THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 2 * THRESHOLD],
    ids=["1", "threshold-1", "threshold", "threshold+1", "2*threshold"],
)
def test_etag_is_the_one_computed_independently(
    size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 8: ETags around the threshold; exactly the threshold is a multipart of one part."""
    data = blob(size)
    alone = clerk.endpoint.gives_crc64nvme  # not with the first upload in parts
    receipt = clerk.upload_object(data, bucket, "key")

    found = stored_etag(s3, bucket, "key")
    if size < THRESHOLD:
        assert found == md5(data)
    elif traits.multipart_etag_kept:
        assert found == etag_of_parts(data, THRESHOLD)
    assert receipt.etag == found
    assert receipt.verdict is expected_verdict(traits, size)
    # What was computed here goes into the receipt whatever the server makes of it.
    name = "md5" if size < THRESHOLD else "md5-parts"
    own = md5(data) if size < THRESHOLD else etag_of_parts(data, THRESHOLD)
    if size >= THRESHOLD and alone:
        name, own = "crc64nvme", crc64nvme(data).hex()
    assert dict(receipt.digests) == {name: own}
    assert clerk.get_object(bucket, "key") == data
    assert unfinished(s3, bucket) == []


EMPTY: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _: b"",
    "memoryview": lambda _: memoryview(b""),
    "BytesIO": lambda _: io.BytesIO(),
    "path": lambda directory: _file(directory, b""),
    "file": lambda directory: _file(directory, b"").open("rb"),
    "device": lambda _: os.devnull,
}


@pytest.mark.parametrize("kind", EMPTY)
def test_empty_source_is_refused(
    kind: str, clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 4: an empty upload raises ObjectSaveException, and what is there stays."""
    clerk.upload_object(b"precious", bucket, "there")
    wire = Wire(clerk)
    for key in ("new", "there"):
        with closing(EMPTY[kind](tmp_path)) as source, pytest.raises(ObjectSaveException):
            clerk.upload_object(source, bucket, key)

    assert wire.sent == []
    assert keys(s3, bucket) == ["there"]
    assert stored(s3, bucket, "there") == b"precious"


def test_empty_pipe_is_refused(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 4: also where only reading shows that there is nothing."""
    with piped(b"") as pipe, pytest.raises(ObjectSaveException, match="empty"):
        clerk.upload_object(pipe, bucket, "key")

    assert keys(s3, bucket) == []
    assert unfinished(s3, bucket) == []


@pytest.mark.parametrize("kind", EMPTY)
def test_empty_source_where_allowed(
    kind: str, clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 4: allow_empty=True stores an empty object, which is read back as such."""
    with closing(EMPTY[kind](tmp_path)) as source:
        receipt = clerk.upload_object(source, bucket, "key", allow_empty=True)

    assert (receipt.size, receipt.verdict, receipt.etag) == (0, Verdict.CONTENT, md5(b""))
    assert s3.head_object(Bucket=bucket, Key="key")["ContentLength"] == 0
    assert clerk.get_object(bucket, "key") == b""
    target = tmp_path / "target"
    read = clerk.download_object(bucket, "key", target)
    assert (target.read_bytes(), read.verdict) == (b"", Verdict.CONTENT)
    with clerk.open_object(bucket, "key") as reader:
        assert reader.read() == b""
    assert reader.receipt is not None
    assert reader.receipt.verdict is Verdict.CONTENT


@SIZES
def test_content_type_metadata_and_storage_class_arrive(
    size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 5: content_type, metadata, storage_class arrive at the server."""
    wire = Wire(clerk)
    metadata = {"first-name": "Va lue", "number": "12"}
    clerk.upload_object(
        blob(size), bucket, "key", True, "image/fits", dict(metadata), storage_class="STANDARD"
    )

    head = s3.head_object(Bucket=bucket, Key="key")
    assert head["ContentType"] == "image/fits"
    found = head["Metadata"]
    if not traits.metadata_case_kept:
        found = {name.lower(): found[name] for name in found if name.lower() in metadata}
    record = {name: found.pop(name) for name in list(found) if name.startswith("clerk-")}
    assert found == metadata
    assert bool(record) == (size >= THRESHOLD and traits.metadata_case_kept)
    sent = wire.where(lambda each: each.headers.get("x-amz-storage-class") == "STANDARD")
    assert len(sent) == 1
    assert sent[0].method == ("PUT" if size < THRESHOLD else "POST")


@SIZES
def test_content_type_without_a_wish(
    size: int, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 5: without a content type it is that of arbitrary bytes."""
    clerk.upload_object(blob(size), bucket, "key.txt")

    head = s3.head_object(Bucket=bucket, Key="key.txt")
    assert head["ContentType"] == "application/octet-stream"


def test_content_type_in_extra_args_is_not_ignored(
    clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 5: a content type that is given this way is kept or refused, never lost."""
    with contextlib.suppress(ObjectClerkParameterException):
        clerk.upload_object(b"content", bucket, "key", extra_args={"ContentType": "image/fits"})
        assert s3.head_object(Bucket=bucket, Key="key")["ContentType"] == "image/fits"


@SIZES
def test_extra_args_reach_the_server(size: int, clerk: ObjectClerk, bucket: str) -> None:
    """Check 5: whatever else S3 takes can be said as well."""
    wire = Wire(clerk)
    clerk.upload_object(blob(size), bucket, "key", extra_args={"CacheControl": "max-age=60"})

    sent = wire.where(lambda each: each.headers.get("cache-control") == "max-age=60")
    assert len(sent) == 1


@SIZES
def test_condition_keeps_what_is_there(
    size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 9: an upload that must not replace anything does not, large or small."""
    holds = traits.put_if_none_match if size < THRESHOLD else traits.complete_if_none_match
    condition = {"IfNoneMatch": "*"}
    clerk.upload_object(blob(size), bucket, "key", extra_args=condition)
    assert stored(s3, bucket, "key") == blob(size)

    if holds:
        with pytest.raises(PreconditionFailed):
            clerk.upload_object(blob(size, 1), bucket, "key", extra_args=condition)
    else:
        clerk.upload_object(blob(size, 1), bucket, "key", extra_args=condition)
    assert stored(s3, bucket, "key") == blob(size, 0 if holds else 1)
    assert unfinished(s3, bucket) == []


def test_existing_object_is_replaced(clerk: ObjectClerk, s3: S3Client, bucket: str) -> None:
    """Check 2: the last upload counts, whatever the sizes."""
    for size in (LARGE, SMALL, THRESHOLD):
        clerk.upload_object(blob(size), bucket, "key")
        assert stored(s3, bucket, "key") == blob(size)


@SIZES
@pytest.mark.parametrize("kind", ["Path", "FileIO", "BytesIO", "pipe"])
def test_source_is_read_again_for_another_attempt(
    kind: str,
    size: int,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
    tmp_path: Path,
) -> None:
    """Check 3: stream input is re-readable across retries; the stream is not closed."""
    data = blob(size)
    query = "" if size < THRESHOLD else "partNumber=2"
    proxy.add(status_before(503, "SlowDown", method="PUT", query=query))
    with piped(data) if kind == "pipe" else closing(SOURCES[kind](tmp_path, data)) as source:
        receipt = proxied.upload_object(source, bucket, "key")

        assert not getattr(source, "closed", False)
    assert [each.fault for each in proxy.fired] == ["status_before"]
    assert receipt.attempts == 2
    assert stored(s3, bucket, "key") == data


@SIZES
@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
def test_upload_that_never_verifies(
    there: bool,
    size: int,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """Check 9: no bad object becomes visible, what was there stays, and the error says why."""
    if there:
        s3.put_object(Bucket=bucket, Key="key", Body=b"precious")
    proxy.add(flip_request_bit(1000, method="PUT", times=None))
    with pytest.raises(ObjectVerificationException) as caught:
        proxied.upload_object(blob(size), bucket, "key")

    if size < THRESHOLD or traits.upload_survives_bad_part:
        assert caught.value.attempts == 3
        assert len(proxy.fired) >= 3
    if size >= THRESHOLD or traits.verifies_content_md5:
        assert keys(s3, bucket) == (["key"] if there else [])
        assert not there or stored(s3, bucket, "key") == b"precious"
    assert unfinished(s3, bucket) == []


@SIZES
def test_upload_that_verifies_the_second_time(
    size: int, proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 9: bytes that were changed on their way are sent again."""
    query = "" if size < THRESHOLD else "partNumber=2"
    proxy.add(flip_request_bit(1000, method="PUT", query=query))
    if size >= THRESHOLD and not traits.upload_survives_bad_part:
        # The server may throw the whole upload away, depending on what it has seen of it.
        with contextlib.suppress(ObjectVerificationException):
            proxied.upload_object(blob(size), bucket, "key")
            assert stored(s3, bucket, "key") == blob(size)
            return
        assert keys(s3, bucket) == []
        return
    receipt = proxied.upload_object(blob(size), bucket, "key")

    assert len(proxy.fired) == 1
    assert receipt.attempts == 2
    assert stored(s3, bucket, "key") == blob(size)


@SIZES
def test_without_verification_no_checksum_is_sent(
    size: int, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 7: verify_checksum=False sends and compares nothing."""
    wire = Wire(clerk)
    receipt = clerk.upload_object(blob(size), bucket, "key", verify_checksum=False)

    checksums = wire.where(
        lambda each: any("md5" in h or "x-amz-checksum" in h for h in each.headers)
    )
    assert checksums == []
    assert "GET" not in wire.methods()
    assert receipt.verdict is Verdict.NONE
    assert receipt.digests == {}
    assert stored(s3, bucket, "key") == blob(size)


class _Breaks(io.BytesIO):
    """A stream whose disk fails in its second half."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() + max(size or 0, 0) > len(self.getvalue()) // 2:
            raise OSError(5, "Input/output error")
        return super().read(size)


class _BreaksAndCannotRewind(_Breaks):
    def seekable(self) -> bool:
        return False


@SIZES
@pytest.mark.parametrize("kind", [_Breaks, _BreaksAndCannotRewind])
def test_source_that_breaks_leaves_nothing(
    kind: type[_Breaks], size: int, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    """Check 9: a failed upload leaves no parts behind, and the key what it had."""
    clerk.upload_object(b"precious", bucket, "key")
    with pytest.raises(ObjectSaveException, match="Input/output error"):
        clerk.upload_object(kind(blob(size)), bucket, "key")

    assert unfinished(s3, bucket) == []
    assert stored(s3, bucket, "key") == b"precious"


def test_file_that_grows_meanwhile_is_noticed(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 9: half of the old file and half of the new one never becomes an object."""
    path = _file(tmp_path, blob(LARGE))

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    s3.put_object(Bucket=bucket, Key="key", Body=b"precious")
    proxy.add(callback(grow, method="PUT", query="partNumber=2"))
    with pytest.raises(ObjectSaveException, match="changed"):
        proxied.upload_object(path, bucket, "key")

    assert stored(s3, bucket, "key") == b"precious"
    assert unfinished(s3, bucket) == []


@SIZES
def test_upload_to_a_missing_bucket(size: int, clerk: ObjectClerk, bucket: str) -> None:
    """Check 10: the bucket is never created, the error names it."""
    with pytest.raises(BucketNotFoundException):
        clerk.upload_object(blob(size), f"{bucket}-missing", "key")


def test_failing_server_leaves_nothing(
    proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """Check 9: parts are removed also when it is the server that fails."""
    proxy.add(status_before(500, "InternalError", method="PUT", query="partNumber=2", times=None))
    with pytest.raises(ObjectClerkServerInternalException) as caught:
        proxied.upload_object(blob(LARGE), bucket, "key")

    assert caught.value.attempts == 3
    assert unfinished(s3, bucket) == []
    assert keys(s3, bucket) == []


def test_receipt_of_an_upload(
    make_clerk: MakeClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Check 2: the receipt says what was done and what was proved."""
    receipts: list[Receipt] = []
    clerk = make_clerk(on_receipt=receipts.append)
    for size in (SMALL, LARGE):
        receipt = clerk.upload_object(blob(size), bucket, "key")

        assert receipts.pop() == receipt
        assert (receipt.operation, receipt.bucket, receipt.key) == ("upload_object", bucket, "key")
        assert receipt.verdict is expected_verdict(traits, size)
        assert receipt.attempts == 1
        assert receipt.etag == stored_etag(s3, bucket, "key")
        assert receipt.source is None
        assert receipt.version_id is None
        assert receipt.basis
        assert 0 < receipt.elapsed_s < 60
    assert receipts == []
