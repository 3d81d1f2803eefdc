"""Measure the gateway: ``python -m benchmarks.gateway [--rounds N] [--workers N,...]``.

nginx and rclone serve a directory on the same disk, in the same rounds. CPU time is that of all
processes of a server; memory is the most that they had at once. nginx and rclone ask for no token,
compute no digest, and flush nothing to the disk; the gateway compares SHA-256 and MD5 at each read.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import random
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.common import MIB, resident_mib
from benchmarks.gateway.load import Connection, Failed, side_by_side
from benchmarks.gateway.peers import NGINX, PEERS, Peer, started
from tests.servers import StartFailed, Unavailable
from tests.servers import rclone as rclone_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMALL_BYTES = 16 << 10
LARGE_MIB = 256
CONNECTIONS = 8

_SMALL = random.Random(1).randbytes(SMALL_BYTES)
_LARGE = random.Random(2).randbytes(MIB)


@dataclasses.dataclass(frozen=True)
class Row:
    """What one server needed for one work in one round.

    Attributes:
        rate: requests a second, or MiB a second.
        cpu_s: CPU seconds for 1,000 requests, or for a GiB.
        memory_mib: the most memory that its processes had.
    """

    work: str
    peer: str
    workers: int
    rate: float
    cpu_s: float
    memory_mib: float


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", default="1,2", metavar="N,...")
    parser.add_argument("--requests", type=int, default=2000, help="small ones of a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows here, too")
    chosen = parser.parse_args(arguments)
    rows: list[Row] = []
    try:
        NGINX.install()
        rclone_server.install()
        for workers in map(int, chosen.workers.split(",")):
            for number in range(chosen.rounds):
                print(f"# {workers} worker(s), round {number + 1}", file=sys.stderr)
                for name in PEERS:
                    rows += _round(name, workers, chosen.requests)
    except (Failed, StartFailed, Unavailable) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    _print(rows)
    if chosen.json:
        chosen.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    return 0


def _round(name: str, workers: int, requests: int) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="object-clerk-gateway-") as directory,
        started(PEERS[name], Path(directory), workers) as peer,
    ):
        connect = partial(Connection, peer.address, peer.headers)
        with contextlib.closing(connect()) as connection:
            for number in range(CONNECTIONS):  # whatever is made once is made now
                connection.put(f"{peer.path}warm{number}", _SMALL)
                connection.get(f"{peer.path}warm{number}")
        puts = (
            partial(Connection.put, path=f"{peer.path}{number}", body=_SMALL)
            for number in range(requests)
        )
        gets = (partial(Connection.get, path=f"{peer.path}{number}") for number in range(requests))
        for work, jobs in (("put 16 KiB", puts), ("get 16 KiB", gets)):
            with _Measured(peer) as measured:
                side_by_side(CONNECTIONS, connect, jobs)
            yield measured.row(work, name, workers, requests, requests / 1000)
        with contextlib.closing(connect()) as connection:
            with _Measured(peer) as measured:
                connection.put(f"{peer.path}large", _LARGE, LARGE_MIB)
            yield measured.row(f"put {LARGE_MIB} MiB", name, workers, LARGE_MIB, LARGE_MIB / 1024)
            with _Measured(peer) as measured:
                if connection.get(f"{peer.path}large") != LARGE_MIB * MIB:
                    raise Failed(f"{name} gave another length")
            yield measured.row(f"get {LARGE_MIB} MiB", name, workers, LARGE_MIB, LARGE_MIB / 1024)


class _Measured:
    """What a server spends while the block runs."""

    def __init__(self, peer: Peer) -> None:
        self._guard = psutil.Process(peer.pid)

    def __enter__(self) -> _Measured:
        self._cpu_s = -self._spent_s()
        self._wall_s = -time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._wall_s += time.perf_counter()
        self._cpu_s += self._spent_s()

    def _spent_s(self) -> float:
        times = [each.cpu_times() for each in self._guard.children(recursive=True)]
        return sum(each.user + each.system for each in times)

    def _memory_mib(self) -> float:
        """The peak of each process, added up."""
        return sum(resident_mib("VmHWM", each.pid) for each in self._guard.children(recursive=True))

    def row(self, work: str, peer: str, workers: int, units: float, cpu_units: float) -> Row:
        """The row of it."""
        rate, cpu_s = units / self._wall_s, self._cpu_s / cpu_units
        return Row(work, peer, workers, rate, cpu_s, self._memory_mib())


def _print(rows: Sequence[Row]) -> None:
    print(f"{'work':<14}{'workers':<9}{'server':<27}{'rate':<26}{'x nginx':<20}{'CPU s':<22}MiB")
    for work in dict.fromkeys(row.work for row in rows):
        for workers in dict.fromkeys(row.workers for row in rows):
            chosen = [row for row in rows if (row.work, row.workers) == (work, workers)]
            reference = [row.rate for row in chosen if row.peer == "nginx"]
            for peer in PEERS:
                ours = [row for row in chosen if row.peer == peer]
                unit = "MiB/s" if "MiB" in work else "/s"
                ratios = [row.rate / base for row, base in zip(ours, reference, strict=True)]
                print(
                    f"{work:<14}{workers:<9}{peer:<27}"
                    f"{_spread([row.rate for row in ours], 0) + ' ' + unit:<26}"
                    f"{_spread(ratios, 2):<20}{_spread([row.cpu_s for row in ours], 2):<22}"
                    f"{max(row.memory_mib for row in ours):.0f}"
                )
    print("CPU s: for 1,000 requests, or for a GiB. Median (least-most) of the rounds.")


def _spread(values: Sequence[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
