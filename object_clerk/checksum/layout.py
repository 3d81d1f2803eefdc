"""Where an object's parts begin and end."""

from __future__ import annotations

import dataclasses
from itertools import chain
from typing import TYPE_CHECKING

from object_clerk.checksum.etag import parts_of
from object_clerk.checksum.hasher import WHOLE, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20

#: Limits of a multipart upload (Amazon S3 user guide, "Multipart upload limits").
SMALLEST_PART = 5 * MIB
MOST_PARTS = 10_000

#: Part sizes that well-known tools use by default or by habit, most usual first.
USUAL_PART_SIZES = (
    *(n * MIB for n in (8, 5, 16, 10, 15, 25, 32, 50, 64, 100, 128, 250, 256, 500, 512, 1024)),
    *(n * 1_000_000 for n in (5, 8, 10, 16, 50, 64, 100, 500)),
    5 * MIB + 1024,
)

#: Every layout tried costs an MD5 of the whole object: so many while the bytes arrive, and so
#: many more of bytes that are at hand afterwards.
MOST_CANDIDATES = 4
MOST_LATER_CANDIDATES = 128


@dataclasses.dataclass(frozen=True, slots=True)
class PartRange:
    """One part: its number (from 1), where it begins, and how long it is, in bytes."""

    number: int
    offset: int
    length: int


def split(size: int, part_size: int) -> Iterator[PartRange]:
    """Cut ``size`` bytes into parts of ``part_size``, the last one shorter; none if empty."""
    for number, offset in enumerate(range(0, size, part_size), 1):
        yield PartRange(number, offset, min(part_size, size - offset))


def upload_part_size(part_size: int) -> int:
    """The part size to use where ``part_size`` is wished: S3 takes none below 5 MiB."""
    return max(part_size, SMALLEST_PART)


def smallest_part_size_for(size: int) -> int:
    """The part size below which ``size`` bytes would need more than 10,000 parts."""
    return -(-size // MOST_PARTS)


def fits(layout: Layout, size: int, parts: int) -> bool:
    """Whether ``size`` bytes in this layout make so many parts."""
    if layout.sizes:
        return len(layout.sizes) == parts and sum(layout.sizes) == size
    part_size = layout.part_size_bytes
    return part_size is not None and part_size > 0 and -(-size // part_size) == parts


def candidate_layouts(etag: str | None, size: int, own_part_size: int) -> Iterator[Layout]:
    """The layouts under which ``size`` bytes may have got this ETag, the likeliest first.

    A plain MD5 has one. A composite of N parts has those of our own part size and of the usual
    ones that give N parts, then those of all whole MiB that do. An ETag that is neither has none.
    """
    parts = parts_of(etag)
    if parts is None:
        return
    if parts == 0:
        yield WHOLE
        return
    if parts == 1:  # any size that holds all the bytes gives the same composite
        yield Layout(max(size, 1))
        return
    # size / parts <= part size < size / (parts - 1)
    least, beyond = -(-size // parts), -(-size // (parts - 1))
    whole_mib = range(-(-least // MIB) * MIB, beyond, MIB)
    own = upload_part_size(own_part_size)
    for part_size in dict.fromkeys(chain((own,), USUAL_PART_SIZES, whole_mib)):
        if least <= part_size < beyond:
            yield Layout(part_size)
