"""The command of the benchmarks runs, and its results can be read and shown."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.performance import page
from benchmarks.performance.__main__ import command
from benchmarks.performance.rows import Row
from tests.docs.rst import ROOT, Page

if TYPE_CHECKING:
    from pathlib import Path

WORKS = ("small-put", "list", "download-single")
OURS = ("--rounds", "2", "--tools", "boto3,object-clerk")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.performance", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    if done.returncode == 1 and done.stderr.splitlines()[-1].startswith("Unavailable: "):
        pytest.skip(done.stderr.splitlines()[-1])
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "results.json"
    small = ("--count", "30", "--listed", "1500", "--size-mib", "9", "--json", str(path))
    done = run(*WORKS, *small, *OURS)
    assert done.returncode == 0, done.stderr
    return path


def test_every_work_has_its_rows(results: Path) -> None:
    rows = [Row.load(each) for each in json.loads(results.read_text())]
    assert {row.work for row in rows if row.tool == "boto3"} == set(WORKS)
    assert {row.rounds for row in rows} == {2}
    assert all(row.cpu_ratio and row.cpu_ratio.median == 1 for row in rows if row.tool == "boto3")


def test_rows_say_how_it_was_signed_and_proved(results: Path) -> None:
    rows = [Row.load(each) for each in json.loads(results.read_text())]
    ours = {row.work: row for row in rows if row.tool == "object-clerk"}
    assert ours["small-put"].seen == "signed, Content-MD5"
    assert ours["small-put"].said == "CONTENT: ETag equals the MD5 of what was sent"
    assert ours["download-single"].said == "CONTENT: ETag (MD5 of the whole)"


def test_page_of_results_renders(results: Path, tmp_path: Path) -> None:
    shown = tmp_path / "page.rst"
    shown.write_text(f"Title\n=====\n\n{page.BEGIN}\n\n{page.END}\n")
    assert run("--rst", str(shown), "--before", str(results), str(results)).returncode == 0
    made = Page(shown)
    assert not made.complaints
    targets = made.table("performance-targets")
    assert {row[0].split(",")[0] for row in targets} >= {"small-put", "upload", "memory"}
    assert all(row[2] == row[3] for row in targets)  # before is now
    measured = {row[0] for row in targets if row[3] != "not measured"}
    assert measured == set(WORKS)


def test_plots_are_drawn(results: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("plots take the extra plots")
    done = run("--plots", str(tmp_path), str(results))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.svg")} == {"small.svg", "large.svg"}


def test_unknown_work_is_refused() -> None:
    done = run("nonsense")
    assert done.returncode == 2
    assert "unknown: nonsense" in done.stderr


def test_command_that_is_told_names_no_place_of_this_machine() -> None:
    given = ["list", "--json", "/a/b", "--rounds", "7", "--package=/c", "--tools", "boto3,s5cmd"]
    expected = "python -m benchmarks.performance list --rounds 7 --tools boto3,s5cmd"
    assert command(given) == expected


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "performance").glob("*.json")), ids=lambda path: path.name
)
def test_committed_results_can_be_shown_again(path: Path) -> None:
    rows = [Row.load(each) for each in json.loads(path.read_text(encoding="utf-8"))]
    assert len({row.identity for row in rows}) == len(rows)
    assert all(row.command.startswith("python -m benchmarks.performance ") for row in rows)
    assert not any("/" in row.command for row in rows)


def test_committed_page_is_from_the_command() -> None:
    text = (ROOT / "docs" / "performance.rst").read_text(encoding="utf-8")
    assert text.count(page.BEGIN) == text.count(page.END) == 1
