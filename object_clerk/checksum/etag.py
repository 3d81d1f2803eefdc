"""What an ETag can tell.

A plain ETag of 32 hexadecimal digits is, for most stores, the MD5 of the object. An object made
of parts has ``md5(md5(part 1) + md5(part 2) + ...)-N`` (Amazon S3 user guide, "Checking object
integrity"). Under SSE-KMS and SSE-C, and on some stores always, it is neither.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from object_clerk.checksum.digest import md5_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_ETAG = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]{0,4}))?", re.IGNORECASE)


def bare(etag: str | None) -> str | None:
    """The ETag without quotes and weakness mark; None if there is none."""
    if not etag:
        return None
    return etag.removeprefix("W/").strip('"') or None


def parts_of(etag: str | None) -> int | None:
    """The N of a composite ETag ``...-N``; 0 for a plain MD5; None if it is neither."""
    match = _ETAG.fullmatch(etag or "")
    return None if match is None else int(match[2] or 0)


def digest_of(etag: str | None) -> bytes:
    """The 16 bytes of an ETag that :func:`parts_of` has found to be made from MD5."""
    match = _ETAG.fullmatch(etag or "")
    return bytes.fromhex(match[1]) if match else b""


def composite_of(etags: Sequence[str | None]) -> str:
    """The ETag of an object made of parts with these ETags; empty if one is not an MD5."""
    if any(parts_of(etag) != 0 for etag in etags):
        return ""
    return composite([digest_of(etag) for etag in etags])


def composite(digests: Sequence[bytes]) -> str:
    """The ETag of an object made of parts with these MD5 digests."""
    return f"{md5_of(digests).hex()}-{len(digests)}"
