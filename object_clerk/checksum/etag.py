"""What an ETag can tell.

A plain ETag of 32 hexadecimal digits is, for most stores, the MD5 of the object. An object made
of parts has ``md5(md5(part 1) + md5(part 2) + ...)-N`` (Amazon S3 user guide, "Checking object
integrity"). Under SSE-KMS and SSE-C, and on some stores always, it is neither.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from object_clerk.checksum.digest import md5, md5_of

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


def composite(digests: Sequence[bytes]) -> str:
    """The ETag of an object made of parts with these MD5 digests."""
    return f"{md5_of(digests).hex()}-{len(digests)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """How an object's bytes may have been uploaded: whole (None) or in parts of one size."""

    part_size_bytes: int | None

    def __str__(self) -> str:
        if self.part_size_bytes is None:
            return "MD5 of the whole"
        return f"MD5 of parts of {self.part_size_bytes} bytes"


class EtagHasher:
    """Computes, in one pass, the ETags that an object's bytes have under several layouts."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self._states = {layout: _LayoutState(layout.part_size_bytes) for layout in layouts}
        self.size = 0

    def update(self, block: bytes | memoryview) -> None:
        """Take the next bytes of the object."""
        self.size += len(block)
        for state in self._states.values():
            state.update(block)

    def etags(self) -> dict[Layout, str]:
        """The ETag under each layout, of the bytes taken so far."""
        return {layout: state.etag() for layout, state in self._states.items()}


class _LayoutState:
    def __init__(self, part_size: int | None) -> None:
        self._part_size = part_size
        self._finished: list[bytes] = []
        self._current = md5()
        self._filled = 0

    def update(self, block: bytes | memoryview) -> None:
        if self._part_size is None:
            self._current.update(block)
            return
        view = memoryview(block)
        while view:
            if self._filled == self._part_size:
                self._finished.append(self._current.digest())
                self._current, self._filled = md5(), 0
            piece = view[: self._part_size - self._filled]
            self._current.update(piece)
            self._filled += len(piece)
            view = view[len(piece) :]

    def etag(self) -> str:
        if self._part_size is None:
            return self._current.hexdigest()
        return composite([*self._finished, self._current.digest()])
