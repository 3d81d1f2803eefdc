"""Local files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkException, ObjectClerkFileException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def temporary_beside(path: Path, size: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """A temporary file in the directory of ``path`` and a function that renames it to ``path``.

    It is gone afterwards unless that function was called.
    """
    with writing(str(path.parent)):
        fd, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    temporary = Path(name)

    def publish() -> None:
        with writing(str(path)):
            # mkstemp makes files that only their owner can read; give this one the mode that it
            # would have if it had simply been opened, or that of the file it replaces.
            os.fchmod(fd, _mode_for(path))
            os.fsync(fd)
            temporary.replace(path)
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    try:
        if size and hasattr(os, "posix_fallocate"):
            _reserve(fd, size, path)
        yield fd, publish
    finally:
        os.close(fd)
        temporary.unlink(missing_ok=True)


def _reserve(fd: int, size: int, path: Path) -> None:
    """Notice a full disk now rather than in the middle; not every file system can tell."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ObjectClerkFileException(
                f"{path} cannot be written: {error.strerror}, {size} bytes are needed"
            ) from error


def _mode_for(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Whatever a local file raises becomes an error of ours that names it."""
    try:
        yield
    except ObjectClerkException:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ObjectClerkFileException(f"{name} cannot be written: {reason}") from error


def write_at(fd: int, block: bytes, offset: int) -> None:
    """Write all of ``block``: a nearly full disk takes a part of it before it refuses."""
    rest = memoryview(block)
    with writing("the temporary file"):
        while rest:
            written = os.pwrite(fd, rest, offset)
            rest = rest[written:]
            offset += written
