"""Run a scenario, judge it, and make the smallest one that fails the same way."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from object_clerk.events import Retrying
from tests.simulation import invariants
from tests.simulation.faults import Plan, Replay
from tests.simulation.outcome import Baseline, Outcome
from tests.simulation.scenario import Job, Place, Scenario, draw
from tests.simulation.stagecraft import installed
from tests.simulation.wire import Crash
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.simulation.faults import Fault
    from tests.simulation.wire import Sent


class Simulation:
    """Runs scenarios. Use it as a context manager, in one thread.

    Attributes:
        totals: what happened in all runs so far.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._baselines: dict[tuple[Job, Place], Baseline] = {}
        self.totals: Counter[str] = Counter()

    def __enter__(self) -> Simulation:
        self._stack.enter_context(installed())
        memory = Path("/dev/shm")
        where = memory if memory.is_dir() else None
        made = tempfile.TemporaryDirectory(prefix="simulation", dir=where)
        self._directory = Path(self._stack.enter_context(made))
        (self._directory / "usual").mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, seed: int) -> Outcome:
        """Run the scenario of a seed."""
        scenario = draw(seed)
        outcome = self._run(scenario, scenario.plan())
        self._count(outcome)
        return outcome

    def _count(self, outcome: Outcome) -> None:
        end = "crashed" if outcome.crashed else "failed" if outcome.error else "succeeded"
        self.totals += Counter(
            {
                "schedules": 1,
                "requests": len(outcome.log),
                "faults": sum(outcome.counts.values()),
                end: 1,
            }
        )
        self.totals += outcome.tally

    def replay(self, scenario: Scenario, faults: Mapping[int, Fault]) -> Outcome:
        """Run a scenario with these faults alone."""
        return self._run(scenario, Replay(faults))

    def _run(self, scenario: Scenario, plan: Plan) -> Outcome:
        outcome = self._once(scenario, plan, self._directory)
        outcome.broken = invariants.violations(outcome)
        if outcome.crashed or (outcome.error is not None and outcome.job.resume):
            outcome.broken += self._again(outcome)
        return outcome

    def _usual(self, scenario: Scenario) -> Baseline:
        shape = (scenario.job, scenario.place)
        if shape not in self._baselines:
            outcome = self._once(scenario, Replay({}), self._directory / "usual")
            error = type(outcome.error) if outcome.error else None
            retries = sum(isinstance(event, Retrying) for event in outcome.world.events)
            self._baselines[shape] = Baseline(len(outcome.log), retries, error)
        return self._baselines[shape]

    def _once(self, scenario: Scenario, plan: Plan, directory: Path) -> Outcome:
        world = World(scenario.seed, scenario.job, scenario.place, directory)
        outcome = Outcome(scenario, world, functools.partial(self._usual, scenario))
        self._work(outcome, plan)
        outcome.crashed = isinstance(outcome.error, Crash)
        return outcome

    def _work(self, outcome: Outcome, plan: Plan) -> None:
        world = outcome.world
        clerk, wire = world.clerk(plan)
        begun = world.clock.now
        outcome.value = outcome.error = None
        try:
            outcome.value = world.work(clerk)
        except (Exception, Crash) as error:
            outcome.error = error
        outcome.elapsed_s = world.clock.now - begun
        wire.flush()
        outcome.log += wire.log
        outcome.counts += Counter(sent.fault.kind for sent in wire.log if sent.fault)
        if outcome.job.verb == "download":
            found = {each.name for each in world.path.parent.iterdir()}
            outcome.litter = sorted(found - {"file", "usual"})

    def _again(self, outcome: Outcome) -> list[str]:
        """Do the same again with a new clerk, as whoever runs the pipeline would."""
        outcome.world.events.clear()
        self._work(outcome, Replay({}))
        return invariants.converges(outcome)

    # -- reports -------------------------------------------------------------------------------

    def report(self, seed: int) -> str:
        """What is wrong with a seed, with the fewest faults that make it so."""
        scenario = draw(seed)
        whole = self._run(scenario, scenario.plan())
        faults = {sent.number: sent.fault for sent in whole.log if sent.fault is not None}
        least = self._fewest(scenario, faults)
        lines = [f"seed {seed}: {scenario}", *whole.broken]
        if least.broken != whole.broken:
            lines += ["with the fewest faults:", *least.broken]
        lines.append(f"requests (of {least.usual().requests} usually):")
        lines += [str(sent) for sent in least.log if sent.fault or not is_probe(sent)]
        end = invariants.summary(least.value) if least.error is None else repr(least.error)
        return "\n  ".join([*lines, f"the end: {end}"])

    def _fewest(self, scenario: Scenario, faults: dict[int, Fault]) -> Outcome:
        """Leave out one fault after the other for as long as something is still wrong."""
        least = self.replay(scenario, faults)
        for number in sorted(faults, reverse=True):
            fewer = {key: fault for key, fault in faults.items() if key != number}
            outcome = self.replay(scenario, fewer)
            if outcome.broken:
                least, faults = outcome, fewer
        return least


def is_probe(sent: Sent) -> bool:
    """Whether a request is one of the many that find out what the server honours."""
    return ".object-clerk-" in sent.given.get("Key", "")


def failures(simulation: Simulation, seeds: range) -> Iterator[int]:
    """Run the seeds; yield those that fail."""
    for seed in seeds:
        if simulation.run(seed).broken:
            yield seed
