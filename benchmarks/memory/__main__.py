"""Measure the memory of transfers: ``python -m benchmarks.memory [--sizes MIB,...] [--json]``.

Every transfer runs in a process of its own, against a server in yet another one. What is printed
is by how much the process grew beyond what it had after its first request.
"""

from __future__ import annotations

import argparse
import dataclasses
import filecmp
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import MIB, simple_table
from benchmarks.memory.ways import WAYS, Job, measure
from tests.servers import NAMES, StartFailed, Unavailable, arrange, foreign_variables, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers import Server

REFERENCE = "boto3"
WHOLE = "everything in memory"
_ROOT = Path(__file__).parents[2]

#: A transfer that is slower than this is stopped.
_LEAST_MIB_PER_S = 4


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured transfer.

    Attributes:
        above_baseline_mib: growth of the process.
        ratio: the same as a multiple of boto3's for the same transfer in the same run.
    """

    size_mib: int
    direction: str
    way: str
    above_baseline_mib: float
    ratio: float | None


class Failed(Exception):
    """A transfer did not end well; the message says which and why."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--sizes", type=_sizes, default=[64, 256, 1024], metavar="MIB,...")
    parser.add_argument("--server", choices=NAMES, default="rclone")
    parser.add_argument(
        "--whole-limit",
        type=int,
        default=2048,
        metavar="MIB",
        help="the largest size that is also held in memory whole, twice for an upload"
        " (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        print(measure(Job(**json.load(sys.stdin))))
        return 0
    try:
        rows = list(_run(chosen.server, chosen.sizes, chosen.whole_limit))
    except (Unavailable, StartFailed, Failed) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if chosen.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    else:
        print(table(rows))
    return 0


def _sizes(text: str) -> list[int]:
    sizes = [int(part) for part in text.split(",")]
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError("a size is at least 1 MiB")
    return sizes


def table(rows: Sequence[Row]) -> str:
    """The rows as a simple table of reStructuredText."""
    header = ("size, MiB", "transfer", "by", "grew by, MiB", f"times {REFERENCE}")
    lines = []
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        grown = f"{row.above_baseline_mib:.1f}"
        lines.append((str(row.size_mib), row.direction, row.way, grown, ratio))
    return simple_table(header, lines)


def _run(name: str, sizes: Sequence[int], whole_limit: int) -> Iterator[Row]:
    for variable in foreign_variables():
        if name != "live":
            del os.environ[variable]  # settings of the shell are not what is measured
    with running(name) as server, tempfile.TemporaryDirectory(prefix="object-clerk-") as place:
        client = arrange.client(server)
        with arrange.fresh_bucket(server, client) as bucket:
            for size in sizes:
                source = _make_file(Path(place, "source"), size)
                ways = [way for way in WAYS if way != WHOLE or size <= whole_limit]
                grown = {
                    (direction, way): _measured(server, bucket, way, direction, source)
                    for direction in ("upload", "download")
                    for way in ways
                }
                client.delete_object(Bucket=bucket, Key="object")
                for (direction, way), mib in grown.items():
                    reference = grown[direction, REFERENCE]
                    ratio = round(mib / reference, 3) if reference else None
                    yield Row(size, direction, way, round(mib, 1), ratio)


def _make_file(path: Path, size_mib: int) -> Path:
    block = random.Random(size_mib).randbytes(MIB)
    with path.open("wb") as file:
        for number in range(size_mib):  # no two parts alike
            file.write(number.to_bytes(8) + block[8:])
    return path


def _measured(server: Server, bucket: str, way: str, direction: str, source: Path) -> float:
    path = source if direction == "upload" else source.with_name("target")
    path_is_new = path != source
    job = Job(
        way=way,
        direction=direction,
        endpoint_url=server.endpoint_url,
        access_key=server.access_key,
        secret_key=server.secret_key,
        bucket=bucket,
        key="object",
        path=str(path),
    )
    what = f"{direction} of {source.stat().st_size // MIB} MiB by {way}"
    print(f"# {what}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", "--child"],
            input=json.dumps(dataclasses.asdict(job)),
            capture_output=True,
            text=True,
            cwd=_ROOT,
            timeout=60 + source.stat().st_size / MIB / _LEAST_MIB_PER_S,
            check=True,
        )
        if path_is_new and not filecmp.cmp(source, path, shallow=False):
            raise Failed(f"{what}: the file differs from what was uploaded")
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{what}: took longer than {error.timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise Failed(f"{what}: {error.stderr[-2000:]}") from error
    finally:
        if path_is_new:
            path.unlink(missing_ok=True)
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
