"""What a driver has to do."""

from __future__ import annotations

import abc
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks.performance.job import WARM, WARM_COUNT, WARM_OUT, content, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.performance.job import Job

T = TypeVar("T")


class Failed(Exception):
    """The tool did not do what it was asked to do."""


class Driver(abc.ABC):
    """A tool: each method does the work of one measurement.

    Attributes:
        is_program: whether a program is started, which then counts with all it takes.
    """

    is_program = False

    def __init__(self, job: Job) -> None:
        self.job = job

    @abc.abstractmethod
    def version(self) -> str:
        """The release."""

    @abc.abstractmethod
    def put_many(self, prefix: str, count: int, data: bytes) -> None:
        """Upload the same bytes under so many keys."""

    @abc.abstractmethod
    def get_many(self, prefix: str, count: int, size: int) -> None:
        """Read so many objects, each of this size."""

    @abc.abstractmethod
    def copy_many(self, prefix: str, target: str, count: int) -> None:
        """Copy so many objects within the server."""

    @abc.abstractmethod
    def move_many(self, prefix: str, target: str, count: int) -> None:
        """Move so many objects within the server."""

    @abc.abstractmethod
    def list_keys(self, prefix: str) -> int:
        """List all that begins so; how many there are."""

    @abc.abstractmethod
    def upload(self) -> None:
        """Upload the file of the job."""

    @abc.abstractmethod
    def download(self) -> None:
        """Download the large object into the file of the job."""

    def said(self) -> str:
        """What the tool itself says of the proof; empty if it says nothing."""
        return ""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Make what the tool needs on this side; that is not measured."""

    def warm_up(self) -> None:
        """Load and open what is loaded and opened once."""
        job, few = self.job, WARM_COUNT
        if self.is_program:
            return
        if job.verb == "put":
            self.put_many(WARM, few, content(job.size))
        elif job.verb == "get":
            self.get_many(job.prefix, few, job.size)
        elif job.verb == "copy":
            self.copy_many(job.prefix, WARM_OUT, few)
        elif job.verb == "move":
            self.move_many(WARM, WARM_OUT, few)
        else:
            self.list_keys("nothing/")

    def act(self) -> None:
        """What is measured."""
        job = self.job
        if job.verb == "put":
            self.put_many(job.prefix, job.count, content(job.size))
        elif job.verb == "get":
            self.get_many(job.prefix, job.count, job.size)
        elif job.verb == "copy":
            self.copy_many(job.prefix, job.target, job.count)
        elif job.verb == "move":
            self.move_many(job.prefix, job.target, job.count)
        elif job.verb == "upload":
            self.upload()
        elif job.verb == "download":
            self.download()
        elif (found := self.list_keys(job.prefix)) != job.count:
            raise Failed(f"{found} keys were listed, there are {job.count}")


class Library(Driver):
    """A tool that is called once for each object."""

    @abc.abstractmethod
    def put(self, key: str, data: bytes) -> object:
        """Upload one small object."""

    @abc.abstractmethod
    def get(self, key: str) -> bytes:
        """Read one small object."""

    @abc.abstractmethod
    def copy(self, source: str, target: str) -> object:
        """Copy one object."""

    @abc.abstractmethod
    def move(self, source: str, target: str) -> object:
        """Move one object."""

    def each(self, function: Callable[[T], object], items: Iterable[T]) -> None:
        """Call it for all items, in as many threads as the job says."""
        if self.job.threads == 1:
            for item in items:
                function(item)
            return
        with ThreadPoolExecutor(self.job.threads) as pool:
            for _ in pool.map(function, items):
                pass

    def put_many(self, prefix: str, count: int, data: bytes) -> None:
        """One call for each."""
        self.each(lambda key: self.put(key, data), names(prefix, count))

    def get_many(self, prefix: str, count: int, size: int) -> None:
        """One call for each."""

        def get(key: str) -> None:
            if len(self.get(key)) != size:
                raise Failed(f"{key} has another size than {size}")

        self.each(get, names(prefix, count))

    def copy_many(self, prefix: str, target: str, count: int) -> None:
        """One call for each."""
        pairs = zip(names(prefix, count), names(target, count), strict=True)
        self.each(lambda pair: self.copy(*pair), pairs)

    def move_many(self, prefix: str, target: str, count: int) -> None:
        """One call for each."""
        pairs = zip(names(prefix, count), names(target, count), strict=True)
        self.each(lambda pair: self.move(*pair), pairs)


class Program(Driver):
    """A tool that is a program, started once for all objects."""

    is_program = True
    name: str

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.path = Path(sysconfig.get_path("scripts"), self.name)
        if not self.path.is_file():
            raise FileNotFoundError(f"no program {self.name} beside this interpreter")

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> bytes:
        """Run it to its end; what it printed.

        Raises:
            Failed: it ended with another status than 0.
        """
        done = subprocess.run(
            [self.path, *arguments], env=dict(environment), capture_output=True, check=False
        )
        if done.returncode:
            raise Failed(
                f"status {done.returncode}: {done.stderr[-2000:].decode(errors='replace')}"
            )
        return done.stdout
