"""The digests that stores keep of objects, and what computes them here.

CRC32C and CRC64NVME need the extra ``crt``: without it they count as unknown, and other evidence
is used. The names are those of ``x-amz-checksum-*`` (Amazon S3 user guide, "Checking object
integrity").
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import importlib
import zlib
from typing import TYPE_CHECKING, Any, Protocol

from object_clerk.checksum.digest import md5

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class Hash(Protocol):
    """The state of a digest."""

    def update(self, block: bytes | memoryview, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The digest of the bytes taken so far."""


@dataclasses.dataclass(frozen=True, slots=True)
class Algorithm:
    """One kind of digest.

    Attributes:
        name: its name in S3's terms, such as ``CRC64NVME``.
        size: the length of a digest in bytes.
        polynomial: that of a CRC, bits reversed; 0 if it is none.
    """

    name: str
    size: int
    polynomial: int = 0

    @property
    def member(self) -> str:
        """The name boto3 gives the header ``x-amz-checksum-*``."""
        return f"Checksum{self.name}"

    def new(self) -> Hash | None:
        """A fresh state; None if nothing that is installed computes it."""
        if self.name == "MD5":
            return md5()
        if not self.polynomial:
            return hashlib.new(self.name)
        step = _crc_step(self.name)
        return None if step is None else _Crc(step, self.size)

    @property
    def available(self) -> bool:
        """Whether it can be computed here."""
        return not self.polynomial or _crc_step(self.name) is not None

    def combine(self, pieces: Iterable[tuple[bytes, int]]) -> bytes:
        """The CRC of a whole from the CRCs and lengths of its pieces, in order."""
        whole = 0
        for digest, length in pieces:
            whole = _times(self, _zeros(self, length), whole) ^ int.from_bytes(digest)
        return whole.to_bytes(self.size)


MD5 = Algorithm("MD5", 16)
SHA1 = Algorithm("SHA1", 20)
SHA256 = Algorithm("SHA256", 32)
CRC32 = Algorithm("CRC32", 4, 0xEDB88320)
CRC32C = Algorithm("CRC32C", 4, 0x82F63B78)
CRC64NVME = Algorithm("CRC64NVME", 8, 0x9A6C9329AC4BC9B5)

#: Those that stores keep, the most trusted of the cheap ones first.
STORED = (CRC64NVME, SHA256, MD5, CRC32C, CRC32, SHA1)


def digests_of(
    algorithms: Collection[Algorithm], blocks: Iterable[bytes | memoryview]
) -> dict[Algorithm, bytes]:
    """The digests of all blocks, in one pass. All algorithms have to be available."""
    states = {algorithm: new_state(algorithm) for algorithm in algorithms}
    for block in blocks:
        for state in states.values():
            state.update(block)
    return {algorithm: state.digest() for algorithm, state in states.items()}


def new_state(algorithm: Algorithm) -> Hash:
    """A fresh state of an algorithm that is available."""
    state = algorithm.new()
    assert state is not None, "only what is available is asked for"
    return state


def in_header(digest: bytes) -> str:
    """A digest as Content-MD5 and ``x-amz-checksum-*`` have it."""
    return base64.b64encode(digest).decode()


@functools.lru_cache(maxsize=64)
def _zeros(crc: Algorithm, length: int) -> int:
    """What ``length`` zero bytes multiply a CRC by: x to the power of 8 * length."""
    factor = 1 << (8 * crc.size - 1)
    power = factor >> 8
    while length:
        if length & 1:
            factor = _times(crc, factor, power)
        power = _times(crc, power, power)
        length >>= 1
    return factor


def _times(crc: Algorithm, a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo that of the CRC, bits reversed."""
    product = 0
    for bit in range(8 * crc.size - 1, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (crc.polynomial if b & 1 else 0)
    return product


class _Crc:
    def __init__(self, step: Callable[[Any, int], int], size: int) -> None:
        self._step = step
        self._size = size
        self._value = 0

    def update(self, block: bytes | memoryview, /) -> None:
        self._value = self._step(block, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size)


@functools.cache
def _crc_step(name: str) -> Callable[[Any, int], int] | None:
    if name == "CRC32":
        return zlib.crc32
    try:
        crt = importlib.import_module("awscrt.checksums")
    except ImportError:
        return None
    return getattr(crt, name.lower(), None)
