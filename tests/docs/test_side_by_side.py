"""The table of experiments: the command runs, its verdicts are earned, and the page is from it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import re
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from benchmarks.side_by_side import page as pages
from benchmarks.side_by_side import stage, tools, verdicts
from benchmarks.side_by_side.cases import CASES
from benchmarks.side_by_side.faults import FlipAt
from benchmarks.side_by_side.job import Outcome
from benchmarks.side_by_side.scene import Cases
from benchmarks.side_by_side.stage import Result
from benchmarks.side_by_side.tools import DRIVERS, Tool
from benchmarks.side_by_side.verdicts import Cell
from object_clerk.testing import status_before
from tests.docs.rst import ROOT, Page, page

if TYPE_CHECKING:
    from benchmarks.side_by_side.job import Job
    from benchmarks.side_by_side.scene import Judge, Scene

OK = Outcome(ok=True)
FAILED = Outcome(error="broken")
OLD, NEW, WRONG = b"old " * 5000, b"new " * 5000, b"bad " * 5000
MIXED = OLD[:9999] + NEW[9999:]
SERVERS = ("ceph", "ministack")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.side_by_side", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


def cells(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    if done.returncode == 1 and done.stderr.splitlines()[-1].startswith("Unavailable: "):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


class TestCommand:
    def test_one_experiment_with_two_tools(self, tmp_path: Path) -> None:
        """We heal a flipped bit; plain boto3 returns it, so it was really flipped."""
        written = tmp_path / "page.rst"
        found = cells(
            run(
                *("--server", "moto", "--only", "E1", "--tools", "object-clerk,boto3"),
                *("--json", "--rst", str(written), "--date", "2001-02-03"),
            )
        )
        cases = [case for case in CASES if case.experiment == "E1"]
        assert len(found) == 2 * len(cases)
        assert all(cell["fired"] for cell in found)
        said = {(cell["title"], cell["tool"]): cell["cell"] for cell in found}
        once = "One bit of a download flips, once"
        assert (said[once, "object-clerk"], said[once, "boto3"]) == ("right", "SILENT")
        always = "One bit flips every time; the target is a good older file"
        assert (said[always, "object-clerk"], said[always, "boto3"]) == ("error", "SILENT")
        made = Page(written)
        assert not made.complaints
        assert "2001-02-03" in made.text
        assert f"Against moto {importlib.metadata.version('moto')}" in made.text
        assert made.table("side-by-side-moto")[0] == ["E1", once, "right", "SILENT"]

    def test_experiments_on_uploads_moves_and_deletions(self) -> None:
        """One of each kind, so that the scenes of all kinds are played."""
        found = cells(
            run("--server", "moto", "--only", "E12,E17,E29", "--tools", "object-clerk", "--json")
        )
        assert {cell["cell"] for cell in found} <= {"right", "error"}
        said = {cell["title"]: cell["cell"] for cell in found}
        assert said["Completed, but the answer is lost; then NoSuchUpload"] == "right"
        assert said["Three of ten keys may not be deleted"] == "right"
        assert said["A move onto itself"] == "error"

    def test_tool_that_is_not_there_has_a_reason(self) -> None:
        """An interpreter without the tool: the driver says what is missing."""
        done = subprocess.run(
            [sys.executable, "-S", "-m", "benchmarks.side_by_side.drivers", "with_boto3"],
            cwd=ROOT,
            input="{}",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0
        assert "boto3" in json.loads(done.stdout)["missing"]

    @pytest.mark.parametrize("option", ["--server", "--only", "--tools"])
    def test_unknown_name_is_refused(self, option: str) -> None:
        done = run(option, "nonsense")
        assert done.returncode == 2
        assert "unknown: nonsense" in done.stderr


class TestVerdicts:
    @pytest.mark.parametrize(
        ("outcome", "found", "before", "cell"),
        [
            (OK, NEW, None, Cell.RIGHT),
            (OK, WRONG, None, Cell.SILENT),
            (OK, NEW[:-1], None, Cell.SILENT),
            (OK, None, None, Cell.SILENT),
            (OK, OLD, OLD, Cell.SILENT),
            (FAILED, None, None, Cell.ERROR),
            (FAILED, NEW, None, Cell.ERROR),
            (FAILED, WRONG, None, Cell.LEFT),
            (FAILED, OLD, OLD, Cell.ERROR),
            (FAILED, None, OLD, Cell.LOSS),
            (FAILED, WRONG, OLD, Cell.LOSS),
        ],
    )
    def test_data(
        self, outcome: Outcome, found: bytes | None, before: bytes | None, cell: Cell
    ) -> None:
        assert verdicts.data(outcome, found, [NEW], before) is cell

    @pytest.mark.parametrize(
        ("found", "cell"),
        [(OLD, Cell.RIGHT), (NEW, Cell.RIGHT), (MIXED, Cell.MIX), (WRONG, Cell.SILENT),
         (MIXED[:-1], Cell.SILENT), (OLD[:9999] + WRONG[9999:], Cell.SILENT)],
    )  # fmt: skip
    def test_two_generations(self, found: bytes, cell: Cell) -> None:
        assert verdicts.data(OK, found, [OLD, NEW]) is cell

    @pytest.mark.parametrize(
        ("outcome", "source", "target", "newer", "cell"),
        [
            (OK, None, OLD, None, Cell.RIGHT),
            (OK, None, None, None, Cell.LOSS),
            (OK, None, WRONG, None, Cell.LOSS),
            (OK, OLD, None, None, Cell.SILENT),
            (OK, OLD, OLD, None, Cell.SILENT),
            (FAILED, OLD, None, None, Cell.ERROR),
            (FAILED, OLD, OLD, None, Cell.ERROR),
            (FAILED, OLD, WRONG, None, Cell.LEFT),
            (FAILED, None, None, None, Cell.LOSS),
            (OK, None, OLD, NEW, Cell.LOSS),
            (OK, NEW, OLD, NEW, Cell.RIGHT),
            (OK, None, NEW, NEW, Cell.RIGHT),
            (FAILED, NEW, OLD, NEW, Cell.ERROR),
        ],
    )
    def test_moves(
        self,
        outcome: Outcome,
        source: bytes | None,
        target: bytes | None,
        newer: bytes | None,
        cell: Cell,
    ) -> None:
        assert verdicts.move(outcome, source, target, OLD, newer) is cell

    def test_moves_onto_itself(self) -> None:
        assert verdicts.self_move(OK, OLD, OLD) is Cell.RIGHT
        assert verdicts.self_move(FAILED, OLD, OLD) is Cell.ERROR
        assert verdicts.self_move(FAILED, None, OLD) is Cell.LOSS

    def test_stopped(self) -> None:
        assert verdicts.stopped(OLD, OLD) is Cell.RIGHT
        assert verdicts.stopped(OLD[:5], OLD) is Cell.LOSS
        assert verdicts.stopped(None, OLD) is Cell.LOSS

    def test_listings(self) -> None:
        def listed(*keys: str) -> Cell:
            return verdicts.listing(Outcome(ok=True, keys=keys), ["a", "b"])

        assert listed("b", "a") is Cell.RIGHT
        assert listed("a", "b", "b") is Cell.SILENT
        assert listed("a") is Cell.SILENT
        assert verdicts.listing(FAILED, ["a", "b"]) is Cell.ERROR

    def test_deletions(self) -> None:
        naming = Outcome(error="not deleted: c, d")
        assert verdicts.deletion(naming, ["c", "d"], ["c", "d"]) is Cell.RIGHT
        assert verdicts.deletion(naming, ["b", "c", "d"], ["c", "d"]) is Cell.ERROR
        assert verdicts.deletion(FAILED, ["c", "d"], ["c", "d"]) is Cell.ERROR
        assert verdicts.deletion(OK, ["c", "d"], ["c", "d"]) is Cell.SILENT
        assert verdicts.deletion(OK, [], ["c", "d"]) is Cell.RIGHT

    def test_every_cell_has_a_meaning(self) -> None:
        assert list(verdicts.MEANINGS) == list(Cell)


class TestCases:
    def test_names_and_titles_are_unique(self) -> None:
        assert len({case.name for case in CASES}) == len(CASES)
        assert len({(case.experiment, case.title) for case in CASES}) == len(CASES)
        assert all(case.title for case in CASES)

    def test_missing_tool_is_an_empty_column_with_a_reason(self) -> None:
        there = Tool("object-clerk", "python", "2.0")
        gone = Tool("s5cmd", "python", missing="not installed")
        result = Result("moto", "E1", "a bit flips", "object-clerk", Cell.RIGHT)
        assert pages.rows([result], [there, gone]) == [["E1", "a bit flips", "right", ""]]
        servers = {"moto": "5"}
        text = pages.rst([result], [there, gone], servers, command="x", date="now", timeout_s=60)
        assert "s5cmd is missing: not installed" in text


@pytest.fixture(scope="module")
def found() -> dict[str, Result]:
    cases = Cases()

    @cases.add("E1", "get")
    def silent(scene: Scene) -> Judge:
        data = scene.put(scene.key, NEW, ACL="public-read")
        scene.arm("flip", FlipAt(9), when=scene.reads, times=None)
        return lambda outcome: verdicts.data(outcome, scene.local(), [data])

    @cases.add("E1", "get")
    def not_met(scene: Scene) -> Judge:
        data = scene.put(scene.key, NEW, ACL="public-read")
        scene.add(status_before(500, "InternalError", when=lambda _: False))
        return lambda outcome: verdicts.data(outcome, scene.local(), [data])

    @cases.add("E1", "get")
    def hanging(scene: Scene) -> Judge:
        data = scene.put(scene.key, NEW, ACL="public-read")
        scene.add(status_before(503, "SlowDown", times=None))
        return lambda outcome: verdicts.data(outcome, scene.local(), [data])

    @cases.add("E1", "get")
    def hopeless(scene: Scene) -> Judge:
        scene.add(status_before(500, "InternalError", times=None))
        return lambda outcome: verdicts.data(outcome, scene.local(), [NEW])

    @cases.add("E1", "fly")
    def without_verb(scene: Scene) -> Judge:
        raise AssertionError(f"nothing is played in {scene}")

    def request(
        tool: Tool, job: Job, place: Path, timeout_s: float, kill_at: object = None
    ) -> Outcome:
        del tool, place, timeout_s, kill_at
        url = urlsplit(job.endpoint_url)
        with contextlib.closing(HTTPConnection(url.netloc)) as connection:
            connection.request("GET", f"/{job.bucket}/{job.key}")
            answer = connection.getresponse()
            body = answer.read()
        if answer.status == 503:
            return Outcome(ended=False)  # as if it had gone on until it was stopped
        if answer.status != 200:
            return FAILED
        Path(job.path).write_bytes(body)
        return OK

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(tools, "run", request)
        played = stage.results("moto", cases, [Tool("plain", "python", "1", ("get",))], 60)
        return {case.play.__name__: result for case, result in zip(cases, played, strict=True)}


class TestStage:
    """What stands in a cell is seen, with a tool that is a plain request."""

    def test_fault_that_took_effect_is_judged_by_the_bytes(self, found: dict[str, Result]) -> None:
        assert found["silent"].cell is Cell.SILENT
        assert found["silent"].fired == ("flip",)

    def test_fault_that_did_not_take_effect_is_no_verdict(self, found: dict[str, Result]) -> None:
        assert found["not_met"].cell is Cell.NOT_MET
        assert found["not_met"].fired == ()

    def test_tool_that_had_to_be_stopped(self, found: dict[str, Result]) -> None:
        assert found["hanging"].cell is Cell.NEVER

    def test_tool_that_fails_without_a_fault_too(self, found: dict[str, Result]) -> None:
        assert found["hopeless"].cell is Cell.CANNOT
        assert "InternalError" not in found["hopeless"].said

    def test_tool_that_has_no_such_verb(self, found: dict[str, Result]) -> None:
        assert found["without_verb"].cell is Cell.NO_VERB


class TestPage:
    """The committed page: what it must have if it was written by the command of today."""

    def test_rows_are_the_experiments(self) -> None:
        shown = page("docs/side_by_side.rst")
        expected = [[case.experiment, case.title] for case in CASES]
        for server in SERVERS:
            assert [row[:2] for row in shown.table(f"side-by-side-{server}")] == expected

    def test_cells_are_explained(self) -> None:
        shown = page("docs/side_by_side.rst")
        found = {
            cell
            for server in SERVERS
            for row in shown.table(f"side-by-side-{server}")
            for cell in row[2:]
        }
        assert found == set(shown.terms())
        assert found <= set(Cell)

    def test_command_date_and_versions_are_told(self) -> None:
        shown = page("docs/side_by_side.rst")
        ((_, command),) = shown.blocks()
        assert command.startswith("python -m benchmarks.side_by_side --server ceph,ministack ")
        assert "--only" not in command
        assert re.search(r"on \d{4}-\d\d-\d\d, with Python 3", shown.text)
        for name in DRIVERS:
            assert re.search(rf"{re.escape(name)} \d", shown.text)
