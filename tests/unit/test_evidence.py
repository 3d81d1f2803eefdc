"""What speaks for or against the bytes of an object, how strongly, and in what order."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.checksum.algorithm import CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256
from object_clerk.checksum.evidence import Evidence, choose, etag_may_differ, require_evidence
from object_clerk.checksum.hasher import WHOLE, Hashing, Layout
from object_clerk.exceptions import Failure, ObjectUnverifiable
from tests.simulation.digests import checksum, composite_checksum, composite_etag
from tests.unit import crt
from tests.unit.described import (
    COMPOSITE,
    DATA,
    KMS,
    KNOWN,
    MD5_ETAG,
    MIB,
    OPAQUE,
    PARTS,
    PLAIN,
    SIZE,
    Head,
    by_etag,
    evidence,
    of_parts,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = "record in the metadata"


@pytest.fixture(autouse=True)
def _with_crt() -> Iterator[None]:
    with crt.installed(crt.stand_in("crc32c", "crc64nvme")):
        yield


@pytest.mark.parametrize(
    ("answer", "may"),
    [
        ({}, False),
        ({"ServerSideEncryption": None}, False),
        ({"ServerSideEncryption": "AES256"}, False),
        ({"ServerSideEncryption": "not aws:kms"}, False),
        ({"ServerSideEncryption": "aws:kms"}, True),
        ({"ServerSideEncryption": "aws:kms:dsse"}, True),
        ({"SSECustomerAlgorithm": "AES256"}, True),
        ({"SSECustomerAlgorithm": ""}, False),
    ],
)
def test_encryption_may_change_an_etag(answer: dict[str, Any], may: bool) -> None:
    assert etag_may_differ(answer) is may


class TestEtag:
    def test_plain(self) -> None:
        assert evidence(PLAIN) == [MD5_ETAG]
        assert evidence(PLAIN.upper()) == [MD5_ETAG]
        assert evidence(PLAIN, KNOWN) == [MD5_ETAG]

    def test_parts_that_the_server_has_told(self) -> None:
        assert evidence(COMPOSITE, KNOWN) == [by_etag(KNOWN)]

    def test_parts_of_various_sizes(self) -> None:
        known = Layout(None, (10, 11, 1))

        assert evidence(COMPOSITE, known) == [by_etag(known)]

    @pytest.mark.parametrize("known", [Layout(7), Layout(11), WHOLE, Layout(None, (10, 12))])
    def test_parts_that_cannot_be_are_not_believed(self, known: Layout) -> None:
        """22 bytes are four parts of 7, or two of 11, not three; and no usual size makes three."""
        assert evidence(COMPOSITE, known) == evidence(COMPOSITE) == []

    def test_parts_that_must_be_guessed(self) -> None:
        size = 20 * MIB
        found = evidence(COMPOSITE, size=size, own=7 * MIB)

        assert [e.way.layout.part_size_bytes for e in found[:2]] == [7 * MIB, 8 * MIB]
        assert len({e.way for e in found}) == len(found) > 3
        assert found == [by_etag(e.way.layout, firm=False) for e in found]

    @pytest.mark.parametrize("known", [None, Layout(SIZE), Layout(SIZE - 1)])
    def test_single_part_is_known(self, known: Layout | None) -> None:
        etag = composite_etag([DATA])

        assert evidence(etag, known) == [by_etag(Layout(SIZE), etag=etag)]

    def test_single_part_of_a_larger_size(self) -> None:
        etag = composite_etag([DATA])

        assert evidence(etag, Layout(99)) == [by_etag(Layout(99), etag=etag)]

    @pytest.mark.parametrize("etag", [None, OPAQUE, f"{PLAIN}-0", ""])
    @pytest.mark.parametrize("known", [None, KNOWN])
    def test_others_say_nothing(self, etag: str | None, known: Layout | None) -> None:
        assert evidence(etag, known) == []

    @pytest.mark.parametrize("answer", [KMS, {"SSECustomerAlgorithm": "AES256"}])
    def test_encrypted_ones_are_never_firm(self, answer: dict[str, Any]) -> None:
        assert evidence(PLAIN, **answer) == [by_etag(WHOLE, firm=False, etag=PLAIN)]
        assert evidence(COMPOSITE, KNOWN, **answer) == [by_etag(KNOWN, firm=False)]
        assert all(not e.firm for e in evidence(COMPOSITE, size=20 * MIB, **answer))

    def test_encrypted_by_the_server_alone_is_firm(self) -> None:
        assert evidence(PLAIN, ServerSideEncryption="AES256") == [MD5_ETAG]


class TestRecord:
    MD5 = Evidence(RECORD, Hashing(MD5), bytes.fromhex(PLAIN), firm=True)
    SHA256 = Evidence(
        "record in the metadata", Hashing(SHA256), hashlib.sha256(DATA).digest(), firm=True
    )

    def test_digests_are_firm(self) -> None:
        metadata = {"clerk-md5": PLAIN, "clerk-sha256": hashlib.sha256(DATA).hexdigest()}

        assert evidence(OPAQUE, metadata=metadata) == [self.MD5, self.SHA256]
        found = evidence(PLAIN, metadata=metadata, **KMS)
        assert found == [self.MD5, self.SHA256, by_etag(WHOLE, firm=False, etag=PLAIN)]

    def test_of_rclone(self) -> None:
        text = base64.b64encode(bytes.fromhex(PLAIN)).decode()

        assert evidence(OPAQUE, metadata={"Md5chksum": text}) == [self.MD5]

    def test_part_size_is_as_good_as_told(self) -> None:
        metadata = {"clerk-part": "10", "clerk-size": str(SIZE)}

        assert evidence(COMPOSITE, metadata=metadata) == [by_etag(KNOWN)]

    def test_what_the_server_tells_comes_first(self) -> None:
        told = Layout(None, (10, 11, 1))

        assert evidence(COMPOSITE, told, metadata={"clerk-part": "10"}) == [by_etag(told)]

    @pytest.mark.parametrize(
        ("part", "believed"), [(8, True), (10, True), (7, False), (11, False), (22, False)]
    )
    def test_part_size_counts_only_if_it_makes_so_many_parts(
        self, part: int, believed: bool
    ) -> None:
        found = evidence(COMPOSITE, metadata={"clerk-part": str(part)})

        assert found == ([by_etag(Layout(part))] if believed else [])

    def test_of_another_size_says_nothing(self) -> None:
        """Metadata that was carried over to new bytes."""
        metadata = {"clerk-size": "1", "clerk-md5": PLAIN, "clerk-part": "10"}

        assert evidence(OPAQUE, metadata=metadata) == []
        assert evidence(COMPOSITE, metadata=metadata) == []

    def test_part_size_of_an_object_stored_whole(self) -> None:
        """A copy in one request keeps the metadata, but not the parts."""
        assert evidence(PLAIN, metadata={"clerk-part": "10"}) == [MD5_ETAG]


class TestOrder:
    def test_best_comes_first(self) -> None:
        names = ("SHA1", "CRC32", "CRC32C", "SHA256", "CRC64NVME")
        answer: dict[str, Any] = {f"Checksum{name}": checksum(name, DATA) for name in names}
        metadata = {"clerk-sha256": hashlib.sha256(DATA).hexdigest()}
        found = evidence(PLAIN, metadata=metadata, **answer)

        assert found == [
            whole(CRC64NVME),
            MD5_ETAG,
            TestRecord.SHA256,
            whole(SHA256),
            whole(CRC32C),
            whole(CRC32),
            whole(SHA1),
        ]

    def test_crc64nvme_of_parts_is_not_the_best(self) -> None:
        value = composite_checksum("CRC64NVME", PARTS)

        found = evidence(COMPOSITE, KNOWN, ChecksumCRC64NVME=value)
        assert found == [by_etag(KNOWN), of_parts(CRC64NVME)]

    def test_crc64nvme_that_is_only_a_guess_is_not_the_best(self) -> None:
        found = evidence(COMPOSITE, KNOWN, ChecksumCRC64NVME=checksum("CRC64NVME", DATA))

        assert [(e.source, e.firm) for e in found] == [
            ("ETag", True),
            ("x-amz-checksum-crc64nvme", False),
            ("x-amz-checksum-crc64nvme", False),
        ]

    def test_firm_checksums_come_before_guesses_at_parts(self) -> None:
        found = evidence(
            COMPOSITE,
            size=20 * MIB,
            ChecksumSHA256=checksum("SHA256", DATA),
            ChecksumType="FULL_OBJECT",
        )

        assert found[0] == whole(SHA256)
        assert {(e.source, e.firm) for e in found[1:]} == {("ETag", False)}

    def test_guesses_at_checksums_come_after_firm_ones(self) -> None:
        found = evidence(
            COMPOSITE,
            KNOWN,
            ChecksumSHA256=composite_checksum("SHA256", PARTS).partition("-")[0],
            ChecksumCRC32=composite_checksum("CRC32", PARTS),
        )

        assert [e.firm for e in found] == [True, True, False, False]
        assert found[1] == of_parts(CRC32)

    def test_record_comes_before_an_etag_that_may_be_anything(self) -> None:
        found = evidence(PLAIN, metadata={"clerk-md5": PLAIN}, **KMS)

        assert found == [TestRecord.MD5, by_etag(WHOLE, firm=False, etag=PLAIN)]

    def test_record_comes_before_guesses_at_parts(self) -> None:
        found = evidence(COMPOSITE, size=20 * MIB, metadata={"clerk-md5": PLAIN})

        assert found[0] == TestRecord.MD5
        assert found[1:] == evidence(COMPOSITE, size=20 * MIB)


class TestChoose:
    FIRM = (MD5_ETAG, whole(CRC32))
    GUESSES = tuple(by_etag(Layout(n), firm=False) for n in range(1, 7))

    def test_the_first_firm_one_is_enough(self) -> None:
        assert choose([*self.GUESSES, *self.FIRM], suspicious=False) == [self.FIRM[0]]

    def test_without_a_firm_one_some_guesses_are_tried(self) -> None:
        assert choose(self.GUESSES, suspicious=False) == list(self.GUESSES[:4])
        assert choose(self.GUESSES[:2], suspicious=False) == list(self.GUESSES[:2])

    def test_suspicion_wants_all_firm_ones_and_some_guesses(self) -> None:
        chosen = choose([*self.GUESSES, *self.FIRM], suspicious=True)

        assert chosen == [*self.FIRM, *self.GUESSES[:4]]

    def test_nothing_of_nothing(self) -> None:
        assert choose([], suspicious=False) == choose([], suspicious=True) == []


class TestRequire:
    def test_any_evidence_will_do(self) -> None:
        require_evidence(Head(OPAQUE), [by_etag(WHOLE, firm=False)])

    @pytest.mark.parametrize("etag", [OPAQUE, COMPOSITE, None])
    def test_a_checksum_that_takes_the_extra(self, etag: str | None) -> None:
        head = Head(etag, answer={"ChecksumCRC64NVME": "x", "ChecksumCRC32C": "x"})
        with (
            crt.installed(None),
            pytest.raises(ObjectUnverifiable, match=r"CRC64NVME.*object-clerk\[crt\]") as caught,
        ):
            require_evidence(head, [])

        assert caught.value.failure is Failure.FINAL

    @pytest.mark.parametrize("etag", [OPAQUE, None])
    def test_an_etag_that_is_no_md5(self, etag: str | None) -> None:
        with pytest.raises(ObjectUnverifiable, match="not made from MD5") as caught:
            require_evidence(Head(etag, answer={"ChecksumCRC64NVME": "nonsense"}), [])

        assert caught.value.failure is Failure.FINAL

    def test_parts_of_no_usual_size_may_be_a_size_told_wrongly(self) -> None:
        with pytest.raises(ObjectUnverifiable, match=f"{COMPOSITE}.*{SIZE} bytes") as caught:
            require_evidence(Head(COMPOSITE), [])

        assert caught.value.failure is Failure.INTEGRITY


class TestChooseInAnyOrder:
    def test_firm_ones_are_not_taken_for_guesses_too(self) -> None:
        firm, guesses = TestChoose.FIRM, TestChoose.GUESSES

        assert choose([*firm, *guesses], suspicious=True) == [*firm, *guesses[:4]]


class TestRequireWithoutTheExtra:
    def test_the_extra_is_only_named_where_it_would_help(self) -> None:
        with crt.installed(None), pytest.raises(ObjectUnverifiable, match="not made from MD5"):
            require_evidence(Head(OPAQUE), [])
