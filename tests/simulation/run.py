"""Run a scenario, judge it, and make the smallest one that fails the same way."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.simulation import invariants
from tests.simulation.faults import Plan, Replay
from tests.simulation.scenario import Job, Place, Scenario, draw
from tests.simulation.stagecraft import installed
from tests.simulation.wire import Crash
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.simulation.faults import Fault
    from tests.simulation.wire import Sent


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """How a job goes when nothing goes wrong: its requests, and the error it ends with, if any."""

    requests: int
    error: type[BaseException] | None


@dataclasses.dataclass(slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        usual: tells how the job goes when nothing goes wrong.
        log: the clerk's requests, with what went wrong with them.
        litter: names of files that were left in the directory.
        windows: writes of others that were deleted where the server has no means against that.
        garbage: wrong bytes that a failure left where the server has no means against that.
        orphans: uploads left open whose ids the clerk never heard of.
        crashed: the client came to its end underway.
        broken: what does not hold.
    """

    scenario: Scenario
    world: World
    usual: Callable[[], Baseline]
    value: Any = None
    error: BaseException | None = None
    log: list[Sent] = dataclasses.field(default_factory=list)
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    elapsed_s: float = 0.0
    litter: list[str] = dataclasses.field(default_factory=list)
    windows: int = 0
    garbage: int = 0
    orphans: int = 0
    crashed: bool = False
    broken: list[str] = dataclasses.field(default_factory=list)

    @property
    def job(self) -> Job:
        return self.scenario.job

    @property
    def place(self) -> Place:
        return self.scenario.place

    @property
    def is_bearable(self) -> bool:
        return invariants.bearable(self)


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
                "windows": outcome.windows,
                "garbage": outcome.garbage,
                "orphans": outcome.orphans,
            }
        )

    def replay(self, scenario: Scenario, faults: Mapping[int, Fault]) -> Outcome:
        """Run a scenario with these faults alone."""
        return self._run(scenario, Replay(faults))

    def _run(self, scenario: Scenario, plan: Plan) -> Outcome:
        outcome = self._once(scenario, plan, self._directory)
        outcome.broken = invariants.violations(outcome)
        if outcome.crashed:
            outcome.broken += self._again(outcome)
        return outcome

    def _usual(self, scenario: Scenario) -> Baseline:
        shape = (scenario.job, scenario.place)
        if shape not in self._baselines:
            outcome = self._once(scenario, Replay({}), self._directory / "usual")
            error = type(outcome.error) if outcome.error else None
            self._baselines[shape] = Baseline(len(outcome.log), error)
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
        lines += [f"requests (of {least.usual().requests} usually):", *map(str, least.log)]
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


def failures(simulation: Simulation, seeds: range) -> Iterator[int]:
    """Run the seeds; yield those that fail."""
    for seed in seeds:
        if simulation.run(seed).broken:
            yield seed
