"""What ETags say, and the two digests that go along with every body."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from object_clerk.checksum.digest import Digests, md5_of
from object_clerk.checksum.etag import bare, composite, composite_of, digest_of, parts_of
from tests.simulation.digests import composite_etag, md5

PLAIN = "0123456789abcdef0123456789abcdef"


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


@pytest.mark.parametrize(
    ("etag", "stripped"),
    [('"abc"', "abc"), ("abc", "abc"), ('W/"abc"', "abc"), ('""', None), ("", None),
     (None, None)],
)  # fmt: skip
def test_bare(etag: str | None, stripped: str | None) -> None:
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
def test_parts_of(etag: str | None, parts: int | None) -> None:
    assert parts_of(etag) == parts


@pytest.mark.parametrize(
    ("etag", "digest"),
    [
        (PLAIN, bytes.fromhex(PLAIN)),
        (PLAIN.upper(), bytes.fromhex(PLAIN)),
        (f"{PLAIN}-12", bytes.fromhex(PLAIN)),
        ("opaque", b""),
        (None, b""),
    ],
)
def test_digest_of(etag: str | None, digest: bytes) -> None:
    assert digest_of(etag) == digest


def test_composite() -> None:
    parts = [bytes(100), bytes(range(150))]

    assert composite([hashlib.md5(part).digest() for part in parts]) == composite_etag(parts)
    assert composite_of([md5(part) for part in parts]) == composite_etag(parts)
    assert composite_of([md5(part).upper() for part in parts]) == composite_etag(parts)


@pytest.mark.parametrize("etag", ["opaque", f"{PLAIN}-1", None, ""])
def test_one_that_is_no_md5_spoils_a_composite(etag: str | None) -> None:
    assert composite_of([PLAIN, etag]) == composite_of([etag, PLAIN]) == ""
