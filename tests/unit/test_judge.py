"""Verdicts: whether bytes that were read, or an object that was written, are proved."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from object_clerk.checksum.algorithm import CRC32, SHA256
from object_clerk.checksum.evidence import (
    Evidence,
    evidence_of,
    judge_assembled,
    judge_checked,
    judge_read,
    judge_stored,
    part_stored,
)
from object_clerk.checksum.hasher import WHOLE, Hasher, Hashing, Layout
from object_clerk.exceptions import Failure, ObjectUnverifiable, ObjectVerificationException
from object_clerk.receipt import Finding, Verdict
from tests.simulation.digests import checksum, composite_etag, md5
from tests.unit.described import (
    COMPOSITE,
    DATA,
    KMS,
    KNOWN,
    MD5_ETAG,
    OPAQUE,
    PLAIN,
    SIZE,
    Head,
    by_etag,
    evidence,
    whole,
)

OTHER = DATA[::-1]


def read(data: bytes, found: list[Evidence], *also: Hashing) -> Finding:
    """The verdict on bytes that were hashed in all ways that there is evidence of."""
    hasher = Hasher([*(e.way for e in found), *also])
    hasher.update(data)
    return judge_read(found, SIZE, hasher)


class TestRead:
    def test_equal_digest_proves_the_content(self) -> None:
        assert read(DATA, [MD5_ETAG]) == Finding(Verdict.CONTENT, "ETag (MD5 of the whole)")

    @pytest.mark.parametrize(
        ("found", "basis"),
        [
            (by_etag(KNOWN), "ETag (MD5 of parts of 10 bytes)"),
            (whole(SHA256), "x-amz-checksum-sha256 (SHA256 of the whole)"),
            (by_etag(KNOWN, firm=False), "ETag (MD5 of parts of 10 bytes)"),
            (by_etag(WHOLE, firm=False, etag=PLAIN), "ETag (MD5 of the whole)"),
        ],
    )
    def test_basis_names_the_evidence(self, found: Evidence, basis: str) -> None:
        """Even a guess that comes true is proof."""
        assert read(DATA, [found]) == Finding(Verdict.CONTENT, basis)

    def test_right_guess_among_wrong_ones(self) -> None:
        guesses = [by_etag(Layout(size), firm=False) for size in (8, 9, 10, 11)]

        assert read(DATA, guesses).basis == "ETag (MD5 of parts of 10 bytes)"

    @given(
        data=st.binary(min_size=1, max_size=200),
        sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
        flip=st.integers(0),
    )
    @example(data=b"x", sizes=[1], flip=0)
    def test_any_layout_that_is_told(self, data: bytes, sizes: list[int], flip: int) -> None:
        """Check 8: the ETag of any parts proves the bytes, and no other bytes."""
        parts, rest = [], data
        for size in sizes:
            parts.append(rest[:size])
            rest = rest[size:]
        parts = [part for part in [*parts, rest] if part]
        told = Layout(None, tuple(len(part) for part in parts))
        head = Head(composite_etag(parts), len(data), {"ContentLength": len(data)})
        (found,) = evidence_of(head, 0, told)

        def judge(read: bytes) -> Finding:
            hasher = Hasher([found.way])
            hasher.update(read)
            return judge_read([found], len(data), hasher)

        assert judge(data).verdict is Verdict.CONTENT
        at = flip % len(data)
        changed = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
        with pytest.raises(ObjectVerificationException) as caught:
            judge(changed)
        assert caught.value.failure is Failure.INTEGRITY


class TestReadWrong:
    @pytest.mark.parametrize(
        ("found", "words"),
        [
            (MD5_ETAG, ("MD5", md5(OTHER), "the whole", "ETag", PLAIN)),
            (by_etag(KNOWN), ("MD5", "parts of 10 bytes", "ETag", COMPOSITE[:32])),
            (whole(CRC32), ("CRC32", "x-amz-checksum-crc32", whole(CRC32).expected.hex())),
        ],
    )
    def test_firm_evidence_condemns(self, found: Evidence, words: tuple[str, ...]) -> None:
        with pytest.raises(ObjectVerificationException) as caught:
            read(OTHER, [found])

        assert type(caught.value) is ObjectVerificationException
        assert caught.value.failure is Failure.INTEGRITY
        assert [word for word in words if word not in str(caught.value)] == []

    def test_firm_evidence_condemns_whatever_is_guessed_besides(self) -> None:
        with pytest.raises(ObjectVerificationException) as caught:
            read(OTHER, [by_etag(KNOWN, firm=False), MD5_ETAG])

        assert type(caught.value) is ObjectVerificationException
        assert PLAIN in str(caught.value)

    @pytest.mark.parametrize("data", [DATA[:-1], DATA + b"!", b""])
    def test_other_length(self, data: bytes) -> None:
        """The number of bytes counts, even where a digest is equal."""
        with pytest.raises(
            ObjectVerificationException, match=f"{len(data)} bytes arrived .* {SIZE}"
        ) as caught:
            read(data, [by_etag(WHOLE, etag=md5(data))])

        assert type(caught.value) is ObjectVerificationException
        assert caught.value.failure is Failure.INTEGRITY

    def test_other_parts_may_be_other_bytes(self) -> None:
        with pytest.raises(ObjectUnverifiable, match="parts of an unknown size") as caught:
            read(DATA, [by_etag(Layout(7), firm=False)])

        assert caught.value.failure is Failure.INTEGRITY  # a changed byte looks the same
        assert COMPOSITE[:32] in str(caught.value)
        assert "MD5 of parts of 7 bytes" in str(caught.value)

    @pytest.mark.parametrize("whole_first", [True, False])
    def test_the_best_guess_is_what_is_told_of(self, whole_first: bool) -> None:
        guesses = [by_etag(WHOLE, firm=False, etag=PLAIN), by_etag(KNOWN, firm=False)]
        with pytest.raises(ObjectUnverifiable) as caught:
            read(OTHER, guesses if whole_first else guesses[::-1])

        assert caught.value.failure is (Failure.FINAL if whole_first else Failure.INTEGRITY)
        assert (PLAIN in str(caught.value)) is whole_first

    def test_encrypted_objects_cannot_be_condemned(self) -> None:
        with pytest.raises(ObjectUnverifiable, match="need not be") as caught:
            read(OTHER, [by_etag(WHOLE, firm=False, etag=PLAIN)])

        assert caught.value.failure is Failure.FINAL
        assert PLAIN in str(caught.value)
        assert md5(OTHER) in str(caught.value)


class TestReadContradiction:
    """Servers were seen to give a wrong checksum of right bytes."""

    WRONG_CRC = Evidence("x-amz-checksum-crc32", Hashing(CRC32), bytes(4), firm=True)

    @pytest.mark.parametrize("first", [True, False])
    def test_one_equal_digest_is_proof_and_the_other_is_told_of(self, first: bool) -> None:
        found = [self.WRONG_CRC, MD5_ETAG] if first else [MD5_ETAG, self.WRONG_CRC]

        assert read(DATA, found) == Finding(
            Verdict.CONTENT,
            "ETag (MD5 of the whole), but not its x-amz-checksum-crc32 (CRC32 of the whole)",
        )

    def test_an_equal_guess_outweighs_it_too(self) -> None:
        found = read(DATA, [self.WRONG_CRC, by_etag(KNOWN, firm=False)])

        assert found.verdict is Verdict.CONTENT
        assert "but not its x-amz-checksum-crc32" in found.basis

    def test_a_wrong_guess_is_not_worth_telling(self) -> None:
        found = read(DATA, [by_etag(Layout(7), firm=False), MD5_ETAG])

        assert found.basis == "ETag (MD5 of the whole)"

    def test_only_what_was_computed_counts(self) -> None:
        hasher = Hasher([MD5_ETAG.way])
        hasher.update(DATA)

        assert judge_read([self.WRONG_CRC, MD5_ETAG], SIZE, hasher).basis == (
            "ETag (MD5 of the whole)"
        )

    def test_all_of_it_in_one_answer(self) -> None:
        """As it comes from a server: the record proves what the ETag of encryption does not."""
        found = evidence(
            md5(OTHER),
            metadata={"clerk-md5": PLAIN},
            ChecksumCRC32=checksum("CRC32", OTHER),
            **KMS,
        )

        assert read(DATA, found).basis == (
            "record in the metadata (MD5 of the whole), but not its "
            "x-amz-checksum-crc32 (CRC32 of the whole)"
        )


class TestStored:
    CRC = checksum("CRC32", DATA)

    def judge(self, etag: str | None, head: Head | None, **checksums: set[str]) -> Verdict | None:
        finding = judge_stored(PLAIN, etag, SIZE, head, checksums or None)
        return None if finding is None else finding.verdict

    @pytest.mark.parametrize("head", [None, Head(None), Head(None, SIZE, KMS)])
    def test_equal_etag(self, head: Head | None) -> None:
        assert self.judge(PLAIN, head) is Verdict.CONTENT
        assert self.judge(PLAIN.upper(), head) is Verdict.CONTENT

    @pytest.mark.parametrize("etag", [md5(OTHER), OPAQUE, COMPOSITE, None])
    def test_other_etag_settles_nothing_by_itself(self, etag: str | None) -> None:
        assert self.judge(etag, None) is None
        assert self.judge(etag, None, ChecksumCRC32={self.CRC}) is None

    @pytest.mark.parametrize("etag", [OPAQUE, None])
    def test_no_md5_and_the_right_size(self, etag: str | None) -> None:
        assert self.judge(etag, Head(etag)) is Verdict.TRANSPORT

    @pytest.mark.parametrize("answer", [KMS, {"SSECustomerAlgorithm": "AES256"}])
    @pytest.mark.parametrize("etag", [md5(OTHER), COMPOSITE])
    def test_encrypted_and_the_right_size(self, etag: str, answer: dict[str, Any]) -> None:
        assert self.judge(etag, Head(etag, SIZE, answer)) is Verdict.TRANSPORT

    @pytest.mark.parametrize("etag", [md5(OTHER), COMPOSITE])
    def test_another_md5_must_be_read_back(self, etag: str) -> None:
        assert self.judge(etag, Head(etag)) is None

    @pytest.mark.parametrize("etag", [md5(OTHER), OPAQUE, COMPOSITE])
    def test_equal_checksum(self, etag: str) -> None:
        head = Head(etag, SIZE, {"ChecksumCRC32": self.CRC})
        finding = judge_stored(PLAIN, etag, SIZE, head, {"ChecksumCRC32": {"x", self.CRC}})

        assert finding == Finding(Verdict.CONTENT, "ChecksumCRC32 equals that of what was sent")

    @pytest.mark.parametrize(("etag", "verdict"), [(md5(OTHER), None), (OPAQUE, Verdict.TRANSPORT)])
    @pytest.mark.parametrize("answer", [{}, {"ChecksumCRC32": "AAAAAA=="}, {"ChecksumSHA1": CRC}])
    def test_other_checksum_proves_nothing(
        self, answer: dict[str, Any], etag: str, verdict: Verdict | None
    ) -> None:
        head = Head(etag, SIZE, answer)

        assert self.judge(etag, head, ChecksumCRC32={self.CRC}) is verdict

    def test_checksum_that_nobody_checked_is_passed_over(self) -> None:
        head = Head(md5(OTHER), SIZE, {"ChecksumCRC32": self.CRC})

        assert self.judge(md5(OTHER), head) is None

    @pytest.mark.parametrize("etag", [PLAIN, md5(OTHER), OPAQUE])
    @pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
    def test_wrong_size_is_wrong(self, etag: str, size: int) -> None:
        head = Head(etag, size, {"ChecksumCRC32": self.CRC})
        with pytest.raises(
            ObjectVerificationException, match=f"{SIZE} bytes were sent and {size} are"
        ) as caught:
            self.judge(etag, head, ChecksumCRC32={self.CRC})

        assert caught.value.failure is Failure.INTEGRITY

    @pytest.mark.parametrize(
        ("answered", "etag", "proved"),
        [
            (COMPOSITE, PLAIN, True),
            (COMPOSITE.upper(), PLAIN.upper(), True),
            (COMPOSITE, COMPOSITE, False),
            (COMPOSITE, OPAQUE, False),
            (COMPOSITE, None, False),
            (f"{COMPOSITE}0", PLAIN, False),
            (None, PLAIN, False),
        ],
    )
    def test_assembled(self, answered: str | None, etag: str | None, proved: bool) -> None:
        finding = judge_assembled(COMPOSITE, answered, etag)

        assert (finding is not None) is proved
        assert finding is None or finding.verdict is Verdict.TRANSPORT

    @pytest.mark.parametrize(
        ("etag", "answer", "possible"),
        [
            (PLAIN, {}, True),
            (PLAIN.upper(), {}, True),
            (md5(OTHER), {}, False),
            (md5(OTHER).upper(), {}, False),
            (OPAQUE, {}, True),
            (COMPOSITE, {}, True),
            (md5(OTHER), KMS, True),
            (md5(OTHER), {"SSECustomerAlgorithm": "AES256"}, True),
            (md5(OTHER), {"ServerSideEncryption": "AES256"}, False),
        ],
    )
    def test_part(self, etag: str, answer: dict[str, Any], possible: bool) -> None:
        assert part_stored(PLAIN, etag, answer) is possible


class TestChecked:
    """An object of parts that were all sent with a CRC64NVME that the server checks."""

    MEMBER = "ChecksumCRC64NVME"

    def judge(
        self, head: Head, answered: str | None = None, expected: str = COMPOSITE
    ) -> Verdict | None:
        finding = judge_checked(self.MEMBER, {"right", "of-3"}, expected, answered, head, SIZE)
        return None if finding is None else finding.verdict

    @pytest.mark.parametrize("value", ["right", "of-3"])
    @pytest.mark.parametrize("etag", [COMPOSITE, md5(OTHER), OPAQUE, None])
    def test_equal_checksum_proves_the_content(self, etag: str | None, value: str) -> None:
        assert self.judge(Head(etag, SIZE, {self.MEMBER: value})) is Verdict.CONTENT

    def test_an_etag_of_other_parts_contradicts_it(self) -> None:
        """A server that keeps what it is told would give the checksum back all the same."""
        other = composite_etag([OTHER, OTHER])
        assert self.judge(Head(other, SIZE, {self.MEMBER: "right"})) is None
        assert self.judge(Head(other, SIZE, {self.MEMBER: "right", **KMS})) is Verdict.CONTENT

    @pytest.mark.parametrize("etag", [COMPOSITE, md5(OTHER), OPAQUE, None])
    def test_another_checksum_must_be_read_back(self, etag: str | None) -> None:
        assert self.judge(Head(etag, SIZE, {self.MEMBER: "wrong"})) is None

    @pytest.mark.parametrize(
        ("etag", "answered", "answer", "verdict"),
        [
            (COMPOSITE, None, {}, Verdict.TRANSPORT),
            (COMPOSITE.upper(), None, {}, Verdict.TRANSPORT),
            (md5(OTHER), COMPOSITE, {}, Verdict.TRANSPORT),
            (OPAQUE, None, {}, Verdict.TRANSPORT),
            (None, None, {}, Verdict.TRANSPORT),
            (md5(OTHER), None, KMS, Verdict.TRANSPORT),
            (md5(OTHER), None, {}, None),
            (md5(OTHER), md5(OTHER), {}, None),
        ],
    )
    def test_without_a_checksum(
        self, etag: str | None, answered: str | None, answer: dict[str, Any], verdict: Verdict
    ) -> None:
        """What the server checked on the way still counts, if the object is made of it."""
        assert self.judge(Head(etag, SIZE, answer), answered) is verdict

    def test_no_composite_is_equal_to_no_etag(self) -> None:
        assert self.judge(Head(md5(OTHER)), "", expected="") is None

    @pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
    def test_wrong_size_is_wrong(self, size: int) -> None:
        with pytest.raises(ObjectVerificationException, match="bytes were sent") as caught:
            self.judge(Head(COMPOSITE, size, {self.MEMBER: "right"}))

        assert caught.value.failure is Failure.INTEGRITY


class TestReadWrongInAnyOrder:
    def test_what_condemns_is_told_of_and_not_the_guess_after_it(self) -> None:
        with pytest.raises(ObjectVerificationException, match=f"ETag says {PLAIN}"):
            read(OTHER, [MD5_ETAG, by_etag(KNOWN, firm=False)])
