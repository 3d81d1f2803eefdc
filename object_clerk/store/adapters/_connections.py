"""Connections to an SQLite database, which survive a fork of the process.

SQLite keeps in the memory of a process which locks that process has on a file. A forked child
finds that memory, but not the locks (SQLite, "How To Corrupt An SQLite Database File"). So all
connections are closed before a fork; parent and child open new ones.

Python goes on with a fork although what it was to do before has failed, say because of Ctrl-C. So
whatever is stopped for a fork is let go after it, and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING

from object_clerk.store.adapters._trouble import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Connections:
    """Connections to one database, each lent to one thread at a time.

    Args:
        connect: opens a connection that any thread may use.
        identity: tells which database is there now; connections to another one are not lent again.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        identity: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._identity = identity
        self._database: object = None
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._is_stopped = False
        self._changed = threading.Condition()
        with _forking:
            _all.add(self)
        weakref.finalize(self, _close_all, self._idle)

    @contextlib.contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """A connection, for as long as the block lasts. A transaction that it leaves is undone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_stopped)
            # Asked before it is opened: at worst a new connection is thought to be an old one.
            database = self._identity()
            if database != self._database:
                _close_all(self._idle)
                self._database = database
            self._lent += 1
            db = self._idle.pop() if self._idle else None
        sound = True
        try:
            db = db or self._connect()
            yield db
        except sqlite3.Error:
            sound = False  # who knows what has become of it
            raise
        finally:
            if db is not None and db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    db.rollback()
            with self._changed:
                self._lent -= 1
                if db is not None:
                    usable = sound and database == self._database
                    self._idle.append(db) if usable else db.close()
                self._changed.notify_all()

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._changed:
            _close_all(self._idle)

    def before_fork(self) -> None:
        """Lend none until one of the following methods is called, wait for all, and close them."""
        with self._changed:
            self._is_stopped = True
            try:
                self._changed.wait_for(lambda: not self._lent, PATIENCE_S)
            finally:
                _close_all(self._idle)

    def after_fork_in_parent(self) -> None:
        """Lend again."""
        with self._changed:
            self._is_stopped = False
            self._changed.notify_all()

    def after_fork_in_child(self) -> None:
        """Begin anew: the threads that had something are not here."""
        self._changed = threading.Condition()
        self._is_stopped = False
        self._lent = 0


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


_all: weakref.WeakSet[Connections] = weakref.WeakSet()
# Held from before a fork until after it. It may be entered again, in case that somebody else's
# work before a fork makes connections.
_forking = threading.RLock()
_stopped: list[Connections] = []


def _before_fork() -> None:
    _forking.acquire()
    _stopped.extend(_all)
    with contextlib.ExitStack() as stack:  # each of them, whatever another raises
        for each in _stopped:
            stack.callback(each.before_fork)


def _after_fork_in_parent() -> None:
    while _stopped:
        _stopped.pop().after_fork_in_parent()
    _forking.release()


def _after_fork_in_child() -> None:
    global _forking
    _forking = threading.RLock()
    while _stopped:
        _stopped.pop().after_fork_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
