"""Small JSON files that processes share: read at any time, changed by one at a time.

A file is replaced, never written to: whoever reads it, without any lock, sees all of the old or all
of the new one. Whoever changes it holds a lock (flock) on a file beside it meanwhile. That one
stays, because a lock on what is replaced would lock nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import logging
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from object_clerk.exceptions import (
    ObjectClerkConfigurationException,
    ObjectClerkFileException,
)
from object_clerk.locks import ForkSafeLock
from object_clerk.transfer.files import flush_directory, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a change waits for another one, and how often it looks.
PATIENCE_S = 10.0
_PAUSE_S = 0.01

#: Nobody has that many tokens: it is another file.
LARGEST_BYTES = 16 << 20

#: For so long after a change another one may leave the same time in the file's entry: clocks of
#: file systems tick slowly.
_TICK_S = 0.1


class Identity(NamedTuple):
    """What tells a file from the one that was there before."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, entry: os.stat_result) -> Identity:
        """The identity in a directory's entry."""
        return cls(entry.st_ino, entry.st_mtime_ns, entry.st_size)

    def settled(self) -> bool:
        """Whether the next change will be seen for sure."""
        return abs(time.time() - self.mtime_ns / 1e9) > _TICK_S


#: There is no file.
MISSING = Identity(0, 0, 0)


class JsonFile:
    """One JSON document in a file.

    Args:
        path: where it is; symbolic links are followed, also when it is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def look(self) -> Identity | None:
        """Which file is there now; None if that cannot be told."""
        try:
            return Identity.of(self.path.stat())
        except FileNotFoundError:
            return MISSING
        except (OSError, ValueError):
            return None

    def read(self) -> Any:
        """The document; None if there is no file.

        Raises:
            ObjectClerkFileException: the file cannot be read.
            ObjectClerkConfigurationException: it is no JSON.
        """
        identity, raw = self.raw()
        return None if identity == MISSING else self.parsed(raw)

    def raw(self) -> tuple[Identity, bytes]:
        """The bytes of the file, and which file that was.

        Raises:
            ObjectClerkFileException: it cannot be read, or is something else than a small file.
        """
        try:
            with open(self.path, "rb", opener=_open_at_once) as file:
                entry = os.fstat(file.fileno())
                if not stat.S_ISREG(entry.st_mode):
                    raise ObjectClerkFileException(f"{self.path} is not an ordinary file")
                raw = file.read(LARGEST_BYTES + 1)
        except FileNotFoundError:
            return MISSING, b""
        except IsADirectoryError as error:
            raise ObjectClerkFileException(
                f"{self.path} is a directory; container engines make one where a file that is to "
                "be mounted is missing"
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ObjectClerkFileException(f"{self.path} cannot be read: {reason}") from error
        if len(raw) > LARGEST_BYTES:
            raise ObjectClerkFileException(
                f"{self.path} has more than {LARGEST_BYTES >> 20} MiB: is it another file?"
            )
        return Identity.of(entry), raw

    def parsed(self, raw: bytes) -> Any:
        """What the bytes say.

        Raises:
            ObjectClerkConfigurationException: they are no JSON; the line is named.
        """
        try:
            return json.loads(raw)
        except json.JSONDecodeError as error:
            raise self.bad(f"line {error.lineno} is not JSON ({error.msg})") from None
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise self.bad(f"line {line} is not UTF-8") from None
        except (ValueError, RecursionError):
            raise self.bad("too long a number, or too many brackets") from None

    def bad(self, what: str) -> ObjectClerkConfigurationException:
        """An error that says what is wrong with the file's content."""
        return ObjectClerkConfigurationException(f"{self.path}: {what}")

    @contextlib.contextmanager
    def locked(self) -> Iterator[Callable[[Any], None]]:
        """Keep all others from changing the file; what they read is the same for all that time.

        Yields:
            a function that replaces the document. A new file is for its owner alone; one that is
            replaced keeps its mode, and its owner where the process may give files away.

        Raises:
            ObjectClerkFileException: the file cannot be locked or written. The old one is whole.
        """
        with writing(str(self.path)):
            path = Path(os.path.realpath(self.path))
            lock = path.with_name(f"{path.name}.lock")
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(fd, lock)
            _leave_to_owner(fd, _entry(path))
            yield functools.partial(_replace, path)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # also if a child that was forked meanwhile has it open
            os.close(fd)


