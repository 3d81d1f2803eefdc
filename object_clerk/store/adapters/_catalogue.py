"""The catalogue of a store in a directory: which objects there are, and where their bytes are.

An SQLite database with a row for each object. A change of a row is what makes an object appear,
change or go: before it nobody sees the new bytes, and after it nobody sees the old ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from object_clerk.exceptions import ObjectClerkConfigurationException, ObjectClerkFileException
from object_clerk.store.adapters._connections import Connections
from object_clerk.store.adapters._local import (
    bucket_full,
    bucket_there,
    check_unchanged,
    following,
    no_bucket,
)
from object_clerk.store.adapters._trouble import PATIENCE_S, explained
from object_clerk.store.models import Bucket, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from object_clerk.store.adapters._local import Wish

#: What the catalogue is called, without what SQLite puts beside it.
NAME = "catalogue.sqlite3"

#: Marks the database as ours: "clrk".
_APPLICATION = 0x636C726B
_VERSION = 1

_TABLES = (
    # No number is used again: who has looked up that of a bucket never gets another one's objects.
    """
    CREATE TABLE buckets (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL
    )
    """,
    # Keys are UTF-8, so their order is that of S3. Times are microseconds since 1970.
    """
    CREATE TABLE objects (
        bucket INTEGER NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, md5 BLOB NOT NULL,
        sha256 BLOB NOT NULL, updated INTEGER NOT NULL, content_type TEXT NOT NULL,
        metadata TEXT NOT NULL, file TEXT NOT NULL UNIQUE, PRIMARY KEY (bucket, key)
    ) WITHOUT ROWID
    """,
)

_COLUMNS = "key, size, md5, sha256, updated, content_type, metadata, file"
_ONE = f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND key = ?"  # noqa: S608 - constants
_PAGE = (
    f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND key >= ? "  # noqa: S608 - constants
    "AND key < ? ORDER BY key LIMIT ?"
)
_WRITE = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Catalogue:
    """The rows of the objects in one directory. Safe to share between threads and processes.

    Args:
        root: the directory.
        root_bucket: the bucket that is made when it is needed.
        durable: whether a change returns only when the disk has it.
    """

    def __init__(self, root: Path, root_bucket: str, *, durable: bool) -> None:
        self._root = root
        self._root_bucket = root_bucket
        # With NORMAL a loss of power may undo the last changes of rows, but damages no catalogue.
        self._synchronous = "FULL" if durable else "NORMAL"
        self._connections = Connections(self._connect, self._identity)

    @property
    def exists(self) -> bool:
        """Whether there is one, of whatever kind."""
        return (self._root / NAME).exists()

    def establish(self, check_empty: Callable[[], None]) -> None:
        """Make the database, if there is none. Only one process may do so at a time.

        Args:
            check_empty: raises if the directory belongs to somebody else; called if the database
                is there, but has nothing in it yet.

        Raises:
            ObjectClerkConfigurationException: there is one, and it is of no use here.
            ObjectClerkOperationException: it is damaged.
        """
        # Nobody but SQLite may open and close the file: that would take its locks away.
        with explained(self._root), contextlib.closing(self._open("rwc")) as db:
            if not self._is_ours(db):
                check_empty()
                self._set_up(db)
        with self._changing() as db:
            self._bucket(db, self._root_bucket)

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        """Whether it has our tables; False if it has none."""
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, tables) == (0, 0):
            return False
        path = self._root / NAME
        if application != _APPLICATION:
            raise ObjectClerkConfigurationException(
                f"{path} is a database of some other program: give a directory of its own as root"
            )
        if version != _VERSION:
            raise ObjectClerkConfigurationException(
                f"{path} was made by a newer version of object-clerk: use that one"
            )
        return True

    def _set_up(self, db: sqlite3.Connection) -> None:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ObjectClerkConfigurationException(
                f"{self._root} is on a file system that processes cannot share memory on: "
                "give a directory on a local disk as root"
            )
        db.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            db.execute(table)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._connections.close()

    # -- objects ---------------------------------------------------------------------------

    def find(self, bucket: str, key: str) -> tuple[ObjectInfo, str] | None:
        """What is known of an object and the name of its data file; None if there is none."""
        with self._reading() as db:
            row = db.execute(_ONE, (self._bucket(db, bucket), key.encode())).fetchone()
        return None if row is None else (_info(row), row[-1])

    def page(self, bucket: str, begin: bytes, end: bytes, count: int) -> list[ObjectInfo]:
        """The first ``count`` objects with keys from ``begin`` on, and before ``end``."""
        with self._reading() as db:
            rows = db.execute(_PAGE, (self._bucket(db, bucket), begin, end, count)).fetchall()
        return [_info(row) for row in rows]

    def put(self, bucket: str, info: ObjectInfo, file: str, wish: Wish) -> str | None:
        """Write the row of an object, if the wish allows it, with a time after that of the last.

        Returns:
            the data file of the object that was replaced.

        Raises:
            PreconditionFailed: the wish does not allow it.
        """
        with self._changing() as db:
            home = self._bucket(db, bucket)
            there = db.execute(_ONE, (home, info.key.encode())).fetchone()
            replaced = None if there is None else _info(there)
            wish.check(None if replaced is None else replaced.etag)
            db.execute(_WRITE, (home, *_row(following(info, replaced), file)))
        return None if there is None else str(there[-1])

    def remove(self, bucket: str, key: str, meant: ObjectInfo | None = None) -> str | None:
        """Remove the row of an object, if there is one.

        Args:
            bucket: its bucket.
            key: its key.
            meant: what it has to be; None if that does not matter.

        Returns:
            its data file.

        Raises:
            PreconditionFailed: it is not what was meant.
        """
        with self._changing() as db:
            where = (self._bucket(db, bucket), key.encode())
            there = db.execute(_ONE, where).fetchone()
            check_unchanged(None if there is None else _info(there), meant)
            db.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", where)
        return None if there is None else str(there[-1])

    def knows(self, file: str) -> bool:
        """Whether a data file is an object's."""
        with self._reading() as db:
            found = db.execute("SELECT 1 FROM objects WHERE file = ?", (file,)).fetchone()
        return found is not None

    # -- buckets ---------------------------------------------------------------------------

    def buckets(self) -> list[Bucket]:
        """All buckets, by name."""
        with self._reading() as db:
            rows = db.execute("SELECT name, created FROM buckets ORDER BY name").fetchall()
        return [Bucket(name, _time(created)) for name, created in rows]

    def make_bucket(self, name: str, *, exist_ok: bool) -> None:
        """Make a bucket.

        Raises:
            DestinationExists: it is there.
        """
        with self._changing() as db:
            if not _make_bucket(db, name) and not exist_ok:
                raise bucket_there(name)

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket.

        Raises:
            BucketNotFoundException: there is none.
            ObjectClerkOperationException: there are objects in it.
        """
        with self._changing() as db:
            home = _find_bucket(db, name)
            if home is None:
                raise no_bucket(name)
            if db.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (home,)).fetchone():
                raise bucket_full(name)
            db.execute("DELETE FROM buckets WHERE id = ?", (home,))

    def _bucket(self, db: sqlite3.Connection, name: str) -> int:
        """The number of a bucket."""
        home = _find_bucket(db, name)
        if home is None and name == self._root_bucket:
            _make_bucket(db, name)
            home = _find_bucket(db, name)
        if home is None:
            raise no_bucket(name)
        return home

    # -- connections -----------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with explained(self._root), self._connections.lent() as db:
            yield db

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes during; undone if anything is raised."""
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def _identity(self) -> tuple[int, int]:
        """Which file is the catalogue now. A backup that was moved there is another one."""
        path = self._root / NAME
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise ObjectClerkFileException(
                f"the catalogue {path} is missing: put it back"
            ) from error
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        db = self._open("rw")  # never a new and empty one in place of one that was removed
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        return db

    def _open(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(os.fsencode(self._root / NAME))}?mode={mode}",
            uri=True,
            timeout=PATIENCE_S,
            isolation_level=None,
            check_same_thread=False,
        )


