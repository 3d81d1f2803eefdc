"""Local files that appear whole or not at all, and file objects that take less than is given."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import ObjectClerkFileException, ObjectSaveException
from object_clerk.transfer import files
from object_clerk.transfer.files import partial_beside, write_at, write_to, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: As much as the small disks here hold.
ROOM = 64 << 10

EITHER = pytest.mark.parametrize("identity", [None, "a generation"], ids=["plain", "resumable"])


def _write(path: Path, content: bytes, identity: str | None = None) -> None:
    with partial_beside(path, len(content), identity) as file:
        write_at(file.fd, content, 0)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


@EITHER
class TestPublishing:
    def test_file_appears_whole(self, tmp_path: Path, identity: str | None) -> None:
        path = tmp_path / "file"
        with partial_beside(path, 7, identity) as file:
            write_at(file.fd, b"tent", 3)
            assert not path.exists()
            write_at(file.fd, b"con", 0)

        assert path.read_bytes() == b"content"
        assert _names(tmp_path) == ["file"]

    def test_empty_file(self, tmp_path: Path, identity: str | None) -> None:
        _write(tmp_path / "file", b"", identity)

        assert (tmp_path / "file").read_bytes() == b""

    def test_new_file_has_the_mode_that_the_umask_leaves(
        self, tmp_path: Path, identity: str | None
    ) -> None:
        before = os.umask(0o027)
        try:
            _write(tmp_path / "file", b"content", identity)
            assert os.umask(0o027) == 0o027
        finally:
            os.umask(before)

        assert _mode(tmp_path / "file") == 0o640

    def test_replaced_file_keeps_its_mode(self, tmp_path: Path, identity: str | None) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"old")
        path.chmod(0o604)

        with partial_beside(path, 7, identity) as file:
            write_at(file.fd, b"content", 0)
            assert _mode(file.temporary) == 0o600  # nobody may read what is not proved yet

        assert (path.read_bytes(), _mode(path)) == (b"content", 0o604)

    @pytest.mark.parametrize("letter", ["x", "\u00e4", "\u5929", "\U0001f600"])
    def test_longest_name_is_possible(
        self, tmp_path: Path, identity: str | None, letter: str
    ) -> None:
        """A name has at most 255 bytes, and the temporary files have names too."""
        path = tmp_path / (letter * (255 // len(letter.encode())))

        _write(path, b"content", identity)

        assert path.read_bytes() == b"content"
        assert _names(tmp_path) == [path.name]

    def test_everything_is_on_disk_before_and_after_the_rename(
        self, tmp_path: Path, identity: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, done = tmp_path / "file", []
        fsync = os.fsync

        def recorded(fd: int) -> None:
            kind = "directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
            done.append((kind, path.exists()))
            fsync(fd)

        monkeypatch.setattr(os, "fsync", recorded)
        _write(path, b"content", identity)

        assert done == [("file", False), ("directory", True)]

    @pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
    def test_file_systems_that_flush_no_directories(
        self, tmp_path: Path, identity: str | None, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        self._refuse_to_flush_directories(monkeypatch, code)
        _write(tmp_path / "file", b"content", identity)

        assert (tmp_path / "file").read_bytes() == b"content"

    def test_directory_that_fails_is_an_error(
        self, tmp_path: Path, identity: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._refuse_to_flush_directories(monkeypatch, errno.EIO)
        with pytest.raises(ObjectClerkFileException, match=r"file cannot be written: Input/output"):
            _write(tmp_path / "file", b"content", identity)

    @staticmethod
    def _refuse_to_flush_directories(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        def refuse(fd: int) -> None:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", refuse)

    def test_missing_directory(self, tmp_path: Path, identity: str | None) -> None:
        with pytest.raises(ObjectClerkFileException, match=r"missing cannot be written: No such"):
            _write(tmp_path / "missing" / "file", b"content", identity)

    def test_reading_back(self, tmp_path: Path, identity: str | None) -> None:
        with partial_beside(tmp_path / "file", 7, identity) as file:
            write_at(file.fd, b"content", 0)

            assert b"".join(file.blocks(2, 4)) == b"nten"
            assert list(file.blocks(7, 0)) == []
            os.ftruncate(file.fd, 5)
            with pytest.raises(ObjectClerkFileException, match="truncated"):
                list(file.blocks(0, 7))
            os.ftruncate(file.fd, 7)

    def test_it_is_read_in_blocks(
        self, tmp_path: Path, identity: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "_BLOCK_BYTES", 3)
        with partial_beside(tmp_path / "file", 7, identity) as file:
            write_at(file.fd, b"content", 0)

            assert list(file.blocks(0, 7)) == [b"con", b"ten", b"t"]


def test_nothing_is_left_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with contextlib.suppress(KeyboardInterrupt), partial_beside(path, 3, None) as file:
        write_at(file.fd, b"new", 0)
        raise KeyboardInterrupt

    assert _names(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


def test_without_resuming_nothing_is_remembered(tmp_path: Path) -> None:
    with partial_beside(tmp_path / "file", 3, None) as file:
        file.note(0, 3)
        file.forget()

        assert file.done == set()
        assert _names(tmp_path) == [file.temporary.name]


# -- full disks ------------------------------------------------------------------------------


@contextlib.contextmanager
def _file_system(directory: Path) -> Iterator[None]:
    """A file system of its own there that holds `ROOM` bytes."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@contextlib.contextmanager
