"""Run one seed again, or many from a base seed: ``python -m tests.simulation --help``."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import Simulation, failures

#: Seeds that a process runs before it tells of them.
BATCH = 1000


def batch(last: int, first: int) -> tuple[Counter[str], list[int], float]:
    """Run seeds up to `last`; what happened, the seeds that break a rule, and seconds of CPU."""
    begun = time.process_time()
    with Simulation() as simulation:
        broken = list(failures(simulation, range(first, min(first + BATCH, last))))
        return simulation.totals, broken, time.process_time() - begun


def many(base: int, runs: int, processes: int) -> tuple[Counter[str], list[int], float]:
    """Run that many seeds in that many processes."""
    totals: Counter[str] = Counter()
    broken: list[int] = []
    cpu_s = 0.0
    with ProcessPoolExecutor(processes) as pool:
        starts = range(base, base + runs, BATCH)
        for counts, found, spent_s in pool.map(functools.partial(batch, base + runs), starts):
            totals += counts
            broken += found
            cpu_s += spent_s
    return totals, broken, cpu_s


def one(seed: int) -> bool:
    """Run a seed and tell all about it; whether it breaks a rule."""
    with Simulation() as simulation:
        print(simulation.report(seed), end="\n\n")
        return bool(simulation.run(seed).broken)


def main() -> int:
    """Run what is asked for; 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed alone, and tell all about it")
    parser.add_argument("--base", type=int, help="the first seed (default: a random one)")
    parser.add_argument("--runs", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--shown", type=int, default=5, help="failing seeds to show")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at once")
    options = parser.parse_args()
    if options.seed is not None:
        return one(options.seed)
    base = int.from_bytes(os.urandom(4)) if options.base is None else options.base
    print(f"base seed {base}", flush=True)
    begun = time.perf_counter()
    totals, broken, cpu_s = many(base, options.runs, options.processes)
    rate = f"{options.runs / (time.perf_counter() - begun):.0f} schedules a second"
    rate += f", {options.runs / cpu_s:.0f} a second of CPU"
    for seed in broken[: options.shown]:
        one(seed)
    facts = ", ".join(f"{count} {name}" for name, count in sorted(totals.items()))
    print(f"{facts}; {rate}; {len(broken)} broke a rule")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
