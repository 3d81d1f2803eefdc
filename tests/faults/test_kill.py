"""Kill -9 at every request boundary: nothing is lost, and making the call again converges.

Each call is made once without a fault, which tells how many requests it makes. Then, for each of
them, a process is killed just before the request reaches the server, and another one when the
server has carried the request out but the answer has not arrived. What is there is looked at, the
call is made again, and in the end there must be what there should have been at once.

Downloads are killed in the same way around every step that they make on the disk.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
import signal
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.testing import Action, Drop, Fault, Reply
from tests.faults.conftest import PART, QUICK, QUICK_CHECKSUMS, Stage, content
from tests.faults.zygote import End, Zygote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from object_clerk.testing import Exchange, ResponseHead, Turn

OLD = content(1000, "old")
SMALL = content(100_000)
TWO_PARTS = content(PART + 1000)
THREE_PARTS = content(2 * PART + 1000)

#: How the files that a download makes beside its target are called, the last two if it resumes.
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.part|\.target\.[0-9a-f]{8}\.[0-9a-f]{16}\.(part|journal)")

#: What is in the keys with which a clerk finds out what the server does; objects are made only
#: under the longer one.
ASKING = ".object-clerk-"
PROBE = f"{ASKING}probe/"

#: How the objects are called that wait to be put in their place, and those that were such a probe.
SCRATCH = re.compile(rf"new\.clerk-stage-[0-9a-f]{{32}}|{re.escape(PROBE)}[0-9a-f]{{32}}/[a-z]+")


@dataclasses.dataclass(frozen=True)
class Case:
    """A call, and what there is before and after it.

    Attributes:
        before: bytes by name, which is a key or the path of a file.
        after: what the call makes of some of them; None for what is then gone.
        between: what others may see on the way, if it is neither of them.
        requests: how many it needs at the least; fewer would not be the case that is meant.
        piped: the first argument is the path of a file to be given as a pipe.
    """

    verb: str
    arguments: list[Any]
    before: dict[str | Path, bytes]
    after: dict[str | Path, bytes | None]
    requests: int
    piped: bool = False
    between: dict[str | Path, bytes] = dataclasses.field(default_factory=dict)
    keywords: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def end(self) -> dict[str | Path, bytes | None]:
        return {**self.before, **self.after}

    def allowed(self, name: str | Path) -> list[bytes | None]:
        """All that may be there at any moment."""
        seen = [self.between[name]] if name in self.between else []
        return [self.before.get(name), *seen, self.end[name]]


def _upload(
    data: bytes, requests: int, bucket: str, place: Path, *, piped: bool = False, **keywords: Any
) -> Case:
    source = place / "source"
    source.write_bytes(data)
    return Case(
        "upload_object",
        [source, bucket, "new"],
        {"new": OLD},
        {"new": data},
        requests,
        piped,
        keywords=keywords,
    )


def _download(data: bytes, requests: int, bucket: str, place: Path, **keywords: Any) -> Case:
    target = place / "directory" / "target"
    target.parent.mkdir()
    before: dict[str | Path, bytes] = {"key": data, target: OLD}
    arguments = [bucket, "key", target]
    return Case("download_object", arguments, before, {target: data}, requests, keywords=keywords)


def _copy(data: bytes, requests: int, bucket: str, _: Path) -> Case:
    arguments = [bucket, "key", bucket, "new"]
    return Case("copy_object", arguments, {"key": data, "new": OLD}, {"new": data}, requests)


def _move(data: bytes, requests: int, bucket: str, _: Path, **keywords: Any) -> Case:
    return Case(
        "move_object",
        [bucket, "key", bucket, "new"],
        {"key": data, "new": OLD},
        {"key": None, "new": data},
        requests,
        between={"key": b""} if keywords else {},
        keywords=keywords,
    )


def _delete(missing: int, requests: int, bucket: str, _: Path) -> Case:
    there: list[str | Path] = ["key0", "key1", "key2", "key3"]
    keys = [*there[:2], *(f"missing{number:04}" for number in range(missing)), *there[2:]]
    before = dict.fromkeys(there, SMALL)
    return Case("delete_objects", [bucket, keys], before, dict.fromkeys(there), requests)


TWO_DELETIONS = "delete in two requests"
TOMBSTONE = "move with a tombstone"
CASES: dict[str, Callable[[str, Path], Case]] = {
    "upload": functools.partial(_upload, SMALL, 1),
    "upload in parts": functools.partial(_upload, THREE_PARTS, 5),
    "upload of a pipe": functools.partial(_upload, TWO_PARTS, 5, piped=True),
    "upload with a stage": functools.partial(_upload, SMALL, 4, stage=True),
    "download": functools.partial(_download, SMALL, 2),
    "download in ranges": functools.partial(_download, THREE_PARTS, 4),
    "download resumed": functools.partial(_download, THREE_PARTS, 4, resume=True),
    "copy": functools.partial(_copy, SMALL, 3),
    "copy in parts": functools.partial(_copy, TWO_PARTS, 5),
    "move": functools.partial(_move, SMALL, 4),
    "move in parts": functools.partial(_move, TWO_PARTS, 7),
    TOMBSTONE: functools.partial(_move, SMALL, 5, source_guard="tombstone"),
    "delete": functools.partial(_delete, 0, 1),
    TWO_DELETIONS: functools.partial(_delete, 1000, 2),
}


@dataclasses.dataclass(frozen=True)
class Boundary:
    """Where to kill: at a request or at a step on the disk, before it or when it was carried out.

    Attributes:
        number: which one, counted from 1.
    """

    number: int
    carried_out: bool
    on_disk: bool = False

    def __str__(self) -> str:
        side = "after" if self.carried_out else "before"
        return f"{side} {'step' if self.on_disk else 'request'} {self.number}"


def _around(number: int, *, on_disk: bool = False) -> list[Boundary]:
    return [Boundary(number, carried_out, on_disk) for carried_out in (False, True)]


class _Victim:
    """A process that a thread of the proxy is to kill, perhaps before anybody else knows it."""

    def __init__(self) -> None:
        self.pid: Future[int] = Future()
        self.ended = threading.Event()

    def kill(self) -> None:
        """Kill it, and wait until it is dead: it must not live to see the connection close."""
        os.kill(self.pid.result(timeout=20), signal.SIGKILL)
        assert self.ended.wait(20)


@dataclasses.dataclass(frozen=True)
class _Kill(Action):
    """Kills the client and gives no answer: before the request is forwarded, or afterwards."""

    victim: _Victim
    carried_out: bool

    def before(self, turn: Turn) -> Reply | Drop | None:
        return None if self.carried_out else self._drop()

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        return self._drop()

    def _drop(self) -> Drop:
        self.victim.kill()
        return Drop()


class _Rehearsal:
    """One case on a stage, played again and again."""

    def __init__(self, stage: Stage, zygote: Zygote, case: Case) -> None:
        self._stage = stage
        self._zygote = zygote
        self._case = case
        self._there: Mapping[str | Path, bytes | None] = {}
        stage.put("bystander", SMALL)

    def undisturbed(self) -> tuple[list[Exchange], End]:
        """Make the call once without a fault."""
        self._lay_out()
        others = self._others()
        log, end = self._run()
        assert (end.returncode, end.error) == (0, ""), end.message
        assert len(log) >= self._case.requests
        self._check_done(others, [], [], [])
        return log, end

    def killed(self, boundary: Boundary) -> list[Exchange]:
        """Kill the call, look at what is there, and make it again; the requests of that."""
        self._lay_out()
        others = self._others()
        log, end = self._run(boundary)
        fired = [each for each in log if each.fault == "kill"]
        told = "".join(f", {each.method} {each.path}?{each.query}" for each in fired)
        try:
            if self._case.requests < boundary.number > len(log) and end == End(
                0, "", "", end.steps
            ):
                # What a move asks depends on whether source and copy are of the same second.
                self._check_done(others, [], [], [])
                return log
            assert end.returncode == -signal.SIGKILL, f"it was not killed, but ended: {end}"
            if not boundary.on_disk:
                assert fired == [log[boundary.number - 1]]
                assert (fired[0].upstream_status is not None) is boundary.carried_out
            self._check_killed(log, others)
            return self._check_again(others)
        except AssertionError as error:
            raise AssertionError(f"killed {boundary}{told}: {error}") from error

    def _lay_out(self) -> None:
        """Make everything what it is before the call."""
        for name, data in self._case.before.items():
            if self._there.get(name) == data:
                continue
            if isinstance(name, Path):
                name.write_bytes(data)
            elif len(data) < PART:
                self._stage.put(name, data)
            else:
                parts = [data[start : start + PART] for start in range(0, len(data), PART)]
                self._stage.put_parts(name, *parts)

    def _run(self, boundary: Boundary | None = None) -> tuple[list[Exchange], End]:
        """Make the call in a process, which is killed at the boundary."""
        case, server, proxy = self._case, self._stage.server, self._stage.proxy
        proxy.clear_log()
        victim = _Victim()
        if boundary and not boundary.on_disk:
            kill = _Kill(victim, boundary.carried_out)
            proxy.add(Fault(name="kill", action=kill, skip=boundary.number - 1))
        pid = self._zygote.start(
            clerk={
                "endpoint_url": proxy.endpoint_url,
                "access_key": server.access_key,
                "secret_key": server.secret_key,
                **QUICK,
            },
            verb=case.verb,
            arguments=case.arguments,
            keywords=case.keywords,
            piped=case.piped,
            die_at=boundary.number if boundary and boundary.on_disk else 0,
            carried_out=boundary is not None and boundary.carried_out,
        )
        victim.pid.set_result(pid)
        end = self._zygote.wait()
        victim.ended.set()
        deadline = time.monotonic() + 20
        while not all(_is_over(each) for each in proxy.log):  # other threads' requests as well
            assert time.monotonic() < deadline, "a request does not end"
            time.sleep(0.002)
        proxy.clear()
        return proxy.log, end

    def _world(self) -> dict[str | Path, bytes | None]:
        """What there is now."""
        found: dict[str | Path, bytes | None] = {}
        for name in self._case.end:
            if isinstance(name, Path):
                found[name] = name.read_bytes() if name.exists() else None
            else:
                found[name] = self._stage.stored(name)
        return found

    def _others(self) -> dict[str, tuple[object, ...]]:
        """The objects that the call must not touch; writing the same bytes again would show."""
        entries = self._stage.s3.list_objects_v2(Bucket=self._stage.bucket).get("Contents", [])
        return {
            entry["Key"]: (entry["ETag"], entry["Size"], entry["LastModified"])
            for entry in entries
            if entry["Key"] not in self._case.after and not SCRATCH.fullmatch(entry["Key"])
        }

    def _scratch(self) -> list[str]:
        """The keys of objects that nobody is meant to see."""
        entries = self._stage.s3.list_objects_v2(Bucket=self._stage.bucket).get("Contents", [])
        return [entry["Key"] for entry in entries if SCRATCH.fullmatch(entry["Key"])]

    def _leftovers(self) -> list[Path]:
        """The files that lie beside a target."""
        targets = {name for name in self._case.after if isinstance(name, Path)}
        return [path for each in targets for path in each.parent.iterdir() if path not in targets]

    def _check_killed(self, log: list[Exchange], others: object) -> None:
        """Everything is what it was or what it is to be; what is not to be written is as it was."""
        case, self._there = self._case, self._world()
        for name, data in self._there.items():
            assert data in case.allowed(name), f"{name} has other bytes"
        for data in set(case.before.values()) & set(case.end.values()):
            assert data in self._there.values(), "the last good copy is gone"
        assert self._others() == others
        names = [path.name for path in self._leftovers()]
        assert all(map(TEMPORARY.fullmatch, names)), f"files left behind: {names}"
        assert len(self._stage.uploads()) == _unfinished(log)

    def _check_again(self, others: object) -> list[Exchange]:
        """The call made again does what it should have done at once; what is left can be swept."""
        uploads, scratch, files = self._stage.uploads(), self._scratch(), self._leftovers()
        moved = self._case.verb == "move_object" and self._there["key"] is None
        log, end = self._run()
        assert end.returncode == 0
        assert end.error == ("ObjectNotFoundException" if moved else ""), f"made again: {end}"
        self._check_done(others, uploads, scratch, [] if "resume" in self._case.keywords else files)
        for path in files:
            path.unlink(missing_ok=True)
        swept = self._stage.clerk.sweep_uploads(self._stage.bucket, older_than_s=0)
        ids = [each["UploadId"] for each in uploads]
        assert {each.upload_id or each.key for each in swept} == {*ids, *scratch}
        assert (self._stage.uploads(), self._scratch()) == ([], [])
        return log

    def _check_done(
        self, others: object, uploads: list[Any], scratch: list[str], files: list[Path]
    ) -> None:
        """Everything is what it is to be, and nothing is left but what was left before."""
        self._there = self._world()
        wrong = [name for name, data in self._case.end.items() if self._there[name] != data]
        assert wrong == []
        assert self._others() == others
        assert self._stage.uploads() == uploads
        assert self._scratch() == scratch
        assert set(self._leftovers()) == set(files)


def _is_over(exchange: Exchange) -> bool:
    """Whether nothing will come of a request any more: answered, dropped, or given up."""
    return bool(exchange.status or exchange.fault or exchange.error)


def _unfinished(log: list[Exchange]) -> int:
    """How many multipart uploads were begun and neither completed nor aborted."""
    done = [each for each in log if each.upstream_status in (200, 204)]
    begun = [each for each in done if each.method == "POST" and each.query == "uploads"]
    ended = [each for each in done if each.method in ("POST", "DELETE") and _upload_id(each)]
    return len(begun) - len({_upload_id(each) for each in ended})


def _upload_id(exchange: Exchange) -> str:
    found = re.search("uploadId=([^&]+)", exchange.query)
    return found[1] if found else ""


def _chosen(log: list[Exchange], thorough: bool) -> Iterator[int]:
    """The numbers of the requests at which to kill."""
    probed: set[str] = set()
    for number, exchange in enumerate(log, 1):
        if PROBE in exchange.path:
            # They are many, and all that they can leave is an object or an upload of their own.
            wanted = exchange.method in ("PUT", "POST") and exchange.method not in probed
            probed.add(exchange.method)
        else:
            wanted = thorough or number in (1, len(log)) or _is_visible(exchange)
        if wanted:
            yield number


def _is_visible(exchange: Exchange) -> bool:
    """Whether a request changes what others see: all that write do, but for the parts."""
    if ASKING in exchange.path:
        return False
    if exchange.method == "PUT":
        return "partNumber" not in exchange.query
    if exchange.method == "POST":
        return exchange.query != "uploads"
    return exchange.method == "DELETE" and not _upload_id(exchange)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote({"CHECKSUM_RETRY_CONFIG": QUICK_CHECKSUMS}) as started:
        yield started


@pytest.mark.timeout(900)  # Swift takes six seconds for a thousand keys
@pytest.mark.parametrize("name", CASES)
def test_kill_at_every_request(
    stage: Stage, zygote: Zygote, tmp_path: Path, name: str, *, thorough: bool
) -> None:
    """Check 14: at every boundary there is a good copy, and the same call again converges."""
    if name == TWO_DELETIONS and not thorough:
        pytest.skip("a thousand keys are deleted only where every fault is tried")
    if name == TOMBSTONE and not stage.traits.put_if_match:
        pytest.skip("this server stores whatever If-Match says, so there are no tombstones")
    rehearsal = _Rehearsal(stage, zygote, CASES[name](stage.bucket, tmp_path))

    log, _ = rehearsal.undisturbed()

    # What a tombstone has in common with other moves is tried with them.
    for number in _chosen(log, thorough and name != TOMBSTONE):
        for boundary in _around(number):
            rehearsal.killed(boundary)


@pytest.mark.parametrize(
    ("name", "verify"),
    [("download in ranges", True), ("download resumed", True), ("download resumed", False)],
    ids=["in ranges", "resumed", "resumed, not verified"],
)
def test_kill_at_every_step_on_disk(
    stage: Stage, zygote: Zygote, tmp_path: Path, name: str, *, verify: bool, thorough: bool
) -> None:
    """Check 22: the target has the old bytes or the new ones, whatever was on its way to disk."""
    if not thorough:
        pytest.skip("the disk is the same with every server: only where every fault is tried")
    case = CASES[name](stage.bucket, tmp_path)
    case.keywords["verify_checksum"] = verify
    rehearsal = _Rehearsal(stage, zygote, case)

    _, end = rehearsal.undisturbed()

    assert {"pwrite", "fsync", "replace"} <= set(end.steps)
    for number, (last, step) in enumerate(itertools.pairwise(["", *end.steps]), 1):
        if step != "pwrite" or last != step:  # the first of many blocks stands for all
            for boundary in _around(number, on_disk=True):
                rehearsal.killed(boundary)


def test_killed_download_goes_on_where_it_was(stage: Stage, zygote: Zygote, tmp_path: Path) -> None:
    """What an earlier process has fetched is not fetched again."""
    rehearsal = _Rehearsal(stage, zygote, CASES["download resumed"](stage.bucket, tmp_path))
    log, _ = rehearsal.undisturbed()

    # There are three ranges and two threads: at the last request a whole range has arrived.
    again = rehearsal.killed(Boundary(len(log), carried_out=False))

    fetched = sum(each.response_bytes for each in again if each.method == "GET" and not each.query)
    assert 0 < fetched <= len(THREE_PARTS) - PART
