"""Reading: bytes are proved before they are handed over, and files appear whole or not at all."""

from __future__ import annotations

import io
import json
import os
import stat
from typing import IO, TYPE_CHECKING, Any, cast

import pytest
from boto3.s3.transfer import TransferConfig

from object_clerk import (
    ObjectChanged,
    ObjectClerkFileException,
    ObjectNotFoundException,
    ObjectUnverifiable,
    ObjectVerificationException,
    PreconditionFailed,
    Verdict,
)
from object_clerk.testing import flip_response_bit, rewrite_response_header, status_before
from tests.contract.support import (
    LARGE,
    MIB,
    SMALL,
    Wire,
    blob,
    put_in_parts,
    stored_etag,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk, Receipt
    from object_clerk.testing import Fault, FaultProxy
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
ODD_PART = 7 * MIB + 3


def _get(clerk: ObjectClerk, bucket: str, path: Path) -> bytes:
    return clerk.get_object(bucket, "key")


def _download(clerk: ObjectClerk, bucket: str, path: Path) -> bytes:
    clerk.download_object(bucket, "key", path)
    return path.read_bytes()


def _buffer(clerk: ObjectClerk, bucket: str, path: Path) -> bytes:
    buffer = io.BytesIO()
    clerk.download_object(bucket, "key", buffer)
    return buffer.getvalue()


def _open(clerk: ObjectClerk, bucket: str, path: Path) -> bytes:
    with clerk.open_object(bucket, "key") as reader:
        return reader.read()


#: Every way to read the object "key" with verification.
WAYS: dict[str, Callable[[ObjectClerk, str, Path], bytes]] = {
    "get_object": _get,
    "download_object to a path": _download,
    "download_object to a buffer": _buffer,
    "open_object": _open,
}
WRITES_FILE = "download_object to a path"
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@SIZES
@EVERY_WAY
def test_reading(way: str, size: int, clerk: ObjectClerk, bucket: str, tmp_path: Path) -> None:
    """Check 6: what was uploaded is read back, verified, in every way there is."""
    clerk.upload_object(blob(size), bucket, "key")

    assert WAYS[way](clerk, bucket, tmp_path / "file") == blob(size)


def _flipped() -> Fault:
    return flip_response_bit(1000, method="GET", times=None)


def _other_etag() -> Fault:
    return rewrite_response_header("ETag", f'"{"0" * 32}"', times=None)


@SIZES
@EVERY_WAY
@pytest.mark.parametrize("fault", [_flipped, _other_etag])
def test_bytes_or_etag_corrupted(
    fault: Callable[[], Fault],
    way: str,
    size: int,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    traits: Traits,
    bucket: str,
    tmp_path: Path,
) -> None:
    """Check 6: corrupted bytes or ETag raise ObjectVerificationException after three attempts."""
    proxied.upload_object(blob(size), bucket, "key")
    target = tmp_path / "file"
    target.write_bytes(b"old")
    proxy.clear_log()
    proxy.add(fault())
    # A download in ranges asks for the ETag that HEAD told: the server says that it is another.
    contradicted = fault is _other_etag and way == WRITES_FILE and traits.get_if_match
    expected = ObjectChanged if contradicted else ObjectVerificationException
    with pytest.raises(expected) as caught:
        WAYS[way](proxied, bucket, target)

    # A stream that has given bytes away cannot begin again.
    whole = way in ("get_object", WRITES_FILE) and not contradicted
    gets = [each for each in proxy.log if each.method == "GET"]
    assert len(gets) == caught.value.attempts == (3 if whole else 1)
    assert caught.value.bucket == bucket
    assert caught.value.key == "key"
    assert target.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@SIZES
def test_bytes_corrupted_once(
    size: int,
    make_clerk: MakeClerk,
    proxy: FaultProxy,
    bucket: str,
    tmp_path: Path,
) -> None:
    """Check 6: bytes that arrive changed once are read again, and the receipt says so."""
    receipts: list[Receipt] = []
    clerk = make_clerk(endpoint_url=proxy.endpoint_url, on_receipt=receipts.append)
    clerk.upload_object(blob(size), bucket, "key")
    proxy.add(flip_response_bit(-1, method="GET"))
    assert clerk.get_object(bucket, "key") == blob(size)
    proxy.add(flip_response_bit(-1, method="GET"))
    clerk.download_object(bucket, "key", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == blob(size)
    assert [each.attempts for each in receipts] == [1, 2, 2]
    assert len(proxy.fired) == 2


@SIZES
def test_last_block_is_withheld(
    size: int, proxied: ObjectClerk, proxy: FaultProxy, bucket: str
) -> None:
    """Check 6: a file object or reader never gets the end of a bad object."""
    proxied.upload_object(blob(size), bucket, "key")
    proxy.add(flip_response_bit(0, method="GET", times=None))
    buffer = io.BytesIO()
    with pytest.raises(ObjectVerificationException):
        proxied.download_object(bucket, "key", buffer)
    assert len(buffer.getvalue()) < size

    with proxied.open_object(bucket, "key") as reader:
        blocks: list[bytes] = []
        with pytest.raises(ObjectVerificationException):
            blocks.extend(iter(lambda: reader.read(1000), b""))
        assert len(b"".join(blocks)) < size
        # Who reads on after the error must not take it for the end.
        for _ in range(2):
            with pytest.raises(ObjectVerificationException):
                reader.read(1)


@SIZES
def test_without_verification_anything_goes(
    size: int, make_clerk: MakeClerk, proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    """Check 7: verify_checksum=False takes the bytes as they come, and the receipt says so."""
    receipts: list[Receipt] = []
    clerk = make_clerk(endpoint_url=proxy.endpoint_url, on_receipt=receipts.append)
    clerk.upload_object(blob(size), bucket, "key")
    receipts.clear()
    proxy.add(flip_response_bit(1000, method="GET", times=None))
    changed = bytearray(blob(size))
    changed[1000] ^= 1

    assert clerk.get_object(bucket, "key", verify_checksum=False) == changed
    buffer = io.BytesIO()
    clerk.download_object(bucket, "key", buffer, verify_checksum=False)
    assert buffer.getvalue() == changed
    clerk.download_object(bucket, "key", tmp_path / "file", verify_checksum=False)
    assert (tmp_path / "file").read_bytes() == changed
    with clerk.open_object(bucket, "key", verify_checksum=False) as reader:
        assert reader.read() == changed
    assert [each.verdict for each in receipts] == [Verdict.NONE] * 4


@EVERY_WAY
def test_missing_object_or_bucket(
    way: str, clerk: ObjectClerk, bucket: str, tmp_path: Path
) -> None:
    """Check 10: reading a missing key or bucket raises ObjectNotFoundException."""
    wire = Wire(clerk)
    for where in (bucket, f"{bucket}-missing"):
        with pytest.raises(ObjectNotFoundException) as caught:
            WAYS[way](clerk, where, tmp_path / "file")
        assert (caught.value.status, caught.value.attempts) == (404, 1)
    assert len(wire.sent) == 2
    assert list(tmp_path.iterdir()) == []


@EVERY_WAY
def test_conditions_of_a_read(
    way: str, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str, tmp_path: Path
) -> None:
    """Check 29: a condition that does not hold is told as that, in every way to read."""
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    etag = f'"{stored_etag(s3, bucket, "key")}"'
    (tmp_path / "file").write_bytes(b"old")
    target = {
        "download_object to a path": (tmp_path / "file",),
        "download_object to a buffer": (io.BytesIO(),),
    }.get(way, ())
    method: Callable[..., object] = getattr(clerk, way.split()[0])
    conditions = [
        ({"IfNoneMatch": etag}, traits.get_if_none_match),
        ({"IfMatch": f'"{"0" * 32}"'}, traits.get_if_match),
    ]
    for condition, honoured in conditions:
        if honoured:
            with pytest.raises(PreconditionFailed):
                method(bucket, "key", *target, extra_args=condition)
    assert (tmp_path / "file").read_bytes() == b"old"
    read = method(bucket, "key", *target, extra_args={"IfMatch": etag})
    if isinstance(read, io.IOBase):
        read.close()


def test_info(clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    """Check 11: lower-case header names incl. etag, content-length, x-amz-meta-*."""
    clerk.upload_object(
        blob(SMALL), bucket, "key", content_type="image/fits", metadata={"origin": "La Palma"}
    )
    info = clerk.get_object_info(bucket, "key")

    assert info["etag"] == f'"{stored_etag(s3, bucket, "key")}"'
    assert info["content-length"] == str(SMALL)
    assert info["content-type"] == "image/fits"
    assert info["x-amz-meta-origin"] == "La Palma"
    assert all(name == name.lower() for name in info)
    assert all(isinstance(value, str) for value in info.values())


def test_info_of_nothing(clerk: ObjectClerk, bucket: str) -> None:
    """Check 10: info on a missing key or bucket raises ObjectNotFoundException."""
    for where in (bucket, f"{bucket}-missing"):
        with pytest.raises(ObjectNotFoundException):
            clerk.get_object_info(where, "key")


def test_exists(clerk: ObjectClerk, bucket: str) -> None:
    """Check 10: exists tells a missing key from a missing bucket."""
    from object_clerk import BucketNotFoundException

    clerk.upload_object(b"content", bucket, "folder/key")

    assert clerk.exists(bucket, "folder/key") is True
    assert clerk.exists(bucket, "folder/other") is False
    assert clerk.exists(bucket, "folder") is False
    with pytest.raises(BucketNotFoundException):
        clerk.exists(f"{bucket}-missing", "folder/key")


# -- to a file -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["str", "Path", "relative", "BufferedWriter", "FileIO"])
def test_targets(
    kind: str,
    clerk: ObjectClerk,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check 26: an object is downloaded to whatever names or is a file."""
    data = blob(LARGE)
    clerk.upload_object(data, bucket, "key")
    path = tmp_path / "target"
    target: Any = path
    if kind == "str":
        target = str(path)
    elif kind == "relative":
        monkeypatch.chdir(tmp_path)
        target = "target"
    if kind in ("BufferedWriter", "FileIO"):
        with path.open("wb", buffering=0 if kind == "FileIO" else -1) as file:
            receipt = clerk.download_object(bucket, "key", file)
            assert not file.closed
    else:
        receipt = clerk.download_object(bucket, "key", target)

    assert path.read_bytes() == data
    assert (receipt.operation, receipt.size, receipt.verdict) == (
        "download_object",
        len(data),
        Verdict.CONTENT,
    )
    assert [each.name for each in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_new_file_honours_umask(mask: int, clerk: ObjectClerk, bucket: str, tmp_path: Path) -> None:
    """Check 26: a downloaded file has the mode that open() would give it."""
    clerk.upload_object(b"content", bucket, "key")
    before = os.umask(mask)
    try:
        clerk.download_object(bucket, "key", tmp_path / "target")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o666 & ~mask


def test_replaced_file_keeps_its_mode(clerk: ObjectClerk, bucket: str, tmp_path: Path) -> None:
    """Check 26: as if the file had been opened and written."""
    clerk.upload_object(b"content", bucket, "key")
    target = tmp_path / "target"
    target.write_bytes(b"old and longer than the new one")
    target.chmod(0o640)
    clerk.download_object(bucket, "key", target)

    assert target.read_bytes() == b"content"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_symbolic_link_is_written_through(clerk: ObjectClerk, bucket: str, tmp_path: Path) -> None:
    """Check 26: a link stays a link; the file it names gets the bytes, also a new one."""
    clerk.upload_object(b"content", bucket, "key")
    (tmp_path / "elsewhere").mkdir()
    for name in ("present", "absent"):
        file, link = tmp_path / "elsewhere" / name, tmp_path / name
        if name == "present":
            file.write_bytes(b"old")
        link.symlink_to(file)
        clerk.download_object(bucket, "key", link)

        assert link.is_symlink()
        assert file.read_bytes() == b"content"
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


@pytest.mark.parametrize("kind", ["no directory", "a directory", "under a file"])
def test_target_that_cannot_be(kind: str, clerk: ObjectClerk, bucket: str, tmp_path: Path) -> None:
    """Check 26: a target that cannot be written is told before anything is asked for."""
    (tmp_path / "file").write_bytes(b"old")
    targets = {
        "no directory": tmp_path / "missing" / "target",
        "a directory": tmp_path,
        "under a file": tmp_path / "file" / "target",
    }
    clerk.upload_object(b"content", bucket, "key")
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkFileException) as caught:
        clerk.download_object(bucket, "key", targets[kind])

    assert "target" in str(caught.value) or str(targets[kind].parent) in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert wire.sent == []
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_failing_file_object(clerk: ObjectClerk, bucket: str) -> None:
    """Check 26: what the caller's file raises is named, and is an error of ours."""

    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    clerk.upload_object(b"content", bucket, "key")
    with pytest.raises(ObjectClerkFileException, match="No space left"):
        clerk.download_object(bucket, "key", cast("IO[bytes]", Full()))


def test_large_object_comes_in_ranges(
    make_clerk: MakeClerk,
    s3: S3Client,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check 23: S3_DOWNLOAD_CONFIG decides from when and in what ranges an object is fetched."""
    data = blob(20 * MIB)
    settings = {
        "multipart_threshold": 6 * MIB,
        "multipart_chunksize": 3 * MIB + 17,
        "max_concurrency": 4,
    }
    monkeypatch.setenv("S3_DOWNLOAD_CONFIG", json.dumps(settings))
    monkeypatch.setenv("MULTIPART_THRESHOLD", str(8 * MIB))
    clerk = make_clerk(transfer_config=None)
    clerk.upload_object(data, bucket, "key")
    clerk.upload_object(data[: 6 * MIB - 1], bucket, "below")
    wire = Wire(clerk)
    receipt = clerk.download_object(bucket, "key", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == data
    assert receipt.verdict is Verdict.CONTENT
    ranges = wire.where(lambda each: each.method == "GET" and "range" in each.headers)
    assert len(ranges) == 7
    assert len({each.headers["range"] for each in ranges}) == 7
    assert len({each.thread for each in ranges}) > 1
    wire.sent.clear()
    clerk.download_object(bucket, "below", tmp_path / "file")
    assert wire.methods() == ["HEAD", "GET"]


# -- objects of others ---------------------------------------------------------------------


@pytest.mark.parametrize("way", ["get_object", "download_object to a path", "open_object"])
def test_objects_that_others_wrote(
    way: str, clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 6: boto3's own part size, and one piece above our threshold, verify."""
    data = blob(LARGE + 4 * MIB)
    s3.upload_fileobj(
        io.BytesIO(data), bucket, "key", Config=TransferConfig(multipart_threshold=8 * MIB)
    )
    assert WAYS[way](clerk, bucket, tmp_path / "file") == data
    s3.put_object(Bucket=bucket, Key="key", Body=data)
    assert WAYS[way](clerk, bucket, tmp_path / "file") == data


@EVERY_WAY
def test_parts_of_an_unknown_size(
    way: str,
    clerk: ObjectClerk,
    s3: S3Client,
    traits: Traits,
    bucket: str,
    tmp_path: Path,
) -> None:
    """Check 6: what cannot be proved is refused as such; verify_checksum=False reads it."""
    data = blob(2 * ODD_PART + 5)
    put_in_parts(s3, bucket, "key", data, ODD_PART)
    if traits.multipart_etag_kept and not traits.get_part_number:
        with pytest.raises(ObjectUnverifiable, match="verify_checksum=False"):
            WAYS[way](clerk, bucket, tmp_path / "file")
    else:
        assert WAYS[way](clerk, bucket, tmp_path / "file") == data

    assert clerk.get_object(bucket, "key", verify_checksum=False) == data


def test_own_part_size_is_known(make_clerk: MakeClerk, s3: S3Client, bucket: str) -> None:
    """Check 8: an odd part size verifies for a clerk that is configured for it."""
    data = blob(2 * ODD_PART + 5)
    put_in_parts(s3, bucket, "key", data, ODD_PART)
    clerk = make_clerk(transfer_config={"multipart_threshold": ODD_PART})

    assert clerk.get_object(bucket, "key") == data


# -- as a stream ---------------------------------------------------------------------------


def test_lines_of_an_object(clerk: ObjectClerk, bucket: str) -> None:
    """Check 26: an object is read line by line like any file."""
    text = "".join(f"line {number} \u00e4\n" for number in range(60_000))
    clerk.upload_object(text.encode(), bucket, "key")
    with clerk.open_object(bucket, "key") as reader:
        lines = list(io.BufferedReader(reader))
        assert reader.receipt is not None
        assert reader.receipt.verdict is Verdict.CONTENT
    assert b"".join(lines) == text.encode()
    assert len(lines) == 60_000

    with io.TextIOWrapper(
        io.BufferedReader(clerk.open_object(bucket, "key")), encoding="utf-8"
    ) as file:
        assert file.read() == text


@SIZES
def test_readinto(size: int, clerk: ObjectClerk, bucket: str) -> None:
    """Check 26: readinto fills what it is given and says 0 only at a proved end."""
    data = blob(size)
    clerk.upload_object(data, bucket, "key")
    buffer = bytearray(65_537)
    read = b""
    with clerk.open_object(bucket, "key") as reader:
        assert reader.readable()
        assert not reader.writable()
        assert not reader.seekable()
        assert reader.size == size
        assert reader.readinto(bytearray()) == 0
        while count := reader.readinto(buffer):
            read += buffer[:count]
        assert reader.readinto(buffer) == 0
        assert reader.read() == b""
        assert read == data
        receipt = reader.receipt
    assert receipt is not None
    assert receipt == reader.receipt
    assert (receipt.verdict, receipt.size) == (Verdict.CONTENT, size)


def test_closed_early(make_clerk: MakeClerk, bucket: str) -> None:
    """Check 26: a stream that was not read to its end has proved nothing, and says so."""
    receipts: list[Receipt] = []
    clerk = make_clerk(on_receipt=receipts.append)
    clerk.upload_object(blob(LARGE), bucket, "key")
    receipts.clear()
    with clerk.open_object(bucket, "key") as reader:
        assert reader.read(10) == blob(LARGE)[:10]
    reader.close()

    assert reader.receipt is not None
    assert reader.receipt.verdict is Verdict.NONE
    assert receipts == [reader.receipt]
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_stream_of_a_missing_object(clerk: ObjectClerk, bucket: str) -> None:
    """Check 10: that there is nothing shows when it is opened, not when it is read."""
    with pytest.raises(ObjectNotFoundException):
        clerk.open_object(bucket, "key")


def test_failed_stream_is_reported_once(
    make_clerk: MakeClerk, proxy: FaultProxy, bucket: str
) -> None:
    """Check 6: a stream that failed to verify has failed; it does not finish as well."""
    from object_clerk import events

    seen: list[events.Event] = []
    receipts: list[Receipt] = []
    clerk = make_clerk(
        endpoint_url=proxy.endpoint_url, on_event=seen.append, on_receipt=receipts.append
    )
    clerk.upload_object(blob(SMALL), bucket, "key")
    seen.clear()
    receipts.clear()
    proxy.add(flip_response_bit(0, method="GET", times=None))
    with clerk.open_object(bucket, "key") as reader, pytest.raises(ObjectVerificationException):
        reader.read()

    ends = [each for each in seen if isinstance(each, (events.Finished, events.Failed))]
    assert [type(each) for each in ends] == [events.Failed]
    assert receipts == []


def test_busy_server_delays_a_download(
    proxied: ObjectClerk, proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    """Check 6: one busy answer is no failure, and the receipt counts it."""
    proxied.upload_object(blob(LARGE), bucket, "key")
    proxy.add(status_before(503, "SlowDown", method="GET"))
    receipt = proxied.download_object(bucket, "key", tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == blob(LARGE)
    assert receipt.attempts == 2
