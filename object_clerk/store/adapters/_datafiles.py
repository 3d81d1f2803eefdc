"""The data files of a store in a directory: one a generation of an object, written once.

Whoever writes one has it locked (flock) until its row is in the catalogue. The lock ends with the
process, however that ends, so what is neither locked nor in the catalogue is nobody's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import secrets
import time
from typing import IO, TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkFileException
from object_clerk.transfer.files import flush_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Files that are being written, and the directory of those that are complete.
INCOMING, DATA = "incoming", "data"

_NAME = re.compile(r"[0-9a-f]{32}")

#: How often a name is made up until nobody takes its file away before it is locked.
_TRIES = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Swept:
    """What was removed.

    Attributes:
        files: how many files.
        size: their bytes.
    """

    files: int
    size: int


class Incoming:
    """A data file that is being written.

    Attributes:
        name: its name, also in the catalogue.
        path: where it is now.
        size: the bytes that were written to it.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path
        self.size = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)

    def lock(self) -> bool:
        """Make it known that somebody writes it; False if it was taken for a leftover."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self._fd), self.path.stat())
        except (BlockingIOError, FileNotFoundError):
            return False

    def write(self, block: bytes) -> None:
        """Append all of ``block``: a nearly full disk takes a part of it before it refuses."""
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self.size += len(block)

    def complete(self, *, durable: bool) -> None:
        """See to it that all of it is there.

        Args:
            durable: whether it must survive a loss of power.
        """
        found = os.fstat(self._fd).st_size
        if found != self.size:
            raise ObjectClerkFileException(
                f"{self.size} bytes were written to {self.path}, which has {found}: is somebody "
                "else at work there?"
            )
        if durable:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close it, which also gives up the lock."""
        os.close(self._fd)


class DataFiles:
    """The data files below one directory.

    Args:
        root: the directory.
        durable: whether they survive a loss of power.
        known: whether the data file with this name is an object's.
    """

    def __init__(self, root: Path, *, durable: bool, known: Callable[[str], bool]) -> None:
        self._incoming = root / INCOMING
        self._data = root / DATA
        self._durable = durable
        self._known = known

    def make(self) -> None:
        """Make the directories that they are in."""
        self._incoming.mkdir(exist_ok=True)
        self._data.mkdir(exist_ok=True)

    def path(self, name: str) -> Path:
        """Where a complete file is."""
        return self._data / name[:2] / name

    def open(self, name: str) -> IO[bytes]:
        """Open a complete file."""
        return self.path(name).open("rb", buffering=0)

    def any(self) -> bool:
        """Whether there is a complete file."""
        return next(self._complete(), None) is not None

    def remove(self, name: str) -> None:
        """Remove a complete file. If that fails it is a leftover."""
        with contextlib.suppress(OSError):
            self.path(name).unlink()

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """A new file; if the block raises it is removed, unless it is an object's by then."""
        file = self._new()
        try:
            yield file
        except BaseException:
            # Not even Ctrl-C between the commit and its return may take an object's bytes. If
            # nobody can tell whether they are one's, they stay.
            with contextlib.suppress(Exception):
                if file.path.parent == self._incoming or not self._known(file.name):
                    file.path.unlink()
            raise
        finally:
            file.close()

    def _new(self) -> Incoming:
        for _ in range(_TRIES):
            file = Incoming(self._incoming / secrets.token_hex(16))
            with contextlib.ExitStack() as otherwise:
                otherwise.callback(file.close)
                if file.lock():
                    otherwise.pop_all()
                    return file
        raise ObjectClerkFileException(
            f"files in {self._incoming} are removed by somebody as soon as they are made"
        )

    def publish(self, file: Incoming) -> None:
        """Put a file that has all of its bytes where the complete ones are."""
        file.complete(durable=self._durable)
        path = self.path(file.name)
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            self._flush(self._data)
        file.path.rename(path)
        file.path = path
        self._flush(path.parent)

    def _flush(self, directory: Path) -> None:
        if self._durable:
            flush_directory(directory)

    def sweep_incoming(self) -> Swept:
        """Remove what processes that have died were writing."""
        return _removed(each for each in self._incoming.iterdir() if _NAME.fullmatch(each.name))

    def sweep(self, older_than_s: float) -> Swept:
        """Remove complete files that are no object's, or not any more.

        Args:
            older_than_s: leave younger ones alone.
        """
        before = time.time() - older_than_s
        return _removed(self._lost(before), unless=self._known)

    def _lost(self, before: float) -> Iterator[Path]:
        for path in self._complete():
            if not self._known(path.name):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime <= before:
                        yield path

    def _complete(self) -> Iterator[Path]:
        for path in self._data.glob("[0-9a-f][0-9a-f]/*"):
            if _NAME.fullmatch(path.name):
                yield path


def _removed(paths: Iterator[Path], unless: Callable[[str], bool] = lambda _: False) -> Swept:
    """Remove those files that nobody is writing.

    Args:
        paths: the files.
        unless: is asked again when it is certain that a file is not being written any more.
    """
    files = size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not unless(path.name):
                path.unlink()
                files += 1
                size += os.fstat(file.fileno()).st_size
    return Swept(files, size)
