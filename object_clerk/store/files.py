"""Local files that objects are downloaded to."""

from __future__ import annotations

import contextlib
import io
from typing import IO, TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkFileException, ObjectClerkParameterException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def beneath(directory: Path, key: str) -> Path:
    """The file named like ``key`` beneath ``directory``.

    Raises:
        ObjectClerkParameterException: the key would lead elsewhere, or is no name of a file.
    """
    steps = key.split("/")
    if any(step in ("", ".", "..") for step in steps):
        raise ObjectClerkParameterException(
            f"the key {key!r} is no path beneath the working directory: give file_path"
        )
    return directory.joinpath(*steps)


class _LaterRawFile(io.RawIOBase):
    """A file that is opened when it is first read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.name = str(path)
        self._path = path
        self._opened: io.FileIO | None = None

    @property
    def _file(self) -> io.FileIO:
        if self._opened is None:
            if self.closed:
                raise ValueError("the body was closed")
            self._opened = self._path.open("rb", buffering=0)
        return self._opened

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ObjectClerkFileException(
                f"{self.name} cannot be read: {error.strerror or error}",
                operation="download_object",
            ) from error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._reading():
            return self._file.readinto(buffer) or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._reading():
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return 0 if self._opened is None else self._opened.tell()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        super().close()


def later_file(path: Path) -> IO[bytes]:
    """A binary file that is opened when it is first read: who does not read need not close it.

    A relative path is meant from where the program is now. What fails later raises
    ObjectClerkFileException.
    """
    return io.BufferedReader(_LaterRawFile(path.absolute()))
