"""The catalogue of a store in a directory."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from object_clerk.exceptions import (
    BucketNotFoundException,
    DestinationExists,
    ObjectClerkConfigurationException,
    ObjectClerkException,
    ObjectClerkFileException,
    ObjectClerkOperationException,
    PreconditionFailed,
)
from object_clerk.store.adapters import _catalogue, _connections
from object_clerk.store.adapters._catalogue import NAME, Catalogue
from object_clerk.store.adapters._connections import Connections
from object_clerk.store.adapters._local import Wish, _bounds
from object_clerk.store.adapters._trouble import explained
from object_clerk.store.models import ObjectInfo
from tests.store.test_filesystem import client_of, content, store_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.store import ObjectStore

NOW = datetime(2026, 11, 21, 20, 15, 0, 123456, UTC)
ANY = b"", b"\xff"

#: Rows of the listing that has to fit into little memory.
MANY = 100_000


def info(key: str, data: bytes = b"content", **changes: object) -> ObjectInfo:
    digests = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    facts: dict[str, object] = {"content_type": "text/plain", "metadata": {}, **changes}
    return ObjectInfo(key, NOW, len(data), digests["md5"], digests=digests, **facts)  # type: ignore[arg-type]


def fill(catalogue: Catalogue, keys: Iterator[str] | list[str]) -> None:
    """Put many rows in one transaction."""
    with catalogue._changing() as db:
        home = catalogue._bucket(db, "raw")
        rows = (_catalogue._row(info(key), f"{number:032x}") for number, key in enumerate(keys))
        db.executemany(_catalogue._WRITE, ((home, *row) for row in rows))


def keys_of(catalogue: Catalogue, begin: bytes, end: bytes, count: int = 1000) -> list[str]:
    return [each.key for each in catalogue.page("raw", begin, end, count)]


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    made = Catalogue(tmp_path, "raw", durable=False)
    made.establish(lambda: None)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with store_in(tmp_path / "objects") as opened:
        yield opened


def catalogue_of(store: ObjectStore) -> Catalogue:
    client_of(store)._prepare()
    return client_of(store)._catalogue


# -- rows --------------------------------------------------------------------------------------


def test_row_is_all_that_is_known(catalogue: Catalogue) -> None:
    put = info("key", metadata={"name": "a \"quoted\" 'text' \\"}, content_type="image/fits")

    assert catalogue.put("raw", put, "file", Wish()) is None
    assert catalogue.find("raw", "key") == (put, "file")
    assert catalogue.page("raw", *ANY, 10) == [put]


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 1),
        max_value=datetime(9999, 12, 31),
        timezones=st.just(UTC),
    )
)
def test_times_keep_their_microseconds(moment: datetime) -> None:
    number = _catalogue._number(moment)

    assert _catalogue._time(number) == moment
    assert _catalogue._time(number + 1) - moment == timedelta(microseconds=1)


def test_replaced_file_is_told(catalogue: Catalogue) -> None:
    catalogue.put("raw", info("key"), "first", Wish())
    catalogue.put("raw", info("other"), "third", Wish())

    assert catalogue.put("raw", info("key", b"new"), "second", Wish()) == "first"
    assert not catalogue.knows("first")
    assert catalogue.knows("second")
    assert catalogue.remove("raw", "key") == "second"
    assert catalogue.remove("raw", "key") is None
    assert not catalogue.knows("second")
    assert catalogue.knows("third")


def test_what_a_condition_forbids_changes_nothing(catalogue: Catalogue) -> None:
    there = info("key")
    catalogue.put("raw", there, "first", Wish())

    with pytest.raises(DestinationExists):
        catalogue.put("raw", info("key", b"new"), "second", Wish(if_absent=True))
    with pytest.raises(PreconditionFailed, match=str(there.etag)):
        catalogue.put("raw", info("key", b"new"), "second", Wish(if_match="0" * 32))
    with pytest.raises(PreconditionFailed, match="no object to replace"):
        catalogue.put("raw", info("missing"), "second", Wish(if_match="0" * 32))

    assert catalogue.find("raw", "key") == (there, "first")
    assert catalogue.find("raw", "missing") is None
    assert catalogue.put("raw", info("key"), "second", Wish(if_match=there.etag)) == "first"


# -- buckets -----------------------------------------------------------------------------------


def test_missing_bucket_is_named(catalogue: Catalogue) -> None:
    for call in (
        lambda: catalogue.find("missing", "key"),
        lambda: catalogue.page("missing", *ANY, 1),
        lambda: catalogue.put("missing", info("key"), "file", Wish()),
        lambda: catalogue.remove("missing", "key"),
        lambda: catalogue.remove_bucket("missing"),
    ):
        with pytest.raises(BucketNotFoundException) as caught:
            call()
        assert caught.value.bucket == "missing"
    assert [each.name for each in catalogue.buckets()] == ["raw"]


def test_root_bucket_comes_again(catalogue: Catalogue) -> None:
    catalogue.remove_bucket("raw")
    assert catalogue.buckets() == []

    catalogue.put("raw", info("key"), "file", Wish())

    assert [each.name for each in catalogue.buckets()] == ["raw"]


def test_buckets_are_apart(catalogue: Catalogue) -> None:
    for name in ("b", "B", "a.b"):
        catalogue.make_bucket(name, exist_ok=False)
        catalogue.put(name, info("key"), f"file of {name}", Wish())
    with pytest.raises(DestinationExists):
        catalogue.make_bucket("b", exist_ok=False)
    catalogue.make_bucket("b", exist_ok=True)
    with pytest.raises(ObjectClerkOperationException) as caught:
        catalogue.remove_bucket("b")
    assert caught.value.code == "BucketNotEmpty"

    assert [each.name for each in catalogue.buckets()] == ["B", "a.b", "b", "raw"]
    assert catalogue.remove("b", "key") == "file of b"
    catalogue.remove_bucket("b")
    assert catalogue.find("B", "key") == (info("key"), "file of B")


def test_bucket_that_goes_meanwhile(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two statements of a read somebody may make another one in its place."""
    look_up = Catalogue._bucket

    def replaced(self: Catalogue, db: sqlite3.Connection, name: str) -> int:
        home = look_up(self, db, name)
        if name == "b":
            catalogue.remove_bucket("b")
            catalogue.make_bucket("c", exist_ok=False)
            catalogue.put("c", info("key"), "file", Wish())
        return home

    monkeypatch.setattr(Catalogue, "_bucket", replaced)
    catalogue.make_bucket("b", exist_ok=False)
    assert catalogue.find("b", "key") is None
    catalogue.remove("c", "key")
    catalogue.remove_bucket("c")
    catalogue.make_bucket("b", exist_ok=False)
    assert catalogue.page("b", *ANY, 10) == []

    assert catalogue.find("c", "key") == (info("key"), "file")


