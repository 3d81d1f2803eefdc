"""Experiments E1 to E7: bytes that change or break off while they are read.

Each test names its experiment: ``pytest -k e05`` runs E5. A test marked ``companion`` switches
one guard off and shows the harm that it prevents.

E8, E20, E23 and E30 are in ``test_experiments_foreign.py``, E9 to E14, E18, E19 and E28 in
``..._writing.py`` and ``..._sending.py``, E15 to E17 and E22 in ``..._copying.py``, E24, E27 and
E29 in ``..._asking.py``. Some are older than their numbers and stay where they were: E21 in
``test_kill.py`` and ``test_processes.py``, E25 in ``test_retrying.py``, E26 in
``test_listing.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectChanged,
    ObjectClerkConnectionException,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.testing import (
    Exchange,
    Fault,
    Reply,
    callback,
    cut_response,
    flip_response_bit,
    trim_response,
)
from object_clerk.transfer import stream
from object_clerk.transfer.files import PartialFile
from object_clerk.transfer.reader import ObjectReader
from tests.faults.conftest import MIB, PART, Stage, content, scripted
from tests.faults.experiments import Target, flipped, md5

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from object_clerk.testing import Request

    Read = Callable[[Stage, str], bytes]

pytestmark = pytest.mark.usefixtures("counted")

DATA = content(MIB + 12345)
CUT_AT = 600_000


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


def _three_parts(stage: Stage) -> bytes:
    """An object of 12 MiB that is fetched in three ranges."""
    return stage.put_parts("key", content(PART, "1"), content(PART, "2"), content(2 * MIB))


class TestE01BitsThatFlip:
    @pytest.mark.smoke
    def test_e01_one_bit_is_healed(self, stage: Stage) -> None:
        """A bit that flips once in a GET costs a second attempt and nothing else."""
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(1000, method="GET"))

        assert stage.clerk.get_object(stage.bucket, "key") == DATA
        assert (stage.receipt.attempts, stage.receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.fired == ["flip_response_bit"]

    def test_e01_one_bit_on_its_way_to_a_file_is_healed(self, stage: Stage, tmp_path: Path) -> None:
        """The file gets the right bytes, and nothing else before."""
        stage.put("key", DATA)
        target = Target(stage, tmp_path / "target")
        stage.proxy.add(flip_response_bit(-1, method="GET"))

        receipt = stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [None, DATA]
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.fired == ["flip_response_bit"]

    def test_e01_every_time_is_told_with_both_digests(self, stage: Stage) -> None:
        """After the configured attempts, the documented exception and no wrapper."""
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(1000, method="GET", times=None))

        with pytest.raises(ObjectVerificationException) as caught:
            stage.clerk.get_object(stage.bucket, "key")

        assert type(caught.value) is ObjectVerificationException
        assert md5(DATA) in str(caught.value)
        assert md5(flipped(DATA, 1000)) in str(caught.value)
        assert caught.value.attempts == 3
        assert stage.fired == ["flip_response_bit"] * 3
        assert stage.receipts == []

    @pytest.mark.smoke
    def test_e01_every_time_leaves_the_file_as_it_was(self, stage: Stage, tmp_path: Path) -> None:
        """A target that was there keeps its content, and nothing is left beside it."""
        stage.put("key", DATA)
        target = Target(stage, tmp_path / "target", b"what was there before")
        stage.proxy.add(flip_response_bit(1000, method="GET", times=None))

        with pytest.raises(ObjectVerificationException, match=md5(DATA)):
            stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [b"what was there before"]
        assert stage.fired == ["flip_response_bit"] * 3

    def test_e01_object_of_parts_is_never_returned_changed(self, stage: Stage) -> None:
        """Also where the ETag is made of parts."""
        stage.put_parts("key", content(PART), content(100))
        whole: Any = {"method": "GET", "when": lambda request: not request.query}
        stage.proxy.add(flip_response_bit(1000, times=None, **whole))

        with pytest.raises(ObjectVerificationException):
            stage.clerk.get_object(stage.bucket, "key")

        assert stage.fired == ["flip_response_bit"] * 3

    @pytest.mark.companion
    def test_e01_without_its_guard_the_changed_byte_is_returned(self, stage: Stage) -> None:
        """Not verified."""
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(1000, method="GET"))

        got = stage.clerk.get_object(stage.bucket, "key", verify_checksum=False)

        assert got == flipped(DATA, 1000)


class TestE02BitsThatFlipInOneRange:
    @pytest.mark.smoke
    @pytest.mark.parametrize("foreign", [False, True], ids=["ours", "foreign"])
    def test_e02_no_more_is_fetched_again_than_it_takes(
        self, stage: Stage, tmp_path: Path, foreign: bool
    ) -> None:
        """Ranges are fetched again in order, until the whole is right; those beyond are not."""
        data = _three_parts(stage)
        if not foreign:
            stage.clerk.upload_object(data, stage.bucket, "key")
        stage.proxy.clear_log()
        target = Target(stage, tmp_path / "target", b"old")
        stage.proxy.add(flip_response_bit(99, method="GET", when=_second_range))

        receipt = stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [b"old", data]
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.fired == ["flip_response_bit"]
        fetched = [_ranges(stage).count(begin) for begin in (0, PART, 2 * PART)]
        assert fetched == [2, 2, 1]

    def test_e02_wrong_part_is_found_without_reading_the_file(
        self, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where ranges are parts, each is hashed as it comes: the second time as well."""
        if not stage.traits.multipart_etag_kept:
            pytest.skip("the ETag is not made of the parts' MD5s, so the file is hashed in order")
        data = _three_parts(stage)
        monkeypatch.delattr(PartialFile, "blocks")
        stage.proxy.add(flip_response_bit(99, method="GET", when=_second_range))

        receipt = stage.clerk.download_object(stage.bucket, "key", tmp_path / "target")

        assert (tmp_path / "target").read_bytes() == data
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert [_ranges(stage).count(begin) for begin in (0, PART, 2 * PART)] == [2, 2, 1]

    def test_e02_every_time_leaves_the_file_as_it_was(self, stage: Stage, tmp_path: Path) -> None:
        """What cannot be mended is refused."""
        _three_parts(stage)
        target = Target(stage, tmp_path / "target", b"old")
        stage.proxy.add(flip_response_bit(99, method="GET", when=_second_range, times=None))

        with pytest.raises(ObjectVerificationException):
            stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [b"old"]
        assert set(stage.fired) == {"flip_response_bit"}

    @pytest.mark.companion
    def test_e02_without_its_guard_the_file_is_wrong(self, stage: Stage, tmp_path: Path) -> None:
        """Not verified."""
        data = _three_parts(stage)
        stage.proxy.add(flip_response_bit(99, method="GET", when=_second_range))

        path = tmp_path / "target"
        stage.clerk.download_object(stage.bucket, "key", path, verify_checksum=False)

        assert path.read_bytes() == flipped(data, PART + 99)


