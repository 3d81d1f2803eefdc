"""Where parts begin and end, and under which layouts an ETag is possible."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.checksum.hasher import WHOLE, Layout
from object_clerk.checksum.layout import (
    MIB,
    MOST_CANDIDATES,
    MOST_LATER_CANDIDATES,
    MOST_PARTS,
    SMALLEST_PART,
    USUAL_PART_SIZES,
    candidate_layouts,
    fits,
    smallest_part_size_for,
    split,
    upload_part_size,
)

PLAIN = "0123456789abcdef0123456789abcdef"


class TestSplit:
    @given(size=st.integers(0, 10_000), part_size=st.integers(1, 3000))
    def test_covers_exactly(self, size: int, part_size: int) -> None:
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


class TestFits:
    @pytest.mark.parametrize(
        ("layout", "size", "parts", "does"),
        [
            (Layout(10), 20, 2, True),
            (Layout(10), 11, 2, True),
            (Layout(10), 21, 2, False),
            (Layout(10), 10, 2, False),
            (Layout(10), 10, 1, True),
            (Layout(None, (3, 5)), 8, 2, True),
            (Layout(None, (3, 5)), 8, 1, False),
            (Layout(None, (3, 5)), 7, 2, False),
            (Layout(None, (3, 5)), 9, 2, False),
            (Layout(10, (3, 5)), 20, 2, False),
            (WHOLE, 8, 1, False),
            (WHOLE, 0, 0, False),
            (Layout(0), 0, 0, False),
        ],
    )
    def test_is_decided_by_size_and_number(
        self, layout: Layout, size: int, parts: int, does: bool
    ) -> None:
        assert fits(layout, size, parts) is does

    @given(size=st.integers(1, 10_000), part_size=st.integers(1, 3000))
    def test_agrees_with_split(self, size: int, part_size: int) -> None:
        parts = list(split(size, part_size))
        sizes = Layout(None, tuple(part.length for part in parts))

        assert fits(Layout(part_size), size, len(parts))
        assert not fits(Layout(part_size), size, len(parts) + 1)
        assert fits(sizes, size, len(parts))


class TestCandidates:
    @given(data=st.data(), mib=st.integers(5, 5120), parts=st.integers(2, MOST_PARTS))
    def test_whole_mib_are_always_among_them(
        self, data: st.DataObject, mib: int, parts: int
    ) -> None:
        """Check 8: an object in parts of whole MiB can be proved, whoever has written it."""
        size = mib * MIB * parts - data.draw(st.integers(0, mib * MIB - 1))

        assert Layout(mib * MIB) in set(candidate_layouts(f"{PLAIN}-{parts}", size, 8 * MIB))

    @given(
        part_size=st.sampled_from(USUAL_PART_SIZES),
        parts=st.integers(2, 50),
        missing=st.integers(0, 5 * MIB - 1_000_000),
    )
    def test_usual_sizes_come_before_others(self, part_size: int, parts: int, missing: int) -> None:
        size = part_size * parts - missing
        found = [
            layout.part_size_bytes
            for layout in candidate_layouts(f"{PLAIN}-{parts}", size, 1 << 40)
        ]
        usual = [each for each in found if each in USUAL_PART_SIZES]

        assert part_size in usual
        assert found[: len(usual)] == usual
        assert usual == [each for each in USUAL_PART_SIZES if each in usual]

    @given(
        own=st.integers(5 * MIB, 1 << 32), parts=st.integers(2, 100), missing=st.integers(0, 999)
    )
    def test_own_layout_is_the_first(self, own: int, parts: int, missing: int) -> None:
        """Check 8: what we uploaded ourselves is always recognised."""
        found = candidate_layouts(f"{PLAIN}-{parts}", own * parts - missing, own)

        assert next(found) == Layout(own)

    def test_own_is_never_smaller_than_an_upload_makes_it(self) -> None:
        assert next(candidate_layouts(f"{PLAIN}-2", 10 * MIB, 1)) == Layout(5 * MIB)

    @given(size=st.integers(0, 200 * MIB), parts=st.integers(2, 60), own=st.integers(0, 99 * MIB))
    def test_all_fit_and_come_once(self, size: int, parts: int, own: int) -> None:
        found = list(candidate_layouts(f"{PLAIN}-{parts}", size, own))

        assert all(fits(layout, size, parts) for layout in found)
        assert len(set(found)) == len(found)

    @pytest.mark.parametrize(
        ("size", "parts", "mib"),
        [
            (20 * MIB, 2, range(10, 20)),  # 20 MiB in parts of 20 MiB would be one
            (20 * MIB + 1, 2, range(11, 21)),
            (20 * MIB - 1, 2, range(10, 20)),
            (21 * MIB, 3, range(7, 11)),
        ],
    )
    def test_boundaries(self, size: int, parts: int, mib: range) -> None:
        found = {
            layout.part_size_bytes for layout in candidate_layouts(f"{PLAIN}-{parts}", size, 0)
        }

        assert {each for each in found if each and each % MIB == 0} == {n * MIB for n in mib}

    def test_only_so_many_are_made_as_are_asked_for(self) -> None:
        """Two parts of five terabytes have millions; nobody waits for all of them."""
        found = candidate_layouts(f"{PLAIN}-2", 5 << 40, 0)

        assert len(list(islice(found, 3))) == 3

    def test_plain_md5_has_one(self) -> None:
        assert list(candidate_layouts(PLAIN, 10**9, MIB)) == [WHOLE]

    @pytest.mark.parametrize("size", [1, 5 * MIB, 700 * MIB])
    def test_single_part_has_any_size(self, size: int) -> None:
        assert list(candidate_layouts(f"{PLAIN}-1", size, 5 * MIB)) == [Layout(size)]

    def test_single_part_may_be_empty(self) -> None:
        assert list(candidate_layouts(f"{PLAIN}-1", 0, 5 * MIB)) == [Layout(1)]

    @pytest.mark.parametrize("etag", [None, "", "opaque", f"{PLAIN}-0"])
    def test_others_have_none(self, etag: str | None) -> None:
        assert list(candidate_layouts(etag, 100, 5 * MIB)) == []

    @pytest.mark.parametrize(("size", "parts"), [(0, 2), (1, 2), (2, 3), (3 * MIB // 2, 2)])
    def test_too_small_for_so_many_parts(self, size: int, parts: int) -> None:
        """Not from a usual tool, or a size that was told wrongly: no guess, and no error."""
        found = list(candidate_layouts(f"{PLAIN}-{parts}", size, 5 * MIB))

        assert found == ([Layout(MIB)] if size > MIB else [])


def test_usual_sizes_are_possible_and_told_once() -> None:
    assert len(set(USUAL_PART_SIZES)) == len(USUAL_PART_SIZES)
    assert min(USUAL_PART_SIZES) == 5_000_000
    assert USUAL_PART_SIZES[:2] == (8 * MIB, 5 * MIB)


class TestFigures:
    """What is written down in the manuals of S3 and of the tools, in bytes."""

    def test_limits(self) -> None:
        assert MIB == 1_048_576
        assert SMALLEST_PART == 5_242_880
        assert MOST_PARTS == 10_000

    def test_how_many_layouts_are_tried(self) -> None:
        assert MOST_CANDIDATES == 4
        assert MOST_LATER_CANDIDATES == 128

    def test_usual_sizes(self) -> None:
        binary = [8, 5, 16, 10, 15, 25, 32, 50, 64, 100, 128, 250, 256, 500, 512, 1024]
        decimal = [5, 8, 10, 16, 50, 64, 100, 500]

        assert list(USUAL_PART_SIZES) == [
            *(n * 1_048_576 for n in binary),
            *(n * 1_000_000 for n in decimal),
            5_243_904,
        ]
