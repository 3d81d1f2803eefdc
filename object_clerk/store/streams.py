"""Streams that have to be as long as somebody said."""

from __future__ import annotations

import io
from typing import IO

from object_clerk.exceptions import ObjectSaveException


class ExactStream(io.RawIOBase):
    """A stream that fails at its end if it does not have ``length`` bytes; not to be rewound."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        super().__init__()
        self._stream = stream
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes.

        Raises:
            ObjectSaveException: there are fewer bytes than was said, or more.
        """
        data = self._stream.read(size)
        self._position += len(data)
        ended = not data and size != 0
        if self._position > self._length or (ended and self._position < self._length):
            than = "more" if self._position > self._length else "fewer"
            raise ObjectSaveException(f"the stream has {than} than the {self._length} bytes stated")
        return data
