"""What the errors of SQLite and of the file system mean, and what to do about them."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from typing import TYPE_CHECKING

from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectClerkFileException,
    ObjectClerkOperationException,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How long a statement waits for other processes that write.
PATIENCE_S = 60.0

_FULL = "the disk is full: make room, then write it again"

_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the quota is used up: make room, then write it again",
    errno.EFBIG: "it is larger than a file may be here",
    errno.EACCES: "this process may not use it: see to its owner and permissions",
    errno.EPERM: "this process may not use it: see to its owner and permissions",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "close some files, or raise the limit of open files",
}

_FORBIDDEN = (sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextlib.contextmanager
def explained(root: Path) -> Iterator[None]:
    """Whatever the disk or the catalogue raises becomes an error of ours that says what to do."""
    try:
        yield
    except ObjectClerkException:
        raise
    except sqlite3.Error as error:
        raise _of_catalogue(root, error) from error
    except OSError as error:
        said = f"the store in {root}: {error.strerror or error}"
        advice = _ADVICE.get(error.errno or 0)
        raise ObjectClerkFileException(f"{said}; {advice}" if advice else said) from error


def _of_catalogue(root: Path, error: sqlite3.Error) -> ObjectClerkOperationException:
    # The lower byte is the class of the error (SQLite, "Result and Error Codes").
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    said = f"the catalogue of the store in {root}: {error}"
    if code == sqlite3.SQLITE_FULL:
        return ObjectClerkFileException(f"{said}; {_FULL}")
    if code in _DAMAGED:
        return ObjectClerkOperationException(
            f"{said}; it is damaged, or no catalogue: put a copy of it back"
        )
    if code in _LOCKED:
        return ObjectClerkOperationException(
            f"{said}; another process has kept it for {PATIENCE_S:.0f} s"
        )
    if code in _FORBIDDEN:
        said += f"; {_ADVICE[errno.EACCES]}"
    return ObjectClerkFileException(said)
