"""The seeds of the simulation that reach the decisions about comparing and deleting.

These are not collected with the rest of the suite, which runs the same seeds and more.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import ObjectClerkException, ObjectVerificationException
from tests.simulation.run import Simulation
from tests.simulation.scenario import Job, draw
from tests.simulation.stagecraft import PART

if TYPE_CHECKING:
    from collections.abc import Callable

PIECES, PIECE = 8, 100


def _moves(job: Job) -> bool:
    return job.verb == "move"


def _plain_move(job: Job, guard: str) -> bool:
    return _moves(job) and job.guard == guard and not job.condition


def _deletes(job: Job) -> bool:
    return job.verb == "delete-many"


def _stores(job: Job) -> bool:
    return job.verb in ("upload", "copy", "move")


def _in_parts(job: Job) -> bool:
    return _stores(job) and job.size >= PART


def _run(needed: Callable[[Job], bool], piece: int) -> None:
    seeds = (seed for seed in itertools.count() if needed(draw(seed).job))
    with Simulation() as simulation:
        for seed in itertools.islice(seeds, piece * PIECE, (piece + 1) * PIECE):
            broken = simulation.run(seed).broken
            assert not broken, f"seed {seed}: {broken}"


@pytest.mark.parametrize("guard", ["check", "require", "tombstone"])
def test_moves_in_fine_weather(guard: str) -> None:
    """Without faults most succeed: whatever always fails would break no rule."""
    seeds = (seed for seed in itertools.count() if _plain_move(draw(seed).job, guard))
    errors = []
    with Simulation() as simulation:
        for seed in itertools.islice(seeds, PIECE // 2):
            outcome = simulation.replay(draw(seed), {})
            assert not outcome.broken, f"seed {seed}: {outcome.broken}"
            errors.append(outcome.error)
    # A few of them cannot be proved, and not every server can keep the stricter guards.
    refused = ObjectVerificationException if guard == "check" else ObjectClerkException
    assert all(error is None or isinstance(error, refused) for error in errors)
    assert errors.count(None) > PIECE // 2 * (0.9 if guard == "check" else 0.3)


@pytest.mark.parametrize("piece", range(PIECES))
def test_moves(piece: int) -> None:
    _run(_moves, piece)


@pytest.mark.parametrize("piece", range(PIECES))
def test_deletes(piece: int) -> None:
    _run(_deletes, piece)


@pytest.mark.parametrize("piece", range(PIECES))
def test_stores(piece: int) -> None:
    _run(_stores, piece)


@pytest.mark.parametrize("piece", range(PIECES))
def test_in_parts(piece: int) -> None:
    _run(_in_parts, piece)
