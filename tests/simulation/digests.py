"""Checksums as S3 defines them, written apart from the package's own so that one checks the other.

They are slow, and the objects of the simulation are a few hundred bytes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@functools.cache
def _table(polynomial: int) -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return table


def _crc(data: bytes, polynomial: int, bits: int) -> bytes:
    table = _table(polynomial)
    crc = ones = (1 << bits) - 1
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return (crc ^ ones).to_bytes(bits // 8)


#: Algorithm -> digest of some bytes. The polynomials are the reflected ones.
ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4),
    "CRC32C": lambda data: _crc(data, 0x82F63B78, 32),
    "CRC64NVME": lambda data: _crc(data, 0x9A6C9329AC4BC9B5, 64),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}


def checksum(algorithm: str, data: bytes) -> str:
    """The value of an x-amz-checksum header."""
    return base64.b64encode(ALGORITHMS[algorithm](data)).decode()


def composite_checksum(algorithm: str, parts: Sequence[bytes]) -> str:
    """The checksum of the parts' checksums, with the number of parts."""
    digests = b"".join(ALGORITHMS[algorithm](part) for part in parts)
    return f"{checksum(algorithm, digests)}-{len(parts)}"


def md5(data: bytes) -> str:
    """The ETag of an object that was stored in one piece."""
    return hashlib.md5(data).hexdigest()


def composite_etag(parts: Sequence[bytes]) -> str:
    """The ETag of an object that was made of these parts."""
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f"{md5(digests)}-{len(parts)}"


def content_md5(data: bytes) -> str:
    """The value of a Content-MD5 header."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()
