"""The page on testing: its example runs, and its tables list what the kit has."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from object_clerk import testing
from object_clerk.testing.faults import Often
from tests.docs.rst import ROOT, Page, page

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def text() -> Page:
    return page("docs/testing.rst")


def write_files(text: Page, directory: Path) -> dict[str, str]:
    """Write the page's blocks into the files that their first lines name."""
    files = {}
    for _, block in text.blocks("python"):
        first, _, code = block.partition("\n")
        name = first.removeprefix("# ")
        files[name] = code
        (directory / name).write_text(code, encoding="utf-8")
    return files


def run_pytest(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # The options of the run that this test belongs to are not meant for this one.
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=directory,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_example_passes(text: Page, workplace: Path) -> None:
    files = write_files(text, workplace)
    assert list(files) == ["pipeline.py", "test_pipeline.py"]
    done = run_pytest(workplace)
    assert done.returncode == 0, done.stdout + done.stderr
    assert files["test_pipeline.py"].count("\ndef test_") == 3
    assert re.search(r"^3 passed", done.stdout, re.MULTILINE)


def test_example_can_fail(text: Page, workplace: Path) -> None:
    """The change that the page suggests makes the first test fail, as it says."""
    code = write_files(text, workplace)["pipeline.py"]
    call = "clerk.get_object(bucket, key)"
    unverified = "clerk.get_object(bucket, key, verify_checksum=False)"
    assert unverified in text.text
    assert call in code
    (workplace / "pipeline.py").write_text(code.replace(call, unverified), encoding="utf-8")
    done = run_pytest(workplace, "-k", "flipped_bit or lost_answer")
    assert "1 failed, 1 passed" in done.stdout
    assert "FAILED test_pipeline.py::test_a_flipped_bit_is_noticed" in done.stdout


def factories() -> dict[str, inspect.Signature]:
    """The functions of the kit that make faults."""
    return {
        name: inspect.signature(value)
        for name in testing.__all__
        if inspect.isfunction(value := getattr(testing, name))
        and inspect.signature(value).return_annotation == "Fault"
    }


def test_every_fault_is_in_the_table_with_its_arguments(text: Page) -> None:
    calls = {
        f"{name}({', '.join(p.name for p in list(signature.parameters.values())[:-1])})"
        for name, signature in factories().items()
    }
    assert len(calls) == 17
    assert {row[0] for row in text.table("faults")} == calls


def test_every_option_is_in_the_table_with_its_default(text: Page) -> None:
    fields = {
        field.name: "empty" if field.default == "" else repr(field.default)
        for field in dataclasses.fields(testing.Fault)
        if field.name != "action"
    }
    fields["name"] = "its own"
    assert {row[0]: row[1] for row in text.table("fault-options")} == fields


def test_faults_in_the_handshake_take_the_options_from_skip_on(text: Page) -> None:
    rows = [row[0] for row in text.table("fault-options")]
    names = [row[0].partition("(")[0] for row in text.table("faults")]
    assert [name for name in names if "handshake" in name] == names[-2:]
    for name in names[-2:]:
        taken = inspect.get_annotations(Often)
        assert factories()[name].parameters["often"].annotation == "Unpack[Often]"
        assert list(taken) == rows[rows.index("skip") :]


def test_everything_in_the_log_is_told(text: Page) -> None:
    told = set(re.findall(r"\w+", text.text))
    assert {field.name for field in dataclasses.fields(testing.Exchange)} <= told
    assert testing.HANDSHAKE in told
