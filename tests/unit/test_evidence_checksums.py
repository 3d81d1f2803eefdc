"""The checksums that stores keep: of the whole or of the parts, by what is said and by formula."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.checksum.algorithm import CRC32, CRC32C, CRC64NVME, SHA1, SHA256, Algorithm
from object_clerk.checksum.evidence import Evidence
from object_clerk.checksum.hasher import Hashing, Layout
from tests.simulation.digests import checksum, composite_checksum
from tests.unit import crt
from tests.unit.described import (
    COMPOSITE,
    DATA,
    KMS,
    KNOWN,
    MD5_ETAG,
    OPAQUE,
    PARTS,
    PLAIN,
    by_etag,
    evidence,
    of_parts,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Answer = dict[str, Any]


@pytest.fixture(autouse=True)
def _with_crt() -> Iterator[None]:
    with crt.installed(crt.stand_in("crc32c", "crc64nvme")):
        yield


EVERY = pytest.mark.parametrize(
    "algorithm", [CRC64NVME, SHA256, CRC32C, CRC32, SHA1], ids=lambda each: each.name
)


class TestChecksumsOfObjectsStoredWhole:
    @EVERY
    @pytest.mark.parametrize("kind", [None, "FULL_OBJECT"])
    def test_are_firm(self, algorithm: Algorithm, kind: str | None) -> None:
        answer: Answer = {algorithm.member: checksum(algorithm.name, DATA), "ChecksumType": kind}
        for etag in (None, OPAQUE):
            assert evidence(etag, **answer) == [whole(algorithm)]

    def test_said_to_be_of_parts(self) -> None:
        """What the type says of an object without parts is a contradiction: only a guess."""
        found = evidence(OPAQUE, ChecksumCRC32=checksum("CRC32", DATA), ChecksumType="COMPOSITE")

        assert found == [whole(CRC32, firm=False)]

    @pytest.mark.parametrize("kind", [None, "FULL_OBJECT", "COMPOSITE"])
    def test_with_a_number_of_parts(self, kind: str | None) -> None:
        value = composite_checksum("CRC32", PARTS)

        assert evidence(PLAIN, KNOWN, ChecksumCRC32=value, ChecksumType=kind) == [MD5_ETAG]


class TestChecksumsOfObjectsInParts:
    @EVERY
    def test_of_the_whole_by_type(self, algorithm: Algorithm) -> None:
        value = checksum(algorithm.name, DATA)
        answer: Answer = {algorithm.member: value, "ChecksumType": "FULL_OBJECT"}

        assert evidence(COMPOSITE, **answer) == [whole(algorithm)]
        assert whole(algorithm) in evidence(COMPOSITE, KNOWN, **answer)
        assert of_parts(algorithm).way not in [e.way for e in evidence(COMPOSITE, KNOWN, **answer)]

    @EVERY
    @pytest.mark.parametrize("kind", [None, "COMPOSITE"])
    def test_of_the_parts_by_formula(self, algorithm: Algorithm, kind: str | None) -> None:
        value = composite_checksum(algorithm.name, PARTS)
        answer: Answer = {algorithm.member: value, "ChecksumType": kind}

        assert evidence(COMPOSITE, **answer) == []  # of which parts?
        assert evidence(COMPOSITE, KNOWN, **answer) == [by_etag(KNOWN), of_parts(algorithm)]

    @pytest.mark.parametrize("kind", [None, "COMPOSITE"])
    def test_without_a_number_it_may_be_either(self, kind: str | None) -> None:
        """moto gives the composite of the parts without their number."""
        value = composite_checksum("CRC32", PARTS).partition("-")[0]
        found = evidence(COMPOSITE, KNOWN, ChecksumCRC32=value, ChecksumType=kind)
        digest = base64.b64decode(value)

        assert found == [
            by_etag(KNOWN),
            Evidence("x-amz-checksum-crc32", Hashing(CRC32), digest, firm=False),
            of_parts(CRC32, firm=False),
        ]

    def test_of_another_number_of_parts_is_a_guess(self) -> None:
        value = composite_checksum("CRC32", PARTS).replace("-3", "-2")

        found = evidence(COMPOSITE, KNOWN, ChecksumCRC32=value)
        assert found == [by_etag(KNOWN), of_parts(CRC32, firm=False)]

    def test_type_and_number_contradict_each_other(self) -> None:
        value = composite_checksum("CRC32", PARTS)
        found = evidence(COMPOSITE, KNOWN, ChecksumCRC32=value, ChecksumType="FULL_OBJECT")

        assert found == [by_etag(KNOWN)]

    def test_under_encryption_they_are_what_counts(self) -> None:
        value = composite_checksum("SHA256", PARTS)
        found = evidence(COMPOSITE, KNOWN, ChecksumSHA256=value, **KMS)

        assert found == [of_parts(SHA256), by_etag(KNOWN, firm=False)]


class TestNonsense:
    @pytest.mark.parametrize(
        "value",
        [
            "",
            None,
            "y/Q5J",
            "y/Q5J!==",
            "y/Q5Jg==\n",
            " y/Q5Jg==",
            "y/Q5Jg===",
            "y/Q5Jg==-0",
            "y/Q5Jg==-01",
            "y/Q5Jg==-100000",
            "y/Q5Jg==-x",
            "ü/Q5Jg==",
            base64.b64encode(bytes(3)).decode(),
            base64.b64encode(bytes(5)).decode(),
            "cbf43926",
        ],
    )
    @pytest.mark.parametrize("kind", [None, "FULL_OBJECT", "COMPOSITE"])
    def test_is_passed_over(self, value: str | None, kind: str | None) -> None:
        answer: Answer = {"ChecksumCRC32": value, "ChecksumType": kind}

        assert evidence(OPAQUE, **answer) == []
        assert evidence(COMPOSITE, KNOWN, **answer) == [by_etag(KNOWN)]

    def test_unknown_type_counts_as_none(self) -> None:
        value = checksum("CRC32", DATA)

        assert evidence(OPAQUE, ChecksumCRC32=value, ChecksumType="OTHER") == [whole(CRC32)]

    def test_most_parts_there_can_be(self) -> None:
        known = Layout(1)
        value = f"{checksum('CRC32', b'')}-99999"
        (found,) = evidence(f"{PLAIN}-99999", known, size=99999, ChecksumCRC32=value)[1:]

        assert found.firm


class TestWithoutCrt:
    ANSWER: Answer = {  # noqa: RUF012 - read only
        "ChecksumCRC64NVME": checksum("CRC64NVME", DATA),
        "ChecksumCRC32C": checksum("CRC32C", DATA),
    }

    def test_what_cannot_be_computed_is_left_out(self) -> None:
        with crt.installed(None):
            assert evidence(OPAQUE, **self.ANSWER) == []
            assert evidence(PLAIN, **self.ANSWER) == [MD5_ETAG]
            more = self.ANSWER | {"ChecksumCRC32": checksum("CRC32", DATA)}
            assert evidence(OPAQUE, **more) == [whole(CRC32)]