class TestE03AndE04BodiesThatEndTooEarly:
    @pytest.mark.parametrize(
        "keep_length",
        [True, pytest.param(False, marks=pytest.mark.smoke)],
        ids=["length", "no length"],
    )
    def test_e03_e04_cut_body_is_resumed(self, stage: Stage, read: Read, keep_length: bool) -> None:
        """The rest is asked for with Range, and only of the same object."""
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
        assert (stage.receipt.attempts, stage.receipt.verdict) == (2, Verdict.CONTENT)

    @pytest.mark.companion
    def test_e03_without_its_guard_the_read_fails(self, stage: Stage) -> None:
        """No second attempt."""
        stage.put("key", DATA)
        stage.proxy.add(cut_response(CUT_AT, method="GET"))
        clerk = stage.new_clerk(retry_tries=1)

        with pytest.raises(ObjectClerkConnectionException):
            clerk.get_object(stage.bucket, "key")

        assert stage.fired == ["cut_response"]

    @pytest.mark.companion
    def test_e04_without_its_guard_the_object_is_short(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a length, the size is taken from what came, and nothing is verified."""

        def trusting(self: stream.ObjectStream) -> None:
            answer = self._get()
            body = answer.pop("Body").read()
            monkeypatch.setattr(self, "_read_block", lambda _: _consumed(self, body))
            self._pin = stream.Pin.of({**answer, "ContentLength": len(body)})

        monkeypatch.setattr(stream.ObjectStream, "_open_whole", trusting)
        stage.put("key", DATA)
        stage.proxy.add(cut_response(CUT_AT, keep_length=False, method="GET"))

        got = stage.clerk.get_object(stage.bucket, "key", verify_checksum=False)

        assert got == DATA[:CUT_AT]

    @pytest.mark.smoke
    def test_e04_short_body_with_a_consistent_length(self, stage: Stage, read: Read) -> None:
        """A cache that serves a part of the object as if it were the whole."""
        stage.put("key", DATA)
        stage.proxy.add(trim_response(1000, method="GET"))

        if read.__name__ == "open_":  # what was handed over cannot be taken back
            with pytest.raises(ObjectVerificationException):
                read(stage, "key")
        else:
            assert read(stage, "key") == DATA
            assert stage.receipt.attempts == 2
        assert stage.fired == ["trim_response"]

    @pytest.mark.companion
    def test_e04_without_its_guard_the_short_body_is_returned(self, stage: Stage) -> None:
        """Not verified."""
        stage.put("key", DATA)
        stage.proxy.add(trim_response(1000, method="GET"))

        got = stage.clerk.get_object(stage.bucket, "key", verify_checksum=False)

        assert got == DATA[:1000]


class TestE05ObjectsThatAreReplaced:
    @pytest.mark.smoke
    def test_e05_between_a_cut_and_the_resume(self, stage: Stage, read: Read) -> None:
        """Two generations are never mixed, also where If-Match is ignored."""
        stage.put("key", DATA)
        _cut_and_replace(stage)

        with pytest.raises(ObjectChanged):
            read(stage, "key")

        assert stage.fired == ["cut_response", "callback"]
        assert stage.receipts == [] or stage.receipt.verdict is Verdict.NONE

    @pytest.mark.smoke
    def test_e05_between_two_ranges(self, stage: Stage, tmp_path: Path) -> None:
        """Nor in a parallel download; the file keeps what it had."""
        data = _three_parts(stage)
        target = Target(stage, tmp_path / "target", b"old")
        newer = content(len(data), "newer")
        stage.proxy.add(callback(lambda: stage.put("key", newer), method="GET", when=_second_range))

        with pytest.raises(ObjectChanged):
            stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [b"old"]
        assert stage.fired == ["callback"]

    @pytest.mark.companion
    def test_e05_without_its_guard_two_generations_are_mixed(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No generation is held on to, and nothing is verified."""
        monkeypatch.setattr(stream, "bare", lambda _: None)
        stage.put("key", DATA)
        newer = _cut_and_replace(stage)

        got = stage.clerk.get_object(stage.bucket, "key", verify_checksum=False)

        assert got not in (DATA, newer)
        assert (got[:100], got[-100:]) == (DATA[:100], newer[-100:])


class TestE06RangesThatAreNotWhatWasAskedFor:
    @pytest.mark.smoke
    def test_e06_rest_is_answered_with_the_whole(self, stage: Stage, read: Read) -> None:
        """A server that ignores the Range of a resumed read is understood."""
        stage.put("key", DATA)
        stage.proxy.add(cut_response(CUT_AT, method="GET"), _ignoring_ranges(stage, DATA))

        assert read(stage, "key") == DATA
        assert stage.fired == ["cut_response", "range ignored"]
        assert stage.receipt.verdict is Verdict.CONTENT

    @pytest.mark.smoke
    def test_e06_all_ranges_are_answered_with_the_whole(self, stage: Stage, tmp_path: Path) -> None:
        """No file with the object's bytes twice."""
        data = _three_parts(stage)
        target = Target(stage, tmp_path / "target", b"old")
        stage.proxy.add(_ignoring_ranges(stage, data, times=None))

        receipt = stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [b"old", data]
        assert receipt.verdict is Verdict.CONTENT
        assert stage.fired == ["range ignored"] * 3

    @pytest.mark.smoke
    def test_e06_other_bytes_under_the_right_range(self, stage: Stage, tmp_path: Path) -> None:
        """A Content-Range that lies is found by the bytes."""
        data = _three_parts(stage)
        target = Target(stage, tmp_path / "target", b"old")
        stage.proxy.add(_wrong_range(stage, data))

        receipt = stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [b"old", data]
        assert receipt.verdict is Verdict.CONTENT
        assert stage.fired == ["wrong range"]

    @pytest.mark.companion
    def test_e06_without_its_guard_the_whole_is_taken_for_the_range(
        self, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Answers to ranges are not looked at, and nothing is verified."""
        monkeypatch.setattr(stream.ObjectStream, "_check_range", lambda *_: None)
        data = _three_parts(stage)
        stage.proxy.add(_ignoring_ranges(stage, data, times=None))

        path = tmp_path / "target"
        stage.clerk.download_object(stage.bucket, "key", path, verify_checksum=False)

        assert path.read_bytes() == data[:PART] * 2 + data[: 2 * MIB]


class TestE07ReadersThatStopAtTheLength:
    @pytest.mark.smoke
    @pytest.mark.parametrize("offset", [1000, len(DATA) - 1])
    def test_e07_the_end_of_a_changed_object_is_withheld(self, stage: Stage, offset: int) -> None:
        """Who reads exactly Content-Length bytes does not get them all."""
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

    @pytest.mark.companion
    def test_e07_without_its_guard_all_bytes_are_handed_over(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is held back, so the reader is gone before the verdict."""

        def eager(self: ObjectReader) -> Iterator[bytes]:
            proof = self._download.proof(self._pin)
            for block in self._stream:
                proof.hasher.update(block)
                yield block
            self._end(proof.finding())

        monkeypatch.setattr(ObjectReader, "_verified_blocks", eager)
        stage.put("key", DATA)
        stage.proxy.add(flip_response_bit(1000, method="GET"))
        got = b""

        with stage.clerk.open_object(stage.bucket, "key") as reader:
            while len(got) < reader.size:
                got += reader.read(reader.size - len(got))

        assert got == flipped(DATA, 1000)


# -- the faults, and ways to see them ------------------------------------------------------


def _ranges(stage: Stage) -> list[int | None]:
    """Where the ranges that were asked for began; what asks for the sizes of parts is left out."""
    return [_begin(each) for each in stage.sent("GET", "key") if not each.query]


def _begin(asked: Request | Exchange) -> int | None:
    """Where the range begins that is asked for; None if the whole is."""
    find = asked.request_header if isinstance(asked, Exchange) else asked.header
    found = (find("Range") or "").removeprefix("bytes=").partition("-")[0]
    return int(found) if found else None


def _second_range(request: Request) -> bool:
    return _begin(request) == PART


def _cut_and_replace(stage: Stage) -> bytes:
    """The body is cut, and the object is another one when the rest is asked for."""
    newer = content(len(DATA), "newer")
    stage.proxy.add(
        cut_response(CUT_AT, method="GET"),
        callback(lambda: stage.put("key", newer), method="GET"),
    )
    return newer


def _served(stage: Stage, make: Callable[[int, int], tuple[int, bytes]], **match: Any) -> Fault:
    """Answers ranges in place of the server, with a status and body made from begin and end."""
    etag = stage.s3.head_object(Bucket=stage.bucket, Key="key")["ETag"]
    total = stage.s3.head_object(Bucket=stage.bucket, Key="key")["ContentLength"]

    def answer(request: Request) -> Reply:
        begin, _, end = (request.header("Range") or "").removeprefix("bytes=").partition("-")
        status, body = make(int(begin), int(end) + 1)
        said = (("Content-Range", f"bytes {begin}-{end}/{total}"),) if status == 206 else ()
        return Reply(status, body, (("ETag", etag), *said))

    return scripted(answer, method="GET", **match)


def _ignoring_ranges(stage: Stage, data: bytes, times: int | None = 1) -> Fault:
    """A server that sends the whole object when a range is asked for."""
    is_range = {"when": lambda request: _begin(request) is not None}
    return _served(stage, lambda *_: (200, data), name="range ignored", times=times, **is_range)


def _wrong_range(stage: Stage, data: bytes) -> Fault:
    """A server that sends other bytes of the object than it says, once."""
    return _served(
        stage,
        lambda begin, end: (206, data[begin - 1000 : end - 1000]),
        name="wrong range",
        when=_second_range,
    )


def _consumed(reader: stream.ObjectStream, body: bytes) -> bytes:
    reader._position += len(body)
    return body


def _until(kind: type[Exception], read: Callable[[], bytes]) -> Iterator[bytes]:
    """What is read before that exception, which must come before the end."""
    while True:
        try:
            block = read()
        except kind:
            return
        assert block, "the end was reached"
        yield block
