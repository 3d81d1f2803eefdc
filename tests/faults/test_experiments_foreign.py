"""Experiments E8, E20, E23 and E30: objects that others wrote, and disks without room for them.

What the numbers mean is told in ``test_experiments_reading.py``.
"""

from __future__ import annotations

import contextlib
import os
import resource
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkFileException,
    ObjectUnverifiable,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.checksum import algorithm
from object_clerk.checksum.etag import digest_of
from object_clerk.checksum.evidence import Evidence
from object_clerk.checksum.hasher import Hashing, Layout
from object_clerk.testing import Fault, Reply, flip_response_bit
from object_clerk.transfer import download, save
from tests.faults.conftest import MIB, PART, Stage, content, scripted
from tests.faults.experiments import Target, flipped, headed, together, written_in_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from object_clerk.transfer.stream import Pin

pytestmark = pytest.mark.usefixtures("counted")

SMALL = content(3000)
CRC64NVME = "x-amz-checksum-crc64nvme"
OLD = b"what was there before"

#: How others may have cut their objects; the sizes of the parts in bytes.
USUAL = {
    "8 MiB": (8 * MIB, 8 * MIB, MIB),
    "15 MiB": (15 * MIB, 2 * MIB),
    "decimal": (8_000_000, 8_000_000, 1),
    "two parts": (6 * MIB, 1000),
    "one part": (PART + 1,),
}
UNUSUAL = {"odd": (5_500_001, 1000), "unequal": (PART + 11, PART + 7777, 1000)}


def _marked(layouts: dict[str, tuple[int, ...]], smoke: str) -> list[Any]:
    marks = {smoke: pytest.mark.smoke}
    return [
        pytest.param(sizes, id=name, marks=marks.get(name, ())) for name, sizes in layouts.items()
    ]


def _put(stage: Stage, sizes: tuple[int, ...]) -> bytes:
    return stage.put_parts("key", *(content(size, str(n)) for n, size in enumerate(sizes)))


def _is_told(stage: Stage) -> bool:
    """Whether this server tells the sizes of parts, or has ETags that do not depend on them."""
    return stage.traits.get_part_number or not stage.traits.multipart_etag_kept


