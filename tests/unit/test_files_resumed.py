"""Partial files that outlive their process, and the journal of what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import ObjectClerkFileException
from object_clerk.transfer.files import PartialFile, ResumableFile, partial_beside, write_at

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

#: Opens a partial file, notes a stretch of it, and waits to be killed.
_CHILD = """
import sys
from pathlib import Path
from object_clerk.transfer.files import partial_beside, write_at
with partial_beside(Path(sys.argv[1]), 20, sys.argv[2]) as file:
    write_at(file.fd, b"0123456789", 0)
    file.note(0, 10)
    print("ready", flush=True)
    sys.stdin.read()
"""


class Broken(Exception):
    """What ends the block before the file is published."""


@contextlib.contextmanager
def unfinished(path: Path, identity: str = "a", size: int = 20) -> Iterator[PartialFile]:
    """A partial file that is not published in the end."""
    with contextlib.suppress(Broken), partial_beside(path, size, identity) as file:
        yield file
        raise Broken


@contextlib.contextmanager
def other_process(path: Path, identity: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is at work on the file; it never outlives the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), identity],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def journal(directory: Path) -> Path:
    """The one journal there."""
    (found,) = directory.glob(".*.journal")
    return found


def partials(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.glob(".*"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


class TestResuming:
    def test_goes_on_with_what_is_there(self, path: Path) -> None:
        with unfinished(path) as file:
            write_at(file.fd, b"0123456789", 0)
            file.note(0, 10)
        assert not path.exists()
        with partial_beside(path, 20, "a") as file:
            assert file.done == {(0, 10)}
            write_at(file.fd, b"9876543210", 10)

        assert path.read_bytes() == b"01234567899876543210"
        assert partials(path.parent) == []

    def test_goes_on_again_and_again(self, path: Path) -> None:
        for turn in range(3):
            with unfinished(path) as file:
                assert file.done == {(at, 5) for at in range(0, 5 * turn, 5)}
                file.note(5 * turn, 5)

    def test_old_file_stays_until_then(self, path: Path) -> None:
        path.write_bytes(b"old")
        with unfinished(path) as file:
            file.note(0, 10)

        assert path.read_bytes() == b"old"

    def test_forgotten_is_forgotten(self, path: Path) -> None:
        with unfinished(path) as file:
            file.note(0, 10)
            file.forget()
            file.note(10, 5)
        with unfinished(path) as file:
            assert file.done == {(10, 5)}

    def test_nothing_is_left_after_success(self, path: Path) -> None:
        with partial_beside(path, 1, "a") as file:
            file.note(0, 1)
            assert len(partials(path.parent)) == 2

        assert partials(path.parent) == []
        with unfinished(path) as file:
            assert file.done == set()

    def test_threads_note_at_once(self, path: Path) -> None:
        def note(file: PartialFile, first: int) -> None:
            for number in range(200):
                file.note(first + number, 1)

        with unfinished(path) as file:
            threads = [
                threading.Thread(target=note, args=(file, first)) for first in (0, 1000, 2000)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with unfinished(path) as file:
            assert len(file.done) == 600

    @pytest.mark.parametrize("name", ["a[b]*?", ".hidden", "with space.part", "x" * 255])
    def test_any_name(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        with unfinished(path) as file:
            file.note(0, 10)
        with unfinished(path) as file:
            assert file.done == {(0, 10)}


class TestJournal:
    @pytest.mark.parametrize("torn", ["10", "10 ", "10 1", "10 10", " ", "x\n", "-1 5\n", "1 2 3"])
    def test_torn_line_is_passed_over(self, path: Path, torn: str) -> None:
        """Check 21: what the process wrote last may be there in part only."""
        with unfinished(path) as file:
            file.note(0, 10)
        with journal(path.parent).open("a") as text:
            text.write(torn)
        with unfinished(path) as file:
            assert file.done == {(0, 10)}

    def test_torn_line_does_not_spoil_the_next(self, path: Path) -> None:
        """What was torn off must not make one line with what is noted afterwards."""
        with unfinished(path) as file:
            file.note(0, 10)
        with journal(path.parent).open("a") as text:
            text.write("1")
        with unfinished(path, size=300) as file:
            file.note(20, 10)
        with unfinished(path, size=300) as file:
            assert file.done == {(0, 10), (20, 10)}

    def test_every_note_is_there_at_once(self, path: Path) -> None:
        """So that it is there when the process is killed in the next moment."""
        with unfinished(path) as file:
            for at in range(0, 20, 5):
                file.note(at, 5)
                assert journal(path.parent).read_text().endswith(f"\n{at} 5\n"[at == 0 :])

    def test_without_its_file_it_is_worth_nothing(self, path: Path) -> None:
        """Somebody tidied up, or the process died after the file had got its name."""
        with unfinished(path) as file:
            file.note(0, 10)
            file.temporary.unlink()
        with unfinished(path) as file:
            assert file.done == set()
            file.note(10, 5)
        with unfinished(path) as file:
            assert file.done == {(10, 5)}

    def test_that_cannot_be_opened_is_an_error(self, path: Path) -> None:
        with unfinished(path):
            pass
        there = journal(path.parent)
        there.unlink()
        there.mkdir()
        with (
            pytest.raises(ObjectClerkFileException, match="Is a directory"),
            partial_beside(path, 20, "a"),
        ):
            pass
        there.rmdir()
        with unfinished(path) as file:  # and the lock is not kept
            assert file.done == set()


class TestOthers:
    def test_other_generations_are_removed(self, path: Path) -> None:
        with unfinished(path, "a") as file:
            file.note(0, 10)
        before = partials(path.parent)
        with unfinished(path, "b") as file:
            assert file.done == set()
        after = partials(path.parent)

        assert len(before) == len(after) == 2
        assert not set(before) & set(after)

    def test_only_those_of_this_path(self, path: Path) -> None:
        """What only looks similar belongs to somebody else."""
        with unfinished(path) as file:
            ours = file.temporary.name
        begin, generation = ours.removesuffix(".part").rsplit(".", 1)
        assert begin.startswith(".file.")
        names = [
            f"{begin}.{generation[1:]}.part",
            f"{begin}.{generation[1:]}g.part",
            f"{begin}.{generation}.parts",
            f"{begin}.notes.part",
            f"{begin[1:]}.{generation}.part",
            f".x{begin[1:]}.{generation}.part",
            f".file2{begin[5:]}.{generation}.part",
        ]
        for name in names:
            (path.parent / name).write_bytes(b"mine")
        with unfinished(path, "another generation"):
            pass

        assert not (path.parent / ours).exists()
        assert [name for name in names if not (path.parent / name).exists()] == []

    def test_journal_goes_first(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A journal without its file would claim what is not there."""
        with unfinished(path, "a") as file:
            other = file.temporary.name
        removed: list[str] = []
        unlink = Path.unlink

        def recorded(self: Path, missing_ok: bool = False) -> None:
            removed.append(self.name)
            unlink(self, missing_ok)

        monkeypatch.setattr(Path, "unlink", recorded)
        with unfinished(path, "b"):
            pass

        assert removed[:2] == [other.replace(".part", ".journal"), other]

    def test_neighbours_with_long_names_do_not_meet(self, tmp_path: Path) -> None:
        """Of a long name only the beginning fits; two files may have the same."""
        one, other = tmp_path / ("x" * 100 + "1"), tmp_path / ("x" * 100 + "2")
        with unfinished(one) as file:
            file.note(0, 10)
            with unfinished(other) as second:
                assert second.done == set()
        with unfinished(one) as file:
            assert file.done == {(0, 10)}


