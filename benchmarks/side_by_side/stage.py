"""One cell after the other: the tool, the fault between it and the server, and the verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.side_by_side import tools
from benchmarks.side_by_side.job import Job, Outcome
from benchmarks.side_by_side.scene import Case, Scene, Theatre
from benchmarks.side_by_side.verdicts import Cell
from object_clerk.testing import FaultProxy
from tests.servers import arrange, running

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from benchmarks.side_by_side.tools import Tool


@dataclasses.dataclass(frozen=True)
class Result:
    """One cell.

    Attributes:
        fired: the faults that took effect, by the proxy's log.
        requests: how many requests the proxy saw.
        said: the error that the tool reported, or why there is no verdict.
        seconds: how long the tool's process took.
    """

    server: str
    experiment: str
    title: str
    tool: str
    cell: Cell
    fired: tuple[str, ...] = ()
    requests: int = 0
    said: str = ""
    seconds: float = 0.0


def server_version(name: str) -> str:
    """The release of a server, empty where nothing tells it."""
    if name == "moto":
        return importlib.metadata.version("moto")
    if name == "ceph":
        told = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=True)
        return told.stdout.split()[2]
    return str(getattr(importlib.import_module(f"tests.servers.{name}"), "VERSION", ""))


def results(
    server_name: str, cases: Sequence[Case], present: Sequence[Tool], timeout_s: float
) -> Generator[Result, None, None]:
    """Start a server and play every case with every tool that is there."""
    with (
        running(server_name) as server,
        tempfile.TemporaryDirectory(prefix="object-clerk-") as directory,
    ):
        s3 = arrange.client(server)
        with arrange.fresh_bucket(server, s3) as bucket:
            theatre = Theatre(server, s3, bucket, Path(directory))
            for case in cases:
                for tool in present:
                    yield _cell(theatre, case, tool, timeout_s)


def _cell(theatre: Theatre, case: Case, tool: Tool, timeout_s: float) -> Result:
    verb = next((verb for verb in case.verbs if verb in tool.verbs), None)
    if verb is None:
        server = theatre.server.name
        return Result(server, case.experiment, case.title, tool.name, Cell.NO_VERB)
    result = _play(theatre, case, tool, verb, timeout_s, armed=True)
    if result.cell is Cell.RIGHT:
        return result
    # What fails without any fault says nothing about the fault.
    without = _play(theatre, case, tool, verb, timeout_s, armed=False)
    if without.cell is Cell.RIGHT:
        return result
    return dataclasses.replace(result, cell=Cell.CANNOT, said=without.said)


def _play(
    theatre: Theatre, case: Case, tool: Tool, verb: str, timeout_s: float, *, armed: bool
) -> Result:
    name = f"{case.name}-{tool.name}{'' if armed else '-without'}"
    with (
        FaultProxy(theatre.server.endpoint_url) as proxy,
        tempfile.TemporaryDirectory(dir=theatre.place) as directory,
        contextlib.closing(Scene(theatre, proxy, Path(directory), name, armed=armed)) as scene,
    ):
        judge = case.play(scene)
        if scene.reason:
            outcome, cell = Outcome(error=scene.reason), Cell.NOT_MET
        else:
            job = _job(scene, verb)
            outcome = tools.run(tool, job, scene.place, timeout_s, scene.kill_at)
            if armed and not case.faultless and not scene.fired:
                cell = Cell.NOT_MET
            elif not outcome.ended and scene.kill_at is None:
                cell = Cell.NEVER
            else:
                cell = judge(outcome)
        return Result(
            theatre.server.name,
            case.experiment,
            case.title,
            tool.name,
            cell,
            tuple(exchange.fault or "" for exchange in proxy.fired),
            len(proxy.log),
            outcome.error,
            outcome.seconds,
        )


def _job(scene: Scene, verb: str) -> Job:
    server = scene.theatre.server
    return Job(
        verb=verb,
        kind=server.name,
        endpoint_url=scene.proxy.endpoint_url,
        access_key=server.access_key,
        secret_key=server.secret_key,
        bucket=scene.bucket,
        key=scene.key,
        target=scene.target,
        path=str(scene.path),
        **scene.job,
    )
