"""Local files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import io
import os
import re
import secrets
import threading
from typing import IO, TYPE_CHECKING, cast

from object_clerk.exceptions import ObjectClerkException, ObjectClerkFileException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


#: The flags of every temporary file; the kernel applies the umask, which a process cannot ask for
#: without changing it.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC

#: Bytes read at once from a file to verify what was written to it.
_BLOCK_BYTES = 1 << 20

#: How much is handed to the disk at once.
_STRETCH_BYTES = 8 << 20


class PartialFile:
    """A file that is being filled beside the path it will get.

    Attributes:
        fd: its descriptor, open for reading and writing.
        done: stretches (offset, length) that an earlier process has written.
    """

    def __init__(self, path: Path, temporary: Path, *, exclusive: bool) -> None:
        self.path = path
        self.temporary = temporary
        self.done: set[tuple[int, int]] = set()
        self._old_mode = _mode_of(path)
        mode = 0o666 if self._old_mode is None else 0o600
        with writing(str(path.parent)):
            self.fd = os.open(temporary, _FLAGS | (os.O_EXCL if exclusive else 0), mode)

    def note(self, offset: int, length: int) -> None:
        """A stretch has been written: nothing to remember, since nobody will resume."""

    def forget(self) -> None:
        """What was written is of no use."""

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        """What was written there."""
        while length:
            with writing("the temporary file"):
                block = os.pread(self.fd, min(_BLOCK_BYTES, length), offset)
            if not block:
                raise ObjectClerkFileException("the temporary file was truncated by somebody")
            offset += len(block)
            length -= len(block)
            yield block

    def publish(self) -> None:
        """Give the file its path; it replaces what is there, and the disk has all of it."""
        with writing(str(self.path)):
            if self._old_mode is not None:
                os.fchmod(self.fd, self._old_mode)
            os.fsync(self.fd)
            self.temporary.replace(self.path)
            flush_directory(self.path.parent)

    def end(self, *, published: bool) -> None:
        """Close the file, and remove it if it was not published."""
        os.close(self.fd)
        if not published:
            self.temporary.unlink(missing_ok=True)


class ResumableFile(PartialFile):
    """A partial file that outlives its process, with a journal of what is in it.

    The journal may claim a stretch that a power failure has lost, but the whole is verified
    before it is published. Only one process fills it at a time. Partial files of other
    generations of the same path are removed.
    """

    def __init__(self, path: Path, identity: str) -> None:
        # Names are limited to 255 bytes, and those that begin alike must not meet.
        begin = os.fsencode(path.name)[:40].decode("utf-8", "ignore")
        stem = f".{begin}.{_short(os.fsencode(path.name), 8)}."
        name = _short(identity.encode("utf-8", "surrogatepass"), 16)
        super().__init__(path, path.parent / f"{stem}{name}.part", exclusive=False)
        self._lock = threading.Lock()
        try:
            with writing(str(self.temporary)):
                self._open(stem)
        except BaseException:
            os.close(self.fd)
            raise

    def _open(self, stem: str) -> None:
        if not self._locked():
            raise ObjectClerkFileException(f"another process is downloading to {self.path}")
        self._remove_others(stem)
        journal = self.temporary.with_suffix(".journal")
        if os.fstat(self.fd).st_size == 0:
            journal.unlink(missing_ok=True)  # left over, from a process that died
        self._journal = journal.open("a+", encoding="ascii")
        self._journal.seek(0)
        for line in self._journal:
            if match := _STRETCH.fullmatch(line):
                self.done.add((int(match[1]), int(match[2])))
        # A line that a dying process has torn must not run into the next one.
        self._journal.write("\n")
        self._journal.flush()

    def _locked(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it before us may have published it meanwhile: then it is ours no more.
            return os.path.samestat(os.fstat(self.fd), self.temporary.stat())
        except OSError:
            return False

    def _remove_others(self, stem: str) -> None:
        for other in self.path.parent.glob(f"{glob.escape(stem)}{'[0-9a-f]' * 16}.part"):
            if other != self.temporary:
                with contextlib.suppress(OSError), other.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    other.with_suffix(".journal").unlink(missing_ok=True)
                    other.unlink()

    def note(self, offset: int, length: int) -> None:
        """Remember a stretch that has been written."""
        with self._lock, writing("the journal"):
            self._journal.write(f"{offset} {length}\n")
            self._journal.flush()

    def forget(self) -> None:
        """What is in the file is of no use: begin anew next time."""
        self._journal.truncate(0)

    def end(self, *, published: bool) -> None:
        """Close the file; it stays to be resumed unless it was published."""
        try:
            with contextlib.suppress(OSError):  # on a full disk; a journal may lack lines
                self._journal.close()
            if published:
                self.temporary.with_suffix(".journal").unlink(missing_ok=True)
        finally:
            os.close(self.fd)


def _short(name: bytes, length: int) -> str:
    return hashlib.sha256(name).hexdigest()[:length]


_STRETCH = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})\n")


@contextlib.contextmanager
def partial_beside(path: Path, size: int, identity: str | None) -> Iterator[PartialFile]:
    """A file that will become ``path`` when its ``publish`` is called.

    Args:
        path: where it shall be in the end; its directory gets the temporary file.
        size: bytes to reserve on the disk.
        identity: names what is written, so that a later process can go on with it; None removes
            the file unless it was published.
    """
    if identity is None:
        temporary = path.parent / f".{secrets.token_hex(8)}.part"
        file = PartialFile(path, temporary, exclusive=True)
    else:
        file = ResumableFile(path, identity)
    published = False
    try:
        if size and hasattr(os, "posix_fallocate"):
            _reserve(file.fd, size, path)
        yield file
        file.publish()
        published = True
    finally:
        file.end(published=published)


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


def flush_directory(directory: Path) -> None:
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


def write_at(fd: int, block: bytes | memoryview, offset: int) -> None:
    """Write all of ``block``: a nearly full disk takes a part of it before it refuses."""
    rest, begun = memoryview(block), offset
    with writing("the temporary file"):
        while rest:
            written = os.pwrite(fd, rest, offset)
            rest = rest[written:]
            offset += written
    _begin_writeback(fd, begun, offset)


def _begin_writeback(fd: int, begun: int, end: int) -> None:
    """Let the disk begin with what is full by now: then it need not be waited for at the end.

    The advice is that these pages are not needed. The kernel starts to write those that are dirty,
    and keeps them until they are written.
    """
    full = begun - begun % _STRETCH_BYTES, end - end % _STRETCH_BYTES
    if full[1] > full[0] and hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # a pipe, for one
            os.posix_fadvise(fd, full[0], full[1] - full[0], os.POSIX_FADV_DONTNEED)


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
