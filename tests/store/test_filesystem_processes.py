"""Objects in a directory that several processes use, some of which are killed."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from object_clerk.store.adapters._datafiles import Swept
from tests.store.test_filesystem import client_of, content, files, store_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from object_clerk.store import ObjectStore

REPOSITORY = Path(__file__).parents[2]

#: No child lives longer, whatever goes wrong.
LONGEST_S = 120

PRELUDE = f"""
import os, signal, sys, threading, time
from pathlib import Path
from object_clerk.exceptions import DestinationExists
from object_clerk.store.adapters._catalogue import Catalogue
from tests.store.test_filesystem import client_of, content, files, store_in

signal.alarm({LONGEST_S})
root, *arguments = map(Path, sys.argv[1:])

def say(what):
    print(what, flush=True)

def hear():
    return sys.stdin.readline().strip()
"""


class Child:
    """A process that runs a script, and says a line now and then."""

    def __init__(self, script: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PRELUDE + script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        self.pid = self._process.pid

    def hear(self) -> str:
        """The next line; empty if it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, what: str = "go on") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Wait until it has ended: its exit status, and what else it has said."""
        said, _ = self._process.communicate(timeout=LONGEST_S)
        return self._process.returncode, said.strip()

    def kill(self) -> None:
        self._process.kill()
        assert self.end()[0] < 0


@contextlib.contextmanager
def children(*scripts: tuple[str, ...]) -> Iterator[list[Child]]:
    """Processes that run at the same time; none is left in the end."""
    with contextlib.ExitStack() as stack:
        started = []
        for script, *arguments in scripts:
            child = Child(script, *arguments)
            stack.enter_context(child._process)
            stack.callback(child._process.kill)
            started.append(child)
        yield started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> Iterator[ObjectStore]:
    with store_in(root) as opened:
        yield opened


# -- killed processes --------------------------------------------------------------------------

WRITES_SLOWLY = """
class Slow:
    blocks = 0
    def read(self, size=-1):
        self.blocks += 1
        if self.blocks == 4:
            say("writing")
            hear()
        return bytes(size if self.blocks < 8 else 0)

store = store_in(root, durable=True)
say(store.put_object_v2(Slow(), "key").size)
"""


def test_killed_while_writing(store: ObjectStore, root: Path) -> None:
    store.put_object_v2(b"old", "key")
    with children((WRITES_SLOWLY, str(root)), (WRITES_SLOWLY, str(root))) as (killed, living):
        assert killed.hear() == living.hear() == "writing"
        assert [each.stat().st_size > 0 for each in files(root, "incoming")] == [True, True]

        # Both are alive, so nothing is anybody's to sweep.
        assert client_of(store).sweep(0) == Swept(0, 0)
        with store_in(root) as other:
            assert content(other, "key") == b"old"
        assert len(files(root, "incoming")) == 2

        killed.kill()
        assert content(store, "key") == b"old"
        with store_in(root) as other:
            assert content(other, "key") == b"old"
        assert len(files(root, "incoming")) == 1

        living.tell()
        size = int(living.hear())
        assert living.end() == (0, "")

    assert content(store, "key") == bytes(size)
    assert files(root, "incoming") == []
    assert len(files(root)) == 1


DIES_BETWEEN = """
store = store_in(root, durable=True)
def die(*_, **__):
    os._exit(7)
Catalogue.put = die
store.put_object_v2(b"new", "key")
"""


def test_killed_between_rename_and_commit(store: ObjectStore, root: Path) -> None:
    store.put_object_v2(b"old", "key")
    with children((DIES_BETWEEN, str(root))) as (child,):
        assert child.end() == (7, "")

    assert content(store, "key") == b"old"
    assert len(files(root)) == 2
    assert client_of(store).sweep() == Swept(0, 0)  # it is young
    assert client_of(store).sweep(0) == Swept(1, 3)
    assert content(store, "key") == b"old"


#: Forks a child for each step that a call takes on the disk, which is killed before or after it.
DIES_EVERYWHERE = """
import fcntl
verb, when = map(str, arguments)

