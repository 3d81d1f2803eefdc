"""Which seeds are run, and the account of them at the end."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.simulation.run import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

#: One seed to be run again, a base seed in place of a random one, and how many to run from it.
SEED = "OBJECT_CLERK_SIMULATION_SEED"
BASE = "OBJECT_CLERK_SIMULATION_BASE"
RUNS = "OBJECT_CLERK_SIMULATION_RUNS"

_ACCOUNT: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    # Only known when this directory is named on the command line; the variable always works.
    parser.addoption("--simulation-seed", metavar="N", help=f"run only this seed (or set {SEED})")


@pytest.fixture(scope="session")
def only_seed(request: pytest.FixtureRequest) -> int | None:
    """The one seed that is to be run, if there is one."""
    given = request.config.getoption("--simulation-seed", default=None) or os.environ.get(SEED)
    return None if given is None else int(given)


@pytest.fixture(scope="session")
def base_seed() -> int:
    """Where the seeds begin that nobody has seen; told in the account, to be run again."""
    given = os.environ.get(BASE)
    return int.from_bytes(os.urandom(4)) if given is None else int(given)


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    """A simulation whose rate is told at the end."""
    with Simulation() as made:
        yield made


@pytest.fixture
def account(simulation: Simulation, request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What the runs of this test came to; told at the end."""
    before, begun = Counter(simulation.totals), time.process_time()
    counts: Counter[str] = Counter()
    yield counts
    counts.update(simulation.totals - before)
    rate = counts["schedules"] / (time.process_time() - begun)
    facts = ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
    _ACCOUNT.append(f"{request.node.name}: {facts}; {rate:.0f} schedules a second of CPU")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _ACCOUNT:
        terminalreporter.section("simulation")
        for line in _ACCOUNT:
            terminalreporter.write_line(line)
