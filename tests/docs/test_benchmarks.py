"""The benchmarks behind pages run, and what the pages claim holds for a small file."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.memory import __main__ as memory
from benchmarks.memory.ways import WAYS
from benchmarks.session import __main__ as session
from tests.docs.rst import ROOT, page

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 16


def run(*arguments: str, name: str = "memory") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
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


def test_sessions_beside_an_object_clerk(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    small = ("--sizes", "2MiB", "--rounds", "1", "--requests", "3", "--json", str(path))
    done = run(*small, name="session")
    if done.returncode == 1 and done.stderr.splitlines()[-1].startswith("Unavailable: "):
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text())
    assert {(row["size"], row["work"], row["contents"], row["way"]) for row in rows} == {
        (2 << 20, work, kind, way)
        for work in session.VERBS
        for kind, ways in session.PLAN.items()
        for way in ways
    }
    for row in rows:
        assert row["taken"]["wall_s"] > 0
        assert row["taken"]["cpu_s"] > 0
        assert (row["taken"]["gateway_mib"] is None) is (row["way"] == "direct")
        assert row["taken"]["client_mib"] < 100
    assert "put 2 MiB" in done.stdout
    assert "get 2 MiB" in done.stdout


@pytest.mark.parametrize("wrong", [("--sizes", "64"), ("--sizes", "0MiB"), ("--rounds", "0")])
def test_sessions_wrong_numbers_are_refused(wrong: tuple[str, str]) -> None:
    assert run(*wrong, name="session").returncode == 2


def test_the_page_on_sessions_shows_the_command() -> None:
    ((_, text),) = page("docs/session.rst").blocks("console")
    assert text.startswith("$ python -m benchmarks.session ")
    session._parser().parse_args(shlex.split(text)[4:])
