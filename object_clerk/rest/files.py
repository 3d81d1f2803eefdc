"""A local file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkFileException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self


class PartialFile:
    """A file that is filled beside the path it will get; a context manager that tidies up.

    Directories that are missing are made. What is written from a thread while it is closed from
    another waits for it, as Python's buffered files do.

    Args:
        path: where it shall be in the end.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._temporary = self._path.parent / f".{secrets.token_hex(8)}.part"
        with self._writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("xb")

    def write(self, block: bytes) -> None:
        """Go on."""
        with self._writing():
            self._file.write(block)

    def publish(self) -> None:
        """Give it its path; it replaces what is there, and the disk has all of it."""
        with self._writing():
            self._file.flush()
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(self._file.fileno(), self._path.stat().st_mode & 0o777)
            os.fsync(self._file.fileno())
            self._temporary.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                with contextlib.suppress(OSError):  # some network file systems cannot do it
                    os.fsync(directory)
            finally:
                os.close(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk was told of when it was written to
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ObjectClerkFileException(f"{self._path} cannot be written: {reason}") from error
