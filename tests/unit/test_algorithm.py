"""Digests and CRCs: the right values, and the CRC of a whole from those of its pieces."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from object_clerk.checksum import algorithm
from object_clerk.checksum.algorithm import (
    CRC32,
    CRC32C,
    CRC64NVME,
    MD5,
    SHA1,
    SHA256,
    STORED,
    Algorithm,
)
from tests.simulation.digests import ALGORITHMS
from tests.unit import crt

if TYPE_CHECKING:
    from collections.abc import Iterator

CRCS = (CRC32, CRC32C, CRC64NVME)
NEED_CRT = (CRC32C, CRC64NVME)

CHECK = b"123456789"
#: What everybody's implementation gives for these nine bytes.
CHECK_VALUES = {
    MD5: "25f9e794323b453885f5181f1b624d0b",
    SHA1: "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    CRC32: "cbf43926",
    CRC32C: "e3069283",
    CRC64NVME: "ae8b14860a799888",
}

EACH = pytest.mark.parametrize("each", STORED, ids=lambda each: each.name)
EACH_CRC = pytest.mark.parametrize("crc", CRCS, ids=lambda crc: crc.name)


@pytest.fixture
def _with_crt() -> Iterator[None]:
    with crt.installed(crt.stand_in("crc32c", "crc64nvme")):
        yield


@pytest.fixture
def _without_crt() -> Iterator[None]:
    with crt.installed(None):
        yield


def digest(each: Algorithm, *blocks: bytes | memoryview) -> bytes:
    """The digest of some blocks."""
    state = each.new()
    assert state is not None
    for block in blocks:
        state.update(block)
    return state.digest()


@pytest.mark.usefixtures("_with_crt")
class TestValues:
    @EACH
    def test_check_value(self, each: Algorithm) -> None:
        assert digest(each, CHECK).hex() == CHECK_VALUES[each]
        assert digest(each, CHECK[:4], memoryview(CHECK)[4:]).hex() == CHECK_VALUES[each]
        assert len(CHECK_VALUES[each]) == 2 * each.size

    @EACH
    def test_nothing_has_a_digest_too(self, each: Algorithm) -> None:
        expected = hashlib.md5(b"").digest() if each is MD5 else ALGORITHMS[each.name](b"")

        assert digest(each) == expected

    @EACH
    def test_asking_changes_nothing(self, each: Algorithm) -> None:
        state = each.new()
        assert state is not None
        state.update(CHECK[:3])
        first = state.digest()

        assert state.digest() == first == digest(each, CHECK[:3])
        state.update(CHECK[3:])
        assert state.digest().hex() == CHECK_VALUES[each]

    @EACH
    def test_every_state_is_its_own(self, each: Algorithm) -> None:
        one, other = each.new(), each.new()
        assert one is not None
        assert other is not None
        one.update(b"anything")
        other.update(CHECK)

        assert other.digest().hex() == CHECK_VALUES[each]


def test_names_are_those_of_boto3() -> None:
    assert [each.member for each in STORED] == [
        "ChecksumCRC64NVME",
        "ChecksumSHA256",
        "ChecksumMD5",
        "ChecksumCRC32C",
        "ChecksumCRC32",
        "ChecksumSHA1",
    ]


@EACH_CRC
def test_polynomials_are_those_that_combine(crc: Algorithm) -> None:
    """Those that are none have no polynomial, and are never taken for a CRC."""
    assert crc.polynomial >> 8 * crc.size == 0
    assert crc.polynomial
    assert not any(each.polynomial for each in (MD5, SHA1, SHA256))


class TestWithoutCrt:
    @pytest.mark.usefixtures("_without_crt")
    def test_two_cannot_be_computed(self) -> None:
        assert [each for each in STORED if not each.available] == [CRC64NVME, CRC32C]
        assert [each for each in STORED if each.new() is None] == [CRC64NVME, CRC32C]

    @pytest.mark.usefixtures("_without_crt")
    @pytest.mark.parametrize("each", [MD5, SHA1, SHA256, CRC32], ids=lambda each: each.name)
    def test_all_others_can(self, each: Algorithm) -> None:
        assert each.available
        assert digest(each, CHECK).hex() == CHECK_VALUES[each]

    def test_an_old_one_lacks_some(self) -> None:
        with crt.installed(crt.stand_in("crc32c")):
            assert [each for each in STORED if not each.available] == [CRC64NVME]
            assert digest(CRC32C, CHECK).hex() == CHECK_VALUES[CRC32C]

    @EACH_CRC
    def test_pieces_are_combined_all_the_same(self, crc: Algorithm) -> None:
        pieces = [(ALGORITHMS[crc.name](part), len(part)) for part in (CHECK[:2], CHECK[2:])]
        with crt.installed(None):
            assert crc.combine(pieces).hex() == CHECK_VALUES[crc]

    @pytest.mark.parametrize("crc", NEED_CRT, ids=lambda crc: crc.name)
    def test_the_real_one(self, crc: Algorithm) -> None:
        module = pytest.importorskip(crt.NAME, reason="the extra crt is not installed")
        with crt.installed(module):
            assert sys.modules[crt.NAME] is module
            assert digest(crc, CHECK[:5], CHECK[5:]).hex() == CHECK_VALUES[crc]


class TestCombine:
    @EACH_CRC
    @given(pieces=st.lists(st.binary(max_size=40), max_size=6))
    @example(pieces=[])
    @example(pieces=[b""])
    @example(pieces=[b"", CHECK, b"", b"", b"x", b""])
    @example(pieces=[bytes(300), bytes(1)])
    def test_equals_the_crc_of_the_concatenation(self, crc: Algorithm, pieces: list[bytes]) -> None:
        computed = ALGORITHMS[crc.name]
        combined = crc.combine((computed(piece), len(piece)) for piece in pieces)

        assert combined == computed(b"".join(pieces))

    @EACH_CRC
    @given(data=st.data())
    def test_lengths_of_parts(self, crc: Algorithm, data: st.DataObject) -> None:
        """In which order pieces are combined does not matter, however long they are."""
        digests = st.binary(min_size=crc.size, max_size=crc.size)
        pieces = data.draw(
            st.lists(st.tuples(digests, st.integers(0, 1 << 45)), min_size=3, max_size=3)
        )
        first, second, third = pieces
        beginning = (crc.combine([first, second]), first[1] + second[1])
        rest = (crc.combine([second, third]), second[1] + third[1])

        assert crc.combine(pieces) == crc.combine([beginning, third])
        assert crc.combine(pieces) == crc.combine([first, rest])

    @EACH_CRC
    def test_the_order_counts(self, crc: Algorithm) -> None:
        computed = ALGORITHMS[crc.name]
        pieces = [(computed(b"ab"), 2), (computed(b"c"), 1)]

        assert crc.combine(pieces) != crc.combine(reversed(pieces))

    def test_many_parts_take_no_time(self) -> None:
        """The factor of a length is computed once, so ten thousand parts are no burden."""
        algorithm._zeros.cache_clear()
        CRC64NVME.combine([(bytes(8), 8 << 20)] * 1000)

        assert algorithm._zeros.cache_info().misses == 1
