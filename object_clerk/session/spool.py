"""Bytes of which any can be read, as often as they are wanted."""

from __future__ import annotations

import contextlib
import tempfile
from typing import IO, TYPE_CHECKING, cast

from object_clerk.exceptions import ObjectSaveException
from object_clerk.session.contents import read, seek
from object_clerk.session.zstd import STEP_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from object_clerk.session.contents import Contents


class Spool:
    """A file, or what can be read like one.

    Args:
        file: the file.
        start: where in it the bytes begin.
        ours: whether to close it.
    """

    def __init__(self, file: IO[bytes], start: int = 0, *, ours: bool = False) -> None:
        self._file = file
        self._start = start
        self._ours = ours

    @classmethod
    def of(cls, contents: Contents) -> Spool:
        """Contents whose size is known."""
        if contents.whole is not None:
            return cls(cast("IO[bytes]", _View(contents.whole)))
        assert contents.stream is not None
        assert contents.start is not None
        return cls(contents.stream, contents.start)

    @classmethod
    def written(cls, blocks: Iterable[bytes | memoryview], folder: Path | None) -> Spool:
        """A temporary file of these bytes.

        Raises:
            ObjectSaveException: it cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - close() does
                stack.callback(_discard, file)
                for block in blocks:
                    file.write(block)
                file.flush()
            except OSError as error:
                raise ObjectSaveException(
                    f"the temporary file of a large put cannot be written: {error}"
                ) from error
            stack.pop_all()
        return cls(cast("IO[bytes]", file), ours=True)

    def blocks(self, offset: int, count: int) -> Blocks:
        """Some of the bytes."""
        return Blocks(self._file, self._start + offset, count)

    def close(self) -> None:
        """Remove the file, if it is ours."""
        if self._ours:
            _discard(self._file)


class Blocks:
    """Some bytes of a file, from their first one each time.

    Args:
        file: the file.
        position: where in it they begin.
        count: how many there are.
    """

    def __init__(self, file: IO[bytes], position: int, count: int) -> None:
        self._file = file
        self._position = position
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        """The bytes.

        Raises:
            ObjectSaveException: they cannot be read, or are not as many any more.
        """
        seek(self._file, self._position)
        left = self._count
        while left > 0:
            block = read(self._file, min(left, STEP_BYTES))
            if not block:
                raise ObjectSaveException("the contents became shorter while they were sent")
            yield block[:left]
            left -= len(block)


class _View:
    """A file over bytes in memory, which it does not copy."""

    def __init__(self, whole: memoryview) -> None:
        self._whole = whole
        self._position = 0

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, size: int) -> memoryview:
        block = self._whole[self._position : self._position + size]
        self._position += len(block)
        return block


def _discard(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # a full disk may fail it once more
        file.close()