# -- order -------------------------------------------------------------------------------------

#: Keys of few characters, so that they begin alike, and of characters whose order is another one
#: in UTF-16.
_KEYS = st.text(st.sampled_from("aAb/\x01~\x7fé\ud7ff\ue000\uffff\U00010000\U0010ffff"), min_size=1)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.sets(_KEYS | st.text(min_size=1), max_size=30),
    prefix=st.just("") | _KEYS,
    start_after=st.none() | _KEYS,
    count=st.integers(1, 40),
)
@example(keys={"a", "a\uffff", "b", "b/"}, prefix="a", start_after=None, count=40)
def test_order_is_that_of_utf8(
    catalogue: Catalogue, keys: set[str], prefix: str, start_after: str | None, count: int
) -> None:
    keys = {key for key in keys if "\0" not in key}
    with catalogue._changing() as db:
        db.execute("DELETE FROM objects")
    fill(catalogue, list(keys))

    wanted = [
        key
        for key in sorted(keys, key=str.encode)
        if key.startswith(prefix) and (start_after is None or key.encode() > start_after.encode())
    ]

    assert keys_of(catalogue, *_bounds(prefix, start_after), count) == wanted[:count]


def test_hundred_thousand_keys(store: ObjectStore) -> None:
    order = list(range(MANY))
    # Not in the order in which they are listed.
    fill(catalogue_of(store), (f"{number * 7919 % MANY:06}/{'k' * 60}" for number in order))

    tracemalloc.start()
    try:
        listed = 0
        for number, each in enumerate(store.list_objects()):
            assert each.key.startswith(f"{number:06}/")
            listed += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert listed == MANY
    assert peak < 4 << 20
    some = [each.key[:6] for each in store.list_objects(prefix="0777", start_after="077750")]
    assert some == [f"{number:06}" for number in range(77750, 77800)]
    assert sum(1 for _ in store.list_objects(limit=2500)) == 2500


