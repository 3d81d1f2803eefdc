"""Measure: every tool in every round in a process of its own, the tools in turn."""

from __future__ import annotations

import dataclasses
import filecmp
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.performance import scene as scenes
from benchmarks.performance.job import Job, Measured
from benchmarks.performance.rows import Row, row_of
from benchmarks.performance.works import REFERENCE, Tool, Work
from tests.servers import Unavailable, foreign_variables
from tests.servers.common import cached_venv

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]

#: Tools that want another botocore than the newest get an environment of their own.
_OWN_ENVIRONMENTS = {"with_s3fs": ("s3fs", "2026.9.0")}

#: A process that takes longer is stopped: so much, and more for every thousand objects or GiB.
_LEAST_S, _MORE_S = 60, 120


class Failed(Exception):
    """A tool could not do its work, or did it wrong; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        server: ``stub``, or a name that ``tests.servers`` knows.
        rounds: how often each tool is measured.
        latency_ms: the stub's latency.
        threads: requests that libraries make at once.
        package: the directory that ``object_clerk`` is imported from.
        command: the command line, for the results.
        date: for the results.
    """

    server: str
    rounds: int
    latency_ms: float
    threads: int
    package: str
    command: str
    date: str


class Found:
    """The tools that can be used here, and why others cannot."""

    def __init__(self, package: str) -> None:
        self.missing: dict[str, str] = {}
        self._package = package
        self._known: dict[str, dict[str, Any]] = {}

    def checks(self, tool: Tool, verb: str) -> str:
        """What a tool verifies, as its driver says."""
        checks: dict[str, str] = self._known[tool.name].get("checks", {})
        return checks.get(verb, "")

    def present(self, tools: Sequence[Tool]) -> list[Tool]:
        """Those of ``tools`` that can be used."""
        return [tool for tool in tools if self._is_present(tool)]

    def _is_present(self, tool: Tool) -> bool:
        if tool.name not in self._known:
            job = Job(tool.driver, "describe", "http://127.0.0.1:1", "a", "b", "c")
            job = dataclasses.replace(job, options=dict(tool.options), package=self._package)
            try:
                self._known[tool.name] = answer(tool.driver, job, _LEAST_S)
            except Unavailable as error:
                self._known[tool.name] = {"missing": str(error)}
            if reason := self._known[tool.name].get("missing"):
                self.missing[tool.name] = reason
        return tool.name not in self.missing


def measure(work: Work, tools: Sequence[Tool], plan: Plan, found: Found) -> Iterator[Row]:
    """Do a work with all tools; a row for each.

    Raises:
        Failed: the reference, or object-clerk, did not do it. Others are left out, with a word.
    """
    able = found.present(tools)
    done: dict[str, list[Measured]] = {tool.name: [] for tool in able}
    seen: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="object-clerk-") as place,
        scenes.opened(plan.server, work, Path(place), plan.latency_ms / 1000) as scene,
    ):
        for number in range(plan.rounds):
            for tool in [tool for tool in able if tool.name in done]:
                try:
                    done[tool.name].append(_once(work, tool, plan, scene, number))
                except Failed as error:
                    if tool.driver in ("with_boto3", "with_clerk"):
                        raise
                    print(f"# left out: {error}", file=sys.stderr)
                    found.missing[f"{tool.name} in {work.name}"] = str(error)
                    del done[tool.name]
                    continue
                seen[tool.name] = scene.seen()
    for tool in able:
        if runs := done.get(tool.name):
            facts = seen[tool.name], found.checks(tool, work.verb)
            yield row_of(work, tool.name, plan, runs, done.get(REFERENCE), *facts)


def _once(work: Work, tool: Tool, plan: Plan, scene: scenes.Scene, number: int) -> Measured:
    what = f"{work.name} ({work.variant}), {tool.name}, round {number + 1}"
    print(f"# {what}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=scene.source.parent) as place:
        target = Path(place, "target")
        base = f"{tool.driver}{len(tool.options)}-{number}"
        job = Job(
            driver=tool.driver,
            verb=work.verb,
            endpoint_url=scene.server.endpoint_url,
            access_key=scene.server.access_key,
            secret_key=scene.server.secret_key,
            bucket=scene.bucket,
            options={**tool.options, **work.options.get(tool.driver, {})},
            prefix=scene.prepare_round(f"{base}/"),
            target=f"{base}-out/",
            count=work.count,
            size=0 if work.is_large else work.size,
            path=str(scene.source if work.verb == "upload" else target),
            place=place,
            threads=plan.threads,
            package=plan.package,
        )
        scene.seen()  # what was prepared is not of interest
        try:
            found = answer(tool.driver, job, _LEAST_S + _MORE_S * work.amount)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{what}: took longer than {error.timeout:.0f} s") from error
        if said := found.get("failed") or found.get("missing"):
            raise Failed(f"{what}: {said}")
        if work.verb == "download" and not filecmp.cmp(scene.source, target, shallow=False):
            raise Failed(f"{what}: the file differs from what was uploaded")
        if work.verb == "upload" and not scene.is_stored():
            raise Failed(f"{what}: the object has another size")
    return Measured(**found)


def answer(driver: str, job: Job, timeout_s: float) -> dict[str, Any]:
    """What a process says of its job."""
    python = sys.executable
    if driver in _OWN_ENVIRONMENTS:
        python = str(cached_venv(*_OWN_ENVIRONMENTS[driver]) / "python")
    done = subprocess.run(
        [python, "-m", "benchmarks.performance.child"],
        input=json.dumps(dataclasses.asdict(job)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=_environment(),
        timeout=timeout_s,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"failed": f"status {done.returncode}: {done.stderr[-2000:]}"}
    return found


def _environment() -> dict[str, str]:
    """That of the shell, but without settings of stores, and nobody's files of settings."""
    foreign = set(foreign_variables())
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
