"""Command line: `python -m tests.mutation [TARGET...]`.

Each survivor has to stand in ``survivors.txt`` with the reason why no test can or need kill it,
and nothing else may stand there.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import time
from pathlib import Path

LIST = Path(__file__).with_name("survivors.txt")


def justified() -> dict[str, str]:
    """The survivors that are known: name -> reason."""
    found: dict[str, str] = {}
    for line in LIST.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(" | ")
            if not reason.strip():
                raise SystemExit(f"{LIST.name}: no reason is given for {name}")
            found[name.strip()] = reason.strip()
    return found


def _one(name: str) -> int:
    """Try the mutants of one target, in this process: nothing of the package is imported yet."""
    from tests.mutation.run import Outcome, outcomes, settle
    from tests.mutation.targets import TARGETS

    target = TARGETS[name]
    known = {each for each in justified() if each.startswith(f"{name}.")}
    counts: collections.Counter[str] = collections.Counter()
    begun = time.monotonic()
    stale = set(known)

    def tell(outcome: Outcome) -> None:
        mutant = outcome.mutant
        full = f"{name}.{mutant.name}"
        kind = "killed"
        if outcome.survived:
            kind = "justified" if full in known else "SURVIVED"
            stale.discard(full)
        counts[kind] += 1
        if kind == "SURVIVED" or os.environ.get("OBJECT_CLERK_MUTATION_ALL"):
            print(f"{kind} {target.path}:{mutant.line}\n    {full}\n    {outcome.how}", flush=True)

    settle()
    sys.stdout.flush()
    done = outcomes(target, tell)
    for each in sorted(stale) if done else ():
        print(f"listed, but killed or gone: {each}")
    total = ", ".join(f"{counts[kind]} {kind}" for kind in ("killed", "justified", "SURVIVED"))
    print(f"{name}: {total} in {time.monotonic() - begun:.0f} s", flush=True)
    return 0 if done and not stale and not counts["SURVIVED"] else 1


def main() -> int:
    from tests.mutation.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if given.alone:
        return _one(given.targets[0])
    failed = []
    for name in given.targets or TARGETS:
        command = [sys.executable, "-m", "tests.mutation", "--alone", name]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"not as listed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
