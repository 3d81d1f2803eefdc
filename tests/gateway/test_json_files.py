"""Small JSON files that processes share."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    ObjectClerkConfigurationException,
    ObjectClerkFileException,
)
from object_clerk.gateway import _files
from object_clerk.gateway._files import JsonFile, Watched, read_time

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]

#: No child lives longer, whatever goes wrong.
LONGEST_S = 120

#: One document is as long as the other, and longer than what is written at once.
DOCUMENTS = tuple([number] * 20_000 for number in (1, 2))


@pytest.fixture
def file(tmp_path: Path) -> JsonFile:
    return JsonFile(tmp_path / "file.json")


def write(file: JsonFile, document: Any) -> None:
    with file.locked() as replace:
        replace(document)


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


def make_old(path: Path) -> None:
    """As if nobody had touched it for long, so that its entry alone tells of any change."""
    os.utime(path, (1_000_000_000, 1_000_000_000))


class TestReplacing:
    def test_what_was_written_is_read(self, file: JsonFile) -> None:
        write(file, {"ö": [1, None]})
        assert file.read() == {"ö": [1, None]}
        write(file, [])
        assert file.read() == []

    def test_a_missing_file_is_none(self, file: JsonFile) -> None:
        assert file.read() is None

    def test_keys_are_sorted_and_indented(self, file: JsonFile) -> None:
        write(file, [{"b": 1, "a": 2}])
        assert file.path.read_text() == '[\n  {\n    "a": 2,\n    "b": 1\n  }\n]\n'

    def test_a_new_file_is_for_its_owner_alone(self, file: JsonFile) -> None:
        before = os.umask(0)
        try:
            write(file, [])
        finally:
            os.umask(before)
        modes = {
            each.name: stat.S_IMODE(each.stat().st_mode) for each in file.path.parent.iterdir()
        }
        assert modes == {"file.json": 0o600, "file.json.lock": 0o600}

    @pytest.mark.parametrize("mode", [0o640, 0o644, 0o400])
    def test_the_mode_stays(self, file: JsonFile, mode: int) -> None:
        write(file, [1])
        file.path.chmod(mode)
        write(file, [2])
        assert stat.S_IMODE(file.path.stat().st_mode) == mode
        assert file.read() == [2]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_what_root_replaces_stays_its_owners(self, file: JsonFile) -> None:
        write(file, [1])
        os.chown(file.path, 12345, 12346)
        write(file, [2])
        lock = file.path.with_name("file.json.lock")
        assert [(each.stat().st_uid, each.stat().st_gid) for each in (file.path, lock)] == [
            (12345, 12346),
            (12345, 12346),
        ]

    def test_links_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link.json").symlink_to("real/file.json")
        link = JsonFile(tmp_path / "link.json")
        write(link, [1])
        write(link, [2])
        assert link.path.is_symlink()
        assert json.loads((tmp_path / "real" / "file.json").read_text()) == [2]
        assert names(tmp_path / "real") == {"file.json", "file.json.lock"}
        assert names(tmp_path) == {"real", "link.json"}

    def test_it_is_another_file_each_time(self, file: JsonFile) -> None:
        write(file, [1])
        with file.path.open() as opened:
            write(file, [2])
            assert json.load(opened) == [1]
        assert file.read() == [2]

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (errno.EBUSY, "mount the directory"),
            (errno.EXDEV, "mount the directory"),
            (errno.EACCES, "Permission denied"),
        ],
    )
    def test_a_file_that_cannot_be_replaced(
        self, file: JsonFile, monkeypatch: pytest.MonkeyPatch, number: int, said: str
    ) -> None:
        """The first two are those of a file that is mounted alone."""
        write(file, [1])

        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "replace", refuse)
        with pytest.raises(ObjectClerkFileException, match=said):
            write(file, [2])
        assert file.read() == [1]
        assert names(file.path.parent) == {"file.json", "file.json.lock"}

    def test_a_full_disk(self, file: JsonFile, monkeypatch: pytest.MonkeyPatch) -> None:
        write(file, [1])

        def full(_fd: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ObjectClerkFileException, match="No space left") as caught:
            write(file, [2])
        assert isinstance(caught.value.__cause__, OSError)
        assert file.read() == [1]
        assert names(file.path.parent) == {"file.json", "file.json.lock"}

    def test_a_document_that_is_none_of_json(self, file: JsonFile) -> None:
        write(file, [1])
        with pytest.raises(ObjectClerkFileException, match="not JSON serializable"):
            write(file, [object()])
        assert file.read() == [1]

    def test_an_error_within_the_lock_changes_nothing(self, file: JsonFile) -> None:
        write(file, [1])
        with pytest.raises(KeyError, match="mine"), file.locked():
            raise KeyError("mine")
        write(file, [2])
        assert file.read() == [2]

    def test_no_directory(self, tmp_path: Path) -> None:
        with pytest.raises(ObjectClerkFileException, match="No such file or directory"):
            write(JsonFile(tmp_path / "missing" / "file.json"), [])


class TestLocking:
    def test_one_at_a_time(self, file: JsonFile, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_files, "PATIENCE_S", 0.05)
        other = JsonFile(file.path)
        with (
            file.locked(),
            pytest.raises(ObjectClerkFileException, match="another process"),
            other.locked(),
        ):
            pass
        write(other, [1])
        assert file.read() == [1]

    def test_whoever_waits_gets_it(self, file: JsonFile) -> None:
        with file.locked() as replace:
            waiting = threading.Thread(target=write, args=(file, [2]))
            waiting.start()
            replace([1])
            assert file.read() == [1]
        waiting.join(LONGEST_S)
        assert file.read() == [2]

    def test_a_link_and_its_target_have_one_lock(
        self, file: JsonFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_files, "PATIENCE_S", 0.05)
        link = file.path.with_name("link.json")
        link.symlink_to(file.path.name)
        with file.locked(), pytest.raises(ObjectClerkFileException), JsonFile(link).locked():
            pass

    def test_a_child_does_not_keep_the_lock(
        self, file: JsonFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_files, "PATIENCE_S", 0.05)
        code = "import sys; sys.stdin.read()"
        with file.locked():
            (lock,) = (
                int(each.name)
                for each in Path("/proc/self/fd").iterdir()
                if each.exists() and each.samefile(f"{file.path}.lock")
            )
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=[lock]
            )
        try:
            write(file, [1])
            assert child.poll() is None
        finally:
            child.communicate(timeout=LONGEST_S)
        assert file.read() == [1]


#: Dies at the call of a function; the document is in its place or not.
DYING = """
import os, signal, sys
from object_clerk.gateway import _files

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

