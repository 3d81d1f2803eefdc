"""Run one seed again, or many from a base seed: ``python -m tests.simulation --help``."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.run import Simulation, failures


def main() -> int:
    """Run what is asked for; 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed alone, and tell all about it")
    parser.add_argument("--base", type=int, help="the first seed (default: a random one)")
    parser.add_argument("--runs", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--shown", type=int, default=5, help="failing seeds to show")
    options = parser.parse_args()
    base = int.from_bytes(os.urandom(4)) if options.base is None else options.base
    with Simulation() as simulation:
        if options.seed is not None:
            print(simulation.report(options.seed))
            return bool(simulation.run(options.seed).broken)
        print(f"base seed {base}", flush=True)
        begun = time.perf_counter()
        broken = list(failures(simulation, range(base, base + options.runs)))
        rate = options.runs / (time.perf_counter() - begun)
        for seed in broken[: options.shown]:
            print(simulation.report(seed), end="\n\n")
    facts = ", ".join(f"{count} {name}" for name, count in sorted(simulation.totals.items()))
    print(f"{facts}; {rate:.0f} schedules a second; {len(broken)} broke a rule")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
