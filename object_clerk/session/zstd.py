"""Zstandard in bounded steps: a stream never stands in memory as a whole."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ZSTD", "Compressor", "Decompressor", "FrameError", "compressed", "decompressed", "zstd"]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: What it is called in Content-Encoding (RFC 8878).
ZSTD = "zstd"

LEVEL = 3

#: The largest piece that a step takes or gives.
STEP_BYTES = 128 * 1024

#: What a new frame is given at first: a decompressor makes a copy of what it does not use, which
#: would be of nearly all, again and again, where frames are tiny.
_FIRST_BYTES = 4096

#: Frames that want to look back further are refused: a reader would have to keep so much.
LARGEST_WINDOW_LOG = 27


class FrameError(ValueError):
    """These are no zstd frames, or not whole ones."""


class Compressor:
    """Makes one frame, with the checksum of its content in it."""

    def __init__(self) -> None:
        parameters = zstd.CompressionParameter
        self._state = zstd.ZstdCompressor(
            options={parameters.compression_level: LEVEL, parameters.checksum_flag: 1}
        )

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """What can be said of the frame after more content."""
        view = memoryview(data).cast("B")
        for begin in range(0, len(view), STEP_BYTES):
            if block := self._state.compress(view[begin : begin + STEP_BYTES]):
                yield block

    def finish(self) -> bytes:
        """The end of the frame."""
        return self._state.flush()


class Decompressor:
    """Takes frames apart, one after the other, in steps of at most ``STEP_BYTES``.

    Args:
        window_log: frames that look back further than ``2 ** window_log`` bytes are refused.
    """

    def __init__(self, window_log: int = LARGEST_WINDOW_LOG) -> None:
        self._options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: window_log}
        self._state = zstd.ZstdDecompressor(options=self._options)
        self._within = False  # a frame
        self._seen = False  # any frame

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """The content that more bytes of the frames give.

        Raises:
            FrameError: they are no zstd, are damaged, or want too much memory.
        """
        view, position = memoryview(data).cast("B"), 0
        while position < len(view) or (self._within and not self._state.needs_input):
            size = STEP_BYTES if self._within else _FIRST_BYTES
            step = bytes(view[position : position + size]) if self._wants_more() else b""
            position += len(step)
            self._within = True
            try:
                block = self._state.decompress(step, STEP_BYTES)
            except zstd.ZstdError as error:
                raise FrameError(f"no zstd frame that can be read: {error}") from None
            if block:
                yield block
            if self._state.eof:
                position -= len(self._state.unused_data)
                self._state = zstd.ZstdDecompressor(options=self._options)
                self._within, self._seen = False, True

    def _wants_more(self) -> bool:
        return not self._within or self._state.needs_input

    def finish(self) -> None:
        """Say that no more bytes come.

        Raises:
            FrameError: the last frame is not whole, or there was none.
        """
        if self._within or not self._seen:
            raise FrameError("the zstd frame is cut off")


def compressed(blocks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """A frame of all blocks."""
    compressor = Compressor()
    for block in blocks:
        yield from compressor.feed(block)
    yield compressor.finish()


def decompressed(blocks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The content of the frames in all blocks.

    Raises:
        FrameError: they are not whole, or no frames.
    """
    decompressor = Decompressor()
    for block in blocks:
        yield from decompressor.feed(block)
    decompressor.finish()