def _limit(_: Path) -> Iterator[None]:
    """No file may grow beyond `ROOM` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@EITHER
@pytest.mark.parametrize("small", [_limit, _file_system])
@pytest.mark.parametrize("reserves", [True, False])
def test_disk_is_full(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    identity: str | None,
    small: Any,
    reserves: bool,
) -> None:
    """Check 23: it is noticed, the old file stays as it is, and it goes well with less."""
    if not reserves:
        monkeypatch.delattr(os, "posix_fallocate")
    written: list[int] = []

    def fill(path: Path) -> None:
        with partial_beside(path, 2 * ROOM, identity) as file:
            for number in range(4):
                write_at(file.fd, bytes(ROOM // 2), number * ROOM // 2)
                written.append(number)

    with small(tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"old")
        with pytest.raises(ObjectClerkFileException, match=r"cannot be written: (No space|File t)"):
            fill(path)
        assert path.read_bytes() == b"old"
        assert bool(written) is not reserves  # it is better to know before anything is fetched
        if identity is None:
            assert _names(tmp_path) == ["file"]
        _write(path, bytes(ROOM // 2), None if identity is None else "a smaller generation")
        assert path.read_bytes() == bytes(ROOM // 2)
        assert _names(tmp_path) == ["file"]


def test_full_disk_is_told_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(ObjectClerkFileException, match=r"file cannot.*quota.* 5 bytes are needed"):
        _write(tmp_path / "file", b"12345")

    assert _names(tmp_path) == []


def test_file_system_that_cannot_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    _write(tmp_path / "file", b"content")

    assert (tmp_path / "file").read_bytes() == b"content"


# -- writing ---------------------------------------------------------------------------------


class TestWriting:
    def test_errors_become_ours_and_name_the_file(self) -> None:
        with (
            pytest.raises(ObjectClerkFileException, match="NAME cannot be written: No space"),
            writing("NAME"),
        ):
            raise OSError(errno.ENOSPC, "No space")
        with pytest.raises(ObjectClerkFileException, match=r"ValueError$"), writing("NAME"):
            raise ValueError

    def test_ours_stay_what_they_are(self) -> None:
        with pytest.raises(ObjectSaveException, match=r"^mine"), writing("NAME"):
            raise ObjectSaveException("mine")


def test_a_disk_that_takes_less_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = bytearray()

    def pwrite(_: int, block: memoryview, offset: int) -> int:
        assert offset == 5 + len(taken)
        taken.extend(block[:3])
        return len(block[:3])

    monkeypatch.setattr(os, "pwrite", pwrite)
    write_at(0, b"content", 5)

    assert taken == b"content"


def test_the_disk_begins_before_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stretches that are full are handed to it, each once; what is left waits for the end."""
    advised: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _, begin, size, __: advised.append((begin, size))
    )
    mib = 1 << 20
    content = os.urandom(20 * mib)
    with (tmp_path / "file").open("w+b") as file:
        for begin in range(0, len(content), 3 * mib):
            write_at(file.fileno(), content[begin : begin + 3 * mib], begin)
        file.seek(0)
        assert file.read() == content

    assert advised == [(0, 8 * mib), (8 * mib, 8 * mib)]


class _Unbuffered(io.RawIOBase):
    """Takes what it is told to, call by call."""

    def __init__(self, *takes: int | None) -> None:
        self.takes = list(takes)
        self.got = b""

    def write(self, data: Any) -> int | None:
        taken = self.takes.pop(0)
        self.got += bytes(data)[: taken or 0]
        return taken


def test_short_writes_are_continued() -> None:
    file = _Unbuffered(2, 3, 2)

    write_to(file, b"content")  # type: ignore[arg-type]

    assert file.got == b"content"


@pytest.mark.parametrize("answer", [None, 0])
def test_file_that_takes_no_more_is_an_error(answer: int | None) -> None:
    """Bytes must not be lost because a non-blocking file is full, nor may it be asked for ever."""
    with pytest.raises(ObjectClerkFileException, match="takes no more"):
        write_to(_Unbuffered(2, answer), b"content")  # type: ignore[arg-type]


def test_a_write_that_gives_no_count_has_taken_everything() -> None:
    got: list[bytes] = []

    class Own:
        def write(self, data: Any) -> None:
            got.append(bytes(data))

    write_to(Own(), b"content")  # type: ignore[arg-type]

    assert got == [b"content"]
