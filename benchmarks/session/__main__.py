"""Measure sessions beside an ObjectClerk: ``python -m benchmarks.session [--server NAME]``.

A session puts and gets through the gateway's ``/v1``, which is a client of an S3 server; ``direct``
is an ObjectClerk that puts and gets the same bytes on the same server by itself. So direct has one
hop less. Each job is done in a process of its own, with a gateway of its own, and again in the next
round.

Contents up to 1 MiB are bytes, larger ones are an open file that is sent, or written, in one
stream. All bytes that come back are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import filecmp
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks import stub
from benchmarks.common import MIB, simple_table
from benchmarks.gateway.peers import Peer, gateway, started
from benchmarks.performance.rows import Spread
from benchmarks.session.ways import DIRECT, GOT, SMALL_BYTES, Failed, Job, Taken, contents, measure
from tests.servers import NAMES, StartFailed, Unavailable, arrange, foreign_variables, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers import Server
    from tests.servers.common import Workplace

STUB = "stub"
VERBS = ("put", "get")

#: Contents, and the ways that take them. What zstd makes of them is of no interest to the others.
PLAN = {"random": (DIRECT, "none", "zstd"), "text": (DIRECT, "zstd")}

_ROOT = Path(__file__).parents[2]
_UNITS = {"KiB": 1 << 10, "MiB": MIB}

#: A process that takes longer is stopped: so much, and more for its objects and bytes.
_LEAST_S, _EACH_S, _LEAST_MIB_PER_S = 60, 1, 4

_LEGEND = """\
x: what a session takes, divided by what direct takes in the same round; below 1 the session is
faster. Median (least-most) of the rounds. ms are medians, for one object, one after the other.
CPU is that of the client alone: what the gateway and the server spend is not in it, but in the
time. MiB, of objects of more than 1 MiB: the most by which the client and the gateway grew beyond
what they had when they were warm. random: zstd makes nothing of it; text: lines of a log."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What one way took for one work in one round.

    Attributes:
        size: bytes of an object.
        work: ``put`` or ``get``.
        contents: ``random``, or ``text``, which zstd makes smaller.
        way: ``direct``, or the compression of a session.
        number: of the round.
        taken: what it took.
    """

    size: int
    work: str
    contents: str
    way: str
    number: int
    taken: Taken


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    chosen = _parser().parse_args(arguments)
    if chosen.child:
        print(json.dumps(dataclasses.asdict(measure(Job(**json.load(sys.stdin))))))
        return 0
    rows: list[Row] = []
    try:
        rows += _run(chosen.server, chosen.rounds, chosen.sizes, chosen.requests)
    except (Failed, StartFailed, Unavailable) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    print(_LEGEND)
    if chosen.json:
        chosen.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session", description=__doc__)
    parser.add_argument("--rounds", type=_count, default=5, metavar="N")
    parser.add_argument("--server", choices=(STUB, *NAMES), default="rclone")
    parser.add_argument("--sizes", type=_sizes, default="16KiB,64MiB", metavar="SIZE,...")
    parser.add_argument(
        "--requests", type=_count, default=200, metavar="N", help="objects of up to 1 MiB in a job"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds here, too")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError("a whole number, at least 1")
    return int(text)


def _sizes(text: str) -> list[int]:
    found = [re.fullmatch("([1-9][0-9]{0,5})(KiB|MiB)", part) for part in text.split(",")]
    if None in found:
        raise argparse.ArgumentTypeError("sizes such as 16KiB,64MiB")
    return [int(each[1]) * _UNITS[each[2]] for each in found if each]


def _run(name: str, rounds: int, sizes: Sequence[int], requests: int) -> Iterator[Row]:
    for variable in foreign_variables():
        if name != "live":
            del os.environ[variable]  # settings of the shell are not what is measured
    with (
        stub.running() if name == STUB else running(name) as server,
        tempfile.TemporaryDirectory(prefix="object-clerk-session-") as place,
    ):
        client = arrange.client(server)
        with arrange.fresh_bucket(server, client) as bucket:
            scene = _Scene(server, bucket, Path(place), requests)
            works = [(kind, way) for kind, ways in PLAN.items() for way in ways]
            for number, size, (kind, way) in itertools.product(range(rounds), sizes, works):
                yield from scene.rows(size, kind, way, number)
                arrange.empty(client, bucket)


class _Scene:
    """A bucket on a server, and files of contents.

    Args:
        server: the S3 server.
        bucket: the bucket.
        place: a directory for files.
        requests: how many small objects there are.
    """

    def __init__(self, server: Server, bucket: str, place: Path, requests: int) -> None:
        self._server = server
        self._bucket = bucket
        self._place = place
        self._requests = requests

    def rows(self, size: int, kind: str, way: str, number: int) -> Iterator[Row]:
        """Put and get by one way."""
        path = self._place / f"{kind}-{size}"
        if not path.exists():
            with path.open("wb") as file:
                file.writelines(contents(kind, size))
        for verb in VERBS:
            what = f"round {number + 1}: {verb} {_size(size)}, {kind}, {way}"
            print(f"# {what}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=self._place) as place:
                taken = self._taken(verb, way, path, Path(place))
            yield Row(size, verb, kind, way, number, taken)

    def _taken(self, verb: str, way: str, path: Path, place: Path) -> Taken:
        is_small = path.stat().st_size <= SMALL_BYTES
        job = Job(
            way=way,
            verb=verb,
            endpoint_url=self._server.endpoint_url,
            access_key=self._server.access_key,
            secret_key=self._server.secret_key,
            bucket=self._bucket,
            gateway_url="",
            gateway=(),
            path=str(path),
            place=str(place),
            count=self._requests if is_small else 1,
        )
        with contextlib.ExitStack() as stack:
            if way != DIRECT:
                # One that has just begun: what an earlier job made it grow by is not this one's.
                peer = stack.enter_context(started(self._gateway, place / "gateway", 1))
                host, port = peer.address
                served = psutil.Process(peer.pid).children(recursive=True)
                job = dataclasses.replace(
                    job, gateway_url=f"http://{host}:{port}", gateway=[each.pid for each in served]
                )
            taken = _done(job)
        if verb == "get" and not is_small and not filecmp.cmp(path, place / GOT, shallow=False):
            raise Failed(f"{way} got another file than was put")
        return taken

    def _gateway(self, place: Workplace, workers: int) -> Peer:
        config = {
            "bucket_name": self._bucket,
            "endpoint_url": self._server.endpoint_url,
            "s3_access_key": self._server.access_key,
            "s3_secret_key": self._server.secret_key,
        }
        settings = {
            "OS__AUTH__ENFORCE": "false",
            "AUTH_TOKENS_FILE": str(place.directory / "tokens.json"),
        }
        return gateway(place, workers, {"type": "s3", "config": config}, settings)


def _done(job: Job) -> Taken:
    """What a process of its own says of a job."""
    mib = Path(job.path).stat().st_size / MIB
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.session", "--child"],
            input=json.dumps(dataclasses.asdict(job)),
            capture_output=True,
            text=True,
            cwd=_ROOT,
            timeout=_LEAST_S + job.count * _EACH_S + mib / _LEAST_MIB_PER_S,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{job.verb} by {job.way}: took longer than {error.timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise Failed(f"{job.verb} by {job.way}: {error.stderr[-2000:]}") from error
    return Taken(**json.loads(done.stdout))


def table(rows: Sequence[Row]) -> str:
    """All rounds as a simple table of reStructuredText."""
    header = ("work", "contents", "compression", "direct, ms", "session, ms", "x time", "x CPU",
              "direct, MiB", "session, MiB", "gateway, MiB")  # fmt: skip
    lines = []
    for size, work, kind in dict.fromkeys((row.size, row.work, row.contents) for row in rows):
        ours = [row for row in rows if (row.size, row.work, row.contents) == (size, work, kind)]
        direct = [row.taken for row in ours if row.way == DIRECT]
        for way in dict.fromkeys(row.way for row in ours if row.way != DIRECT):
            taken = [row.taken for row in ours if row.way == way]
            grown = _grown(direct, taken) if size > SMALL_BYTES else ("", "", "")
            lines.append((f"{work} {_size(size)}", kind, way, *_ratios(direct, taken), *grown))
    return simple_table(header, lines)


def _ratios(direct: Sequence[Taken], session: Sequence[Taken]) -> Iterator[str]:
    for each in (direct, session):
        yield f"{statistics.median(taken.wall_s for taken in each) * 1000:.1f}"
    pairs = list(zip(session, direct, strict=True))
    yield Spread.of([ours.wall_s / theirs.wall_s for ours, theirs in pairs]).text()
    yield Spread.of([ours.cpu_s / theirs.cpu_s for ours, theirs in pairs]).text()


def _grown(direct: Sequence[Taken], session: Sequence[Taken]) -> Iterator[str]:
    yield f"{max(taken.client_mib for taken in direct):.0f}"
    yield f"{max(taken.client_mib for taken in session):.0f}"
    yield f"{max(taken.gateway_mib or 0 for taken in session):.0f}"


def _size(size: int) -> str:
    unit = "KiB" if size % MIB else "MiB"
    return f"{size // _UNITS[unit]} {unit}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
