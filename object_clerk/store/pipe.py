"""From an async iterator to a thread that reads a file, with little in between."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkTypeException

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

#: Bytes that may lie between the producer and the upload, before the producer has to wait.
ROOM_BYTES = 4 << 20


class Pipe:
    """Blocks of an async iterator, as a binary file for a thread.

    The producer is asked for the first block when the thread reads, and for another while there is
    room. So what waits is at most ``ROOM_BYTES`` and one block. Made in the event loop that feeds
    it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._changed = threading.Condition()
        self._blocks: deque[memoryview] = deque()
        self._held = 0
        self._asked = False  # for more, since it was last said that there is no room
        self._ended = False
        self._broken = False
        #: The thread's end.
        self.reader: IO[bytes] = io.BufferedReader(_Reader(self))

    async def feed(self, blocks: AsyncIterable[Any]) -> None:
        """Pass the blocks on, to the last one."""
        try:
            # Not before the upload has a thread: those that wait for one must not hold anything.
            await self._room.wait()
            async for block in blocks:
                if content := _content(block):  # an empty one would look like the end
                    await self._put(content)
        except BaseException:
            self.break_off()
            raise
        with self._changed:
            self._ended = True
            self._changed.notify()

    def break_off(self) -> None:
        """Make the thread's next read fail, so that nothing is stored. It is fine to repeat it."""
        with self._changed:
            self._broken = True
            self._blocks.clear()
            self._changed.notify()

    async def _put(self, block: memoryview) -> None:
        with self._changed:
            self._blocks.append(block)
            self._held += len(block)
            self._changed.notify()
            if self._held >= ROOM_BYTES:
                self._room.clear()
                self._asked = False
        await self._room.wait()

    def take(self, buffer: memoryview) -> int:
        """Fill ``buffer``, or as much of it as there is; 0 at the end. Called by the thread."""
        with self._changed:
            self._ask_for_more()
            while not (self._blocks or self._ended or self._broken):
                self._changed.wait()
            if self._broken:
                raise OSError("the producer of the bytes has failed, or was cancelled")
            if not self._blocks:
                return 0
            block = self._blocks.popleft()
            count = min(len(block), len(buffer))
            buffer[:count] = block[:count]
            if count < len(block):
                self._blocks.appendleft(block[count:])
            self._held -= count
            self._ask_for_more()
            return count

    def _ask_for_more(self) -> None:
        if self._held < ROOM_BYTES and not self._asked:
            self._asked = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody feeds any more
                self._loop.call_soon_threadsafe(self._room.set)


class _Reader(io.RawIOBase):
    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._pipe.take(memoryview(buffer))


def _content(block: object) -> memoryview:
    if not isinstance(block, (bytes, bytearray, memoryview)):
        raise ObjectClerkTypeException(f"the producer gave a {type(block).__name__}, not bytes")
    # Only bytes stay as they are: a producer may well fill one and the same buffer again.
    return memoryview(bytes(block))
