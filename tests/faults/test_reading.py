"""What happens to a download when bytes change, connections break, or the object is replaced."""

from __future__ import annotations

import gc
import hashlib
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectChanged,
    ObjectUnverifiable,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.testing import (
    callback,
    cut_response,
    flip_response_bit,
    ignore_range,
    rewrite_response_header,
    trim_response,
    wrong_range,
)
from tests.faults.conftest import MIB, PART, Stage, content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Read = Callable[[Stage, str], bytes]

DATA = content(MIB + 12345)
CUT_AT = 600_000


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


@pytest.fixture(params=["get_object", "download_object", "open_object"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Each of the three ways to read an object."""

    def get(stage: Stage, key: str) -> bytes:
        return stage.clerk.get_object(stage.bucket, key)

    def download(stage: Stage, key: str) -> bytes:
        stage.clerk.download_object(stage.bucket, key, tmp_path / "target")
        return (tmp_path / "target").read_bytes()

    def open_(stage: Stage, key: str) -> bytes:
        with stage.clerk.open_object(stage.bucket, key) as reader:
            return reader.read()

    ways = {"get_object": get, "download_object": download, "open_object": open_}
    return ways[request.param]


class TestChangedBytes:
    def test_one_flipped_bit_is_healed(self, stage: Stage) -> None:
        """Check 6: a bit that flips once in a GET costs a second attempt and nothing else."""
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(1000, method="GET"))

        assert stage.clerk.get_object(stage.bucket, "key") == DATA
        assert stage.receipt.attempts == 2
        assert stage.receipt.verdict is Verdict.CONTENT
        assert stage.fired == ["flip_response_bit"]

    def test_one_flipped_bit_on_its_way_to_a_file_is_healed(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        """Check 6: the file gets the right bytes."""
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(-1, method="GET"))

        receipt = stage.clerk.download_object(stage.bucket, "key", tmp_path / "target")

        assert (tmp_path / "target").read_bytes() == DATA
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.fired == ["flip_response_bit"]

    def test_bit_that_flips_every_time_is_told_with_both_digests(self, stage: Stage) -> None:
        """Check 6: after the configured attempts, the documented exception and no wrapper."""
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(1000, method="GET", times=None))

        with pytest.raises(ObjectVerificationException) as caught:
            stage.clerk.get_object(stage.bucket, "key")

        assert type(caught.value) is ObjectVerificationException
        assert _md5(DATA) in str(caught.value)
        assert _md5(_flipped(DATA, 1000)) in str(caught.value)
        assert caught.value.attempts == 3
        assert stage.fired == ["flip_response_bit"] * 3
        assert stage.receipts == []

    def test_target_file_is_untouched_by_bytes_that_do_not_verify(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        """Check 6: a target that was there keeps its content, and nothing is left beside it."""
        stage.put("key", DATA)
        target = tmp_path / "target"
        target.write_bytes(b"what was there before")
        stage.proxy.add(flip_response_bit(1000, method="GET", times=None))

        with pytest.raises(ObjectVerificationException, match=_md5(DATA)):
            stage.clerk.download_object(stage.bucket, "key", target)

        assert target.read_bytes() == b"what was there before"
        assert list(tmp_path.iterdir()) == [target]
        assert stage.fired == ["flip_response_bit"] * 3

    def test_flipped_bit_in_one_of_several_ranges(self, stage: Stage, tmp_path: Path) -> None:
        """Check 6: a parallel download is verified as a whole, whatever its ranges are."""
        data = stage.put_parts("key", content(PART, "1"), content(PART, "2"), content(77))
        stage.proxy.add(flip_response_bit(99, method="GET", when=_second_range))

        receipt = stage.clerk.download_object(stage.bucket, "key", tmp_path / "target")

        assert (tmp_path / "target").read_bytes() == data
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.fired == ["flip_response_bit"]

    def test_changed_object_of_parts_is_never_returned(self, stage: Stage) -> None:
        """Check 6: also where the ETag is made of parts."""
        stage.put_parts("key", content(PART), content(100))
        whole = {"method": "GET", "when": lambda request: not request.query}
        stage.proxy.add(flip_response_bit(1000, times=None, **whole))

        with pytest.raises(ObjectVerificationException):
            stage.clerk.get_object(stage.bucket, "key")

        assert stage.fired == ["flip_response_bit"] * 3

    @pytest.mark.parametrize("offset", [1000, len(DATA) - 1])
    def test_reader_withholds_the_end_of_a_changed_object(self, stage: Stage, offset: int) -> None:
        """Check 6: who reads exactly Content-Length bytes does not get them all."""
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(offset, method="GET"))
        got = b""

        with stage.clerk.open_object(stage.bucket, "key") as reader:
            for block in _until(ObjectVerificationException, lambda: reader.read(100_000)):
                got += block
            with pytest.raises(ObjectVerificationException):
                reader.read(1)

        assert len(got) < len(DATA)
        assert stage.fired == ["flip_response_bit"]

    def test_short_body_with_a_consistent_length(self, stage: Stage, read: Read) -> None:
        """Check 22: a cache that serves a part of the object as if it were the whole."""
        stage.put("key", DATA)
        stage.proxy.add(trim_response(1000, method="GET"))

        if read.__name__ == "open_":  # what was handed over cannot be taken back
            with pytest.raises(ObjectVerificationException):
                read(stage, "key")
        else:
            assert read(stage, "key") == DATA
            assert stage.receipt.attempts == 2
        assert stage.fired == ["trim_response"]

    @pytest.mark.parametrize("value", ['"not-an-md5"', None])
    def test_etag_that_is_no_md5(self, stage: Stage, value: str | None) -> None:
        """Check 6: what cannot be verified is refused as such, and read only when told to."""
        stage.put("key", DATA)
        stage.proxy.add(rewrite_response_header("ETag", value, times=None))

        with pytest.raises(ObjectUnverifiable, match="verify_checksum=False"):
            stage.clerk.get_object(stage.bucket, "key")
        assert stage.clerk.get_object(stage.bucket, "key", verify_checksum=False) == DATA

        assert stage.receipt.verdict is Verdict.NONE
        assert set(stage.fired) == {"rewrite_response_header"}

    @pytest.mark.parametrize("verb", ["get_object", "open_object"])
    def test_refused_object_leaves_no_connection_open(self, stage: Stage, verb: str) -> None:
        """Check 28: a connection that is given up is closed at once, not some day."""
        stage.put("key", content(3 * MIB))
        stage.proxy.add(rewrite_response_header("ETag", '"opaque"', times=None))
        gc.collect()

        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(ObjectUnverifiable):
                _read_with(getattr(stage.clerk, verb), stage.bucket, "key")
            gc.collect()

        assert [str(each.message) for each in warned] == []
        assert set(stage.fired) == {"rewrite_response_header"}


class TestBrokenConnections:
    @pytest.mark.parametrize("keep_length", [True, False], ids=["length", "no length"])
    def test_body_that_is_cut_is_resumed(self, stage: Stage, read: Read, keep_length: bool) -> None:
        """Check 22: the rest is asked for with Range, and only of the same object."""
        etag = stage.s3.put_object(Bucket=stage.bucket, Key="key", Body=DATA)["ETag"]
        stage.proxy.add(cut_response(CUT_AT, keep_length=keep_length, method="GET"))

        assert read(stage, "key") == DATA

        first, second = stage.sent("GET", "key")
        begin, end = (second.request_header("Range") or "").removeprefix("bytes=").split("-")
        assert 0 < int(begin) <= CUT_AT
        assert int(end) == len(DATA) - 1
        assert (second.request_header("If-Match") or "").strip('"') == etag.strip('"')
        assert first.fault == "cut_response"
        assert stage.fired == ["cut_response"]
        assert stage.receipt.attempts == 2
        assert stage.receipt.verdict is Verdict.CONTENT

    def test_body_that_is_cut_again_and_again(self, stage: Stage) -> None:
        """Check 22: as long as bytes come, the attempts are not used up."""
        stage.put("key", DATA)
        stage.proxy.add(cut_response(300_000, method="GET", times=3))
        clerk = stage.new_clerk(retry_tries=2)

        assert clerk.get_object(stage.bucket, "key") == DATA
        assert stage.fired == ["cut_response"] * 3

    def test_range_of_a_parallel_download_is_resumed(self, stage: Stage, tmp_path: Path) -> None:
        """Check 22: only what is missing of that range is asked for again."""
        data = stage.put_parts("key", content(PART, "1"), content(PART, "2"))
        stage.proxy.add(cut_response(CUT_AT, method="GET", when=_second_range))

        stage.clerk.download_object(stage.bucket, "key", tmp_path / "target")

        assert (tmp_path / "target").read_bytes() == data
        assert stage.fired == ["cut_response"]
        begins = sorted(
            int((got.request_header("Range") or "").removeprefix("bytes=").split("-")[0])
            for got in stage.sent("GET", "key")
            if not got.query  # asking for the sizes of the parts
        )
        assert begins[:2] == [0, PART]
        assert PART < begins[2] <= PART + CUT_AT

    def test_object_replaced_before_the_rest_is_read(self, stage: Stage, read: Read) -> None:
        """Check 22: two generations are never mixed, also where If-Match is ignored."""
        stage.put("key", DATA)
        stage.proxy.add(
            cut_response(CUT_AT, method="GET"),
            callback(lambda: stage.put("key", content(len(DATA), "newer")), method="GET"),
        )

        with pytest.raises(ObjectChanged):
            read(stage, "key")

        assert stage.fired == ["cut_response", "callback"]
        assert stage.receipts == [] or stage.receipt.verdict is Verdict.NONE

    def test_object_deleted_before_the_rest_is_read(self, stage: Stage) -> None:
        """Check 22: an object that is gone in the middle is an error, not a short object."""
        stage.put("key", DATA)
        stage.proxy.add(
            cut_response(CUT_AT, method="GET"),
            callback(lambda: stage.s3.delete_object(Bucket=stage.bucket, Key="key"), method="GET"),
        )

        with pytest.raises((ObjectChanged, FileNotFoundError)):
            stage.clerk.get_object(stage.bucket, "key")

        assert stage.fired == ["cut_response", "callback"]

    def test_range_that_is_ignored(self, stage: Stage, read: Read) -> None:
        """Check 22: a server that answers the rest with the whole is understood."""
        if stage.traits.verifies_signatures:
            pytest.skip("the proxy cannot alter a signed header here")
        stage.put("key", DATA)
        stage.proxy.add(cut_response(CUT_AT, method="GET"), ignore_range(method="GET"))

        assert read(stage, "key") == DATA
        assert stage.fired == ["cut_response", "ignore_range"]

    def test_all_ranges_ignored_in_a_parallel_download(self, stage: Stage, tmp_path: Path) -> None:
        """Check 22: no file with the object's bytes twice."""
        if stage.traits.verifies_signatures:
            pytest.skip("the proxy cannot alter a signed header here")
        data = stage.put_parts("key", content(PART, "1"), content(MIB, "2"))
        stage.proxy.add(ignore_range(method="GET", times=None))

        stage.clerk.download_object(stage.bucket, "key", tmp_path / "target")

        assert (tmp_path / "target").read_bytes() == data
        assert stage.fired == ["ignore_range"] * 2

    def test_other_bytes_under_the_right_range(self, stage: Stage) -> None:
        """Check 22: a Content-Range that lies is found by the bytes."""
        if stage.traits.verifies_signatures:
            pytest.skip("the proxy cannot alter a signed header here")
        stage.put("key", DATA)
        stage.proxy.add(cut_response(CUT_AT, method="GET"), wrong_range(-1000, method="GET"))

        assert stage.clerk.get_object(stage.bucket, "key") == DATA
        assert stage.fired == ["cut_response", "wrong_range"]


def _read_with(verb: Callable[..., Any], bucket: str, key: str) -> None:
    """Read an object to its end, with a verb that gives its bytes or a reader."""
    found = verb(bucket, key)
    if not isinstance(found, bytes):
        with found:
            found.read()


def _until(kind: type[Exception], read: Callable[[], bytes]) -> Iterator[bytes]:
    """What is read before that exception, which must come before the end."""
    while True:
        try:
            block = read()
        except kind:
            return
        assert block, "the end was reached"
        yield block


def _second_range(request: Any) -> bool:
    return bool(str(request.header("Range") or "").startswith(f"bytes={PART}-"))
