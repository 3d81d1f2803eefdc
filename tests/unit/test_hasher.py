"""Digests of wholes and of parts, made while the bytes come in blocks of any size."""

from __future__ import annotations

import hashlib
from itertools import accumulate, pairwise, repeat
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from object_clerk.checksum.algorithm import CRC32, CRC32C, MD5, SHA256, Algorithm
from object_clerk.checksum.hasher import WHOLE, Hasher, Hashing, Layout, Pieces
from tests.simulation.digests import ALGORITHMS, composite_etag, md5
from tests.unit import crt

MIB = 1 << 20

layouts = st.one_of(
    st.just(WHOLE),
    st.builds(Layout, st.integers(1, 80)),
    st.builds(Layout, st.none(), st.lists(st.integers(1, 80), min_size=1, max_size=6).map(tuple)),
)
ways = st.builds(Hashing, st.sampled_from([MD5, SHA256, CRC32]), layouts)


def compute(algorithm: Algorithm, data: bytes) -> bytes:
    """The digest, computed as plainly as possible."""
    return hashlib.md5(data).digest() if algorithm is MD5 else ALGORITHMS[algorithm.name](data)


def cut(data: bytes, layout: Layout) -> list[bytes]:
    """The parts of some bytes; one empty part if there are none."""
    sizes = [*layout.sizes, *repeat(layout.sizes[-1], len(data))] if layout.sizes else None
    sizes = sizes or [layout.part_size_bytes or 1] * len(data)
    bounds = [at for at in accumulate(sizes, initial=0) if at < len(data)]
    return [data[begin:end] for begin, end in pairwise([*bounds, len(data)])] or [b""]


def expected(way: Hashing, data: bytes) -> bytes:
    if way.layout == WHOLE:
        return compute(way.algorithm, data)
    digests = [compute(way.algorithm, part) for part in cut(data, way.layout)]
    return compute(way.algorithm, b"".join(digests))


@given(
    data=st.binary(max_size=300),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    wanted=st.lists(ways, max_size=5),
    views=st.booleans(),
)
@example(data=b"", sizes=[1], wanted=[Hashing(), Hashing(layout=Layout(5))], views=False)
@example(
    data=b"x" * 10,
    sizes=[5],
    wanted=[Hashing(layout=Layout(size)) for size in (5, 10, 11, 1)],
    views=True,
)
def test_equals_a_plain_computation(
    data: bytes, sizes: list[int], wanted: list[Hashing], views: bool
) -> None:
    """Check 8: whatever the blocks are that the bytes come in."""
    hasher = Hasher(wanted)
    at = turn = 0
    while at < len(data):
        block = data[at : at + sizes[turn % len(sizes)]]
        hasher.update(memoryview(block) if views else block)
        at, turn = at + len(block), turn + 1

    assert hasher.size == len(data)
    assert hasher.digests() == {way: expected(way, data) for way in wanted}
    assert hasher.digests() == hasher.digests()  # asking changes nothing


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=2))
def test_can_be_asked_in_between(blocks: list[bytes]) -> None:
    wanted = [Hashing(), Hashing(SHA256, Layout(7)), Hashing(layout=Layout(None, (3, 9)))]
    hasher = Hasher(wanted)
    seen = b""
    for block in blocks:
        hasher.update(block)
        seen += block
        assert hasher.digests() == {way: expected(way, seen) for way in wanted}


@given(data=st.binary(max_size=300), layout=layouts.filter(lambda layout: layout != WHOLE))
def test_md5_of_parts_is_the_etag(data: bytes, layout: Layout) -> None:
    """Check 8: the ETag of any layout, that of parts of various sizes too."""
    hasher = Hasher([Hashing(layout=layout)])
    hasher.update(data)
    (digest,) = hasher.digests().values()

    assert digest.hex() == composite_etag(cut(data, layout)).partition("-")[0]


