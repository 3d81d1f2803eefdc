"""The tools: where their drivers are, and how one is made to do a job."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.side_by_side.job import Outcome
from tests.servers import Unavailable, foreign_variables
from tests.servers.common import cached_venv

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from benchmarks.side_by_side.job import Job

_ROOT = Path(__file__).parents[2]
_DESCRIBE_S = 60

#: How long a tool that is to be killed may go on once it has got so far.
_MOMENT_S = 1.0

#: The modules of the drivers, in the order of the columns.
DRIVERS: dict[str, str] = {
    "object-clerk": "with_clerk",
    "boto3": "with_boto3",
    "s3fs": "with_s3fs",
    "obstore": "with_obstore",
    "minio-py": "with_minio",
    "s5cmd": "with_s5cmd",
    "rclone": "with_rclone",
}

#: Tools that want another botocore than the newest get an environment of their own.
OWN_ENVIRONMENTS: dict[str, tuple[str, str]] = {"s3fs": ("s3fs", "2026.9.0")}


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool that is there, or the reason why it is not.

    Attributes:
        python: the interpreter of its environment.
        verbs: what it can be asked to do.
        missing: why it cannot be used, empty if it can.
    """

    name: str
    python: str
    version: str = ""
    verbs: tuple[str, ...] = ()
    missing: str = ""


class ToolGone(Exception):
    """A tool that was there at the beginning cannot be used any more; the message says why."""


def find(name: str) -> Tool:
    """Look a tool up, and install it if it needs an environment of its own."""
    python = sys.executable
    if name in OWN_ENVIRONMENTS:
        try:
            python = str(cached_venv(*OWN_ENVIRONMENTS[name]) / "python")
        except Unavailable as error:
            return Tool(name, python, missing=str(error))
    with tempfile.TemporaryDirectory(prefix="object-clerk-") as home:
        done = subprocess.run(
            _command(python, name, "--describe"),
            cwd=_ROOT,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DESCRIBE_S,
            check=False,
        )
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return Tool(name, python, missing=f"status {done.returncode}: {done.stderr[-500:]}")
    if "missing" in said:
        return Tool(name, python, missing=said["missing"])
    return Tool(name, python, said["version"], tuple(said["verbs"]))


def run(
    tool: Tool, job: Job, place: Path, timeout_s: float, kill_at: threading.Event | None = None
) -> Outcome:
    """Let a tool do a job, in a process of its own, for so long at most.

    Args:
        tool: the tool.
        job: what it has to do.
        place: a directory for its home and its output.
        timeout_s: then it is killed, and whatever it has started.
        kill_at: once this is set it is killed a moment later.

    Raises:
        ToolGone: it could not be loaded, so this says nothing of what it does.
    """
    home = place / "home"
    home.mkdir(exist_ok=True)
    said, errors = place / "stdout", place / "stderr"
    begun = time.monotonic()
    with said.open("wb") as out, errors.open("wb") as err:
        child = subprocess.Popen(
            _command(tool.python, tool.name),
            cwd=_ROOT,
            env=_environment(str(home)),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        assert child.stdin is not None
        with child.stdin as pipe:
            pipe.write(json.dumps(dataclasses.asdict(job)).encode())
        ended = _wait(child, timeout_s, kill_at)
    finally:
        # Programs that it has started are in its group, and may outlive it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    seconds = round(time.monotonic() - begun, 2)
    if not ended:
        return Outcome(ended=False, error="stopped", seconds=seconds)
    try:
        answer: dict[str, Any] = json.loads(said.read_text())
    except ValueError:
        tail = errors.read_text(errors="replace")[-2000:]
        return Outcome(error=f"died with status {child.returncode}: {tail}", seconds=seconds)
    if "missing" in answer:
        raise ToolGone(f"{tool.name}: {answer['missing']}")
    keys = tuple(answer.get("keys", ()))
    return Outcome(ok=answer["ok"], error=answer.get("error", ""), keys=keys, seconds=seconds)


def _wait(
    child: subprocess.Popen[bytes], timeout_s: float, kill_at: threading.Event | None
) -> bool:
    """Whether it ended by itself in time."""
    if kill_at is not None:
        deadline = time.monotonic() + timeout_s
        while not kill_at.wait(0.1):
            if child.poll() is not None or time.monotonic() > deadline:
                break
        timeout_s = _MOMENT_S
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _command(python: str, name: str, *rest: str) -> list[str]:
    return [python, "-m", "benchmarks.side_by_side.drivers", DRIVERS[name], *rest]


def _environment(home: str) -> Mapping[str, str]:
    """That of the shell, but without settings of stores, and nobody's files of settings."""
    foreign = set(foreign_variables())
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {
        **kept,
        "HOME": home,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONPATH": str(_ROOT),
    }
