"""Several digests of an object's bytes in one pass, of the whole or of its parts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from object_clerk.checksum.algorithm import MD5, Algorithm, new_state

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """How an object's bytes were uploaded: whole (None), or in parts of one size or of many.

    Attributes:
        part_size_bytes: the size of all parts but the last; None if it was uploaded whole.
        sizes: the sizes of parts that differ, in order; the last one counts for all that follow.
    """

    part_size_bytes: int | None
    sizes: tuple[int, ...] = ()

    def size_of(self, number: int) -> int | None:
        """The size of the part with this number, from 1; None if there are no parts."""
        if self.sizes:
            return self.sizes[min(number, len(self.sizes)) - 1]
        return self.part_size_bytes

    def __str__(self) -> str:
        if self.sizes:
            return f"{len(self.sizes)} parts of various sizes"
        if self.part_size_bytes is None:
            return "the whole"
        return f"parts of {self.part_size_bytes} bytes"


WHOLE = Layout(None)


@dataclasses.dataclass(frozen=True, slots=True)
class Hashing:
    """A way to make one digest of an object: of the whole, or of the digests of its parts."""

    algorithm: Algorithm = MD5
    layout: Layout = WHOLE

    def __str__(self) -> str:
        return f"{self.algorithm.name} of {self.layout}"


class Hasher:
    """Computes the digests of a stretch of bytes in several ways at once."""

    def __init__(self, ways: Iterable[Hashing]) -> None:
        self._states = {way: _State(way) for way in ways}
        self.size = 0

    def update(self, block: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.size += len(block)
        for state in self._states.values():
            state.update(block)

    def digests(self) -> dict[Hashing, bytes]:
        """The digest in each way, of the bytes taken so far."""
        return {way: state.digest() for way, state in self._states.items()}

    def digests_of_parts(self, way: Hashing) -> list[bytes]:
        """The digests of the parts that the one in this way is made of; of the whole, just that."""
        return self._states[way].digests_of_parts()


class Pieces:
    """The digests of an object from those of its pieces, hashed side by side and in any order."""

    def __init__(self, ways: Iterable[Hashing]) -> None:
        self._ways = list(ways)
        self._pieces: dict[int, Hasher] = {}

    @staticmethod
    def serve(ways: Iterable[Hashing], step: int) -> bool:
        """Whether pieces of ``step`` bytes are enough: each of whole parts, or joined as CRCs."""
        return all(
            bool(way.algorithm.polynomial)
            if way.layout == WHOLE
            else way.layout.part_size_bytes and step % way.layout.part_size_bytes == 0
            for way in ways
        )

    @property
    def size(self) -> int:
        """The bytes of all pieces so far."""
        return sum(piece.size for piece in self._pieces.values())

    def hasher(self) -> Hasher:
        """What a piece is to be hashed with."""
        return Hasher(self._ways)

    def put(self, offset: int, piece: Hasher) -> bool:
        """Take the piece that begins at ``offset``; whether it differs from the one before."""
        before = self._pieces.get(offset)
        self._pieces[offset] = piece
        return before is not None and before.digests() != piece.digests()

    def digests(self) -> dict[Hashing, bytes]:
        """The digest in each way of all pieces, in the order of their offsets."""
        # An object of no bytes has no pieces either.
        pieces = [self._pieces[offset] for offset in sorted(self._pieces)] or [self.hasher()]
        if len(pieces) == 1:
            return pieces[0].digests()
        return {way: self._joined(way, pieces) for way in self._ways}

    def _joined(self, way: Hashing, pieces: list[Hasher]) -> bytes:
        if way.layout == WHOLE:
            return way.algorithm.combine((p.digests_of_parts(way)[0], p.size) for p in pieces)
        return _digest(way.algorithm, (d for p in pieces for d in p.digests_of_parts(way)))


class _State:
    def __init__(self, way: Hashing) -> None:
        self._way = way
        self._finished: list[bytes] = []
        self._begin_part()

    def _begin_part(self) -> None:
        self._current = new_state(self._way.algorithm)
        self._left = self._way.layout.size_of(len(self._finished) + 1)

    def update(self, block: bytes | memoryview) -> None:
        if self._left is None:
            self._current.update(block)
            return
        view = memoryview(block)
        while view:
            if not self._left:
                self._finished.append(self._current.digest())
                self._begin_part()
            assert self._left is not None
            piece = view[: self._left]
            self._current.update(piece)
            self._left -= len(piece)
            view = view[len(piece) :]

    def digests_of_parts(self) -> list[bytes]:
        return [*self._finished, self._current.digest()]

    def digest(self) -> bytes:
        if self._left is None:
            return self._current.digest()
        return _digest(self._way.algorithm, self.digests_of_parts())


def _digest(algorithm: Algorithm, digests: Iterable[bytes]) -> bytes:
    whole = new_state(algorithm)
    for digest in digests:
        whole.update(digest)
    return whole.digest()