@pytest.mark.parametrize("offset", [-1, 0, 1])
@pytest.mark.parametrize("times", [1, 2])
def test_sizes_about_the_part_size(offset: int, times: int) -> None:
    """Check 8: threshold-1, threshold, threshold+1, 2x threshold."""
    data = bytes(100 * times + offset)
    parts = [data[at : at + 100] for at in range(0, len(data), 100)]
    hasher = Hasher([Hashing(layout=Layout(100))])
    hasher.update(data)
    (digest,) = hasher.digests().values()

    assert digest.hex() == composite_etag(parts).partition("-")[0]
    assert len(parts) == -(-len(data) // 100)


def test_nothing_in_parts_is_one_empty_part() -> None:
    way = Hashing(layout=Layout(5))

    assert Hasher([way]).digests()[way].hex() == composite_etag([b""]).partition("-")[0]
    assert Hasher([Hashing()]).digests()[Hashing()].hex() == md5(b"")


def test_every_way_is_computed_once() -> None:
    hasher = Hasher([Hashing(), Hashing(MD5, WHOLE), Hashing(layout=Layout(None))])
    hasher.update(b"bytes")

    assert hasher.digests() == {Hashing(): hashlib.md5(b"bytes").digest()}


def test_what_cannot_be_computed_must_not_be_asked_for() -> None:
    with crt.installed(None), pytest.raises(AssertionError):
        Hasher([Hashing(CRC32C)])


class TestLayout:
    @pytest.mark.parametrize(
        ("layout", "sizes"),
        [
            (WHOLE, [None, None]),
            (Layout(7), [7, 7, 7]),
            (Layout(None, (3, 5, 2)), [3, 5, 2, 2, 2]),
            (Layout(9, (3,)), [3, 3]),
        ],
    )
    def test_size_of(self, layout: Layout, sizes: list[int | None]) -> None:
        assert [layout.size_of(number) for number in range(1, len(sizes) + 1)] == sizes

    def test_sizes_of_parts_are_heeded(self) -> None:
        """Parts of various sizes are not those of one size."""
        data, layout = b"aaabbbbbc", Layout(None, (3, 5, 1))
        hasher = Hasher([Hashing(layout=layout), Hashing(layout=Layout(3))])
        hasher.update(data)
        found = hasher.digests()

        assert found[Hashing(layout=layout)].hex() == composite_etag(
            [b"aaa", b"bbbbb", b"c"]
        ).removesuffix("-3")
        assert len(set(found.values())) == 2

    @pytest.mark.parametrize(
        ("way", "text"),
        [
            (Hashing(), "MD5 of the whole"),
            (Hashing(SHA256), "SHA256 of the whole"),
            (Hashing(CRC32, Layout(8 * MIB)), "CRC32 of parts of 8388608 bytes"),
            (Hashing(layout=Layout(None, (1, 2))), "MD5 of 2 parts of various sizes"),
        ],
    )
    def test_says_what_it_is(self, way: Hashing, text: str) -> None:
        assert str(way) == text


def test_size_counts_bytes() -> None:
    hasher = Hasher([])
    for block in (b"", b"abc", b"d"):
        hasher.update(block)

    assert hasher.size == 4
    assert hasher.digests() == {}


@st.composite
def cut_up(draw: st.DrawFn) -> tuple[bytes, int, list[Hashing]]:
    """Some bytes, the size of pieces, and ways for which such pieces are enough."""
    step = draw(st.integers(1, 60))
    sizes = [size for size in range(1, step + 1) if step % size == 0]
    parts = st.builds(Hashing, st.sampled_from([MD5, CRC32]), st.sampled_from(sizes).map(Layout))
    made = st.one_of(st.just(Hashing(CRC32)), parts)
    return draw(st.binary(min_size=1, max_size=300)), step, draw(st.lists(made, max_size=4))


class TestPieces:
    """What several threads have hashed, put together."""

    @given(cut=cut_up(), random=st.randoms(use_true_random=False))
    @example(cut=(b"x" * 100, 100, [Hashing(), Hashing(SHA256, Layout(7))]), random=Random(1))
    @example(cut=(b"", 100, [Hashing(), Hashing(CRC32)]), random=Random(1))
    def test_equals_a_plain_computation(
        self, cut: tuple[bytes, int, list[Hashing]], random: Random
    ) -> None:
        """Check 8: in whatever order they come; and one piece is enough for anything."""
        data, step, wanted = cut
        pieces = Pieces(wanted)
        offsets = list(range(0, len(data), step))
        random.shuffle(offsets)
        for offset in offsets:
            piece = pieces.hasher()
            piece.update(data[offset : offset + step])
            assert not pieces.put(offset, piece)

        assert pieces.size == len(data)
        assert pieces.digests() == {way: expected(way, data) for way in wanted}

    @pytest.mark.parametrize(
        ("way", "served"),
        [
            (Hashing(CRC32), True),
            (Hashing(), False),
            (Hashing(SHA256), False),
            (Hashing(layout=Layout(5)), True),
            (Hashing(layout=Layout(10)), True),
            (Hashing(CRC32, Layout(20)), False),
            (Hashing(layout=Layout(3)), False),
            (Hashing(layout=Layout(None, (5, 10))), False),
        ],
        ids=str,
    )
    def test_pieces_of_ten_bytes_serve(self, way: Hashing, served: bool) -> None:
        assert Pieces.serve([way], 10) is served
        assert Pieces.serve([way, Hashing()], 10) is False

    def test_a_piece_that_comes_again_takes_the_place_of_the_first(self) -> None:
        pieces = Pieces([Hashing(layout=Layout(4))])
        differed = []
        for offset, content in [(4, b"two!"), (0, b"oen!"), (0, b"one!"), (4, b"two!")]:
            piece = pieces.hasher()
            piece.update(content)
            differed.append(pieces.put(offset, piece))

        assert differed == [False, False, True, False]
        assert pieces.size == 8
        assert pieces.digests() == {w: expected(w, b"one!two!") for w in pieces.digests()}