class TestE08ChecksumsThatCannotBeComputedHere:
    @pytest.mark.smoke
    def test_e08_with_the_extra_it_is_the_proof(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A CRC64NVME proves the bytes where the ETag says nothing, and shows a changed one."""
        monkeypatch.setattr(algorithm, "_crc_step", lambda _: _crc64nvme)
        stage.put("key", SMALL)
        stage.proxy.add(_only_crc64nvme(flip=1000), _only_crc64nvme())

        assert stage.clerk.get_object(stage.bucket, "key") == SMALL

        assert (stage.receipt.attempts, stage.receipt.verdict) == (2, Verdict.CONTENT)
        assert "crc64nvme" in stage.receipt.basis
        assert stage.fired == ["flip and head", "headed"]

    @pytest.mark.smoke
    @pytest.mark.parametrize("flip", [1000, None], ids=["changed", "right"])
    def test_e08_without_the_extra_it_is_refused(
        self, stage: Stage, flip: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Strictly: the message names the extra, and nothing is passed over in silence."""
        _without_awscrt(monkeypatch)
        stage.put("key", SMALL)
        stage.proxy.add(_only_crc64nvme(flip=flip))

        with pytest.raises(ObjectUnverifiable, match=r"object-clerk\[crt\]"):
            stage.clerk.get_object(stage.bucket, "key")

        assert len(stage.fired) == 1
        assert stage.receipts == []

    def test_e08_without_the_extra_other_evidence_is_used(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An MD5 in the ETag does as well."""
        _without_awscrt(monkeypatch)
        stage.put("key", SMALL)
        with_crc = headed(lambda _: {CRC64NVME: _value()}, method="GET")
        stage.proxy.add(together("both", flip_response_bit(1000), with_crc), with_crc)

        assert stage.clerk.get_object(stage.bucket, "key") == SMALL

        assert (stage.receipt.attempts, stage.receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.receipt.basis.startswith("ETag")
        assert stage.fired == ["both", "headed"]

    @pytest.mark.companion
    def test_e08_without_its_guard_the_changed_byte_is_returned(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not required to be proved, as in boto3 without awscrt."""
        _without_awscrt(monkeypatch)
        monkeypatch.setattr(download, "require_evidence", lambda *_: None)
        stage.put("key", SMALL)
        stage.proxy.add(_only_crc64nvme(flip=1000))

        got = stage.clerk.get_object(stage.bucket, "key", verify_checksum="available")

        assert got == flipped(SMALL, 1000)


def _crc64nvme(block: bytes, value: int = 0) -> int:
    """A CRC64NVME bit by bit, for tests without awscrt."""
    value ^= (1 << 64) - 1
    for byte in bytes(block):
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (algorithm.CRC64NVME.polynomial if value & 1 else 0)
    return value ^ (1 << 64) - 1


def _value() -> str:
    return b64encode(_crc64nvme(SMALL).to_bytes(8)).decode()


def _only_crc64nvme(flip: int | None = None) -> Fault:
    """A store whose ETags say nothing, and which keeps a CRC64NVME; a bit may flip, once."""
    headers = {"etag": '"opaque"', CRC64NVME: _value(), "x-amz-checksum-type": "FULL_OBJECT"}
    kept = headed(lambda _: headers)
    if flip is None:
        return kept
    return together("flip and head", flip_response_bit(flip), kept, method="GET")


def _without_awscrt(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"CRC32": zlib.crc32}
    monkeypatch.setattr(algorithm, "_crc_step", known.get)


class TestE20PartsOfUnknownSize:
    @pytest.mark.parametrize("sizes", _marked(USUAL, "8 MiB"))
    def test_e20_usual_parts_are_inferred(self, stage: Stage, sizes: tuple[int, ...]) -> None:
        """Healthy objects are read, and proved; no part size was told to anybody."""
        data = _put(stage, sizes)

        assert stage.clerk.get_object(stage.bucket, "key") == data

        assert (stage.receipt.attempts, stage.receipt.verdict) == (1, Verdict.CONTENT)
        assert _etag_is_of_parts(stage, len(sizes))

    def test_e20_changed_byte_of_inferred_parts_is_healed(self, stage: Stage) -> None:
        """Damage looks like parts of another size; reading it again tells them apart."""
        data = _put(stage, USUAL["8 MiB"])
        stage.proxy.add(flip_response_bit(9 * MIB, method="GET", when=lambda r: not r.query))

        assert stage.clerk.get_object(stage.bucket, "key") == data

        assert stage.receipt.verdict is Verdict.CONTENT
        assert stage.fired == ["flip_response_bit"]

    @pytest.mark.parametrize("sizes", _marked(UNUSUAL, "unequal"))
    def test_e20_unusual_parts_are_never_called_corrupt(
        self, stage: Stage, sizes: tuple[int, ...]
    ) -> None:
        """Proved where the server tells the sizes; else refused as not provable, or taken so."""
        data = _put(stage, sizes)

        if _is_told(stage):
            assert stage.clerk.get_object(stage.bucket, "key") == data
            assert stage.receipt.verdict is Verdict.CONTENT
        else:
            with pytest.raises(ObjectUnverifiable, match="parts"):
                stage.clerk.get_object(stage.bucket, "key")
        got = stage.clerk.get_object(stage.bucket, "key", verify_checksum="available")

        assert got == data
        assert stage.receipt.verdict in (Verdict.CONTENT, Verdict.IDENTITY)
        assert _etag_is_of_parts(stage, len(sizes))

    @pytest.mark.smoke
    def test_e20_copy_of_unusual_parts(self, stage: Stage) -> None:
        """A copy does not need to know them: it is compared with the source itself."""
        data = _put(stage, UNUSUAL["unequal"])

        receipt = stage.clerk.copy_object(stage.bucket, "key", stage.bucket, "new")

        assert stage.stored("new") == data
        assert receipt.verdict is Verdict.CONTENT

    @pytest.mark.companion
    def test_e20_without_its_guard_a_healthy_object_is_refused(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its parts are taken to be of our own size."""

        def presumed(stored: Pin, own_part_size: int, _: object = None) -> Iterator[Evidence]:
            way = Hashing(layout=Layout(own_part_size))
            yield Evidence("ETag", way, digest_of(stored.etag), firm=True)

        monkeypatch.setattr(download, "evidence_of", presumed)
        _put(stage, USUAL["8 MiB"])

        with pytest.raises(ObjectVerificationException) as caught:
            stage.clerk.get_object(stage.bucket, "key")

        assert type(caught.value) is ObjectVerificationException


def _etag_is_of_parts(stage: Stage, count: int) -> bool:
    """The server's answers show that the object is what this experiment is about."""
    etags = {each.response_header("ETag") or "" for each in stage.sent("GET", "key")}
    mark = f"-{count}" if stage.traits.multipart_etag_kept else ""
    return all(etag.strip('"').endswith(mark) for etag in etags) and bool(etags)


class TestE30AnswersForgedByContent:
    #: What a server that does not know GetObjectAttributes answers, if somebody stores this.
    FORGED = (
        b'<?xml version="1.0"?><GetObjectAttributesOutput>'
        b"<ETag>0123456789abcdef0123456789abcdef-2</ETag><ObjectSize>7</ObjectSize>"
        b"<ObjectParts><TotalPartsCount>2</TotalPartsCount><IsTruncated>false</IsTruncated>"
        b"<Part><PartNumber>1</PartNumber><Size>6000000</Size></Part>"
        b"<Part><PartNumber>2</PartNumber><Size>1001</Size></Part></ObjectParts>"
        b"</GetObjectAttributesOutput>"
    )

    def _store(self, stage: Stage) -> bytes:
        """An XML object of unusual parts, on a server that answers with objects themselves."""
        first = self.FORGED + b" " * (UNUSUAL["odd"][0] - len(self.FORGED))
        data = stage.put_parts("key", first, b" " * 1000)
        stage.proxy.add(scripted(lambda _: Reply(200, self.FORGED), query="attributes", times=None))
        return data

    @pytest.mark.smoke
    def test_e30_forged_attributes_are_not_believed(self, stage: Stage) -> None:
        """Nobody asks for them, so healthy bytes are proved, or said to be not provable."""
        data = self._store(stage)

        if _is_told(stage):
            assert stage.clerk.get_object(stage.bucket, "key") == data
            assert stage.receipt.verdict is Verdict.CONTENT
        else:
            with pytest.raises(ObjectUnverifiable):
                stage.clerk.get_object(stage.bucket, "key")
        stage.clerk.copy_object(stage.bucket, "key", stage.bucket, "new")

        assert stage.stored("new") == data
        assert stage.fired == [], "it was asked for attributes"
        # The fault is there for whoever asks.
        assert _attributes(stage)["ObjectSize"] == 7
        assert stage.fired == ["scripted"]

    def test_e30_forged_sizes_of_parts_are_not_believed(self, stage: Stage) -> None:
        """Sizes that do not add up to the object are none."""
        if not stage.traits.multipart_etag_kept:
            pytest.skip("this server's ETags do not depend on parts, so their sizes do not matter")
        data = _put(stage, UNUSUAL["odd"])
        forged = {"content-length": "1000", "x-amz-mp-parts-count": "2"}
        stage.proxy.add(headed(lambda _: forged, query="partNumber"))

        with contextlib.suppress(ObjectUnverifiable):  # but nothing that says they are corrupt
            assert stage.new_clerk().get_object(stage.bucket, "key") == data
        assert not stage.receipts or stage.receipt.verdict is Verdict.CONTENT
        got = stage.clerk.get_object(stage.bucket, "key", verify_checksum="available")

        assert got == data
        assert set(stage.fired) == {"headed"}

    @pytest.mark.companion
    def test_e30_without_its_guard_a_healthy_object_is_refused(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The attributes are asked for, and believed as botocore parses them."""
        if not stage.traits.multipart_etag_kept:
            pytest.skip("this server's ETags do not depend on parts, so nobody asks for them")

        def told(*_: object) -> Layout:
            parts = _attributes(stage)["ObjectParts"]["Parts"]
            return Layout(None, tuple(part["Size"] for part in parts))

        monkeypatch.setattr(download, "layout_told", told)
        monkeypatch.setattr("object_clerk.checksum.evidence.fits", lambda *_: True)
        self._store(stage)

        with pytest.raises(ObjectVerificationException) as caught:
            stage.clerk.get_object(stage.bucket, "key")

        assert type(caught.value) is ObjectVerificationException
        assert "scripted" in stage.fired


def _attributes(stage: Stage) -> dict[str, Any]:
    """What botocore makes of the answer to GetObjectAttributes."""
    wanted: list[Any] = ["ETag", "ObjectSize", "ObjectParts"]
    answer: Any = stage.clerk.client.get_object_attributes(
        Bucket=stage.bucket, Key="key", ObjectAttributes=wanted
    )
    return dict(answer)


class TestE23DisksThatAreFull:
    """A limit on the size of files, which the kernel holds, stands for the end of the disk."""

    DATA = content(4 * MIB)

    def test_e23_is_noticed_before_anything_is_fetched(self, stage: Stage, tmp_path: Path) -> None:
        """Room is reserved first, where the file system can do that."""
        stage.put("key", self.DATA)
        target = Target(stage, tmp_path / "target", OLD)

        with _no_file_beyond(3 * MIB), pytest.raises(ObjectClerkFileException, match="are needed"):
            stage.clerk.download_object(stage.bucket, "key", target.path)

        assert target.held() == [OLD]
        assert [each.method for each in stage.proxy.log] == ["HEAD"]

    @pytest.mark.smoke
    @pytest.mark.parametrize("resume", [False, True], ids=["once", "resumed"])
    def test_e23_in_the_middle(
        self, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
    ) -> None:
        """The old file stays, and what was written beside it is removed unless it is of use."""
        monkeypatch.setattr(os, "posix_fallocate", _cannot)
        stage.put("key", self.DATA)
        target = Target(stage, tmp_path / "target", OLD)

        with _no_file_beyond(3 * MIB), pytest.raises(ObjectClerkFileException, match="large"):
            stage.clerk.download_object(stage.bucket, "key", target.path, resume=resume)

        assert target.seen == [OLD]
        assert stage.sent("GET", "key")[0].response_bytes > 3 * MIB
        assert sum(path.suffix == ".part" for path in tmp_path.iterdir()) == resume
        stage.clerk.download_object(stage.bucket, "key", target.path, resume=resume)
        assert target.held() == [OLD, self.DATA]

    @pytest.mark.companion
    def test_e23_without_its_guard_the_old_file_is_gone(
        self, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The target itself is written to."""
        monkeypatch.setattr(save, "partial_beside", written_in_place)
        stage.put("key", self.DATA)
        path = tmp_path / "target"
        path.write_bytes(OLD)

        with _no_file_beyond(3 * MIB), pytest.raises(ObjectClerkFileException):
            stage.clerk.download_object(stage.bucket, "key", path)

        assert path.read_bytes() not in (OLD, self.DATA)


@contextlib.contextmanager
def _no_file_beyond(size: int) -> Iterator[None]:
    """Within this block no file of this process gets larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _cannot(*_: object) -> None:
    raise OSError(95, os.strerror(95))
