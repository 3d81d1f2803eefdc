"""Do one job in this process and print what it took: ``python -m benchmarks.performance.child``.

The job is read from standard input. Nothing is imported but what the tool needs.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.common import forget_peak, resident_mib
from benchmarks.performance.job import Job, Measured

#: Times that an interpreter is started, to see what an import costs.
_IMPORTS = 5

_TIMED = """
import sys, time
sys.path.insert(0, sys.argv[1])
begun = time.process_time(), time.perf_counter()
{code}
print(time.process_time() - begun[0], time.perf_counter() - begun[1])
"""


def main() -> int:
    """Do the job; 0 also if the tool cannot be used, or fails."""
    job = Job(**json.load(sys.stdin))
    sys.path.insert(0, job.package)
    try:
        module = importlib.import_module(f"benchmarks.performance.drivers.{job.driver}")
        if job.verb == "describe":
            driver = module.DRIVER(job)
            print(json.dumps({"version": driver.version(), "checks": module.CHECKS}))
            return 0
        done = _imported(job, module.IMPORT) if job.verb == "import" else _measured(module, job)
    except (ImportError, FileNotFoundError) as error:
        print(json.dumps({"missing": f"{type(error).__name__}: {error}"}))
    except Exception as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"[:2000]}))
    else:
        print(json.dumps(dataclasses.asdict(done)))
    return 0


def _measured(module: Any, job: Job) -> Measured:
    driver = module.DRIVER(job)
    driver.prepare()
    driver.warm_up()
    forget_peak()
    ready = resident_mib("VmRSS")
    cpu_s, begun = _cpu_s(), time.perf_counter()
    driver.act()
    wall_s, cpu_s = time.perf_counter() - begun, _cpu_s() - cpu_s
    if driver.is_program:
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    else:
        peak = max(0.0, resident_mib("VmHWM") - ready)
    return Measured(cpu_s, wall_s, peak, driver.version(), driver.said())


def _cpu_s() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(each) for each in who]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _imported(job: Job, code: str) -> Measured:
    """The time an import and a first client take, in interpreters that have just started."""
    taken = []
    for _ in range(_IMPORTS):
        done = subprocess.run(
            [sys.executable, "-c", _TIMED.format(code=code), job.package],
            cwd=job.place,
            capture_output=True,
            text=True,
            check=True,
        )
        taken.append([float(word) for word in done.stdout.split()])
    cpu_s, wall_s = (statistics.median(column) for column in zip(*taken, strict=True))
    return Measured(cpu_s, wall_s, 0.0)


if __name__ == "__main__":
    sys.exit(main())