owner = {"os": os, "files": _files, "path": _files.Path}[sys.argv[2]]
with _files.JsonFile(sys.argv[1]).locked() as replace:
    setattr(owner, sys.argv[3], die)
    replace([2] * 20_000)
"""


def replace_for_ever(path: Path) -> None:
    signal.alarm(LONGEST_S)
    file = JsonFile(path)
    while True:
        for document in DOCUMENTS:
            write(file, document)


class TestKilled:
    @pytest.mark.parametrize(
        ("owner", "function", "after"),
        [
            ("os", "fdopen", DOCUMENTS[0]),
            ("os", "fsync", DOCUMENTS[0]),
            ("path", "replace", DOCUMENTS[0]),
            ("files", "flush_directory", DOCUMENTS[1]),
        ],
    )
    def test_at_any_step(self, file: JsonFile, owner: str, function: str, after: list[int]) -> None:
        write(file, DOCUMENTS[0])
        done = subprocess.run(
            [sys.executable, "-c", DYING, file.path, owner, function],
            cwd=REPOSITORY,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert file.read() == after
        write(file, [3])
        assert file.read() == [3]
        assert names(file.path.parent) == {"file.json", "file.json.lock"}

    def test_at_any_time(self, file: JsonFile) -> None:
        write(file, DOCUMENTS[0])
        context = multiprocessing.get_context("spawn")
        for pause_s in (0.0, 0.01, 0.003):
            child = context.Process(target=replace_for_ever, args=(file.path,))
            child.start()
            before = file.look()
            until = time.monotonic() + LONGEST_S
            while file.look() == before and time.monotonic() < until:
                assert file.read() in DOCUMENTS
            time.sleep(pause_s)
            child.kill()
            child.join(LONGEST_S)
            assert child.exitcode == -signal.SIGKILL
            child.close()
            assert file.look() != before
            assert file.read() in DOCUMENTS


class TestReading:
    @pytest.mark.parametrize(
        ("raw", "said"),
        [
            (b"", "line 1 is not JSON"),
            (b'[\n  {"a": 1},\n  oops\n]', "line 3 is not JSON"),
            (b'[\n"\xff"]', "line 2 is not UTF-8"),
            (b"[" * 100_000, "too many brackets"),
            (b"9" * 5000, "too long a number"),
        ],
    )
    def test_what_is_no_json(self, file: JsonFile, raw: bytes, said: str) -> None:
        file.path.write_bytes(raw)
        with pytest.raises(ObjectClerkConfigurationException, match=said) as caught:
            file.read()
        assert str(file.path) in str(caught.value)

    def test_a_directory(self, file: JsonFile) -> None:
        file.path.mkdir()
        with pytest.raises(ObjectClerkFileException, match="is a directory; container engines"):
            file.read()

    def test_a_pipe_keeps_nobody_waiting(self, file: JsonFile) -> None:
        os.mkfifo(file.path)
        with pytest.raises(ObjectClerkFileException, match="not an ordinary file"):
            file.read()

    def test_a_huge_file(self, file: JsonFile) -> None:
        with file.path.open("wb") as opened:
            opened.truncate(_files.LARGEST_BYTES + 1)
        with pytest.raises(ObjectClerkFileException, match="more than 16 MiB"):
            file.read()

    @pytest.mark.parametrize("path", ["file\0.json", "f" * 300])
    def test_what_cannot_be_a_path(self, tmp_path: Path, path: str) -> None:
        file = JsonFile(tmp_path / path)
        assert file.look() is None
        with pytest.raises(ObjectClerkFileException, match="cannot be read"):
            file.read()


def understood(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise ObjectClerkConfigurationException("not a list")
    return document


@pytest.fixture
def watched(file: JsonFile) -> Watched[list[Any]]:
    return Watched(file, understood, [])


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often files were opened to read."""
    opened: list[str] = []
    really = _files._open_at_once

    def counted(path: str, flags: int) -> int:
        opened.append(path)
        return really(path, flags)

    monkeypatch.setattr(_files, "_open_at_once", counted)
    return lambda: len(opened)


