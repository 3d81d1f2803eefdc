"""Objects in a directory: what only such a store can get wrong."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pickle
import resource
import secrets
import shutil
import stat
import subprocess
import threading
import tracemalloc
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import pytest

from object_clerk.exceptions import (
    ObjectChanged,
    ObjectClerkConfigurationException,
    ObjectClerkFileException,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
    ObjectNotFoundException,
    ObjectSaveException,
    ObjectVerificationException,
    PreconditionFailed,
    SourceNotFound,
)
from object_clerk.receipt import Verdict
from object_clerk.store import ObjectStore
from object_clerk.store.adapters import _datafiles
from object_clerk.store.adapters._catalogue import Catalogue
from object_clerk.store.adapters._datafiles import DataFiles, Swept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.store.adapters.filesystem import FilesystemClient

MIB = 1 << 20

#: As much as the small disks here hold.
ROOM = 1 * MIB


def store_in(root: Path, *, durable: bool = False, root_bucket: str = "raw") -> ObjectStore:
    connection = {"root": root, "durable": durable}
    return ObjectStore(
        {"framework": "filesystem", "root_bucket": root_bucket, "connection": connection}
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> Iterator[ObjectStore]:
    with store_in(root) as opened:
        yield opened


def client_of(store: ObjectStore) -> FilesystemClient:
    return cast("FilesystemClient", store.client)


def content(store: ObjectStore, key: str) -> bytes:
    with store.get_object(key) as opened:
        return opened.body.read()


def read_into(file: IO[bytes], store: ObjectStore, **options: Any) -> None:
    with store.get_object("key", **options) as opened:
        while block := opened.body.read(1000):
            file.write(block)


def files(root: Path, below: str = "data") -> list[Path]:
    return sorted(each for each in (root / below).rglob("*") if each.is_file())


def only_file(root: Path) -> Path:
    (file,) = files(root)
    return file


# -- keys --------------------------------------------------------------------------------------

HOSTILE = [
    ".", "..", "../../x", "a/../../x", "/etc/passwd", "//", "/", "C:\\x", "\\\\host\\share", "a//b",
    "a", "a/b", "a/b/", "a/", "A", "aux.txt", "CON", "trailing.", "trailing.. ", " blank ", "\t",
    "line\nbreak", "100%", "%2e%2e%2f", "a%00b", "*?<>|\":", "-rf", "~root", "$(id)", "{}", "'\"",
    "café", "cafe\u0301", "CAFÉ", "\u017f",
    "s", "ß", "ss", "İ", "i", "😀/🚀", "\U0010ffff", "\x01\x7f",
    "catalogue.sqlite3", "data", "incoming", "data/ab/cd", "x" * 1024, "é" * 512, "d/" * 512,
]  # fmt: skip


def test_any_key_of_s3_will_do(store: ObjectStore, root: Path) -> None:
    for key in HOSTILE:
        store.put_object_v2(key.encode(), key)

    for key in HOSTILE:
        assert content(store, key) == key.encode()
    listed = [each.key for each in store.list_objects()]
    assert listed == sorted(HOSTILE, key=str.encode)
    assert len(files(root)) == len(HOSTILE)
    for path in files(root):
        assert path.relative_to(root / "data").parts == (path.name[:2], path.name)
    names = {each.name for each in root.iterdir()}
    beside = {"catalogue.sqlite3-wal", "catalogue.sqlite3-shm"}
    assert names - beside == {"catalogue.sqlite3", "data", "incoming"}
    assert [each.name for each in root.parent.iterdir()] == [root.name]


def test_any_key_can_be_deleted_and_copied(store: ObjectStore, root: Path) -> None:
    for key in HOSTILE:
        store.put_object_v2(key.encode(), key)
        store.copy_object(key, "copy")
        assert content(store, "copy") == key.encode()
        store.delete_object(key)

    assert [each.key for each in store.list_objects()] == ["copy"]
    only_file(root)


def test_nul_is_refused(store: ObjectStore, root: Path) -> None:
    with pytest.raises(ObjectClerkParameterException, match="NUL"):
        store.put_object_v2(b"content", "a\0b")

    assert not root.exists()


# -- what is written ---------------------------------------------------------------------------


def test_nothing_is_touched_before_the_first_use(store: ObjectStore, root: Path) -> None:
    listing, client = store.list_objects(), store.client

    assert not root.exists()
    assert list(listing) == []
    assert root.is_dir()
    assert client is store.client


def test_receipt_says_what_was_done(root: Path) -> None:
    for durable in (True, False):
        with store_in(root, durable=durable) as store:
            receipt = store.put_object_v2(b"hello", "key")
        assert receipt.verdict is Verdict.TRANSPORT
        assert ("flushed to the disk" in receipt.basis) is durable
        assert receipt.etag == receipt.digests["md5"] == "5d41402abc4b2a76b9719d911017c592"
        assert receipt.digests["sha256"].startswith("2cf24dba5fb0a30e")


def test_durable_write_is_on_disk_before_it_is_seen(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename, put = os.fsync, os.rename, Catalogue.put

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            done.append(name)
            return call(*arguments, **keywords)

        return wrapper

    def flush(fd: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    names = iter(("a" * 32, "b" * 32, f"b{'b' * 30}c"))
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(names))
    with store_in(root, durable=True) as store:
        store.put_object_v2(b"something, so that all is made", "key")
        monkeypatch.setattr(os, "fsync", flush)
        monkeypatch.setattr(os, "rename", noted("rename", rename))
        monkeypatch.setattr(Catalogue, "put", noted("row", put))

        store.put_object_v2(b"content", "key")
        first, done = done, []
        store.put_object_v2(b"content", "key")

        assert first == ["file", "directory", "rename", "directory", "row"]
        assert done == ["file", "rename", "directory", "row"]
        with client_of(store)._catalogue._connections.lent() as db:
            assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_without_durability_nothing_is_flushed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)

    with store_in(root, durable=False) as store:
        store.put_object_v2(b"content", "key")
        with client_of(store)._catalogue._connections.lent() as db:
            assert db.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL

    assert flushed == []


def test_replaced_and_deleted_objects_leave_no_file(store: ObjectStore, root: Path) -> None:
    for number in range(3):
        store.put_object_v2(bytes(number), "key")
        assert only_file(root).stat().st_size == number
    store.copy_object("key", "copy")
    store.delete_object("key")
    only_file(root)
    store.delete_object("copy")

    assert files(root) == files(root, "incoming") == []


def test_memory_is_bounded(store: ObjectStore, tmp_path: Path) -> None:
    size = 64 * MIB
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    store.put_object_v2(b"", "warm")
    tracemalloc.start()
    try:
        store.upload_file(tmp_path / "large", "key")
        store.copy_object("key", "copy")
        store.download_file("copy", tmp_path / "back")
        with store.get_object("key") as opened:
            while opened.body.read(MIB):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (tmp_path / "back").stat().st_size == size
    assert peak < 8 * MIB


class Unseekable(io.RawIOBase):
    """A stream like that of a pipe, which gives as little at a time as it likes."""

    def __init__(self, data: bytes, step: int = 1000) -> None:
        super().__init__()
        self._data, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, self._step) if size >= 0 else self._step)


@pytest.mark.parametrize("make", [io.BytesIO, Unseekable])
@pytest.mark.parametrize("length", [0, 4999, 5001, 10_000])
def test_stream_of_another_length_is_not_stored(
    store: ObjectStore, root: Path, make: Callable[[bytes], IO[bytes]], length: int
) -> None:
    store.put_object_v2(b"before", "key")

    with pytest.raises(ObjectSaveException, match=r"more|fewer"):
        store.put_object_v2(make(bytes(5000)), "key", length=length)

    assert content(store, "key") == b"before"
    assert files(root, "incoming") == []
    only_file(root)
    assert store.put_object_v2(make(bytes(5000)), "key", length=5000).size == 5000


def test_stream_that_fails_is_not_stored(store: ObjectStore, root: Path) -> None:
    class Broken(Unseekable):
        def read(self, size: int = -1) -> bytes:
            if data := super().read(size):
                return data
            raise OSError(errno.EIO, "the cable is out")

    store.put_object_v2(b"before", "key")

    with pytest.raises(ObjectSaveException, match="the cable is out"):
        store.put_object_v2(cast("IO[bytes]", Broken(bytes(5000))), "key")

    assert content(store, "key") == b"before"
    assert files(root, "incoming") == []


def test_source_that_changes_meanwhile_is_not_stored(
    store: ObjectStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    complete = _datafiles.Incoming.write

    def write(self: _datafiles.Incoming, block: bytes) -> None:
        complete(self, block)
        source.write_bytes(b"another")
        os.utime(source, ns=(0, 0))

    monkeypatch.setattr(_datafiles.Incoming, "write", write)
    with pytest.raises(ObjectSaveException, match="was changed while"):
        store.upload_file(source, "key")
    with pytest.raises(SourceNotFound):
        store.upload_file(tmp_path / "missing", "key")

    assert list(store.list_objects()) == []
    assert files(root) == files(root, "incoming") == []


def test_file_that_somebody_else_writes_to(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = _datafiles.Incoming.complete

    def disturbed(self: _datafiles.Incoming, *, durable: bool) -> None:
        _extend(self.path)
        close(self, durable=durable)

    store.put_object_v2(b"before", "key")
    monkeypatch.setattr(_datafiles.Incoming, "complete", disturbed)
    with pytest.raises(ObjectClerkFileException, match=r"7 bytes were written .* has 8"):
        store.put_object_v2(b"content", "key")

    assert content(store, "key") == b"before"
    assert files(root, "incoming") == []


def test_condition_is_checked_when_the_content_is_there(store: ObjectStore, root: Path) -> None:
    """Somebody else may write while the content is being read."""

    class Slow(Unseekable):
        def read(self, size: int = -1) -> bytes:
            store.put_object_v2(b"other", "key")
            return super().read(size)

    with pytest.raises(PreconditionFailed):
        store.put_object_v2(cast("IO[bytes]", Slow(b"mine")), "key", if_absent=True)
    etag = store.head_object("key").etag
    store.put_object_v2(b"third", "key")
    with pytest.raises(PreconditionFailed):
        store.put_object_v2(cast("IO[bytes]", Slow(b"mine")), "key", if_match=f'"{etag}"')

    assert content(store, "key") == b"third"
    only_file(root)
    etag = store.head_object("key").etag
    assert store.put_object_v2(b"mine", "key", if_match=f'"{etag}"').size == 4


def test_condition_that_cannot_hold_reads_nothing(store: ObjectStore) -> None:
    store.put_object_v2(b"content", "key")
    stream = Unseekable(b"never read")

    with pytest.raises(PreconditionFailed):
        store.put_object_v2(cast("IO[bytes]", stream), "key", if_absent=True)

    assert stream.read() == b"never read"


def test_interrupted_after_the_commit_keeps_the_bytes(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Catalogue.put

    def interrupted(*arguments: Any, **keywords: Any) -> None:
        put(*arguments, **keywords)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Catalogue, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put_object_v2(b"content", "key")

    assert content(store, "key") == b"content"


# -- what is read ------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _extend(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


DAMAGE = pytest.mark.parametrize("damage", [_flip, _truncate, _empty, _extend, Path.unlink])


@DAMAGE
@pytest.mark.parametrize("size", [10, 3 * MIB + 7])
@pytest.mark.parametrize("mode", [True, "available"])
def test_damage_is_noticed(
    store: ObjectStore, root: Path, damage: Callable[[Path], None], size: int, mode: Any
) -> None:
    data = os.urandom(size)
    store.put_object_v2(data, "key")
    damage(only_file(root))
    read = io.BytesIO()

    with pytest.raises(ObjectVerificationException) as caught:
        read_into(read, store, verify_checksum=mode)

    assert (caught.value.bucket, caught.value.key) == ("raw", "key")
    assert len(read.getvalue()) < size
    assert data.startswith(read.getvalue()) or damage is _flip


@pytest.mark.parametrize("size", [10, MIB, 3 * MIB + 7])
def test_last_bytes_come_only_when_all_are_verified(
    store: ObjectStore, root: Path, size: int
) -> None:
    store.put_object_v2(os.urandom(size), "key")
    with store.get_object("key") as opened:
        assert len(opened.body.read(size)) == size
    _flip(only_file(root))

    with store.get_object("key") as opened, pytest.raises(ObjectVerificationException):
        opened.body.read(size)  # who knows the size would not ask for more


@pytest.mark.parametrize(("damage", "left"), [(_truncate, 6), (_extend, 8), (_empty, 0)])
def test_other_length_is_told(
    store: ObjectStore, root: Path, damage: Callable[[Path], None], left: int
) -> None:
    store.put_object_v2(b"content", "key")
    damage(only_file(root))

    with pytest.raises(ObjectVerificationException, match=f"7 bytes were stored, and {left} are"):
        content(store, "key")


@DAMAGE
def test_damage_leaves_targets_as_they_were(
    store: ObjectStore, root: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store.put_object_v2(b"before", "copy")
    there = set(files(root))
    store.put_object_v2(os.urandom(2 * MIB), "key")
    (damaged,) = set(files(root)) - there
    damage(damaged)
    target = tmp_path / "target"
    target.write_bytes(b"before")

    with pytest.raises(ObjectVerificationException):
        store.download_file("key", target)
    with pytest.raises(ObjectVerificationException):
        store.copy_object("key", "copy")

    assert target.read_bytes() == content(store, "copy") == b"before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["objects", "target"]
    assert files(root, "incoming") == []


def test_error_comes_again(store: ObjectStore, root: Path) -> None:
    store.put_object_v2(b"content", "key")
    _flip(only_file(root))

    with store.get_object("key") as opened:
        for _ in range(2):
            with pytest.raises(ObjectVerificationException, match="SHA-256"):
                opened.body.read()


@pytest.mark.parametrize("damage", [_flip, _truncate, _extend])
def test_damaged_bytes_can_be_had(
    store: ObjectStore, root: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    store.put_object_v2(b"content", "key")
    damage(only_file(root))
    damaged = only_file(root).read_bytes()

    with store.get_object("key", verify_checksum=False) as opened:
        assert opened.body.read() == damaged
    receipt = store.download_file("key", tmp_path / "file", verify_checksum="off")
    assert receipt.verdict is Verdict.NONE
    assert receipt.digests == {}
    assert (tmp_path / "file").read_bytes() == damaged


@pytest.mark.parametrize("damage", [_flip, _truncate, _extend])
def test_copy_of_damaged_bytes_does_not_look_sound(
    store: ObjectStore, root: Path, damage: Callable[[Path], None]
) -> None:
    store.put_object_v2(b"content", "key")
    damage(only_file(root))

    assert store.copy_object("key", "copy", verify_checksum=False).verdict is Verdict.NONE

    with pytest.raises(ObjectVerificationException):
        content(store, "copy")


def test_reader_keeps_its_generation(store: ObjectStore) -> None:
    data = os.urandom(5 * MIB)
    store.put_object_v2(data, "key")
    with store.get_object("key") as opened:
        begin = opened.body.read(10)
        store.put_object_v2(b"new", "key")
        store.delete_object("key")
        assert begin + opened.body.read() == data
    with pytest.raises(ObjectNotFoundException):
        store.get_object("key")


def test_object_replaced_before_it_was_opened(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_object_v2(b"old", "key")
    find = DataFiles.open

    def replaced(self: DataFiles, name: str) -> IO[bytes]:
        monkeypatch.setattr(DataFiles, "open", find)
        store.put_object_v2(b"new", "key")
        return find(self, name)

    monkeypatch.setattr(DataFiles, "open", replaced)

    assert content(store, "key") == b"new"


def test_object_replaced_all_the_time(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_object_v2(b"old", "key")
    find = DataFiles.open

    def replaced(self: DataFiles, name: str) -> IO[bytes]:
        store.put_object_v2(b"new", "key")
        return find(self, name)

    monkeypatch.setattr(DataFiles, "open", replaced)

    with pytest.raises(ObjectChanged, match="all the time"):
        store.get_object("key")


def test_download_through_a_link_and_to_a_pipe(store: ObjectStore, tmp_path: Path) -> None:
    store.put_object_v2(b"content", "key")
    (tmp_path / "file").write_bytes(b"before")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    taken: list[bytes] = []
    reader = threading.Thread(target=lambda: taken.append((tmp_path / "pipe").read_bytes()))
    reader.start()

    store.download_file("key", tmp_path / "link")
    store.download_file("key", tmp_path / "pipe")
    reader.join()

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"
    assert taken == [b"content"]


# -- leftovers ---------------------------------------------------------------------------------


def _leftover(root: Path, below: str, name: str = "ab" * 16) -> Path:
    path = root / below / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"12345")
    return path


def test_first_use_removes_what_nobody_writes(store: ObjectStore, root: Path) -> None:
    store.put_object_v2(b"content", "key")
    left = _leftover(root, "incoming")
    strange = _leftover(root, "incoming", "notes.txt")
    lost = _leftover(root, "data/ab")

    with store_in(root) as other:
        assert content(other, "key") == b"content"

    assert not left.exists()
    assert strange.exists()
    assert lost.exists()


def test_sweep(store: ObjectStore, root: Path) -> None:
    store.put_object_v2(b"content", "key")
    os.utime(only_file(root), (0, 0))
    _leftover(root, "incoming")
    young = _leftover(root, "data/ab")
    old = _leftover(root, "data/cd", "cd" * 16)
    strange = _leftover(root, "data/cd", "cd")
    for each in (old, strange):
        os.utime(each, (0, 0))

    assert client_of(store).sweep() == Swept(2, 10)
    assert client_of(store).sweep() == Swept(0, 0)
    assert young.exists()
    assert strange.exists()
    assert client_of(store).sweep(0) == Swept(1, 5)

    assert content(store, "key") == b"content"
    assert not young.exists()


def test_sweep_spares_what_is_about_to_be_an_object(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Catalogue.put
    swept: list[Swept] = []

    def sweep_first(self: Catalogue, *arguments: Any, **keywords: Any) -> str | None:
        swept.append(client_of(store).sweep(0))
        return put(self, *arguments, **keywords)

    monkeypatch.setattr(Catalogue, "put", sweep_first)
    store.put_object_v2(b"content", "key")

    assert swept == [Swept(0, 0)]
    assert content(store, "key") == b"content"


def test_sweep_looks_again(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row may be written between the first look and the lock."""
    store.put_object_v2(b"content", "key")
    asked: list[str] = []
    known = client_of(store)._files._known

    def not_at_first(name: str) -> bool:
        asked.append(name)
        return len(asked) > 1 and known(name)

    monkeypatch.setattr(client_of(store)._files, "_known", not_at_first)

    assert client_of(store).sweep(0) == Swept(0, 0)
    assert len(asked) == 2
    assert content(store, "key") == b"content"


