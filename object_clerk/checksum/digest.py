"""MD5 and CRC32 as S3 uses them: against accidents, not against attackers."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Iterable


def md5() -> HASH:
    """A new MD5 state; it also works where policy forbids MD5 for security."""
    return hashlib.md5(usedforsecurity=False)


def md5_of(blocks: Iterable[bytes | memoryview]) -> bytes:
    """The MD5 digest of all blocks, 16 bytes."""
    state = md5()
    for block in blocks:
        state.update(block)
    return state.digest()


@dataclasses.dataclass(frozen=True, slots=True)
class Digests:
    """What is sent along with a body so that the server can check it.

    Attributes:
        md5: 16 bytes.
        crc32: 4 bytes, big-endian.
    """

    md5: bytes
    crc32: bytes

    @classmethod
    def of(cls, blocks: Iterable[bytes | memoryview]) -> Digests:
        """Both digests in one pass."""
        state, crc = md5(), 0
        for block in blocks:
            state.update(block)
            crc = zlib.crc32(block, crc)
        return cls(state.digest(), crc.to_bytes(4))

    @property
    def content_md5(self) -> str:
        """The value of a Content-MD5 header (RFC 1864)."""
        return base64.b64encode(self.md5).decode()

    @property
    def checksum_crc32(self) -> str:
        """The value of an x-amz-checksum-crc32 header."""
        return base64.b64encode(self.crc32).decode()
