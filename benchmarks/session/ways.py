"""The ways to put and get that are compared; each job is done in a process of its own."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import random
import shutil
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from benchmarks.common import MIB, forget_peak, resident_mib
from object_clerk import ObjectClerk
from object_clerk.receipt import Verdict
from object_clerk.session import Client, Usecase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Up to here contents are bytes, and there are many of them; beyond it is one file.
SMALL_BYTES = MIB

#: Whatever is loaded, connected or asked once is so before, with these many objects, or one file.
_WARM_COUNT = 20
_WARM_BYTES = 2 * MIB


#: The file that is written by a get.
GOT = "got"


class Failed(Exception):
    """A transfer did not end well; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        way: a name in :data:`WAYS`.
        verb: ``put`` or ``get``.
        endpoint_url: of the S3 server.
        access_key: for that server.
        secret_key: for that server.
        bucket: for that server.
        gateway_url: where the gateway is; empty where it is not needed.
        gateway: its processes.
        path: the contents.
        place: a directory for what is got, and for what warms up.
        count: how many objects.
    """

    way: str
    verb: str
    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str
    gateway_url: str
    gateway: Sequence[int]
    path: str
    place: str
    count: int


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a job took.

    Attributes:
        wall_s: seconds by the clock, for one object.
        cpu_s: seconds of CPU time of the client, user and system, for one object.
        client_mib: by how much the client grew.
        gateway_mib: by how much the gateway grew; None if it took no part.
    """

    wall_s: float
    cpu_s: float
    client_mib: float
    gateway_mib: float | None


class _Way(abc.ABC):
    """A way to put and get."""

    @abc.abstractmethod
    def put(self, contents: bytes | IO[bytes], key: str) -> None:
        """Store an object."""

    @abc.abstractmethod
    def read(self, key: str) -> bytes:
        """All of an object."""

    @abc.abstractmethod
    def save(self, key: str, file: IO[bytes]) -> None:
        """Write an object into a file, block by block."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give up connections."""


class _Direct(_Way):
    """An ObjectClerk, with its default settings."""

    def __init__(self, job: Job) -> None:
        self._bucket = job.bucket
        self._clerk = ObjectClerk(
            access_key=job.access_key, secret_key=job.secret_key, endpoint_url=job.endpoint_url
        )

    def put(self, contents: bytes | IO[bytes], key: str) -> None:
        _check(self._clerk.upload_object(contents, self._bucket, key), key)

    def read(self, key: str) -> bytes:
        return self._clerk.get_object(self._bucket, key)  # or an error, if nothing proves them

    def save(self, key: str, file: IO[bytes]) -> None:
        _check(self._clerk.download_object(self._bucket, key, file), key)

    def close(self) -> None:
        self._clerk.close()


class _Session(_Way):
    """A session, with its default settings but for the compression."""

    def __init__(self, job: Job, *, compress: bool) -> None:
        self._client = Client(job.gateway_url)
        usecase = Usecase("benchmark", "zstd" if compress else "none")
        self._session = self._client.session(usecase, org=1)

    def put(self, contents: bytes | IO[bytes], key: str) -> None:
        self._session.put(contents, key)

    def read(self, key: str) -> bytes:
        with self._session.get(key) as result:
            data = result.payload.read()
        _check(result, key)
        return data

    def save(self, key: str, file: IO[bytes]) -> None:
        with self._session.get(key) as result:
            shutil.copyfileobj(result.payload, file)
        _check(result, key)

    def close(self) -> None:
        self._client.close()


class _Proved(Protocol):
    @property
    def verdict(self) -> Verdict: ...


def _check(proved: _Proved, key: str) -> None:
    """A way that compares nothing would be no match for the others."""
    if proved.verdict is not Verdict.CONTENT:
        raise Failed(f"{key} is proved by {proved.verdict.name} only")


DIRECT = "direct"

#: A way by its name; those of a session are named by the compression.
WAYS: dict[str, Callable[[Job], _Way]] = {
    DIRECT: _Direct,
    "none": lambda job: _Session(job, compress=False),
    "zstd": lambda job: _Session(job, compress=True),
}


def measure(job: Job) -> Taken:
    """Do the job.

    Raises:
        Failed: what came back is something else than was put.
    """
    path = Path(job.path)
    small = path.read_bytes() if path.stat().st_size <= SMALL_BYTES else None
    with contextlib.closing(WAYS[job.way](job)) as way:
        _warm_up(way, small, Path(job.place))
        with _Measured(job) as measured:
            if small is None:
                _with_file(way, job.verb, path, Path(job.place, GOT))
            else:
                _with_bytes(way, job, small)
    return measured.taken


def contents(name: str, size: int) -> Iterator[bytes]:
    """Contents that zstd makes smaller (``text``), or cannot (``random``), the same ones each time.

    No two stretches of them are alike, or it would make those smaller, too.
    """
    source = random.Random(size)
    while size:
        block = source.randbytes(min(size, MIB)) if name == "random" else _log_lines(source)
        yield block[:size]
        size -= min(size, len(block))


def _log_lines(source: random.Random) -> bytes:
    seconds = sorted(source.randrange(86400) for _ in range(10000))
    return b"".join(
        b"%02d:%02d:%02d GET /objects/%06d 200 %d bytes in %d ms, client 192.0.2.%d\n"
        % (at // 3600, at // 60 % 60, at % 60, *(source.randrange(n) for n in _RANGES))
        for at in seconds
    )


_RANGES = (1_000_000, 100_000, 1000, 256)


def _warm_up(way: _Way, small: bytes | None, place: Path) -> None:
    if small is not None:
        for _ in range(_WARM_COUNT):
            way.put(small, "warm")
            way.read("warm")
        return
    path = place / "warm"
    path.write_bytes(b"".join(contents("random", _WARM_BYTES)))
    with path.open("rb") as file:
        way.put(file, "warm")
    with path.open("wb") as file:
        way.save("warm", file)


def _with_bytes(way: _Way, job: Job, data: bytes) -> None:
    for number in range(job.count):
        key = f"{number:06d}"
        if job.verb == "put":
            way.put(data, key)
        elif way.read(key) != data:
            raise Failed(f"{key} came back with other bytes")


def _with_file(way: _Way, verb: str, path: Path, target: Path) -> None:
    """The file that is written is compared by whoever has started this process."""
    if verb == "put":
        with path.open("rb") as file:
            way.put(file, "large")
    else:
        with target.open("wb") as file:
            way.save("large", file)


class _Measured:
    """What the processes spend while the block runs."""

    taken: Taken

    def __init__(self, job: Job) -> None:
        self._job = job

    def __enter__(self) -> _Measured:
        self._ready = {pid: _ready_mib(pid) for pid in (None, *self._job.gateway)}
        self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        wall_s, cpu_s = time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s
        if kind is not None:
            return
        client, *others = (
            max(0.0, resident_mib("VmHWM", pid) - before) for pid, before in self._ready.items()
        )
        count = self._job.count
        self.taken = Taken(wall_s / count, cpu_s / count, client, sum(others) if others else None)


def _ready_mib(pid: int | None) -> float:
    """What a process has before it grows."""
    forget_peak(pid)
    return resident_mib("VmRSS", pid)
