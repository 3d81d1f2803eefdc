"""Local files that appear whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import ObjectClerkFileException
from object_clerk.transfer.files import temporary_beside, write_at, write_to

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, content: bytes) -> None:
    with temporary_beside(path, len(content)) as (fd, publish):
        write_at(fd, content, 0)
        publish()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        _write(tmp_path / "file", b"content")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)

    assert _mode(tmp_path / "file") == 0o640


def test_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o604)

    _write(path, b"content")

    assert (path.read_bytes(), _mode(path)) == (b"content", 0o604)


def test_longest_name_is_possible(tmp_path: Path) -> None:
    """The temporary file's name does not grow with the name of the target."""
    path = tmp_path / ("\u5929" * 84)  # 252 bytes of 255

    _write(path, b"content")

    assert path.read_bytes() == b"content"


def test_nothing_is_left_when_it_is_not_published(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with temporary_beside(path, 3) as (fd, _):
        write_at(fd, b"new", 0)

    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(ObjectClerkFileException, match=r"No space left.* 5 bytes"):
        _write(tmp_path / "file", b"12345")

    assert list(tmp_path.iterdir()) == []


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