def test_new_file_that_is_taken_for_a_leftover(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the making of a file and its lock somebody may sweep."""
    lock = _datafiles.Incoming.lock
    swept: list[str] = []

    def sweep_first(self: _datafiles.Incoming) -> bool:
        if len(swept) < 3:
            swept.append(self.name)
            self.path.unlink()
        return lock(self)

    store.put_object_v2(b"", "warm")
    with monkeypatch.context() as patch:
        patch.setattr(_datafiles.Incoming, "lock", sweep_first)
        store.put_object_v2(b"content", "key")
        assert len(set(swept)) == 3
        assert content(store, "key") == b"content"
        patch.setattr(_datafiles.Incoming, "lock", lambda _: False)
        with pytest.raises(ObjectClerkFileException, match="removed by somebody"):
            store.put_object_v2(b"content", "key")


# -- the root ----------------------------------------------------------------------------------


def test_two_clients_on_one_root(store: ObjectStore, root: Path) -> None:
    with store_in(root, root_bucket="other") as other:
        store.put_object_v2(b"content", "key")
        other.copy_object("key", "copy", src_bucket="raw")
        store.delete_object("key")

        assert content(other, "copy") == b"content"
        assert [each.name for each in store.list_buckets()] == ["other", "raw"]
        other.client.create_bucket("third")
        store.put_object_v2(b"", "key", "third")
        with pytest.raises(ObjectClerkOperationException) as caught:
            other.client.delete_bucket("third")
        assert caught.value.code == "BucketNotEmpty"


def test_store_is_pickled(store: ObjectStore) -> None:
    store.put_object_v2(b"content", "key")

    with pickle.loads(pickle.dumps(store)) as other:
        assert content(other, "key") == b"content"
        assert other.client is not store.client


def test_relative_root_is_meant_from_where_the_client_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with store_in(Path("objects")) as store:
        client_of(store)
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.put_object_v2(b"content", "key")

    assert only_file(tmp_path / "objects").read_bytes() == b"content"


@pytest.mark.parametrize("below", [False, True])
def test_root_is_a_file(root: Path, below: bool) -> None:
    root.write_bytes(b"precious")

    with (
        store_in(root / "objects" if below else root) as store,
        pytest.raises(ObjectClerkConfigurationException, match="is a file, or below one"),
    ):
        store.put_object_v2(b"content", "key")

    assert root.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["thesis.tex", "data.csv", ".hidden"])
def test_root_is_somebody_elses(root: Path, name: str) -> None:
    root.mkdir()
    (root / name).write_bytes(b"precious")

    with (
        store_in(root) as store,
        pytest.raises(ObjectClerkConfigurationException, match="not empty") as caught,
    ):
        list(store.list_objects())

    assert str(root) in str(caught.value)
    assert repr(name) in str(caught.value)
    assert [each.name for each in root.iterdir()] == [name]


def test_root_that_a_killed_process_has_begun(root: Path) -> None:
    for name in ("incoming", "data", "lost+found"):
        (root / name).mkdir(parents=True)
    (root / "catalogue.sqlite3").touch()

    with store_in(root) as store:
        store.put_object_v2(b"content", "key")
        assert content(store, "key") == b"content"


@pytest.mark.parametrize("left", [None, b""])
def test_store_that_has_lost_its_catalogue(root: Path, left: bytes | None) -> None:
    """With an empty one in its place all data files would be nobody's."""
    with store_in(root) as store:
        store.put_object_v2(b"content", "key")
    for each in root.glob("catalogue.sqlite3*"):
        each.rename(root.parent / each.name)
    if left is not None:
        (root / "catalogue.sqlite3").write_bytes(left)

    for call in (lambda: list(store.list_objects()), lambda: client_of(store).sweep(0)):
        with store_in(root) as store:
            with pytest.raises(ObjectClerkConfigurationException, match="put it back") as caught:
                call()
            assert str(root / "catalogue.sqlite3") in str(caught.value)

    assert only_file(root).read_bytes() == b"content"
    assert (root / "catalogue.sqlite3").exists() is (left is not None)
    for each in root.parent.glob("catalogue.sqlite3*"):
        each.rename(root / each.name)
    with store_in(root) as store:
        assert content(store, "key") == b"content"


@pytest.mark.parametrize("there", [False, True])
def test_root_that_may_not_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Whoever runs this may be root, who may write everywhere."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    if there:
        root.mkdir()
    kind = ObjectClerkFileException if there else ObjectClerkConfigurationException
    with store_in(root) as store:
        client_of(store)
        monkeypatch.setattr(os, "mkdir", refuse)
        with pytest.raises(kind, match="Permission denied") as caught:
            store.put_object_v2(b"content", "key")

    assert str(root) in str(caught.value)
    assert not there or list(root.iterdir()) == []


@pytest.mark.parametrize("lost", [None, _empty, Path.unlink])
def test_power_is_lost(root: Path, lost: Callable[[Path], None] | None) -> None:
    """Without durability a row may be undone, or be there without its bytes."""
    kept = root.with_name("kept")
    with store_in(root, durable=False) as store:
        store.put_object_v2(b"older", "other")
        store.put_object_v2(b"old", "key")
        shutil.copytree(root, kept)
        store.put_object_v2(b"new", "key")
        if lost is not None:
            (file,) = (each for each in files(root) if each.read_bytes() == b"new")
            lost(file)
    if lost is None:  # the row of the old one is back, its file is not
        for each in root.glob("catalogue.sqlite3*"):
            each.unlink()
        for each in kept.glob("catalogue.sqlite3*"):
            each.rename(root / each.name)

    with store_in(root, durable=False) as store:
        assert [each.key for each in store.list_objects()] == ["key", "other"]
        assert content(store, "other") == b"older"
        with pytest.raises(ObjectVerificationException):
            content(store, "key")
        store.put_object_v2(b"again", "key")
        assert content(store, "key") == b"again"


def test_root_that_is_taken_away(store: ObjectStore, root: Path) -> None:
    store.put_object_v2(b"content", "key")
    store.client.close()
    root.rename(root.with_name("moved"))

    with pytest.raises(ObjectClerkFileException, match="is missing: put it back") as caught:
        store.put_object_v2(b"content", "key")

    assert str(root) in str(caught.value)
    assert not root.exists()


def test_root_that_is_replaced(store: ObjectStore, root: Path) -> None:
    """Say by a backup: what is written from then on is written there."""
    backup, moved = root.with_name("backup"), root.with_name("moved")
    store.put_object_v2(b"old", "key")
    store.put_object_v2(b"other", "another")
    shutil.copytree(root, backup)  # its log is not part of the database yet
    assert (backup / "catalogue.sqlite3-wal").stat().st_size
    store.put_object_v2(b"content", "key")
    root.rename(moved)
    with pytest.raises(ObjectClerkFileException, match="is missing: put it back"):
        store.get_object("key")
    assert not root.exists()
    backup.rename(root)

    assert content(store, "key") == b"old"
    store.put_object_v2(b"new", "key")

    store.client.close()
    for place, kept in ((root, b"new"), (moved, b"content")):
        with store_in(place) as fresh:
            assert content(fresh, "key") == kept
            assert content(fresh, "another") == b"other"
        assert len(files(place)) == 2


# -- full disks --------------------------------------------------------------------------------


@contextlib.contextmanager
def _file_system(directory: Path) -> Iterator[str]:
    """A file system of its own there that holds `ROOM` bytes; what it says when it is full."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield "the disk is full: make room"
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@contextlib.contextmanager
def _limit(_: Path) -> Iterator[str]:
    """No file may grow beyond `ROOM` bytes; what is said of one that would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield "larger than a file may be"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("small", [_limit, _file_system])
@pytest.mark.parametrize("durable", [True, False])
def test_disk_is_full(root: Path, small: Any, durable: bool) -> None:
    with small(root) as said, store_in(root, durable=durable) as store:
        store.put_object_v2(b"old", "key")

        with pytest.raises(ObjectClerkFileException, match=said) as caught:
            store.put_object_v2(bytes(2 * ROOM), "key")

        assert (caught.value.bucket, caught.value.key) == ("raw", "key")
        assert content(store, "key") == b"old"
        assert files(root, "incoming") == []
        only_file(root)
        store.put_object_v2(bytes(ROOM // 4), "key")
        assert content(store, "key") == bytes(ROOM // 4)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def put_many(store: ObjectStore) -> None:
    """Some rows still find room in a page that is there."""
    for number in range(100):
        store.put_object_v2(b"", f"{number}{'x' * 1000}")


def test_disk_is_full_when_the_row_is_written(root: Path) -> None:
    with _file_system(root), store_in(root) as store:
        store.put_object_v2(b"old", "key")
        with pytest.raises(OSError, match="No space"):
            fill(root / "filler")

        with pytest.raises(ObjectClerkFileException, match=r"catalogue.*full"):
            put_many(store)

        assert content(store, "key") == b"old"
        assert len(files(root)) == len(list(store.list_objects()))
        (root / "filler").unlink()
        store.put_object_v2(b"new", "key")
        assert content(store, "key") == b"new"
