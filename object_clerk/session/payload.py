"""What a get gives: an ordinary binary file that ends only when its bytes are verified."""

from __future__ import annotations

import functools
import hashlib
import io
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from object_clerk.exceptions import ObjectVerificationException
from object_clerk.receipt import Finding, Verdict
from object_clerk.session.transport import discard
from object_clerk.session.zstd import STEP_BYTES, FrameError, decompressed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import urllib3

    from object_clerk.session.metadata import Metadata

_P = ParamSpec("_P")
_T = TypeVar("_T")

_UNREAD = Finding(Verdict.NONE, "the object was not read to its end")


class GetResponse(NamedTuple):
    """An object: what is known of it, and its bytes. A context manager that closes the payload.

    Attributes:
        metadata: what is known of it.
        payload: its bytes, a binary file that is read once, from front to back.
    """

    metadata: Metadata
    payload: Payload

    @property
    def verdict(self) -> Verdict:
        """How well the bytes are proved, once the payload was read to its end."""
        return self.payload.finding.verdict

    @property
    def basis(self) -> str:
        """What the verdict rests on, in words."""
        return self.payload.finding.basis

    def __enter__(self) -> GetResponse:
        return self

    def __exit__(self, *_: object) -> None:
        self.payload.close()


def _guarded(
    read: Callable[Concatenate[Payload, _P], _T],
) -> Callable[Concatenate[Payload, _P], _T]:
    """A way to read which, once it has failed, is followed by nothing.

    A buffer of Python's forgets what a read had collected that a signal interrupts: what follows
    would have a hole before it.
    """

    @functools.wraps(read)
    def guarded(self: Payload, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        self.raw.check()
        try:
            return read(self, *args, **kwargs)
        except StopIteration:
            raise
        except BaseException as error:
            self.raw.spoil(error)
            raise

    return guarded


class Payload(io.BufferedReader):
    """The bytes of an object. The last ones come only when all are verified.

    Closing it, or reading it to its end, gives the connection back.
    """

    raw: Incoming

    def __init__(self, incoming: Incoming) -> None:
        super().__init__(incoming, STEP_BYTES)

    read = _guarded(io.BufferedReader.read)
    read1 = _guarded(io.BufferedReader.read1)
    readinto = _guarded(io.BufferedReader.readinto)
    readinto1 = _guarded(io.BufferedReader.readinto1)
    readline = _guarded(io.BufferedReader.readline)
    readlines = _guarded(io.BufferedReader.readlines)
    peek = _guarded(io.BufferedReader.peek)
    __next__ = _guarded(io.BufferedReader.__next__)

    @property
    def finding(self) -> Finding:
        """How well the bytes are proved; NONE until all were read."""
        return self.raw.finding


class Proof:
    """What a server says of the bytes it sends, and what came.

    Args:
        stored: the SHA-256 of the bytes as they are stored, if it says so.
        content: the SHA-256 of the content, where that is what is handed out.
        length: how many stored bytes there should be.
    """

    def __init__(self, stored: bytes | None, content: bytes | None, length: int | None) -> None:
        self._expected = (stored, content)
        self._states = tuple(hashlib.sha256() if each else None for each in self._expected)
        self._length = length
        self._size = 0

    def stored(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The stored bytes, as they pass."""
        for block in blocks:
            self._size += len(block)
            if self._states[0]:
                self._states[0].update(block)
            yield block
        if self._length is not None and self._size != self._length:
            raise ObjectVerificationException(
                f"the object has {self._length} stored bytes, but {self._size} came"
            )

    def content(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The content, as it passes."""
        for block in blocks:
            if self._states[1]:
                self._states[1].update(block)
            yield block

    def finding(self) -> Finding:
        """What all this proves.

        Raises:
            ObjectVerificationException: the bytes are not what they should be.
        """
        for what, state, expected in zip(
            ("stored bytes", "content"), self._states, self._expected, strict=True
        ):
            if state and state.digest() != expected:
                raise ObjectVerificationException(
                    f"the SHA-256 of the {what} is not the one that the server keeps: "
                    "what came, or what is stored, is damaged"
                )
        proved = [
            each
            for each, state in zip(("stored bytes", "content"), self._states, strict=True)
            if state
        ]
        if proved:
            return Finding(
                Verdict.CONTENT, f"SHA-256 of the {' and of the '.join(proved)}, kept by the server"
            )
        if self._length is not None:
            return Finding(Verdict.IDENTITY, "the length alone: the server keeps no digest")
        return Finding(Verdict.NONE, "the server said neither a digest nor a length")


class Incoming(io.RawIOBase):
    """The body of an answer, decoded and verified, under the buffer of a payload.

    Args:
        response: the answer; its connection is given back at the end.
        proof: what the bytes are held against.
        decode: whether they are zstd frames to be taken apart.
        done: called once with the finding, or the error that there was instead, and the size; also
            if it is closed before its end.
    """

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        proof: Proof,
        *,
        decode: bool,
        done: Callable[[Finding | BaseException, int], None],
    ) -> None:
        super().__init__()
        self.finding = _UNREAD
        self._response = response
        self._proof = proof
        self._decode = decode
        self._done = done
        self._ended = False
        self._spoiled = False
        self._size = 0
        self._blocks = self._verified()
        self._rest = memoryview(b"")

    def _verified(self) -> Generator[bytes]:
        """All blocks, each given only when the next one has come, and the last when all is well."""
        blocks = self._proof.stored(self._response.stream(STEP_BYTES, decode_content=False))
        if self._decode:
            blocks = decompressed(blocks)
        last = b""
        try:
            for block in self._proof.content(blocks):
                if last:
                    yield last
                self._size += len(block)
                last = block
            self.finding = self._proof.finding()
        except FrameError as error:
            problem = ObjectVerificationException(f"the compressed object is damaged: {error}")
            self._give_up(problem)
            raise problem from error
        except Exception as error:
            self._give_up(error)
            raise
        self._end(self.finding)
        yield last

    def _give_up(self, error: BaseException) -> None:
        discard(self._response)
        self._end(error)

    def _end(self, outcome: Finding | BaseException) -> None:
        if not self._ended:
            self._ended = True
            self._done(outcome, self._size)

    def check(self) -> None:
        """Fail again where reading has failed: that must not look like the end."""
        if self._spoiled:
            raise ObjectVerificationException("reading the object has failed before")

    def spoil(self, error: BaseException) -> None:
        """Give nothing from now on: bytes may be lost."""
        if not self.closed:
            self._spoiled = True
            self.finding = _UNREAD
            self._give_up(error)

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Take some bytes; 0 at the end."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                self._check_end()
                return 0
            self._rest = memoryview(block)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def readall(self) -> bytes:
        """All that is left."""
        rest, self._rest = self._rest, memoryview(b"")
        data = b"".join([rest, *self._blocks])
        self._check_end()
        return data

    def _check_end(self) -> None:
        self._spoiled = self.finding is _UNREAD
        self.check()

    def close(self) -> None:
        """Give the connection back, or close it if bytes are still to come on it."""
        if not self.closed:
            self._blocks.close()
            discard(self._response)
            self._end(_UNREAD)
        super().close()
