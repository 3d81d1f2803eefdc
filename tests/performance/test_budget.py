"""Small requests take no more Python than was recorded; no clock is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.rst import ROOT
from tests.performance import budget
from tests.performance.counting import Counts
from tests.servers import foreign_variables

if TYPE_CHECKING:
    from pathlib import Path


def test_small_requests_keep_to_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    allowed = budget.load().get(budget.PYTHON)
    if allowed is None:
        pytest.skip(f"no budget is recorded for Python {budget.PYTHON}")
    foreign = set(foreign_variables())
    done = subprocess.run(  # a process of its own: nothing that pytest has loaded is counted
        [sys.executable, "-m", "tests.performance"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in foreign},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = {name: Counts(**counts) for name, counts in json.loads(done.stdout).items()}
    with capsys.disabled():
        print(f"\ncounted: {done.stdout.strip()}")
    assert found.keys() == allowed.keys()
    over = budget.compare(found, allowed)
    assert not over, f"{over}; if it has to be: python -m tests.performance --record"


def test_what_is_over_the_budget_is_named() -> None:
    allowed = {"put": Counts(1000, 10_000), "get": Counts(1000, 10_000)}
    found = {"put": Counts(1100, 10_000), "get": Counts(1000, 11_001)}
    (said,) = budget.compare(found, allowed)
    assert said.startswith("get: 11001 opcodes, +10% ")


def test_a_record_keeps_those_of_other_releases(tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_text('{"2.7": {"put": {"calls": 1, "opcodes": 2}}}')
    budget.record({"put": Counts(3, 4)}, path)
    assert budget.load(path) == {"2.7": {"put": Counts(1, 2)}, budget.PYTHON: {"put": Counts(3, 4)}}