def _open_at_once(path: str, flags: int) -> int:
    # A named pipe would keep us waiting for somebody who writes to it.
    return os.open(path, flags | os.O_NONBLOCK)


def _lock(fd: int, lock: Path) -> None:
    for _ in range(round(PATIENCE_S / _PAUSE_S)):
        with writing(str(lock)), contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PAUSE_S)
    raise ObjectClerkFileException(
        f"another process has had {lock} locked for {PATIENCE_S:g} s: look what it does, or try "
        "again later"
    )


def _entry(path: Path) -> os.stat_result | None:
    with writing(str(path)), contextlib.suppress(FileNotFoundError):
        return path.stat()
    return None


def _leave_to_owner(fd: int, old: os.stat_result | None) -> None:
    """Let whoever owns the old file, such as the service, own also what root makes for it."""
    if old is not None:
        owner = old.st_uid if os.geteuid() == 0 else -1
        with contextlib.suppress(PermissionError):
            os.fchown(fd, owner, old.st_gid)


def _replace(path: Path, document: Any) -> None:
    # Only who has the lock gets here, so one name will do; a killed process may have left it.
    temporary = path.with_name(f".{path.name}.new")
    old = _entry(path)
    with writing(str(path)):
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="ascii") as file:
                json.dump(document, file, indent=2, sort_keys=True)
                file.write("\n")
                file.flush()
                if old is not None:
                    _leave_to_owner(fd, old)
                    os.fchmod(fd, stat.S_IMODE(old.st_mode))
                os.fsync(fd)
            _rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        flush_directory(path.parent)


def _rename(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        raise ObjectClerkFileException(
            f"{path} is mounted as a single file and cannot be replaced: mount the directory it is "
            "in instead"
        ) from error


class Watched(Generic[T]):
    """What a shared file says at the moment, for any number of threads.

    A file that is missing says nothing. While it cannot be read or understood, what it said before
    holds; that is logged once for each state it is found in.

    Args:
        file: the file.
        understand: makes a value of the document; raises ObjectClerkConfigurationException.
        nothing: the value where there is no file.
    """

    def __init__(self, file: JsonFile, understand: Callable[[Any], T], nothing: T) -> None:
        self._file = file
        self._understand = understand
        self._nothing = nothing
        self._lock = ForkSafeLock()
        self._state: tuple[Identity | None, T] = (None, nothing)
        self._told: tuple[Identity | None, str] | None = None

    def current(self) -> T:
        """The value; never an error. Costs one look at the file while that has not changed."""
        seen, value = self._state
        if seen is not None and self._file.look() == seen:
            return value
        with self._lock:
            self._state = self._again(self._state[1])
            return self._state[1]

    def _again(self, before: T) -> tuple[Identity | None, T]:
        """What the file says now, and which file it was; None if the next call has to read it."""
        try:
            identity, raw = self._file.raw()
        except ObjectClerkFileException as error:
            # Permissions may change, and the file's identity does not tell.
            self._tell(None, f"{error}; what it said before holds", logging.WARNING)
            return None, before
        try:
            if identity == MISSING:
                vanished = before != self._nothing
                level = logging.WARNING if vanished else logging.INFO
                self._tell(identity, f"{self._file.path} does not exist", level)
                value = self._nothing
            else:
                value = self._understand(self._file.parsed(raw))
                self._told = None
        except ObjectClerkConfigurationException as error:
            self._tell(identity, f"{error}; what it said before holds", logging.WARNING)
            value = before
        return identity if identity.settled() else None, value

    def _tell(self, identity: Identity | None, what: str, level: int) -> None:
        if self._told != (identity, what):
            self._told = (identity, what)
            log.log(level, "%s", what)


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def read_time(value: object) -> datetime:
    """A time in ISO 8601, in UTC; it is meant to be UTC if it does not say.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError("not a time")  # noqa: TRY004
    try:
        return in_utc(datetime.fromisoformat(value))
    except OverflowError:
        raise ValueError("not a time") from None


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC, which a naive time is taken to be in."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