class TestWatched:
    def test_it_is_read_when_it_has_changed(
        self, file: JsonFile, watched: Watched[list[Any]], readings: Callable[[], int]
    ) -> None:
        write(file, [1])
        make_old(file.path)
        assert [watched.current() for _ in range(5)] == [[1]] * 5
        assert readings() == 1
        write(file, [2])
        make_old(file.path)
        assert [watched.current() for _ in range(5)] == [[2]] * 5
        assert readings() == 2

    def test_a_change_in_the_same_tick_is_seen(
        self, file: JsonFile, watched: Watched[list[Any]]
    ) -> None:
        """The entry of a file does not tell: not even when it is written to in its place."""
        write(file, [1])
        entry = file.path.stat()
        assert watched.current() == [1]
        with file.path.open("r+") as opened:
            opened.write("[\n  2\n]\n")
        os.utime(file.path, ns=(entry.st_atime_ns, entry.st_mtime_ns))
        assert watched.current() == [2]

    def test_a_file_that_comes_and_goes(
        self, file: JsonFile, watched: Watched[list[Any]], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, _files.__name__)
        assert [watched.current() for _ in range(3)] == [[]] * 3
        write(file, [1])
        assert watched.current() == [1]
        file.path.unlink()
        assert [watched.current() for _ in range(3)] == [[]] * 3
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        text = f"{file.path} does not exist"
        assert said == [("INFO", text), ("WARNING", text)]

    @pytest.mark.parametrize("old", [True, False])
    def test_a_corrupt_file_changes_nothing(
        self,
        file: JsonFile,
        watched: Watched[list[Any]],
        caplog: pytest.LogCaptureFixture,
        old: bool,
    ) -> None:
        write(file, [1])
        assert watched.current() == [1]
        for text, times in (("[", 3), ("{}", 2), ("[[[", 4)):
            file.path.write_text(text)
            if old:
                make_old(file.path)
            assert [watched.current() for _ in range(times)] == [[1]] * times
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
        assert all("what it said before holds" in each.getMessage() for each in caplog.records)
        write(file, [2])
        assert watched.current() == [2]

    def test_what_cannot_be_read_is_tried_again(
        self,
        file: JsonFile,
        watched: Watched[list[Any]],
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Permissions are given without a trace in what identifies the file."""
        write(file, [1])
        make_old(file.path)

        def refuse(path: str, _flags: int) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        with monkeypatch.context() as patched:
            patched.setattr(_files, "_open_at_once", refuse)
            assert [watched.current() for _ in range(3)] == [[]] * 3
        assert watched.current() == [1]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "Permission denied" in caplog.text

    def test_many_threads_see_every_change(
        self, file: JsonFile, watched: Watched[list[Any]]
    ) -> None:
        write(file, [0] * 1000)
        seen: list[list[list[Any]]] = [[] for _ in range(4)]
        over = threading.Event()

        def look(mine: list[list[Any]]) -> None:
            until = time.monotonic() + LONGEST_S
            while not over.is_set() and time.monotonic() < until:
                mine.append(watched.current())

        threads = [threading.Thread(target=look, args=(mine,)) for mine in seen]
        for thread in threads:
            thread.start()
        for number in range(1, 11):
            write(file, [number] * 1000)
            assert watched.current() == [number] * 1000
        over.set()
        for thread in threads:
            thread.join(LONGEST_S)
        for mine in seen:
            assert mine
            assert all(len(each) == 1000 and len(set(each)) == 1 for each in mine)
            assert [each[0] for each in mine] == sorted(each[0] for each in mine)


class TestTimes:
    def test_what_is_read(self) -> None:
        noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
        texts = ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00")
        assert [read_time(text) for text in texts] == [noon] * 3

    @pytest.mark.parametrize("value", ["", "soon", None, 5, "0001-01-01T00:00:00+10:00"])
    def test_what_is_no_time(self, value: object) -> None:
        with pytest.raises(ValueError, match=r"."):
            read_time(value)
