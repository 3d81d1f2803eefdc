"""Thousands of schedules of faults, each from one seed, and what has to hold after all of them."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import (
    ObjectVerificationException,
    PreconditionFailed,
    UnsupportedError,
)
from tests.simulation.conftest import BASE, RUNS, SEED
from tests.simulation.faults import CORRUPTING, CRASHES, OTHERS, PASSING, Weather
from tests.simulation.profiles import PROFILES
from tests.simulation.run import failures
from tests.simulation.scenario import LAYOUTS, ODD, SIZES, VERBS, Job, Place, Scenario, draw
from tests.simulation.stagecraft import PART

if TYPE_CHECKING:
    from collections import Counter

    from tests.simulation.run import Simulation

#: Schedules in every run of the suite: the same ones, in pieces. New ones are for the soak.
PIECES, PIECE = 8, 500

#: Failing seeds that are shown in full.
SHOWN = 3


def run(simulation: Simulation, seeds: range, only: int | None) -> None:
    """Run the seeds, and fail with a report of the first ones that break a rule."""
    if only is not None:
        seeds = range(only, only + 1)
    broken = list(itertools.islice(failures(simulation, seeds), SHOWN))
    if broken:
        reports = [simulation.report(seed) for seed in broken]
        again = f"{SEED}={broken[0]} python -m pytest tests/simulation"
        pytest.fail("\n\n".join([*reports, f"to run the first one again: {again}"]), pytrace=False)


@pytest.mark.parametrize("piece", range(PIECES))
def test_the_seeds_of_every_run(
    simulation: Simulation, account: Counter[str], only_seed: int | None, piece: int
) -> None:
    run(simulation, range(piece * PIECE, (piece + 1) * PIECE), only_seed)


@pytest.mark.timeout(7200)  # for as many as are asked for
def test_seeds_that_nobody_has_seen(
    simulation: Simulation, account: Counter[str], only_seed: int | None, base_seed: int
) -> None:
    if not (count := int(os.environ.get(RUNS, "0"))):
        pytest.skip(f"{RUNS} says how many schedules to draw that nobody has seen")
    account["base seed"] = base_seed
    print(f"{BASE}={base_seed} {RUNS}={count} python -m pytest tests/simulation")
    run(simulation, range(base_seed, base_seed + count), only_seed)


def test_a_seed_is_the_same_run_every_time(simulation: Simulation) -> None:
    for seed in range(200):
        first, second = simulation.run(seed), simulation.run(seed)
        assert list(map(str, first.log)) == list(map(str, second.log))
        assert (repr(first.error), first.elapsed_s) == (repr(second.error), second.elapsed_s)


def test_everything_comes_up(simulation: Simulation) -> None:
    """A kind of fault that never fired, or a server that was never asked, would prove nothing."""
    kinds: set[str] = set()
    places: set[str] = set()
    verbs: set[tuple[str, str]] = set()
    for seed in range(3000):
        outcome = simulation.run(seed)
        kinds |= outcome.counts.keys()
        places.add(outcome.place.profile.name)
        verbs.add((outcome.job.verb, "failed" if outcome.error else "succeeded"))
    assert kinds == PASSING | CORRUPTING | OTHERS | CRASHES
    assert places == PROFILES.keys()
    assert verbs == {(verb, end) for verb in VERBS for end in ("failed", "succeeded")}


# -- when nothing goes wrong ------------------------------------------------------------------


def _jobs() -> list[Job]:
    uploads = itertools.product(
        SIZES, ("bytes", "stream", "pipe", "file"), (True, False), ("", "absent", "match")
    )
    jobs = [Job("upload", s, f, occupied=o, condition=c) for s, f, o, c in uploads]
    reads = [("get", ""), ("download", "path"), ("download", "file object")]
    reads += [("reader", "to its end"), ("reader", "some of it"), ("copy", ""), ("move", "")]
    for (verb, form), size, layout in itertools.product(reads, SIZES, LAYOUTS):
        if size or layout == "single":
            jobs.append(Job(verb, size, form, layout, workers=2))
    return [*jobs, Job("delete", 64), Job("delete-many", 64), Job("list", 64)]


def _may_fail(job: Job, place: Place) -> tuple[type[Exception], ...]:
    """What a healthy run may end with: no proof, or a condition that does not hold."""
    # Parts of a server whose ETags only look like MD5 are not to be told from damaged ones.
    if place.profile.etag == "impostor" and job.size >= PART:
        return (ObjectVerificationException, *_condition(job))
    if job.verb == "upload":
        return _condition(job)
    reads = job.verb in ("get", "download", "reader")
    unknown = job.layout == "odd" and job.size > ODD
    if reads and (unknown or place.profile.etag != "md5"):
        return (ObjectVerificationException,)
    return ()


def _condition(job: Job) -> tuple[type[Exception], ...]:
    if job.condition == "absent" and job.occupied:
        return (PreconditionFailed,)
    if job.condition == "match" and not job.occupied:
        return (PreconditionFailed,)
    return (UnsupportedError,) if job.condition else ()


@pytest.mark.parametrize("name", PROFILES)
def test_all_goes_well_when_nothing_goes_wrong(simulation: Simulation, name: str) -> None:
    profile = PROFILES[name]
    wrong = []
    for number, job in enumerate(_jobs()):
        place = Place(profile, profile.versions and number % 2 == 0)
        scenario = Scenario(number, job, place, Weather(0.0, 0, ()))
        outcome = simulation.replay(scenario, {})
        fine = outcome.error is None or isinstance(outcome.error, _may_fail(job, place))
        if outcome.broken or not fine:
            wrong.append(f"{scenario}: {outcome.error!r} {outcome.broken}")
    assert not wrong, "\n".join(wrong[:10])


def test_a_seed_draws_what_it_always_drew() -> None:
    # A report is worth nothing once its seed means something else.
    assert str(draw(1)) == str(draw(1))
    assert len({str(draw(seed)) for seed in range(500)}) > 400
