"""Local files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
from typing import IO, TYPE_CHECKING, cast

from object_clerk.exceptions import ObjectClerkException, ObjectClerkFileException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def temporary_beside(path: Path, size: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """A temporary file in the directory of ``path`` and a function that renames it to ``path``.

    It is gone afterwards unless that function was called.
    """
    old_mode = _mode_of(path)
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    with writing(str(path.parent)):
        # The kernel applies the umask, which a process cannot ask for without changing it.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o666 if old_mode is None else 0o600)

    def publish() -> None:
        with writing(str(path)):
            if old_mode is not None:
                os.fchmod(fd, old_mode)
            os.fsync(fd)
            temporary.replace(path)
            _flush_directory(path.parent)

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


def _mode_of(path: Path) -> int | None:
    """The permissions of a file that is to be replaced."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return None


def _flush_directory(directory: Path) -> None:
    """Make a rename last; some network file systems cannot be asked to."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


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


def write_to(file: IO[bytes], block: bytes) -> None:
    """Write all of ``block`` to a file object; an unbuffered one may take less at a time."""
    rest = memoryview(block)
    with writing(repr(file)):
        while rest:
            written = cast("int | None", file.write(rest))
            if written is None and not isinstance(cast("object", file), io.RawIOBase):
                return  # a write() of somebody's own that gives no count has taken everything
            if not written:
                raise BlockingIOError(errno.EAGAIN, "it takes no more bytes")
            rest = rest[written:]
