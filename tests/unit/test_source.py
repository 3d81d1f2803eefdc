"""What can be uploaded, and how it is read."""

from __future__ import annotations

import array
import hashlib
import io
import os
import socket
import tempfile
import threading
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.checksum.algorithm import CRC32, MD5, SHA256
from object_clerk.events import Event, Transferred
from object_clerk.exceptions import (
    ObjectClerkTypeException,
    ObjectSaveException,
    OperationCancelled,
)
from object_clerk.retry import Operation, Patience
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.source import (
    BLOCK_BYTES,
    IN_MEMORY_BYTES,
    PartBody,
    Spool,
    open_source,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = bytes(range(256)) * 20


def _read(source: Any) -> bytes:
    """All bytes of a source of known length, in pieces of no round size."""
    return b"".join(
        source.read_at(at, min(777, source.size - at)) for at in range(0, source.size, 777)
    )


class _Short(io.RawIOBase):
    """A raw stream that gives a few bytes at a time, as sockets and pipes do."""

    def __init__(self, data: bytes, seekable: bool = True) -> None:
        self._stream = io.BytesIO(data)
        self._seekable = seekable

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(7, len(buffer)))
        buffer[: len(data)] = data
        return len(data)


class _OnlyRead:
    """The least that a stream can be."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


class TestKinds:
    @pytest.mark.parametrize(
        "make",
        [
            bytes,
            bytearray,
            memoryview,
            lambda data: memoryview(array.array("H", data)),
            io.BytesIO,
            lambda data: io.BufferedReader(_Short(data)),
            _Short,
        ],
        ids=["bytes", "bytearray", "memoryview", "words", "BytesIO", "buffered", "raw"],
    )
    def test_of_known_length(self, make: Callable[[bytes], object]) -> None:
        """Check 2: each gives its bytes, from any offset."""
        source = cast("Any", open_source(make(DATA)))

        assert source.size == len(DATA)
        assert _read(source) == DATA
        assert source.read_at(100, 5) == DATA[100:105]
        assert source.read_at(0, len(DATA)) == DATA
        source.check_unchanged()
        source.close()

    @pytest.mark.parametrize("kind", [str, Path])
    def test_paths(self, tmp_path: Path, kind: Callable[[Path], object]) -> None:
        """Check 2: a str is the path of a file."""
        path = tmp_path / "file"
        path.write_bytes(DATA)
        source = cast("Any", open_source(kind(path)))

        assert source.size == len(DATA)
        assert _read(source) == DATA
        source.close()

    @pytest.mark.parametrize("buffering", [-1, 0])
    def test_open_files(self, tmp_path: Path, buffering: int) -> None:
        """Check 3: the caller's file stays open."""
        path = tmp_path / "file"
        path.write_bytes(DATA)
        with path.open("rb", buffering=buffering) as file:
            source = cast("Any", open_source(file))
            assert _read(source) == DATA
            source.close()
            assert not file.closed
            assert file.read() == b""

    def test_spooled_temporary_file(self) -> None:
        with tempfile.SpooledTemporaryFile() as file:
            file.write(DATA)
            source = cast("Any", open_source(file))
            assert _read(source) == DATA
            source.close()

    @pytest.mark.parametrize("make", [_OnlyRead, lambda data: _Short(data, seekable=False)])
    def test_streams_that_are_read_once(self, make: Callable[[bytes], object]) -> None:
        source = cast("Any", open_source(make(DATA)))

        assert source.size is None
        spools = []
        while (spool := source.spooled(1000)).size:
            spools.append(spool)
        assert b"".join(each.read_at(0, each.size) for each in spools) == DATA
        assert [each.size for each in spools] == [1000] * 5 + [120]
        for each in [*spools, spool]:
            each.close()
        source.close()

    def test_pipes(self) -> None:
        reader, writer = os.pipe()

        def write() -> None:
            with os.fdopen(writer, "wb") as stream:
                stream.write(DATA)

        thread = threading.Thread(target=write)
        thread.start()
        with os.fdopen(reader, "rb") as stream:
            source = cast("Any", open_source(stream))
            assert source.size is None
            spool = source.spooled(1 << 20)
            source.close()
            assert not stream.closed
        thread.join()
        assert spool.read_at(0, spool.size) == DATA
        spool.close()

    def test_named_pipe(self, tmp_path: Path) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        thread = threading.Thread(target=path.write_bytes, args=(DATA,))
        thread.start()
        source = cast("Any", open_source(path))
        spool = source.spooled(1 << 20)
        source.close()
        thread.join()

        assert source.size is None
        assert spool.read_at(0, spool.size) == DATA
        spool.close()

    def test_sockets(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, theirs.makefile("rb") as stream:
            ours.sendall(DATA[:3000])
            ours.shutdown(socket.SHUT_WR)
            source = cast("Any", open_source(stream))
            spool = source.spooled(1 << 20)
            assert spool.read_at(0, spool.size) == DATA[:3000]
            spool.close()

    @pytest.mark.parametrize("data", [b"", bytearray()])
    def test_empty(self, data: object) -> None:
        assert open_source(data).size == 0

    @pytest.mark.parametrize("value", [None, 5, 1.5, ["list"], {}, object(), ("a",)])
    def test_nothing_else(self, value: object) -> None:
        """Check 4: other types are a TypeError."""
        with pytest.raises(ObjectClerkTypeException, match=type(value).__name__) as caught:
            open_source(value)

        assert isinstance(caught.value, TypeError)

    @pytest.mark.parametrize("make", [io.StringIO, Path(__file__).open])
    def test_no_text(self, make: Callable[[], IO[str]]) -> None:
        with make() as stream, pytest.raises(ObjectClerkTypeException, match="'rb'"):
            open_source(stream)

    def test_stream_that_gives_text_after_all(self) -> None:
        class Text:
            def read(self, size: int = -1) -> str:
                return "text"

        source = cast("Any", open_source(Text()))
        with pytest.raises(ObjectClerkTypeException, match="gave str"):
            source.spooled(10)


class TestPositions:
    def test_stream_is_taken_from_where_it_stands(self) -> None:
        stream = io.BytesIO(DATA)
        stream.seek(1000)
        source = cast("Any", open_source(stream))

        assert source.size == len(DATA) - 1000
        assert _read(source) == DATA[1000:]

    def test_stream_that_was_just_written_is_taken_whole(self) -> None:
        stream = io.BytesIO()
        stream.write(DATA)

        assert _read(open_source(stream)) == DATA

    def test_stream_stands_at_its_end_afterwards(self) -> None:
        stream = io.BytesIO(DATA)
        source = open_source(stream)
        cast("Any", source).read_at(0, 10)
        source.close()

        assert stream.tell() == len(DATA)

    @pytest.mark.parametrize("stood", [0, 1000, len(DATA)])
    def test_stream_stands_where_it_stood_if_the_upload_fails(self, stood: int) -> None:
        """Or whoever tries again would upload it from its start."""
        stream = io.BytesIO(DATA)
        stream.seek(stood)
        source = open_source(stream)
        cast("Any", source).read_at(0, 10)
        source.__exit__(ZeroDivisionError)

        assert stream.tell() == stood
        with open_source(stream) as again:
            assert cast("Any", again).read_at(0, 10)
        assert stream.tell() == len(DATA)

    def test_threads_share_a_stream(self) -> None:
        source = cast("Any", open_source(io.BytesIO(DATA)))
        found: dict[int, bytes] = {}

        def read(at: int) -> None:
            for _ in range(50):
                found[at] = source.read_at(at, 100)

        threads = [threading.Thread(target=read, args=(at,)) for at in range(0, 1000, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert found == {at: DATA[at : at + 100] for at in range(0, 1000, 100)}


class TestUnfitSources:
    def test_missing_file(self, tmp_path: Path) -> None:
        """Check 4: an unreadable path is an ObjectSaveException that names it."""
        with pytest.raises(ObjectSaveException, match=r"missing.*No such file") as caught:
            open_source(tmp_path / "missing")

        assert isinstance(caught.value.__cause__, FileNotFoundError)

    def test_content_taken_for_a_path(self) -> None:
        with pytest.raises(ObjectSaveException, match="a str is the path of a file"):
            open_source("this was meant to be the content")

    @pytest.mark.parametrize("path", ["x" * 5000, "nul\0"])
    def test_impossible_paths(self, path: str) -> None:
        with pytest.raises(ObjectSaveException):
            open_source(path)

    def test_directory(self, tmp_path: Path) -> None:
        with pytest.raises(ObjectSaveException, match="directory"):
            open_source(tmp_path)

    def test_closed_stream(self) -> None:
        stream = io.BytesIO(DATA)
        stream.close()
        with pytest.raises(ObjectSaveException, match="closed"):
            open_source(stream)

    def test_stream_for_writing(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("wb") as stream:
            stream.write(b"x")
            source = cast("Any", open_source(stream))
            with pytest.raises(ObjectSaveException):
                source.read_at(0, 1)

    @pytest.mark.parametrize("change", ["append", "rewrite", "touch"])
    def test_file_that_changes(self, tmp_path: Path, change: str) -> None:
        path = tmp_path / "file"
        path.write_bytes(DATA)
        os.utime(path, (1, 1))
        source = open_source(path)
        source.check_unchanged()
        if change == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif change == "rewrite":
            path.write_bytes(DATA[::-1])
        else:
            path.touch()

        with pytest.raises(ObjectSaveException, match="changed while"):
            source.check_unchanged()
        source.close()

    def test_file_that_is_replaced_is_read_to_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(DATA)
        source = cast("Any", open_source(path))
        other = tmp_path / "other"
        other.write_bytes(b"other")
        other.replace(path)

        assert _read(source) == DATA
        source.close()

    def test_file_that_shrinks(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(DATA)
        source = cast("Any", open_source(path))
        path.write_bytes(DATA[:10])

        with pytest.raises(ObjectSaveException, match="shorter"):
            source.read_at(0, 100)
        source.close()

    def test_stream_that_shrinks(self) -> None:
        stream = io.BytesIO(DATA)
        source = cast("Any", open_source(stream))
        stream.truncate(10)

        with pytest.raises(ObjectSaveException, match="shorter"):
            source.read_at(0, 100)

    @pytest.mark.parametrize("seekable", [True, False])
    def test_stream_that_raises(self, seekable: bool) -> None:
        class Broken(_Short):
            def readinto(self, buffer: Any) -> int:
                raise RuntimeError("the tape broke")

        source = cast("Any", open_source(Broken(DATA, seekable=seekable)))
        with pytest.raises(ObjectSaveException, match="the tape broke") as caught:
            source.read_at(0, 10) if seekable else source.spooled(10)

        assert isinstance(caught.value.__cause__, RuntimeError)


class TestSpool:
    @given(st.lists(st.binary(max_size=50)), st.integers(0, 200), st.integers(0, 200))
    def test_gives_back_what_was_set_aside(
        self, blocks: list[bytes], offset: int, length: int
    ) -> None:
        spool = Spool()
        for block in blocks:
            spool.write(block)
        data = b"".join(blocks)

        assert spool.size == len(data)
        assert spool.read_at(offset, length) == data[offset : offset + length]
        spool.close()

    def test_more_than_fits_in_memory(self) -> None:
        spool = Spool()
        for _ in range(IN_MEMORY_BYTES // BLOCK_BYTES + 1):
            spool.write(b"x" * BLOCK_BYTES)

        assert spool.size > IN_MEMORY_BYTES
        assert spool.read_at(spool.size - 5, 5) == b"xxxxx"
        spool.close()


class TestPartBody:
    """A part looks like a file to boto3."""

    def _make(self, offset: int = 100, length: int = 1000) -> tuple[PartBody, list[int], Operation]:
        moved: list[int] = []

        def listen(event: Event) -> None:
            assert isinstance(event, Transferred)
            moved.append(event.delta_bytes)

        op = Operation("upload_object", "b", "k", Patience(), None, (listen,))
        source = cast("Any", open_source(DATA))
        return PartBody(op, Bandwidth(None), source, offset, length), moved, op

    def test_is_a_stretch_of_its_source(self) -> None:
        body, _, _ = self._make()

        assert len(body) == 1000
        assert body.read(10) == DATA[100:110]
        assert body.tell() == 10
        assert body.read() == DATA[110:1100]
        assert body.read() == body.read(5) == b""

    def test_digests_are_of_that_stretch(self) -> None:
        body, _, _ = self._make()

        found = body.digests([MD5, CRC32])

        part = DATA[100:1100]
        assert found == {
            MD5: hashlib.md5(part).digest(),
            CRC32: zlib.crc32(part).to_bytes(4),
        }
        assert body.sha256() == hashlib.sha256(part).hexdigest()
        assert body.tell() == 0

    def test_is_read_once_for_all_its_digests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A signature that covers the body does not take another pass."""
        body, moved, _ = self._make()
        body.digests([MD5, SHA256])
        monkeypatch.delattr(type(body._source), "read_at")

        assert body.sha256() == hashlib.sha256(DATA[100:1100]).hexdigest()
        assert body.digests([MD5]) == {MD5: hashlib.md5(DATA[100:1100]).digest()}
        assert moved == []

    @pytest.mark.parametrize(
        ("arguments", "position"),
        [((5,), 5), ((0, 2), 1000), ((-5, 2), 995), ((5000,), 1000), ((-5,), 0)],
    )
    def test_seeks(self, arguments: tuple[int, ...], position: int) -> None:
        body, _, _ = self._make()

        assert body.seek(*arguments) == position == body.tell()
        assert body.read() == DATA[100 + position : 1100]

    def test_only_sending_is_progress(self) -> None:
        body, moved, _ = self._make()
        body.read()  # to be signed
        assert sum(moved) == 0

        body.seek(0)
        body.begin_sending()
        body.read(300)
        body.read()
        assert sum(moved) == 1000

    def test_sending_again_takes_progress_back(self) -> None:
        body, moved, _ = self._make()
        body.begin_sending()
        body.read(300)
        body.seek(0)
        body.begin_sending()
        body.read()

        assert sum(moved) == 1000
        assert -300 in moved

    def test_stops_when_another_part_failed(self) -> None:
        body, _, op = self._make()
        body.begin_sending()
        op.cancel()

        with pytest.raises(OperationCancelled):
            body.read(10)
