"""How much proof there has to be: strict, available, off, and what the receipts then say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkParameterException,
    ObjectUnverifiable,
    ObjectVerificationException,
    Receipt,
    Verdict,
)
from object_clerk.testing import flip_response_bit
from tests.contract.opaque import opaque_etags
from tests.contract.support import (
    LARGE,
    MIB,
    SMALL,
    Wire,
    blob,
    keys,
    put_in_parts,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
ODD_PART = 5 * MIB + 17


class Keeping(list[Receipt]):
    """The receipts of a clerk."""

    @property
    def last(self) -> Receipt:
        return self[-1]


@pytest.fixture
def receipts() -> Keeping:
    return Keeping()


@pytest.fixture
def through(make_clerk: MakeClerk, proxy: FaultProxy, receipts: Keeping) -> ObjectClerk:
    """A clerk behind the proxy whose receipts are kept."""
    return make_clerk(endpoint_url=proxy.endpoint_url, on_receipt=receipts.append)


def _get(clerk: ObjectClerk, bucket: str, path: Path, mode: Any) -> bytes:
    return clerk.get_object(bucket, "key", mode)


def _download(clerk: ObjectClerk, bucket: str, path: Path, mode: Any) -> bytes:
    clerk.download_object(bucket, "key", path, mode)
    return path.read_bytes()


def _open(clerk: ObjectClerk, bucket: str, path: Path, mode: Any) -> bytes:
    with clerk.open_object(bucket, "key", mode) as reader:
        return reader.read()


READS: dict[str, Callable[[ObjectClerk, str, Path, Any], bytes]] = {
    "get": _get,
    "download": _download,
    "open": _open,
}
EVERY_READ = pytest.mark.parametrize("read", READS)


# -- reading ---------------------------------------------------------------------------------


@EVERY_READ
@SIZES
def test_what_can_be_proved_is_proved_in_either_mode(
    read: str, size: int, through: ObjectClerk, receipts: Keeping, bucket: str, tmp_path: Path
) -> None:
    through.upload_object(blob(size), bucket, "key")
    for mode in (True, "strict", "available"):
        assert READS[read](through, bucket, tmp_path / "file", mode) == blob(size)
        assert receipts.last.verdict is Verdict.CONTENT
        assert receipts.last.basis.startswith(("ETag (MD5 of ", "x-amz-checksum-"))


@EVERY_READ
def test_etag_that_says_nothing(
    read: str,
    through: ObjectClerk,
    receipts: Keeping,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
    tmp_path: Path,
) -> None:
    """Strict refuses, with the way out; available takes it, and says what that is worth."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SMALL))
    proxy.add(opaque_etags(traits, conditions=read == "download" and traits.get_if_match))
    with pytest.raises(ObjectUnverifiable, match="not made from MD5") as caught:
        READS[read](through, bucket, tmp_path / "file", "strict")
    assert "verify_checksum=False" in str(caught.value)
    assert caught.value.attempts == 1
    assert list(tmp_path.iterdir()) == []

    assert READS[read](through, bucket, tmp_path / "file", "available") == blob(SMALL)
    assert receipts.last.verdict is Verdict.IDENTITY
    assert receipts.last.basis.startswith("size and ETag only")


@EVERY_READ
def test_foreign_parts_of_an_odd_size(
    read: str,
    through: ObjectClerk,
    receipts: Keeping,
    s3: S3Client,
    traits: Traits,
    bucket: str,
    tmp_path: Path,
) -> None:
    data = blob(ODD_PART + 5)
    put_in_parts(s3, bucket, "key", data, ODD_PART)
    if traits.get_part_number or not traits.multipart_etag_kept:
        assert READS[read](through, bucket, tmp_path / "file", "strict") == data
        assert receipts.last.verdict is Verdict.CONTENT
    else:
        with pytest.raises(ObjectUnverifiable, match="verify_checksum=False"):
            READS[read](through, bucket, tmp_path / "file", "strict")
        if read == "open":
            return  # a stream that has given bytes away cannot be read a second time
        assert READS[read](through, bucket, tmp_path / "file", "available") == data
        assert receipts.last.verdict is Verdict.IDENTITY


@EVERY_READ
def test_known_to_be_wrong_is_never_taken(
    read: str,
    through: ObjectClerk,
    receipts: Keeping,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
    tmp_path: Path,
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SMALL))
    proxy.add(flip_response_bit(7, method="GET", times=None))
    for mode in ("strict", "available"):
        with pytest.raises(ObjectVerificationException) as caught:
            READS[read](through, bucket, tmp_path / "file", mode)
        assert type(caught.value) is ObjectVerificationException
    assert receipts == []
    assert READS[read](through, bucket, tmp_path / "file", "off") != blob(SMALL)
    assert (receipts.last.verdict, receipts.last.basis) == (
        Verdict.NONE,
        "verification was switched off",
    )


