"""Makes calls in processes of their own, at the price of a fork each.

An interpreter that has imported boto3 takes half a second to start, and a test that kills a
process at every request needs hundreds. So one is started, which has all that is needed but no
threads, and forks a child for each call it is told of. The test's own process has threads, and
had better not fork.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from object_clerk import ObjectClerk, ObjectClerkException

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]

#: How long one call may take; a child ends itself after that.
LONGEST_CALL_S = 60


@dataclasses.dataclass(frozen=True)
class End:
    """How a child has ended.

    Attributes:
        returncode: as `subprocess` gives it: negative for the signal that killed it.
        error: the name of the error that the call raised; empty if it returned.
        message: the text of that error.
        steps: what it did on the disk, by the names of the functions of `os`; only if it was
            not killed.
    """

    returncode: int
    error: str
    message: str
    steps: list[str]


class Zygote:
    """The process that forks; a context manager. It makes one call at a time."""

    def __init__(self, environ: dict[str, str]) -> None:
        # Unbuffered, so that `select` knows of everything that has not been read.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            bufsize=0,
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process:
            pass  # closes the pipes and waits

    def start(self, **told: Any) -> int:
        """Begin a call, of which `_be_child` is told.

        Returns:
            its process id, which stays its own until the next call begins, even when it has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told, default=str).encode() + b"\n")
        pid: int = self._heard()["pid"]
        return pid

    def wait(self) -> End:
        """Wait for the end of the call."""
        return End(**self._heard())

    def _heard(self) -> Any:
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], LONGEST_CALL_S + 10)
        assert ready, "the zygote says nothing"
        return json.loads(stdout.readline())


# -- in the zygote -------------------------------------------------------------------------


class _Pipe(FileIO):
    """A file that cannot be rewound, as far as anybody can tell."""

    def seekable(self) -> bool:
        return False


class _Steps:
    """Counts what a child does on the disk, and kills it before or after one of these steps."""

    NAMES = ("posix_fallocate", "pwrite", "fchmod", "fsync", "replace")

    def __init__(self, number: int, carried_out: bool) -> None:
        self.made: list[str] = []
        self._number = number
        self._carried_out = carried_out
        self._lock = threading.Lock()
        for name in self.NAMES:
            setattr(os, name, functools.partial(self._make, name, getattr(os, name)))

    def _make(self, name: str, step: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            self.made.append(name)
            hit = len(self.made) == self._number
        if hit and not self._carried_out:
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*arguments)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@functools.cache
def _clerk(arguments: str) -> ObjectClerk:
    """A clerk that will be used by the children alone, so that none has to make its own."""
    return ObjectClerk(**json.loads(arguments))


def _call(clerk: ObjectClerk, told: dict[str, Any]) -> None:
    # The client has no sockets yet that it would share with its siblings, so it can stay.
    clerk._connection._pid = os.getpid()
    arguments = told["arguments"]
    if told["piped"]:
        arguments[0] = _Pipe(arguments[0])
    getattr(clerk, told["verb"])(*arguments, **told["keywords"])


def _be_child(clerk: ObjectClerk, told: dict[str, Any], report: int) -> None:
    """Make the call, tell of its end, and never return."""
    signal.alarm(LONGEST_CALL_S)
    steps = _Steps(told["die_at"], told["carried_out"])
    error = message = ""
    try:
        _call(clerk, told)
    except ObjectClerkException as raised:
        error, message = type(raised).__name__, str(raised)
    except BaseException as raised:
        error, message = f"not ours: {type(raised).__name__}", repr(raised)
    finally:
        told = {"error": error, "message": message, "steps": steps.made}
        os.write(report, json.dumps(told).encode())
        os._exit(0)  # neither the buffers nor the exit handlers are the child's


def _tell(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Fork for each line on standard input; tell the child's id, and later how it ended."""
    pid = 0
    for line in sys.stdin:
        if pid:
            os.waitpid(pid, 0)
        told = json.loads(line)
        clerk = _clerk(json.dumps(told["clerk"]))
        read_end, write_end = os.pipe()
        pid = os.fork()
        if not pid:
            _be_child(clerk, told, write_end)
        os.close(write_end)
        _tell(pid=pid)
        # Left as a zombie: whoever still means to kill this process hits no other one.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        killed = ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        with FileIO(read_end) as report:
            said = report.read() or b'{"error": "", "message": "", "steps": []}'
        _tell(returncode=-ended.si_status if killed else ended.si_status, **json.loads(said))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
