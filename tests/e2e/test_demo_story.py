"""The demo tells the truth also when something cannot be proved."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from object_clerk.cli.app import sentence
from object_clerk.cli.demo.files import find_files
from object_clerk.cli.demo.outcome import Outcome
from object_clerk.cli.demo.screens import receipts_table, summary
from object_clerk.cli.demo.stage import Stage, raised_stage
from object_clerk.cli.demo.story import Story
from object_clerk.cli.exit_codes import CommandError, ExitCode
from object_clerk.cli.text import human_size, one_line, printable
from object_clerk.exceptions import ObjectClerkConfigurationException, ObjectUnverifiable
from object_clerk.receipt import Receipt, Verdict
from object_clerk.testing import drop_before, flip_response_bit, status_before, trim_response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from object_clerk.cli.demo.files import Skipped
    from object_clerk.events import Event
    from object_clerk.testing import Fault


class Recorder:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.receipts: list[Receipt] = []
        self.shortfalls: list[str] = []

    def tell(self, number: int, sentence: str) -> None:
        assert number == len(self.sentences) + 1
        self.sentences.append(sentence)

    def receipt(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)

    def skipped(self, skipped: Skipped) -> None: ...

    def shortfall(self, what: str) -> None:
        self.shortfalls.append(what)

    @contextlib.contextmanager
    def progress(self, doing: str, total_bytes: int) -> Iterator[None]:
        yield

    def event(self, event: Event) -> None: ...

    def end(self, outcome: Outcome) -> None: ...


@pytest.fixture
def stage() -> Iterator[Stage]:
    with raised_stage() as stage:
        yield stage


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(f"the content of {name}")
    return tmp_path


def play(stage: Stage, directory: Path, *faults: Fault) -> tuple[Outcome, Recorder]:
    screen = Recorder()
    stage.proxy.add(*faults)
    return Story(stage, find_files(directory), screen).play(), screen


class TestUnprovable:
    def test_bytes_that_always_arrive_changed(self, stage: Stage, directory: Path) -> None:
        outcome, screen = play(
            stage, directory, flip_response_bit(method="GET", path="one.txt", times=None)
        )

        assert outcome.exit_code is ExitCode.INTEGRITY
        assert "one.txt" in screen.shortfalls[0]
        assert "2 of 3 proved equal" in screen.sentences[2]
        assert outcome.to_dict()["ok"] is False
        # The fault was cleared with the flipped bit, and the story went on to its end.
        assert outcome.healed == 1
        assert "every byte equals" in screen.sentences[-1]

    def test_a_bit_that_is_not_flipped_is_not_claimed(self, stage: Stage, directory: Path) -> None:
        # The armed fault that comes first takes the request that was to be damaged.
        outcome, screen = play(
            stage,
            directory,
            trim_response(1 << 30, method="GET", path="generated.bin", times=None),
        )

        assert outcome.healed == 0
        assert outcome.exit_code is ExitCode.INTEGRITY
        assert "could not show" in screen.sentences[3]


class TestFailures:
    def test_one_refused_file_does_not_stop_the_others(self, stage: Stage, directory: Path) -> None:
        outcome, screen = play(
            stage,
            directory,
            status_before(403, "AccessDenied", method="PUT", path="one.txt", times=None),
        )

        assert outcome.exit_code is ExitCode.FAILED
        assert len(screen.shortfalls) == 1
        assert "1 of 2 files" in screen.sentences[1]
        assert {r.key for r in screen.receipts} >= {"two.txt"}

    def test_repeated_requests_are_told(self, stage: Stage, directory: Path) -> None:
        outcome, screen = play(stage, directory, drop_before(method="PUT", path="two.txt", times=1))

        assert outcome.exit_code is ExitCode.OK
        assert "1 request had to be repeated" in screen.sentences[1]

    def test_a_file_that_vanishes(self, stage: Stage, directory: Path) -> None:
        found = find_files(directory)
        (directory / "one.txt").unlink()
        screen = Recorder()

        outcome = Story(stage, found, screen).play()

        assert outcome.exit_code is ExitCode.FAILED
        assert "one.txt" in screen.shortfalls[0]

    def test_the_stage_is_taken_down_after_an_error(self) -> None:
        places = []

        def fail() -> None:
            with raised_stage() as stage:
                places.append(stage.scratch)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert not places[0].exists()


def receipt(
    operation: str = "get_object",
    verdict: Verdict = Verdict.CONTENT,
    attempts: int = 1,
    key: str = "key",
) -> Receipt:
    return Receipt(
        operation=operation,
        bucket="bucket",
        key=key,
        size=7,
        verdict=verdict,
        basis="a reason",
        attempts=attempts,
    )


class TestOutcome:
    @pytest.mark.parametrize(
        ("operation", "verdict", "code"),
        [
            ("upload_object", Verdict.CONTENT, ExitCode.OK),
            ("upload_object", Verdict.TRANSPORT, ExitCode.OK),
            ("upload_object", Verdict.IDENTITY, ExitCode.INTEGRITY),
            ("upload_object", Verdict.NONE, ExitCode.INTEGRITY),
            ("get_object", Verdict.CONTENT, ExitCode.OK),
            ("get_object", Verdict.TRANSPORT, ExitCode.INTEGRITY),
            ("copy_object", Verdict.IDENTITY, ExitCode.INTEGRITY),
            ("download_object", Verdict.NONE, ExitCode.INTEGRITY),
        ],
    )
    def test_only_enough_proof_is_ok(
        self, operation: str, verdict: Verdict, code: ExitCode
    ) -> None:
        outcome = Outcome()
        outcome.take(receipt(operation, verdict))

        assert outcome.exit_code is code
        assert outcome.to_dict()["ok"] is (code is ExitCode.OK)
        assert outcome.verdicts[verdict.value] == 1
        assert ("NOT everything" in summary(outcome).plain) is (code is not ExitCode.OK)

    def test_integrity_outweighs_other_failures(self) -> None:
        codes = []
        outcome = Outcome()
        for integrity in (False, True, False):
            outcome.fall_short("something", integrity=integrity)
            codes.append(outcome.exit_code)

        assert codes == [ExitCode.FAILED, ExitCode.INTEGRITY, ExitCode.INTEGRITY]


class TestTable:
    def test_few_receipts_are_all_shown(self) -> None:
        assert receipts_table([receipt()] * 40, wide=True).row_count == 40

    def test_of_many_the_remarkable_are_all_shown(self) -> None:
        many = [receipt(key=str(number)) for number in range(60)]
        many[50] = receipt(attempts=2)
        many[51] = receipt(verdict=Verdict.NONE)

        table = receipts_table(many, wide=True)

        assert table.row_count == 10 + 2 + 1
        assert "48 more" in str(list(table.columns[1].cells)[-1])


class TestText:
    @pytest.mark.parametrize(
        ("size", "text"),
        [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (16 << 20, "16.0 MiB"),
            (5 << 40, "5.0 TiB"),
            (5 << 50, "5120.0 TiB"),
        ],
    )
    def test_sizes(self, size: int, text: str) -> None:
        assert human_size(size) == text

    def test_nothing_moves_the_cursor(self) -> None:
        assert printable("a\x1b[31m\nb\udcff ü") == "a\\x1b[31m\\nb\\udcff ü"
        assert one_line("a\n  b\x07") == "a b\\x07"

    @pytest.mark.parametrize(
        ("error", "pattern"),
        [
            (ObjectClerkConfigurationException("PORT is bad"), r"PORT is bad\. Correct .*\."),
            (ObjectUnverifiable("no proof"), r"no proof\. verify_checksum=False accepts .*\."),
            (CommandError("do this", ExitCode.FAILED), "do this"),
            (RuntimeError("a\nb"), r"unexpected RuntimeError: a b\. --debug .*\."),
            (PermissionError(13, "Permission denied", "x"), r".*denied.*'x'\. --debug .*\."),
        ],
    )
    def test_errors_are_one_line(self, error: Exception, pattern: str) -> None:
        assert re.fullmatch(pattern, sentence(error))
