"""Streams that lie, fail on the way, or cannot be brought back: all of one is put, or nothing."""

from __future__ import annotations

import array
import bz2
import ctypes
import errno
import gzip
import hashlib
import io
import lzma
import mmap
import os
import tarfile
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    ObjectClerkConnectionException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    ObjectSaveException,
    ObjectVerificationException,
)
from object_clerk.session import Client, RequestError, Session, Usecase
from tests.session.imitation import Imitation
from tests.session.raw import RawServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: More than is taken as a whole, and not to be compressed much.
LARGE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(80_000))
SMALL = LARGE[:5000]


@pytest.fixture
def imitation() -> Imitation:
    return Imitation(knows=True, resumable="yes")


@pytest.fixture
def session(imitation: Imitation) -> Iterator[Session]:
    with RawServer(imitation) as raw, Client(raw.url) as client:
        yield client.session(Usecase("att", "none"))


def stored(imitation: Imitation) -> bytes:
    return imitation.objects["att/_/k"][0]


class Flaky(io.BytesIO):
    """A file on a disk that fails once."""

    failed = False

    def read(self, size: int | None = -1) -> bytes:
        if not self.failed and self.tell() > 1_000_000:
            self.failed = True
            raise OSError(errno.EIO, "the disk")
        return super().read(size)

    def readinto(self, buffer: Any) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


class Reader:
    """A stream over another one, which has to read to come to the end."""

    def __init__(self, inner: io.BytesIO) -> None:
        self._inner = inner

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._inner.tell()

    def seek(self, position: int, whence: int = 0) -> int:
        if whence == os.SEEK_END:
            while self._inner.read(65_536):
                pass
            return self._inner.tell()
        return self._inner.seek(position)

    def read(self, size: int) -> bytes:
        return self._inner.read(size)


@pytest.mark.parametrize(
    "opened",
    [
        lambda: gzip.GzipFile(fileobj=Flaky(gzip.compress(LARGE))),
        lambda: bz2.BZ2File(Flaky(bz2.compress(LARGE))),
        lambda: lzma.LZMAFile(Flaky(lzma.compress(LARGE))),  # noqa: SIM115
        lambda: Reader(Flaky(LARGE)),
    ],
    ids=["gzip", "bz2", "xz", "reader"],
)
def test_a_failure_while_it_is_measured_loses_nothing(
    imitation: Imitation, session: Session, opened: Callable[[], Any]
) -> None:
    session.put(opened(), "k")
    assert stored(imitation) == LARGE


class Forward(io.BytesIO):
    """A stream that goes to its end, and not back; it says so, or not."""

    says = True

    def seekable(self) -> bool:
        return self.says

    def seek(self, position: int, whence: int = 0) -> int:
        if whence == os.SEEK_SET and position < self.tell():
            raise io.UnsupportedOperation("backwards")
        return super().seek(position, whence)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
def test_a_stream_that_goes_forward_alone(
    imitation: Imitation, session: Session, content: bytes
) -> None:
    with pytest.raises(ObjectSaveException, match="brought back"):
        session.put(Forward(content), "k")
    assert imitation.objects == {}
    honest = Forward(content)
    honest.says = False
    session.put(honest, "k")
    assert stored(imitation) == content


class Elsewhere(io.BytesIO):
    """A stream whose way back ends somewhere else."""

    def seek(self, position: int, whence: int = 0) -> int:
        return super().seek(position + 1 if whence == os.SEEK_SET else position, whence)


def test_a_stream_that_comes_back_elsewhere(imitation: Imitation, session: Session) -> None:
    with pytest.raises(ObjectSaveException, match="brought back"):
        session.put(Elsewhere(LARGE), "k")
    assert imitation.objects == {}


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
def test_gzip_over_a_pipe(imitation: Imitation, session: Session, content: bytes) -> None:
    """It says that it can seek, whatever it reads from."""
    reader, writer = os.pipe()

    def feed() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(gzip.compress(content))

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(reader, "rb") as pipe, gzip.GzipFile(fileobj=pipe) as stream:
        session.put(stream, "k")
    thread.join()
    assert stored(imitation) == content


