"""Processes that are interrupted or killed in the middle (experiment E21, see `test_kill.py`)."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from object_clerk.testing import callback, drip, stall
from tests.faults.conftest import MIB, PART, QUICK, Stage, content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
DATA = content(2 * MIB)


@contextlib.contextmanager
def _child(
    stage: Stage, verb: str, *arguments: object, in_place: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A process that makes one call through the proxy; it never outlives the block."""
    told = {
        "clerk": {
            "endpoint_url": stage.proxy.endpoint_url,
            "access_key": stage.server.access_key,
            "secret_key": stage.server.secret_key,
            **QUICK,
        },
        "verb": verb,
        "arguments": [str(argument) for argument in arguments],
        "in_place": in_place,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.child"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(told))
            process.stdin.close()
            yield process
        finally:
            process.kill()


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)


@pytest.mark.smoke
def test_interrupt_of_an_upload_in_parts(stage: Stage, tmp_path: Path) -> None:
    """Check 9: Ctrl-C ends the process, and the parts do not stay behind."""
    path = tmp_path / "file"
    path.write_bytes(content(3 * PART))
    stage.put("key", DATA)
    stage.proxy.add(stall(1.5, method="PUT", query="partNumber=2"))

    with _child(stage, "upload_object", path, stage.bucket, "key") as process:
        _wait_for(lambda: stage.fired)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        assert process.stderr is not None
        trace = process.stderr.read()

    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in trace
    assert stage.sent("DELETE", "key", "uploadId")
    assert stage.uploads() == []
    assert stage.stored("key") == DATA
    assert "stall" in stage.fired


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("before", [None, b"what was there before"], ids=["new", "old"])
def test_e21_end_of_a_download(
    stage: Stage, tmp_path: Path, number: signal.Signals, before: bytes | None
) -> None:
    """Check 22: whatever ends the process, the target never holds a part of an object."""
    target = tmp_path / "target"
    if before is not None:
        target.write_bytes(before)
    stage.put("key", DATA)
    stage.proxy.add(drip(64 * 1024, delay_s=0.05, method="GET"))

    with _child(stage, "download_object", stage.bucket, "key", target) as process:
        _wait_for(lambda: any(e.response_bytes > 4 * 64 * 1024 for e in stage.proxy.fired))
        process.send_signal(number)
        process.wait(timeout=20)

    assert process.returncode == -number
    assert (target.read_bytes() if target.exists() else None) == before
    if number == signal.SIGINT:  # there was time to clear up
        assert [path.name for path in tmp_path.iterdir()] == ["target"][: before is not None]

    stage.proxy.clear()
    stage.clerk.download_object(stage.bucket, "key", target)
    assert target.read_bytes() == DATA


@pytest.mark.companion
def test_e21_without_its_guard_a_part_is_left_at_the_target(stage: Stage, tmp_path: Path) -> None:
    """The target itself is written to."""
    target = tmp_path / "target"
    target.write_bytes(b"what was there before")
    stage.put("key", DATA)
    stage.proxy.add(drip(64 * 1024, delay_s=0.05, method="GET"))

    child = _child(stage, "download_object", stage.bucket, "key", target, in_place=True)
    with child as process:
        _wait_for(lambda: any(e.response_bytes > 4 * 64 * 1024 for e in stage.proxy.fired))
        process.kill()
        process.wait(timeout=20)

    assert target.read_bytes() not in (b"what was there before", DATA)


@pytest.mark.parametrize("request_made", ["PUT", "HEAD", "GET", "DELETE"])
def test_e21_kill_of_a_move(stage: Stage, request_made: str) -> None:
    """Check 14: at every step there is a good copy, and running the move again converges."""
    stage.put("key", DATA)
    victim: list[subprocess.Popen[str]] = []

    def kill() -> None:
        _wait_for(lambda: victim)
        victim[0].kill()
        victim[0].wait()

    stage.proxy.add(callback(kill, method=request_made))
    with _child(stage, "move_object", stage.bucket, "key", stage.bucket, "new") as process:
        victim.append(process)
        process.wait(timeout=20)
    # The request goes on to the server all the same.
    _wait_for(lambda: stage.proxy.fired[0].upstream_status)

    assert process.returncode == -signal.SIGKILL
    assert stage.fired == ["callback"]
    kept = [stage.stored("key"), stage.stored("new")]
    assert DATA in kept
    assert set(kept) <= {DATA, None}

    stage.proxy.clear()
    if kept[0] is not None:
        stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")
    assert [stage.stored("key"), stage.stored("new")] == [None, DATA]