class TestTwoAtOnce:
    MATCH = "another process is downloading to .*/file"

    def test_second_process_is_told(self, path: Path) -> None:
        with other_process(path, "a") as process:
            with pytest.raises(ObjectClerkFileException, match=self.MATCH):
                ResumableFile(path, "a")
            process.kill()
            process.wait()
            with unfinished(path) as file:  # what it did is not lost
                assert file.done == {(0, 10)}
                assert b"".join(file.blocks(0, 10)) == b"0123456789"

    def test_second_thread_is_told(self, path: Path) -> None:
        with unfinished(path):
            for _ in range(3):
                with pytest.raises(ObjectClerkFileException, match=self.MATCH):
                    ResumableFile(path, "a")

    def test_another_generation_that_is_at_work_is_left_alone(self, path: Path) -> None:
        with other_process(path, "a") as process:
            with partial_beside(path, 3, "b") as file:
                write_at(file.fd, b"new", 0)
            assert path.read_bytes() == b"new"
            assert len(partials(path.parent)) == 2
            assert process.poll() is None

    def test_latecomer_does_not_touch_what_was_published(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It opened the file before it got its name, and gets the lock after that."""
        first = ResumableFile(path, "a")
        write_at(first.fd, b"content", 0)
        flock = fcntl.flock

        def too_late(file: Any, operation: int) -> None:
            first.publish()
            first.end(published=True)
            flock(file, operation)

        with monkeypatch.context() as patched:
            patched.setattr(fcntl, "flock", too_late)
            with pytest.raises(ObjectClerkFileException, match=self.MATCH):
                ResumableFile(path, "a")

        assert path.read_bytes() == b"content"
        with partial_beside(path, 3, "a") as file:  # the next one begins anew
            assert file.done == set()
            write_at(file.fd, b"new", 0)
        assert path.read_bytes() == b"new"
        assert partials(path.parent) == []

    def test_latecomer_does_not_share_a_file_that_was_begun_anew(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flock = fcntl.flock

        def replaced(file: Any, operation: int) -> None:
            (part,) = path.parent.glob(".file.*.part")
            part.unlink()
            part.write_bytes(b"of somebody else")
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", replaced)
        with pytest.raises(ObjectClerkFileException, match=self.MATCH):
            ResumableFile(path, "a")

        (part,) = path.parent.glob(".file.*.part")
        assert part.read_bytes() == b"of somebody else"
