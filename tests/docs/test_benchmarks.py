"""The benchmark behind docs/performance.rst runs, and its claims hold for a small file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.memory import __main__ as memory
from benchmarks.memory.ways import WAYS
from tests.docs.rst import ROOT, page

SIZE = 16


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_small_run() -> None:
    done = run("--sizes", str(SIZE), "--json")
    if done.returncode == 1 and done.stderr.startswith("Unavailable: "):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    rows = [memory.Row(**row) for row in json.loads(done.stdout)]
    grown = {(row.direction, row.way): row.above_baseline_mib for row in rows}
    assert set(grown) == {(d, way) for d in ("upload", "download") for way in WAYS}
    for direction in ("upload", "download"):
        # Far from the size of the file; a process that holds it grows by that much.
        assert grown[direction, "object-clerk"] < SIZE * 0.75
        assert grown[direction, memory.WHOLE] > SIZE * 0.75


def test_a_wrong_size_is_refused() -> None:
    done = run("--sizes", "0")
    assert done.returncode == 2
    assert "at least 1 MiB" in done.stderr


def test_the_page_shows_what_the_command_prints() -> None:
    rows = page("docs/performance.rst").table("memory")
    for size, direction, way, grown, _ in rows:
        assert int(size) >= 1
        assert direction in ("upload", "download")
        assert way in WAYS
        if way == "object-clerk":
            assert float(grown) < 100
    printed = memory.table([memory.Row(64, "upload", "boto3", 1.0, 1.0)])
    shown = (ROOT / "docs" / "performance.rst").read_text(encoding="utf-8")
    header = printed.splitlines()[1].split()
    assert any(line.split() == header for line in shown.splitlines())