def test_page_is_found_without_looking_at_others(catalogue: Catalogue) -> None:
    """Whatever the number of keys, and however few of them have the prefix."""
    with catalogue._reading() as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN {_catalogue._PAGE}", (1, *ANY, 1)).fetchall()

    (step,) = (row[-1] for row in plan)
    assert step.startswith("SEARCH")
    assert step.endswith("(bucket=? AND key>? AND key<?)")


def test_listing_while_others_write(store: ObjectStore) -> None:
    fill(catalogue_of(store), [f"{number:04}" for number in range(0, 3000, 2)])
    listing = store.list_objects()
    seen = [next(listing).key for _ in range(10)]

    for number in range(1, 3000, 100):
        store.put_object_v2(b"", f"{number:04}")
    for number in range(0, 3000, 100):
        store.delete_object(f"{number:04}")
    seen += [each.key for each in listing]

    assert seen == sorted(set(seen))
    stayed = {f"{number:04}" for number in range(0, 3000, 2) if number % 100}
    assert stayed <= set(seen)


# -- databases of others -----------------------------------------------------------------------


def _refusal(root: Path) -> ObjectClerkException:
    with store_in(root) as store, pytest.raises(ObjectClerkException) as caught:
        store.put_object_v2(b"content", "key")
    return caught.value


def test_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE precious (x)")
        db.commit()
    before = path.read_bytes()

    error = _refusal(tmp_path)

    assert isinstance(error, ObjectClerkConfigurationException)
    assert str(path) in str(error)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [NAME]