def die_at(number):
    made = 0
    def counted(step):
        def wrapper(*arguments, **keywords):
            nonlocal made
            made += 1
            if made == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            mine = made
            try:
                return step(*arguments, **keywords)
            finally:
                if mine == number:
                    os.kill(os.getpid(), signal.SIGKILL)
        return wrapper
    for name in ("open", "write", "fsync", "mkdir", "rename", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    fcntl.flock = counted(fcntl.flock)
    for name in ("put", "remove"):
        setattr(Catalogue, name, counted(getattr(Catalogue, name)))

def call(store):
    if verb == "put":
        store.put_object_v2(b"new" * 1000, "key")
    elif verb == "copy":
        store.copy_object("other", "key")
    else:
        store.delete_object("key")

after = {"put": [b"new" * 1000], "copy": [b"other"], "delete": []}[verb]
with store_in(root, durable=True) as store:
    store.put_object_v2(b"other", "other")
    for number in range(1, 100):
        store.put_object_v2(b"old", "key")
        client_of(store).sweep(0)
        pid = os.fork()
        if not pid:
            die_at(number)
            with store_in(root, durable=True) as mine:
                call(mine)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        with store_in(root) as fresh:
            there = [content(fresh, each.key) for each in fresh.list_objects(prefix="key")]
            assert there in ([b"old"], after), (number, there)
            assert content(fresh, "other") == b"other"
            client_of(fresh).sweep(0)
            assert len(files(root)) == 1 + len(there), number
            assert files(root, "incoming") == []
        if not status:
            assert there == after
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
say(number)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("verb", "steps"), [("put", 9), ("copy", 9), ("delete", 2)])
def test_killed_at_every_step(root: Path, verb: str, steps: int, when: str) -> None:
    with children((DIES_EVERYWHERE, str(root), verb, when)) as (child,):
        status, said = child.end()

    assert status == 0
    assert steps < int(said) < 99


# -- several at the same time ------------------------------------------------------------------

WRITES_AGAIN_AND_AGAIN = """
import hashlib
with store_in(root) as store:
    say("ready")
    hear()
    for number in range(25):
        block = hashlib.sha256(f"{os.getpid()} {number}".encode()).digest()
        store.put_object_v2(block * (1000 * (number + 1)), "key")
"""


def _is_whole(data: bytes, pids: list[int]) -> bool:
    """Whether it is what one of the writers has written at once."""
    number = len(data) // 32_000 - 1
    blocks = (hashlib.sha256(f"{pid} {number}".encode()).digest() for pid in pids)
    return any(data == block * (1000 * (number + 1)) for block in blocks)


def test_writers_and_readers_of_one_key(store: ObjectStore, root: Path, tmp_path: Path) -> None:
    script = (WRITES_AGAIN_AND_AGAIN, str(root))
    with children(script, script, script) as writers:
        pids = [each.pid for each in writers]
        for each in writers:
            assert each.hear() == "ready"
        first = hashlib.sha256(f"{pids[0]} 0".encode()).digest() * 1000
        store.put_object_v2(first, "key")
        for each in writers:
            each.tell()
        reads = 0
        while reads < 20 or any(each._process.poll() is None for each in writers):
            assert _is_whole(content(store, "key"), pids)
            store.download_file("key", tmp_path / "file")
            assert _is_whole((tmp_path / "file").read_bytes(), pids)
            (listed,) = store.list_objects()
            assert listed.size % 32_000 == 0
            reads += 1
        assert [each.end() for each in writers] == [(0, "")] * 3

    assert len(content(store, "key")) >= 25 * 32_000
    assert len(files(root)) == 1
    assert files(root, "incoming") == []


CLAIMS = """
with store_in(root) as store:
    say("ready")
    hear()
    won = []
    for number in range(20):
        try:
            store.put_object_v2(str(os.getpid()).encode(), f"{number}", if_absent=True)
            won.append(number)
        except DestinationExists:
            pass
say(" ".join(map(str, won)))
"""


