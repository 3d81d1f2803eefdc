"""Several digests of an object's bytes in one pass, of the whole or of its parts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from object_clerk.checksum.algorithm import MD5, Algorithm, Hash

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


class _State:
    def __init__(self, way: Hashing) -> None:
        self._way = way
        self._finished: list[bytes] = []
        self._begin_part()

    def _begin_part(self) -> None:
        self._current = _new(self._way.algorithm)
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

    def digest(self) -> bytes:
        if self._left is None:
            return self._current.digest()
        whole = _new(self._way.algorithm)
        for digest in [*self._finished, self._current.digest()]:
            whole.update(digest)
        return whole.digest()


def _new(algorithm: Algorithm) -> Hash:
    state = algorithm.new()
    assert state is not None, "only what is available is asked for"
    return state