def test_newer_catalogue(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        store.put_object_v2(b"content", "key")
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as db:
        db.execute("PRAGMA user_version = 2")

    error = _refusal(tmp_path)

    assert isinstance(error, ObjectClerkConfigurationException)
    assert "newer version" in str(error)
    assert str(tmp_path / NAME) in str(error)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no database at all" * 1000)

    error = _refusal(tmp_path)

    assert isinstance(error, ObjectClerkOperationException)
    assert "put a copy of it back" in str(error)
    assert str(tmp_path) in str(error)
    assert (tmp_path / NAME).read_bytes() == b"no database at all" * 1000


def test_damaged_catalogue(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        store.put_object_v2(b"content", "key")
    with (tmp_path / NAME).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(3 * 4096))

    assert "put a copy of it back" in str(_refusal(tmp_path))


def test_empty_database_among_other_files(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    (tmp_path / "thesis.tex").touch()

    assert "not empty" in str(_refusal(tmp_path))
    assert (tmp_path / NAME).stat().st_size == 0


def test_file_system_without_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
            return super().execute(sql.replace("= WAL", "= DELETE"), *arguments)  # type: ignore[arg-type]

    open_ = Catalogue._open

    def opened(self: Catalogue, mode: str) -> sqlite3.Connection:
        open_(self, mode).close()
        return sqlite3.connect(tmp_path / NAME, factory=Connection, isolation_level=None)

    monkeypatch.setattr(Catalogue, "_open", opened)

    assert "local disk" in str(_refusal(tmp_path))


def test_catalogue_that_is_taken_away(store: ObjectStore, tmp_path: Path) -> None:
    store.put_object_v2(b"content", "key")
    store.client.close()
    path = tmp_path / "objects" / NAME
    path.rename(tmp_path / NAME)

    with pytest.raises(ObjectClerkFileException, match=f"{path} is missing: put it back"):
        store.put_object_v2(b"content", "key")
    assert not path.exists()

    (tmp_path / NAME).rename(path)
    assert content(store, "key") == b"content"


def test_only_one_process_sets_a_root_up(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    establish = Catalogue.establish

    def alone(self: Catalogue, check_empty: Callable[[], None]) -> None:
        with pytest.raises(BlockingIOError):
            lock(tmp_path / "objects")
        establish(self, check_empty)

    monkeypatch.setattr(Catalogue, "establish", alone)
    store.put_object_v2(b"content", "key")

    lock(tmp_path / "objects")  # it is free again


def lock(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)


# -- what errors say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (sqlite3.SQLITE_FULL, ObjectClerkFileException, "the disk is full: make room"),
        (sqlite3.SQLITE_IOERR_WRITE, ObjectClerkFileException, "disk I/O error"),
        (sqlite3.SQLITE_READONLY, ObjectClerkFileException, "owner and permissions"),
        (sqlite3.SQLITE_CANTOPEN, ObjectClerkFileException, "owner and permissions"),
        (sqlite3.SQLITE_CORRUPT_INDEX, ObjectClerkOperationException, "put a copy of it back"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, ObjectClerkOperationException, "another process"),
    ],
)
def test_errors_say_what_to_do(code: int, kind: type[ObjectClerkException], said: str) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code

    with pytest.raises(kind, match=said) as caught, explained(Path("/the/root")):
        raise error

    assert type(caught.value) is kind
    assert "/the/root" in str(caught.value)
    assert caught.value.__cause__ is error


def test_catalogue_kept_by_another_process(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_catalogue, "PATIENCE_S", 0.05)
    store.put_object_v2(b"old", "key")
    store.client.close()
    path = tmp_path / "objects" / NAME
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(ObjectClerkOperationException, match="another process has kept it"):
            store.put_object_v2(b"new", "key")
        assert content(store, "key") == b"old"
        db.execute("ROLLBACK")

    store.put_object_v2(b"new", "key")
    assert len(list((tmp_path / "objects" / "data").glob("*/*"))) == 1


# -- connections -------------------------------------------------------------------------------


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[Connections]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "database", isolation_level=None, check_same_thread=False)

    made = Connections(connect)
    with made.lent() as db:
        db.execute("CREATE TABLE numbers (number)")
    yield made
    made.close()


def numbers(connections: Connections) -> list[int]:
    with connections.lent() as db:
        return [number for (number,) in db.execute("SELECT number FROM numbers")]


def test_connections_are_used_again(connections: Connections) -> None:
    with connections.lent() as first, connections.lent() as second:
        assert first is not second
    with connections.lent() as third:
        assert third in (first, second)
    connections.close()
    with connections.lent() as fourth:
        assert fourth not in (first, second)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")


def insert_and_fail(connections: Connections) -> None:
    with connections.lent() as db:
        db.execute("BEGIN")
        db.execute("INSERT INTO numbers VALUES (1)")
        db.execute("nonsense")


def test_connections_to_another_database_are_not_used_again(tmp_path: Path) -> None:
    there = ["first"]
    connections = Connections(lambda: sqlite3.connect(tmp_path / there[0]), lambda: there[0])
    with connections.lent() as busy, connections.lent() as idle:
        pass
    with connections.lent() as used:
        assert used is busy
        there[0] = "second"
        with connections.lent() as new:
            assert new not in (busy, idle)
        assert connections._idle == [new]

    assert connections._idle == [new]
    with connections.lent() as again:
        assert again is new
    for each in (busy, idle):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            each.execute("SELECT 1")
    connections.close()