def test_only_one_makes_what_is_absent(store: ObjectStore, root: Path) -> None:
    with children(*[(CLAIMS, str(root))] * 4) as claimants:
        for each in claimants:
            assert each.hear() == "ready"
        for each in claimants:
            each.tell()
        won = {each.pid: each.end()[1].split() for each in claimants}

    numbers = sorted(int(number) for mine in won.values() for number in mine)
    assert numbers == list(range(20))
    for pid, mine in won.items():
        for number in mine:
            assert content(store, number) == str(pid).encode()
    assert len(files(root)) == 20


COUNTS = """
from object_clerk.exceptions import PreconditionFailed
with store_in(root) as store:
    say("ready")
    hear()
    done = 0
    while done < 10:
        with store.get_object("count") as opened:
            count = int(opened.body.read())
        try:
            store.put_object_v2(f"{count + 1}".encode(), "count", if_match=opened.info.etag)
            done += 1
        except PreconditionFailed:
            pass
"""


def test_if_match_makes_a_counter(store: ObjectStore, root: Path) -> None:
    store.put_object_v2(b"0", "count")
    with children(*[(COUNTS, str(root))] * 3) as counters:
        for each in counters:
            assert each.hear() == "ready"
        for each in counters:
            each.tell()
        assert [each.end() for each in counters] == [(0, "")] * 3

    assert content(store, "count") == b"30"


def test_first_use_by_many(root: Path) -> None:
    """A root is made only once, and nobody sees a half of it."""
    with children(*[(CLAIMS, str(root))] * 4) as claimants:
        for each in claimants:
            each.tell()
        said = [each.end() for each in claimants]

    assert [status for status, _ in said] == [0] * 4
    with store_in(root) as store:
        assert len(list(store.list_objects())) == 20


FORKS = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point

store = store_in(root)
store.put_object_v2(b"content", "key")
connections = client_of(store)._catalogue._connections
begun, ended = threading.Event(), threading.Event()

def write():
    with connections.lent() as db:
        db.execute("BEGIN IMMEDIATE")
        begun.set()
        time.sleep(0.3)
        db.execute("COMMIT")
    ended.set()

for number in range(3):
    begun.clear()
    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    pid = os.fork()  # in the middle of a transaction of another thread
    if not pid:
        signal.alarm(20)  # a child that finds the catalogue locked waits for longer
        assert content(store, "key") == b"content"
        store.put_object_v2(str(number).encode(), f"by child {number}")
        assert len(list(store.list_objects())) == 2 + number
        os._exit(0)
    store.put_object_v2(b"content", "key")
    _, status = os.waitpid(pid, 0)
    assert not status, status
    thread.join()
store.close()
say(len(files(root)))
"""


def test_forked_child_uses_the_store(root: Path) -> None:
    with children((FORKS, str(root))) as (child,):
        assert child.end() == (0, "4")


FORKS_AMONG_BUSY_THREADS = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point

store = store_in(root)
store.put_object_v2(b"content", "key")
connections = client_of(store)._catalogue._connections
stop = connections.before_fork
left, ended = [], threading.Event()

def before_fork():
    stop()
    left.append(connections._lent)

def use():
    while not ended.is_set():
        with connections.lent() as db:
            db.execute("SELECT count(*) FROM objects").fetchone()

connections.before_fork = before_fork
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for _ in range(10):
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        assert content(store, "key") == b"content"
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert not status, status
ended.set()
for thread in threads:
    thread.join()
store.close()
say(left)
"""


def test_forks_among_busy_threads(root: Path) -> None:
    with children((FORKS_AMONG_BUSY_THREADS, str(root))) as (child,):
        assert child.end() == (0, str([0] * 10))


LEAVES_OPEN = """
store = store_in(root)
with store.get_object("key") as opened:
    say(opened.body.read().decode())
opened = store.get_object("key")
opened.body.read(1)
"""


def test_store_that_nobody_closes(store: ObjectStore, root: Path) -> None:
    """No warning, since the interpreter would tell of it on standard error."""
    store.put_object_v2(b"content", "key")
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + LEAVES_OPEN, str(root)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=LONGEST_S,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "content\n", "")
