"""Objects in a directory of a local disk.

Below the root there are::

    catalogue.sqlite3      a row for each object: its key, size, digests, metadata, data file
    data/5e/5e0c...        the data files, one a generation of an object, written once
    incoming/9b1f...       those that are being written

Names of data files are random, so a key never becomes a path. Any key of S3 will do, on any file
system: ``a`` and ``a/b`` are two objects, as are ``a`` and ``A``, nothing leads out of the root,
and a listing is in the order of S3 and costs the same a page, however many objects there are.

A write goes to a new data file, which is flushed and moved to the complete ones. Then one
transaction checks the condition and changes the row: that is the moment when all others see the
new object, whole, with its metadata. What it replaced is removed afterwards. A reader who has
opened a data file keeps that generation.

So a process that is killed, at any moment, leaves the old object or the new one, and at most a
data file that is no object's. Those in ``incoming`` are removed when a client is first used,
unless a living process is writing them, which a lock on the file tells. The others are left to
:meth:`FilesystemClient.sweep`.

That is so without a loss of power. To survive that one too takes ``durable``: without it nothing is
flushed. Then the last writes may be lost or undone, or have their rows and not their bytes, and
what they replaced or deleted is gone already. So an object that was written shortly before may be
lost altogether. A read of it raises; it never gives other bytes.

A catalogue that is missing is never replaced by an empty one: that would make all data files
nobody's. If the root is replaced, say by a backup, the next call uses the new one.

The root bucket is made by itself, others are not. Reads need the right to write, too: a root that
is read-only cannot be opened.

Any number of threads and processes of one machine may use the same root. It is for local disks:
SQLite's write-ahead log needs memory that processes share, and on NFS locks may not be what they
say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import IO, TYPE_CHECKING, Any

from object_clerk.exceptions import (
    ObjectChanged,
    ObjectClerkConfigurationException,
    ObjectVerificationException,
)
from object_clerk.locks import ForkSafeLock
from object_clerk.store.adapters._catalogue import NAME, Catalogue
from object_clerk.store.adapters._datafiles import DATA, INCOMING, DataFiles, Swept
from object_clerk.store.adapters._local import LocalClient, no_object, no_settings
from object_clerk.store.adapters._trouble import explained
from object_clerk.store.client import ObjectStoreComponentFactory
from object_clerk.store.configurations import FilesystemConnectionConfiguration
from object_clerk.transfer.files import flush_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from object_clerk.store.adapters._local import Wish
    from object_clerk.store.configurations import ObjectStoreConfiguration
    from object_clerk.store.models import Bucket, ObjectInfo

#: How often an object that is replaced all the time is looked up to be opened.
_TRIES = 10

#: What may be in a root without a catalogue: what a killed process left, and what file systems
#: make of their own. A data file may not: it is published only when there is a catalogue.
_HARMLESS = frozenset((NAME, f"{NAME}-wal", f"{NAME}-shm", DATA, INCOMING, "lost+found"))

_DAY_S = 86400.0


class FilesystemClient(LocalClient):
    """Objects in a directory.

    Args:
        config: the configuration of the store, with a
            :class:`~object_clerk.store.FilesystemConnectionConfiguration`.
    """

    def __init__(self, config: ObjectStoreConfiguration | Mapping[str, Any]) -> None:
        super().__init__(config)
        connection = self.config.connection
        assert isinstance(connection, FilesystemConnectionConfiguration)
        self._durable = connection.durable
        # A relative one is meant from where the program is now.
        self._root = connection.root.absolute()
        self._catalogue = Catalogue(self._root, self.root_bucket, durable=self._durable)
        self._files = DataFiles(self._root, durable=self._durable, known=self._catalogue.knows)
        self._lock = ForkSafeLock()
        self._is_ready = False

    @property
    def write_basis(self) -> str:
        """What the receipt of a write rests on."""
        said = "hashed while it was written, size in the file system compared"
        return f"{said}, flushed to the disk" if self._durable else said

    def close(self) -> None:
        """Close all connections to the catalogue; the next use opens new ones."""
        self._catalogue.close()

    def sweep(self, older_than_s: float = _DAY_S) -> Swept:
        """Remove data files that are no object's, which killed processes have left.

        What an object needs, or somebody is writing, is left alone, however old.

        Args:
            older_than_s: leave younger ones alone, too.

        Returns:
            how many were removed, and how many bytes.
        """
        self._prepare()
        with explained(self._root):
            begun, lost = self._files.sweep_incoming(), self._files.sweep(older_than_s)
        return Swept(begun.files + lost.files, begun.size + lost.size)

    # -- objects ---------------------------------------------------------------------------

    def _look(self, bucket: str, key: str) -> ObjectInfo | None:
        self._prepare()
        found = self._catalogue.find(bucket, key)
        return None if found is None else found[0]

    def _find(self, bucket: str, key: str) -> tuple[ObjectInfo, IO[bytes]]:
        self._prepare()
        gone = ""
        for _ in range(_TRIES):
            found = self._catalogue.find(bucket, key)
            if found is None:
                raise no_object()
            info, name = found
            if name == gone:
                raise ObjectVerificationException(f"its data file {name} is missing")
            with explained(self._root), contextlib.suppress(FileNotFoundError):
                return info, self._files.open(name)
            gone = name  # by somebody who replaced the object, or for good
        raise ObjectChanged("somebody replaces the object all the time")

    def _keep(
        self, bucket: str, blocks: Iterator[bytes], describe: Callable[[], ObjectInfo], wish: Wish
    ) -> ObjectInfo:
        self._prepare()
        with explained(self._root), self._files.incoming() as file:
            for block in blocks:
                file.write(block)
            info = describe()
            self._files.publish(file)
            replaced = self._catalogue.put(bucket, info, file.name, wish)
        if replaced is not None:
            self._files.remove(replaced)
        return info

    def _delete_object(
        self, *, key: str, bucket: str, if_unchanged: ObjectInfo | None = None, **_: Any
    ) -> None:
        self._prepare()
        name = self._catalogue.remove(bucket, key, if_unchanged)
        if name is not None:
            self._files.remove(name)

    def _page(self, bucket: str, begin: bytes, end: bytes, count: int) -> list[ObjectInfo]:
        self._prepare()
        return self._catalogue.page(bucket, begin, end, count)

    # -- buckets ---------------------------------------------------------------------------

    def _list_buckets(self) -> Iterator[Bucket]:
        self._prepare()
        yield from self._catalogue.buckets()

    def _create_bucket(self, *, bucket: str, exist_ok: bool) -> None:
        self._prepare()
        self._catalogue.make_bucket(bucket, exist_ok=exist_ok)

    def _delete_bucket(self, *, bucket: str) -> None:
        self._prepare()
        self._catalogue.remove_bucket(bucket)

    # -- the directory ---------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make everything that is missing, and remove what a killed process has left."""
        with self._lock:
            if self._is_ready:
                return
            with explained(self._root):
                self._make_root()
                with _alone(self._root):
                    if not self._catalogue.exists:
                        self._check_empty()
                        self._files.make()
                    self._catalogue.establish(self._check_empty)
                    self._files.make()
                    self._files.sweep_incoming()
                    if self._durable:
                        flush_directory(self._root)
            self._is_ready = True

    def _make_root(self) -> None:
        missing = [each for each in (self._root, *self._root.parents) if not each.exists()]
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ObjectClerkConfigurationException(
                f"{self._root} is a file, or below one: give a directory as root"
            ) from error
        except PermissionError as error:
            raise ObjectClerkConfigurationException(
                f"{self._root} cannot be made: {error.strerror}"
            ) from error
        for each in missing if self._durable else ():
            flush_directory(each.parent)

    def _check_empty(self) -> None:
        """Raise if the directory is somebody else's, or a store that has lost its catalogue."""
        strange = sorted(each.name for each in self._root.iterdir() if each.name not in _HARMLESS)
        if strange:
            raise ObjectClerkConfigurationException(
                f"{self._root} is no store, and not empty (there is {strange[0]!r}): "
                "give a directory of its own as root"
            )
        if self._files.any():
            # An empty one in its place would make all of them nobody's.
            raise ObjectClerkConfigurationException(
                f"the catalogue {self._root / NAME} is missing: put it back "
                "(data files are still there)"
            )


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """No other process is in this block with the same directory."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # also if a child that was forked meanwhile has it open
        os.close(fd)


class FilesystemFactory(ObjectStoreComponentFactory):
    """Makes clients of directories."""

    def __init__(self, config: ObjectStoreConfiguration) -> None:
        super().__init__(config)
        no_settings(config)

    def _create_client(self) -> FilesystemClient:
        return FilesystemClient(self.config)