def _find_bucket(db: sqlite3.Connection, name: str) -> int | None:
    row = db.execute("SELECT id FROM buckets WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def _make_bucket(db: sqlite3.Connection, name: str) -> bool:
    """Make a bucket unless it is there; whether it was made."""
    now = _number(datetime.now(UTC))
    made = db.execute("INSERT OR IGNORE INTO buckets (name, created) VALUES (?, ?)", (name, now))
    return made.rowcount > 0


def _row(info: ObjectInfo, file: str) -> tuple[Any, ...]:
    return (
        info.key.encode(),
        info.size,
        bytes.fromhex(info.digests["md5"]),
        bytes.fromhex(info.digests["sha256"]),
        _number(info.updated_time),
        info.content_type,
        json.dumps(dict(info.metadata or {})),
        file,
    )


def _info(row: tuple[Any, ...]) -> ObjectInfo:
    key, size, md5, sha256, updated, content_type, metadata, _ = row
    return ObjectInfo(
        key=key.decode(),
        updated_time=_time(updated),
        size=size,
        etag=md5.hex(),
        content_type=content_type,
        metadata=json.loads(metadata),
        digests={"md5": md5.hex(), "sha256": sha256.hex()},
    )


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _time(number: int) -> datetime:
    return _EPOCH + number * _MICROSECOND
