"""Digests, ETags, layouts, and the verdicts that rest on them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from object_clerk.checksum.digest import Digests, md5_of
from object_clerk.checksum.etag import EtagHasher, Layout, bare, composite, parts_of
from object_clerk.checksum.evidence import (
    etag_may_differ,
    judge_assembled,
    judge_read,
    judge_stored,
    part_stored,
)
from object_clerk.checksum.layout import (
    MOST_CANDIDATES,
    MOST_PARTS,
    SMALLEST_PART,
    USUAL_PART_SIZES,
    candidate_layouts,
    smallest_part_size_for,
    split,
    upload_part_size,
)
from object_clerk.exceptions import Failure, ObjectUnverifiable, ObjectVerificationException
from object_clerk.receipt import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20
PLAIN = "0123456789abcdef0123456789abcdef"


def _etag(data: bytes, part_size: int | None) -> str:
    """The ETag of some bytes, computed as plainly as possible."""
    if part_size is None:
        return hashlib.md5(data).hexdigest()
    parts = [data[at : at + part_size] for at in range(0, len(data), part_size)] or [b""]
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"


class TestDigests:
    @given(st.lists(st.binary(max_size=50)))
    @example([])
    def test_of_blocks(self, blocks: list[bytes]) -> None:
        data = b"".join(blocks)
        digests = Digests.of(blocks)

        assert digests.md5 == hashlib.md5(data).digest() == md5_of(blocks)
        assert digests.content_md5 == base64.b64encode(hashlib.md5(data).digest()).decode()
        assert base64.b64decode(digests.checksum_crc32) == zlib.crc32(data).to_bytes(4, "big")

    def test_known_values(self) -> None:
        digests = Digests.of([b"123456789"])

        assert digests.content_md5 == "JfnnlDI7RTiF9RgfG2JNCw=="
        assert digests.checksum_crc32 == "y/Q5Jg=="


class TestEtags:
    @pytest.mark.parametrize(
        ("etag", "stripped"),
        [('"abc"', "abc"), ("abc", "abc"), ('W/"abc"', "abc"), ('""', None), ("", None),
         (None, None)],
    )  # fmt: skip
    def test_bare(self, etag: str | None, stripped: str | None) -> None:
        assert bare(etag) == stripped

    @pytest.mark.parametrize(
        ("etag", "parts"),
        [
            (PLAIN, 0),
            (PLAIN.upper(), 0),
            (f"{PLAIN}-1", 1),
            (f"{PLAIN}-10000", 10_000),
            (f"{PLAIN}-0", None),
            (f"{PLAIN}-01", None),
            (f"{PLAIN}-123456", None),
            (f"{PLAIN}-x", None),
            (PLAIN[:-1], None),
            (f"{PLAIN}0", None),
            (f"{PLAIN}\n", None),
            (f'"{PLAIN}"', None),
            ("opaque", None),
            ("", None),
            (None, None),
        ],
    )
    def test_parts_of(self, etag: str | None, parts: int | None) -> None:
        assert parts_of(etag) == parts

    def test_composite(self) -> None:
        data = bytes(range(250))
        digests = [hashlib.md5(data[:100]).digest(), hashlib.md5(data[100:]).digest()]

        assert composite(digests) == _etag_of_parts(data[:100], data[100:])

    @given(
        data=st.binary(max_size=300),
        sizes=st.lists(st.integers(1, 60), min_size=1, max_size=40),
        part_sizes=st.lists(st.one_of(st.none(), st.integers(1, 80)), unique=True, max_size=5),
        views=st.booleans(),
    )
    @example(data=b"", sizes=[1], part_sizes=[None, 5], views=False)
    @example(data=b"x" * 10, sizes=[5], part_sizes=[5, 10, 11, 1], views=True)
    def test_hasher_equals_a_plain_computation(
        self, data: bytes, sizes: list[int], part_sizes: list[int | None], views: bool
    ) -> None:
        """Check 8: whatever the blocks are that the bytes come in."""
        hasher = EtagHasher([Layout(size) for size in part_sizes])
        at = turn = 0
        while at < len(data):
            block = data[at : at + sizes[turn % len(sizes)]]
            hasher.update(memoryview(block) if views else block)
            at, turn = at + len(block), turn + 1

        assert hasher.size == len(data)
        assert hasher.etags() == {Layout(size): _etag(data, size) for size in part_sizes}
        assert hasher.etags() == hasher.etags()  # asking changes nothing

    @given(st.lists(st.binary(min_size=1, max_size=20), min_size=2))
    def test_hasher_can_be_asked_in_between(self, blocks: list[bytes]) -> None:
        hasher = EtagHasher([Layout(None), Layout(7)])
        seen = b""
        for block in blocks:
            hasher.update(block)
            seen += block
            assert hasher.etags() == {Layout(None): _etag(seen, None), Layout(7): _etag(seen, 7)}

    @pytest.mark.parametrize("offset", [-1, 0, 1])
    @pytest.mark.parametrize("times", [1, 2])
    def test_sizes_about_the_part_size(self, offset: int, times: int) -> None:
        """Check 8: threshold-1, threshold, threshold+1, 2x threshold."""
        data = bytes(100 * times + offset)
        hasher = EtagHasher([Layout(100)])
        hasher.update(data)
        (etag,) = hasher.etags().values()

        assert etag == _etag(data, 100)
        assert etag.endswith(f"-{-(-len(data) // 100)}")

    def test_layouts_say_what_they_are(self) -> None:
        assert str(Layout(None)) == "MD5 of the whole"
        assert "8388608" in str(Layout(8 * MIB))


class TestLayouts:
    @given(size=st.integers(0, 10_000), part_size=st.integers(1, 3000))
    def test_split_covers_exactly(self, size: int, part_size: int) -> None:
        parts = list(split(size, part_size))

        assert [part.number for part in parts] == list(range(1, len(parts) + 1))
        assert sum(part.length for part in parts) == size
        position = 0
        for part in parts:
            assert part.offset == position
            assert 0 < part.length <= part_size
            position += part.length
        assert all(part.length == part_size for part in parts[:-1])

    @given(st.integers(1, 1 << 45))
    def test_smallest_part_size_is_enough_and_the_smallest(self, size: int) -> None:
        smallest = smallest_part_size_for(size)

        assert -(-size // smallest) <= MOST_PARTS
        assert smallest == 1 or -(-size // (smallest - 1)) > MOST_PARTS

    def test_parts_of_uploads_are_never_too_small(self) -> None:
        assert upload_part_size(1) == SMALLEST_PART == 5 * MIB
        assert upload_part_size(6 * MIB) == 6 * MIB

    @given(
        part_size=st.sampled_from([8 * MIB, 5 * MIB, 16 * MIB]),
        parts=st.integers(2, MOST_PARTS),
        missing=st.integers(0, 5 * MIB - 1),
    )
    def test_usual_layouts_are_among_the_candidates(
        self, part_size: int, parts: int, missing: int
    ) -> None:
        size = part_size * parts - missing

        layouts = candidate_layouts(f"{PLAIN}-{parts}", size, 500 * MIB)

        assert Layout(part_size) in layouts
        assert len(layouts) <= MOST_CANDIDATES

    @given(
        own=st.integers(5 * MIB, 1 << 32), parts=st.integers(2, 100), missing=st.integers(0, 999)
    )
    def test_own_layout_is_the_first(self, own: int, parts: int, missing: int) -> None:
        """Check 8: what we uploaded ourselves is always recognised."""
        layouts = candidate_layouts(f"{PLAIN}-{parts}", own * parts - missing, own)

        assert layouts[0] == Layout(own)

    def test_every_candidate_gives_that_number_of_parts(self) -> None:
        size = 20 * MIB
        layouts = candidate_layouts(f"{PLAIN}-3", size, 500 * MIB)

        assert Layout(8 * MIB) in layouts
        assert all(len(list(split(size, layout.part_size_bytes or 1))) == 3 for layout in layouts)

    def test_plain_md5_has_one(self) -> None:
        assert candidate_layouts(PLAIN, 10**9, MIB) == [Layout(None)]

    @pytest.mark.parametrize("size", [1, 5 * MIB, 700 * MIB])
    def test_single_part_has_any_size(self, size: int) -> None:
        (layout,) = candidate_layouts(f"{PLAIN}-1", size, 5 * MIB)

        assert layout.part_size_bytes is not None
        assert layout.part_size_bytes >= size

    @pytest.mark.parametrize("etag", [None, "", "opaque", f"{PLAIN}-0"])
    def test_others_have_none(self, etag: str | None) -> None:
        assert candidate_layouts(etag, 100, 5 * MIB) == []

    def test_unknown_size_has_none(self) -> None:
        assert candidate_layouts(f"{PLAIN}-2", 10**15, 5 * MIB) == []

    def test_usual_sizes_are_possible_and_told_once(self) -> None:
        assert len(set(USUAL_PART_SIZES)) == len(USUAL_PART_SIZES)
        assert min(USUAL_PART_SIZES) >= 5_000_000


class _Head:
    def __init__(self, size: int, **answer: Any) -> None:
        self.size = size
        self.answer = answer


def _hashed(data: bytes, *layouts: int | None) -> EtagHasher:
    hasher = EtagHasher([Layout(size) for size in layouts])
    hasher.update(data)
    return hasher


DATA = b"the bytes of an object"
KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}


class TestJudgeRead:
    @pytest.mark.parametrize("part_size", [None, 5])
    def test_equal_digests_prove_the_content(self, part_size: int | None) -> None:
        etag = _etag(DATA, part_size)
        finding = judge_read(etag, len(DATA), _hashed(DATA, None, 5), {})

        assert finding.verdict is Verdict.CONTENT
        assert str(Layout(part_size)) in finding.basis

    def test_case_of_the_etag_does_not_matter(self) -> None:
        etag = _etag(DATA, None).upper()

        assert judge_read(etag, len(DATA), _hashed(DATA, None), {}).verdict is Verdict.CONTENT

    def test_equal_digests_prove_it_even_if_they_need_not_be_equal(self) -> None:
        finding = judge_read(_etag(DATA, None), len(DATA), _hashed(DATA, None), KMS)

        assert finding.verdict is Verdict.CONTENT

    def test_other_bytes(self) -> None:
        etag = _etag(DATA, None)
        with pytest.raises(ObjectVerificationException) as caught:
            judge_read(etag, len(DATA), _hashed(DATA[::-1], None), {})

        assert type(caught.value) is ObjectVerificationException
        assert caught.value.failure is Failure.INTEGRITY
        assert etag in str(caught.value)
        assert _etag(DATA[::-1], None) in str(caught.value)

    @pytest.mark.parametrize("data", [DATA[:-1], DATA + b"!", b""])
    def test_other_length(self, data: bytes) -> None:
        with pytest.raises(ObjectVerificationException, match="arrived") as caught:
            judge_read(_etag(DATA, None), len(DATA), _hashed(data, None), {})

        assert caught.value.failure is Failure.INTEGRITY

    def test_other_parts_may_be_other_bytes(self) -> None:
        with pytest.raises(ObjectUnverifiable, match="parts of an unknown size") as caught:
            judge_read(_etag(DATA, 5), len(DATA), _hashed(DATA, 7), {})

        assert caught.value.failure is Failure.INTEGRITY  # a changed byte looks the same

    @pytest.mark.parametrize("etag", [_etag(b"", None), _etag(b"", 5)])
    def test_encrypted_objects_cannot_be_condemned(self, etag: str) -> None:
        with pytest.raises(ObjectUnverifiable) as caught:
            judge_read(etag, len(DATA), _hashed(DATA, None), KMS)

        assert caught.value.failure is Failure.FINAL


class TestJudgeStored:
    MD5 = _etag(DATA, None)

    def test_equal_etag(self) -> None:
        for etag in (self.MD5, self.MD5.upper()):
            finding = judge_stored(self.MD5, etag, len(DATA), None)
            assert finding is not None
            assert finding.verdict is Verdict.CONTENT

    @pytest.mark.parametrize("etag", [PLAIN, "opaque", f"{PLAIN}-2", None])
    def test_other_etag_settles_nothing_by_itself(self, etag: str | None) -> None:
        assert judge_stored(self.MD5, etag, len(DATA), None) is None

    @pytest.mark.parametrize("etag", ["opaque", None])
    def test_no_md5_and_the_right_size(self, etag: str | None) -> None:
        finding = judge_stored(self.MD5, etag, len(DATA), _Head(len(DATA)))

        assert finding is not None
        assert finding.verdict is Verdict.TRANSPORT

    def test_encrypted_and_the_right_size(self) -> None:
        finding = judge_stored(self.MD5, PLAIN, len(DATA), _Head(len(DATA), **KMS))

        assert finding is not None
        assert finding.verdict is Verdict.TRANSPORT

    @pytest.mark.parametrize("etag", [PLAIN, f"{PLAIN}-2"])
    def test_another_md5_must_be_read_back(self, etag: str) -> None:
        assert judge_stored(self.MD5, etag, len(DATA), _Head(len(DATA))) is None

    @pytest.mark.parametrize("etag", [MD5, PLAIN, "opaque"])
    def test_wrong_size_is_wrong(self, etag: str) -> None:
        with pytest.raises(ObjectVerificationException, match="stored") as caught:
            judge_stored(self.MD5, etag, len(DATA), _Head(len(DATA) - 1))

        assert caught.value.failure is Failure.INTEGRITY

    @pytest.mark.parametrize(
        ("answered", "etag", "proved"),
        [
            (f"{PLAIN}-2", MD5, True),
            (f"{PLAIN}-2".upper(), MD5, True),
            (f"{PLAIN}-2", f"{MD5}-2", False),
            (f"{PLAIN}-2", "opaque", False),
            (f"{PLAIN}-3", MD5, False),
            (None, MD5, False),
        ],
    )
    def test_assembled(self, answered: str | None, etag: str, proved: bool) -> None:
        finding = judge_assembled(f"{PLAIN}-2", answered, etag)

        assert (finding is not None) is proved
        assert finding is None or finding.verdict is Verdict.TRANSPORT

    @pytest.mark.parametrize(
        ("etag", "answer", "possible"),
        [
            (MD5, {}, True),
            (MD5.upper(), {}, True),
            (PLAIN, {}, False),
            ("opaque", {}, True),
            (f"{PLAIN}-2", {}, True),
            (PLAIN, KMS, True),
            (PLAIN, {"SSECustomerAlgorithm": "AES256"}, True),
            (PLAIN, {"ServerSideEncryption": "AES256"}, False),
        ],
    )
    def test_part(self, etag: str, answer: dict[str, Any], possible: bool) -> None:
        assert part_stored(self.MD5, etag, answer) is possible

    @pytest.mark.parametrize(
        ("answer", "may"),
        [
            ({}, False),
            ({"ServerSideEncryption": "AES256"}, False),
            ({"ServerSideEncryption": "aws:kms"}, True),
            ({"ServerSideEncryption": "aws:kms:dsse"}, True),
            ({"SSECustomerAlgorithm": "AES256"}, True),
        ],
    )
    def test_encryption(self, answer: dict[str, Any], may: bool) -> None:
        assert etag_may_differ(answer) is may


def _etag_of_parts(*parts: bytes) -> str:
    digests: Sequence[bytes] = [hashlib.md5(part).digest() for part in parts]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(parts)}"