def test_one_warning_for_each_clerk(
    through: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What could not be proved is told once; the receipts tell of each."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SMALL))
    proxy.add(opaque_etags(traits))
    with caplog.at_level(logging.WARNING, "object_clerk"):
        for _ in range(3):
            through.get_object(bucket, "key", "available")

    warnings = [each.getMessage() for each in caplog.records]
    assert len(warnings) == 1
    assert "could not be fully proved" in warnings[0]
    assert proxy.endpoint_url in warnings[0]


# -- writing ---------------------------------------------------------------------------------


@SIZES
def test_upload_in_each_mode(
    size: int, clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str
) -> None:
    kept = size == SMALL or traits.multipart_etag_kept
    for mode in (True, "strict", "available"):
        receipt = clerk.upload_object(blob(size), bucket, "key", mode)
        assert receipt.verdict is (Verdict.CONTENT if kept else Verdict.TRANSPORT)
    for mode in (False, "off"):
        receipt = clerk.upload_object(blob(size), bucket, "key", mode)
        assert (receipt.verdict, receipt.basis) == (
            Verdict.NONE,
            "verification was switched off",
        )
        assert receipt.digests == {}
    assert stored(s3, bucket, "key") == blob(size)


@SIZES
@pytest.mark.parametrize("mode", ["strict", "available"])
def test_upload_where_etags_say_nothing(
    mode: str,
    size: int,
    through: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """Where nothing was checked on arrival, strict reads the object back."""
    proxy.add(opaque_etags(traits))
    receipt = through.upload_object(blob(size), bucket, "key", mode)

    assert stored(s3, bucket, "key") == blob(size)
    assert proxy.fired
    read = [each for each in proxy.log if each.method == "GET" and not each.query]
    if traits.verifies_content_md5:
        assert receipt.verdict in (Verdict.CONTENT, Verdict.TRANSPORT)
        assert read == []
    elif mode == "strict":
        assert (receipt.verdict, len(read)) == (Verdict.CONTENT, 1)
        assert "read back" in receipt.basis
    else:
        assert (receipt.verdict, read) == (Verdict.IDENTITY, [])


@pytest.mark.parametrize("verb", ["copy_object", "move_object"])
@SIZES
def test_copy_in_each_mode(
    size: int, verb: str, clerk: ObjectClerk, s3: S3Client, bucket: str
) -> None:
    method: Callable[..., Receipt] = getattr(clerk, verb)
    expected = {"strict": {Verdict.CONTENT}, "off": {Verdict.NONE}}
    for mode in ("strict", "available", "off"):
        clerk.upload_object(blob(size), bucket, "from")
        wire = Wire(clerk)
        receipt = method(bucket, "from", bucket, "to", mode)

        assert receipt.verdict in expected.get(mode, {Verdict.CONTENT, Verdict.IDENTITY})
        assert stored(s3, bucket, "to") == blob(size)
        read = wire.where(lambda each: each.method == "GET" and not each.query)
        assert mode == "strict" or read == []
        assert ("from" in keys(s3, bucket)) == (verb == "copy_object")


@pytest.mark.parametrize("mode", ["strict", "available"])
def test_copy_of_what_has_no_evidence(
    mode: str, through: ObjectClerk, proxy: FaultProxy, s3: S3Client, traits: Traits, bucket: str
) -> None:
    """Strict reads both and compares the bytes; available believes the size."""
    s3.put_object(Bucket=bucket, Key="from", Body=blob(SMALL))
    proxy.add(opaque_etags(traits, conditions=traits.copy_source_if_match or traits.get_if_match))
    receipt = through.copy_object(bucket, "from", bucket, "to", mode)

    assert stored(s3, bucket, "to") == blob(SMALL)
    if mode == "strict":
        assert receipt.verdict is Verdict.CONTENT
        assert "both read" in receipt.basis
    else:
        assert receipt.verdict is Verdict.IDENTITY


# -- nonsense --------------------------------------------------------------------------------


CALLS: dict[str, Callable[[ObjectClerk, str, Any], Any]] = {
    "get": lambda clerk, bucket, mode: clerk.get_object(bucket, "key", mode),
    "download": lambda clerk, bucket, mode: clerk.download_object(bucket, "key", "file", mode),
    "open": lambda clerk, bucket, mode: clerk.open_object(bucket, "key", mode),
    "upload": lambda clerk, bucket, mode: clerk.upload_object(b"content", bucket, "key", mode),
    "copy": lambda clerk, bucket, mode: clerk.copy_object(bucket, "key", bucket, "to", mode),
    "move": lambda clerk, bucket, mode: clerk.move_object(bucket, "key", bucket, "to", mode),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("mode", ["nonsense", "STRICT", "", None, 2])
def test_nonsense_is_told_before_any_request(
    call: str, mode: Any, clerk: ObjectClerk, bucket: str
) -> None:
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkParameterException, match="'strict', 'available', 'off'"):
        CALLS[call](clerk, bucket, mode)

    assert wire.sent == []