def test_members_of_a_tar_that_streams(imitation: Imitation, session: Session) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w|") as archive:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = len(LARGE)
            archive.addfile(member, io.BytesIO(LARGE))
    packed.seek(0)
    with tarfile.open(fileobj=packed, mode="r|") as archive:
        for member in archive:
            content: Any = archive.extractfile(member)
            session.put(content, member.name)
    assert {key: body for key, (body, _) in imitation.objects.items()} == {
        "att/_/a": LARGE, "att/_/b": LARGE,
    }  # fmt: skip


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
def test_a_mapped_file(
    imitation: Imitation, session: Session, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "file").write_bytes(b"head" + content)
    with (
        (tmp_path / "file").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        for _ in range(2):
            mapped.seek(4)
            session.put(mapped, "k")
            assert stored(imitation) == content


class Silent(io.BytesIO):
    """What a stream gives that tells nothing."""

    told: Any = None

    def seek(self, position: int, whence: int = 0) -> Any:
        super().seek(position, whence)

    def tell(self) -> Any:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


@pytest.mark.parametrize("told", [None, "0", NotImplementedError(), RuntimeError()], ids=repr)
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
def test_streams_that_tell_nothing(
    imitation: Imitation, session: Session, told: Any, content: bytes
) -> None:
    stream = Silent(content)
    stream.told = told
    session.put(stream, "k")
    assert stored(imitation) == content
    with pytest.raises(ObjectSaveException, match="read before"):
        session.put(stream, "k")


class Endless(io.BytesIO):
    """A file that says it is empty, as some below /proc do."""

    def seek(self, position: int, whence: int = 0) -> int:
        return super().seek(0 if whence == os.SEEK_END else position)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
def test_a_length_that_is_not_true(imitation: Imitation, session: Session, content: bytes) -> None:
    session.put(Endless(content), "k", resumable_threshold_bytes=1)
    assert stored(imitation) == content
    imitation.uploads["u"] = {}
    upload = session.resume_multipart_upload("k", "u")
    if content is LARGE:
        with pytest.raises(ValueError, match="content_length is needed"):
            upload.put_part(Endless(content), part_number=1)
    upload.put_part(Endless(content), part_number=1, content_length=len(content))
    assert imitation.uploads["u"] == {1: content}


class Standing(io.BytesIO):
    """A stream that says it stands where it began, and never moves back."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return 0


class Still(Standing):
    """The same, with a way back that leads nowhere."""

    def seekable(self) -> bool:
        return True

    def seek(self, _: int, __: int = 0) -> int:
        return 0


@pytest.mark.parametrize("kind", [Standing, Still])
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
def test_a_position_that_never_changes(
    imitation: Imitation, session: Session, kind: Any, content: bytes
) -> None:
    stream = kind(content)
    session.put(stream, "k")
    assert stored(imitation) == content
    with pytest.raises(ObjectSaveException, match="read before"):
        session.put(stream, "k")


class Counted:
    """A stream that tells where it stands, and cannot be brought back."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def tell(self) -> int:
        return self._inner.tell()

    def read(self, size: int) -> bytes:
        return self._inner.read(size)


def test_what_failed_and_cannot_be_brought_back_is_not_taken_from_its_middle(
    imitation: Imitation, session: Session
) -> None:
    stream = Counted(LARGE)
    imitation.before = lambda _: answer(500)
    with pytest.raises(RequestError):
        session.put(stream, "k")
    imitation.before = lambda _: None
    for _ in range(2):
        with pytest.raises(ObjectSaveException, match="read before"):
            session.put(stream, "k")
    assert imitation.objects == {}


@pytest.mark.parametrize("where", ["seek", "read"])
def test_an_interrupt_leaves_a_file_where_it_stood(
    session: Session, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class File(io.BytesIO):
        pass

    stream = File(b"head" + LARGE)
    stream.seek(4)
    usual = getattr(io.BytesIO, where)

    def interrupted(self: File, *args: Any) -> Any:
        usual(self, *args)
        if args != (4,):
            raise KeyboardInterrupt
        return 4

    monkeypatch.setattr(File, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.put(stream, "k")
    assert stream.tell() == 4


def _zipped() -> Any:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", LARGE)
    damaged = bytearray(packed.getvalue())
    damaged[500_000] ^= 255
    return zipfile.ZipFile(io.BytesIO(bytes(damaged))).open("a")


def _xz() -> Any:
    damaged = bytearray(lzma.compress(LARGE))
    damaged[1_500_000] ^= 255
    return lzma.LZMAFile(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize(
    "opened",
    [
        lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(LARGE)[:-50])),
        lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(SMALL)[:-50])),
        lambda: bz2.BZ2File(io.BytesIO(bz2.compress(LARGE)[:-20])),
        _xz,
        _zipped,
    ],
    ids=["gzip", "small gzip", "bz2", "xz", "zip"],
)
def test_damaged_archives(
    imitation: Imitation, session: Session, opened: Callable[[], Any]
) -> None:
    with pytest.raises(ObjectSaveException, match="cannot be read"):
        session.put(opened(), "k")
    assert imitation.objects == {}


@pytest.mark.parametrize(
    "empty",
    [b"", array.array("I"), memoryview(b"abc")[3:], (ctypes.c_int * 3 * 0)()],
    ids=["bytes", "array", "view", "table"],
)
def test_nothing_is_something_too(imitation: Imitation, session: Session, empty: Any) -> None:
    session.put(empty, "k")
    assert stored(imitation) == b""


class Failing(io.RawIOBase):
    """A stream of some other store, which fails on the way with an error of ours."""

    def __init__(self, error: Exception) -> None:
        self._left = 2 << 20
        self._error = error

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            raise self._error
        self._left -= min(size, self._left)
        return bytes(size)


@pytest.mark.parametrize(
    "error", [ObjectClerkConnectionException("a"), ObjectNotFoundException("b")], ids=repr
)
def test_errors_of_other_clients_are_no_broken_connection(
    imitation: Imitation, session: Session, error: Exception
) -> None:
    with pytest.raises(ObjectSaveException, match="cannot be read") as caught:
        session.put(Failing(error), "k")
    assert caught.value.__cause__ is error
    assert not isinstance(caught.value, OSError)
    assert imitation.objects == {}


@pytest.mark.parametrize(
    "error", [ObjectVerificationException("a"), ObjectClerkTypeException("b")], ids=repr
)
def test_what_cannot_be_taken_for_one_comes_as_it_is(session: Session, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        session.put(Failing(error), "k")
    assert caught.value is error


class Generous(io.BytesIO):
    """A stream that gives more than it is asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size + 5 if size is not None and size > 0 else size)


@pytest.mark.parametrize("threshold", [1, "none"])
def test_more_than_was_asked_for(imitation: Imitation, session: Session, threshold: Any) -> None:
    session.put(Generous(LARGE), "k", resumable_threshold_bytes=threshold)
    assert stored(imitation) == LARGE