def test_unfinished_transaction_is_undone(connections: Connections) -> None:
    with connections.lent() as db:
        db.execute("BEGIN")
        db.execute("INSERT INTO numbers VALUES (1)")

    assert numbers(connections) == []
    assert not db.in_transaction


def test_connection_that_failed_is_not_used_again(connections: Connections) -> None:
    with connections.lent() as db:
        pass
    with pytest.raises(sqlite3.OperationalError):
        insert_and_fail(connections)

    assert numbers(connections) == []
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")


def test_connection_that_cannot_be_opened() -> None:
    def fail() -> sqlite3.Connection:
        raise sqlite3.OperationalError("no")

    connections = Connections(fail)
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="no"), connections.lent():
            raise AssertionError("there is no connection")

    connections.before_fork()  # waits for those that are lent: there are none
    connections.after_fork_in_parent()


def test_fork_waits_and_begins_anew(connections: Connections) -> None:
    lent, go_on = threading.Event(), threading.Event()
    order: list[str] = []
    used: list[sqlite3.Connection] = []

    def use() -> None:
        with connections.lent() as db:
            used.append(db)
            lent.set()
            assert go_on.wait(20)
            order.append("given back")

    def fork() -> None:
        _connections._before_fork()
        order.append("fork")
        assert not connections._idle
        _connections._after_fork_in_parent()

    user, forker = threading.Thread(target=use), threading.Thread(target=fork)
    user.start()
    assert lent.wait(20)
    forker.start()
    go_on.set()
    user.join()
    forker.join()

    assert order == ["given back", "fork"]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used[0].execute("SELECT 1")
    assert numbers(connections) == []


def test_child_begins_anew(connections: Connections) -> None:
    """What a forked child does, without a fork: locks that others held are held for ever."""
    _connections._before_fork()
    held = connections._changed, _connections._forking
    for each in held:
        each.acquire()
    _connections._after_fork_in_child()

    assert connections._changed is not held[0]
    assert _connections._forking is not held[1]
    assert numbers(connections) == []


def test_none_is_lent_while_a_fork_waits(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that are always busy would keep it waiting, and have one at its moment."""
    order: list[str] = []
    wait_for = connections._changed.wait_for

    def use() -> None:
        with connections.lent():
            order.append("lent")

    user = threading.Thread(target=use)

    def busy(ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Another thread asks for a connection just when the fork begins to wait."""
        if timeout is not None:
            user.start()
        return wait_for(ready, timeout)

    monkeypatch.setattr(connections._changed, "wait_for", busy)
    _connections._before_fork()
    user.join(0.2)
    order.append("fork")
    _connections._after_fork_in_parent()
    user.join()

    assert order == ["fork", "lent"]


def test_interrupted_before_a_fork(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python forks nevertheless, so nothing stays closed, and none is taken along."""
    others = [Connections(connections._connect) for _ in range(3)]
    for each in others:
        assert numbers(each) == []

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(connections._changed, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _connections._before_fork()
    assert [each._is_stopped for each in (connections, *others)] == [True] * 4
    assert [each._idle for each in (connections, *others)] == [[]] * 4
    _connections._after_fork_in_parent()

    for each in (connections, *others):
        assert numbers(each) == []
        each.close()
    fork = threading.Thread(target=_fork, daemon=True)  # another thread may
    fork.start()
    fork.join(20)
    assert not fork.is_alive()


def _fork() -> None:
    _connections._before_fork()
    _connections._after_fork_in_parent()


def test_connections_end_with_their_owner(tmp_path: Path) -> None:
    made: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        made.append(sqlite3.connect(tmp_path / "database"))
        return made[0]

    connections = Connections(connect)
    with connections.lent():
        pass
    del connections

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")
