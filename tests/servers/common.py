"""What every server module needs: free ports, child processes, readiness, cached installs."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

LOOPBACK = "127.0.0.1"
Command = Sequence[object]
"""A program and its arguments; paths and numbers are made text when it is run."""
_GUARD = Path(__file__).with_name("_guard.py")
_LOG_TAIL_LINES = 30

# Everything that changes what the library, boto3 or the servers do. Tests must not depend on the
# shell they are started from.
_FOREIGN_VARIABLES = re.compile(
    r"(OBJECT_STORE_|AWS_|CEPH_).*"
    r"|MULTIPART_THRESHOLD|S3_(CLIENT|UPLOAD|DOWNLOAD)_CONFIG"
    r"|(CHECKSUM|CONNECTION)_RETRY_CONFIG|RETRY_DEADLINE|FAST_LANE"
    r"|HOST|PORT|ACCESS_KEY|SECRET_KEY|USE_SSL|BUCKET"
)


class Unavailable(Exception):
    """This server cannot be used here; the message says why and what would help."""


class StartFailed(Exception):
    """The server is installed but did not come up; the message ends with its log."""


@dataclass(frozen=True)
class Endpoint:
    """Where a started server listens and who may talk to it."""

    url: str
    access_key: str
    secret_key: str


class ServerModule(Protocol):
    """The two functions that every server module has."""

    def install(self) -> None:
        """Download or build what is missing."""

    def start(self, place: Workplace) -> Endpoint:
        """Start the server in `place` and return when it answers."""


def foreign_variables() -> list[str]:
    """Return the names of all set environment variables that a test must not see."""
    return [name for name in os.environ if _FOREIGN_VARIABLES.fullmatch(name)]


def free_ports(count: int) -> list[int]:
    """Return `count` different loopback ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        # All are held open until the last is known, otherwise the same port comes twice.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class _Process:
    tag: str
    log: Path
    guard: subprocess.Popen[bytes]


@dataclass
class Workplace:
    """One server's temporary directory and child processes."""

    directory: Path
    _processes: list[_Process] = field(default_factory=list)

    def make(self, *parts: str) -> Path:
        """Create and return a directory below the temporary one."""
        path = self.directory.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a configuration file below the temporary directory."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def spawn(self, tag: str, command: Command, env: Mapping[str, str] | None = None) -> int:
        """Start a child process that lives until `stop` or the end of this interpreter.

        Returns the pid of its parent, which does nothing but watch.
        """
        log = self._log(tag)
        with log.open("ab") as output:
            guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=_environment(env),
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
            )
        self._processes.append(_Process(tag, log, guard))
        return guard.pid

    def run(self, tag: str, command: Command, *, cwd: Path | None = None, timeout: float) -> str:
        """Run a command to its end and return what it printed.

        Raises:
            StartFailed: It ended with an error or took longer than `timeout` seconds.
        """
        log = self._log(tag)
        with log.open("ab") as errors:
            try:
                done = subprocess.run(
                    list(map(str, command)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=cwd or self.directory,
                    env=_environment(None),
                    timeout=timeout,
                    check=True,
                )
            except (subprocess.SubprocessError, OSError) as error:
                raise StartFailed(f"{error}\n{_tail(log)}") from error
        return done.stdout.decode(errors="replace")

    def wait_http(self, url: str, timeout: float) -> None:
        """Wait until anything at all answers HTTP at `url`.

        Raises:
            StartFailed: `timeout` seconds went by, or a child process ended.
        """
        deadline = time.monotonic() + timeout
        while not answers_http(url):
            self.check_alive()
            if time.monotonic() > deadline:
                raise StartFailed(f"no answer at {url} after {timeout:g} s\n{self.logs()}")
            time.sleep(0.05)
        # Somebody else may have taken the port in the meantime: then ours has just died of it.
        self.check_alive()

    def check_alive(self) -> None:
        """Raise StartFailed if a child process has ended."""
        for process in self._processes:
            status = process.guard.poll()
            if status is not None:
                tail = _tail(process.log)
                raise StartFailed(f"{process.tag} ended with status {status}\n{tail}")

    def logs(self) -> str:
        """Return the last lines of every child's log."""
        return "\n".join(_tail(process.log) for process in self._processes)

    def stop(self) -> None:
        """End all child processes and wait until they are gone."""
        for process in self._processes:  # tell all first: they end at the same time
            if process.guard.stdin is not None:
                process.guard.stdin.close()
        while self._processes:
            # The guard kills the group by itself after its grace, so this never hangs.
            self._processes.pop().guard.wait()

    def _log(self, tag: str) -> Path:
        return self.make("log") / f"{tag}.log"


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    foreign = set(foreign_variables())
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**kept, **(extra or {})}


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"--- end of {log.name}", *lines[-_LOG_TAIL_LINES:]])


def answers_http(url: str) -> bool:
    """Tell whether any HTTP answer, also an error, comes from `url` within two seconds."""
    parts = urllib.parse.urlsplit(url)
    # Not urllib.request: it would ask a proxy named in the environment.
    connection = http.client.HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=2)
    try:
        connection.request("GET", parts.path or "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def cache_directory() -> Path:
    """Return the directory for downloads and builds that outlive a test run."""
    if chosen := os.environ.get("OBJECT_CLERK_TEST_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "object-clerk-tests"


@contextlib.contextmanager
def building(target: Path) -> Iterator[bool]:
    """Give one process at a time the right to build `target`.

    Yields:
        True if `target` has to be built (it is empty then), False if it is complete. It counts as
        complete only after the `with` body has ended without an exception, so that an interrupted
        build is repeated rather than used.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    complete = target.with_name(f"{target.name}.complete")
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists() and target.exists():
            yield False
            return
        complete.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        yield True
        complete.touch()


def is_built(target: Path) -> bool:
    """Tell whether a `building` of `target` was finished."""
    return target.with_name(f"{target.name}.complete").exists() and target.exists()


def cached_venv(name: str, version: str, *others: str) -> Path:
    """Return the `bin` directory of a cached environment that holds `name==version`.

    Args:
        name: Distribution to install, also the start of the environment's name.
        version: Its exact version.
        others: Further requirements.

    Raises:
        Unavailable: It could not be installed.
    """
    wanted = (f"{name}=={version}", *others)
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    target = cache_directory() / re.sub(r"[^\w.]+", "-", " ".join((*wanted, python)))
    try:
        with building(target) as needed:
            if needed:
                # Built in place: the scripts of an environment name their own directory.
                _checked([sys.executable, "-m", "venv", target])
                pip = [target / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input"]
                _checked([*pip, *wanted])
    except (subprocess.CalledProcessError, OSError) as error:
        output = getattr(error, "stderr", None) or ""
        raise Unavailable(f"cannot install {wanted[0]}: {error} {output[-500:]}") from error
    return target / "bin"


def _checked(command: Command) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=900)
