"""Downloads that are broken off, and go on where they were: in this process or in another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkException,
    ObjectClerkFileException,
    ObjectClerkParameterException,
    ObjectVerificationException,
    Receipt,
    Verdict,
)
from object_clerk.testing import callback, flip_response_bit, status_before
from tests.contract.support import MIB, QUICK, Wire, blob

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import Fault, FaultProxy, Request
    from tests.contract.conftest import MakeClerk
    from tests.servers import Server

ROOT = Path(__file__).parents[2]
PART = MIB
SIZE = 4 * PART + 17
#: Every range of the object, as it is asked for.
RANGES = {f"bytes={at}-{min(at + PART, SIZE) - 1}" for at in range(0, SIZE, PART)}
LAST = f"bytes={4 * PART}-{SIZE - 1}"
#: Two at a time, so that at least three ranges are complete when the last one fails.
IN_RANGES = {
    "multipart_threshold": PART,
    "multipart_chunksize": PART,
    "max_concurrency": 2,
}

_CHILD = """
import json, sys
from object_clerk import ObjectClerk
told = json.load(sys.stdin)
ObjectClerk(**told["clerk"]).download_object(*told["arguments"], resume=True)
"""


@pytest.fixture
def ranged(make_clerk: MakeClerk, proxy: FaultProxy) -> ObjectClerk:
    """A clerk behind the proxy that downloads in five ranges."""
    return make_clerk(endpoint_url=proxy.endpoint_url, transfer_config=IN_RANGES)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def last_range(request: Request) -> bool:
    return request.header("Range") == LAST


def busy_at_the_end() -> Fault:
    """The last range cannot be had."""
    return status_before(503, "SlowDown", when=last_range, times=None)


def fail(clerk: ObjectClerk, proxy: FaultProxy, bucket: str, target: Path, **options: Any) -> None:
    """Download until the last range fails."""
    proxy.add(busy_at_the_end())
    with pytest.raises(ObjectClerkException, match="SlowDown"):
        clerk.download_object(bucket, "key", target, **options)
    proxy.clear()
    assert target.read_bytes() == b"old"


def journal(directory: Path) -> set[str]:
    """The ranges that the journal there says are complete."""
    (path,) = directory.glob(".file.*.journal")
    lines = [line.split() for line in path.read_text().splitlines() if line]
    return {f"bytes={begin}-{int(begin) + int(length) - 1}" for begin, length in lines}


def fetched(wire: Wire) -> list[str]:
    """The ranges that were asked for."""
    return [each.headers["range"] for each in wire.sent if each.method == "GET"]


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def resume(clerk: ObjectClerk, bucket: str, target: Path, data: bytes) -> tuple[list[str], Receipt]:
    """Download with resume; the ranges fetched, and the receipt."""
    wire = Wire(clerk)
    receipt = clerk.download_object(bucket, "key", target, resume=True)

    assert target.read_bytes() == data
    assert receipt.verdict is Verdict.CONTENT
    assert names(target.parent) == ["file"]
    return fetched(wire), receipt


def test_only_what_is_missing_is_fetched(
    ranged: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, target: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    fail(ranged, proxy, bucket, target, resume=True)
    done = journal(target.parent)
    assert len(done) >= 3
    ranges, receipt = resume(ranged, bucket, target, blob(SIZE))

    assert sorted(ranges) == sorted(RANGES - done)
    assert receipt.attempts == 1


def test_it_may_fail_again(
    ranged: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, target: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    fail(ranged, proxy, bucket, target, resume=True)
    fail(ranged, proxy, bucket, target, resume=True)
    done = journal(target.parent)
    ranges, _ = resume(ranged, bucket, target, blob(SIZE))

    assert sorted(ranges) == sorted(RANGES - done)


def test_without_resume_nothing_is_left(
    ranged: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, target: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    fail(ranged, proxy, bucket, target)

    assert names(target.parent) == ["file"]


def test_another_generation_is_fetched_whole(
    ranged: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, target: Path
) -> None:
    """Of the same size; ranges of two generations never get into one file."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    fail(ranged, proxy, bucket, target, resume=True)
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE, 1))
    fail(ranged, proxy, bucket, target, resume=True)
    assert len(names(target.parent)) == 3  # nothing of the first is left
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE, 2))
    ranges, _ = resume(ranged, bucket, target, blob(SIZE, 2))

    assert sorted(ranges) == sorted(RANGES)


def test_other_ranges_are_fetched_anew(
    ranged: ObjectClerk,
    make_clerk: MakeClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
    target: Path,
) -> None:
    """Another clerk may cut the object up in another way."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    fail(ranged, proxy, bucket, target, resume=True)
    other = make_clerk(
        endpoint_url=proxy.endpoint_url,
        transfer_config={**IN_RANGES, "multipart_chunksize": 3 * PART},
    )
    ranges, _ = resume(other, bucket, target, blob(SIZE))

    assert sorted(ranges) == [f"bytes=0-{3 * PART - 1}", f"bytes={3 * PART}-{SIZE - 1}"]


def test_process_was_killed(
    server: Server,
    ranged: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
    target: Path,
) -> None:
    """E21: what it has fetched is there for the next process."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    told = {
        "clerk": {
            "endpoint_url": proxy.endpoint_url,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "transfer_config": IN_RANGES,
            **QUICK,
        },
        "arguments": [bucket, "key", str(target)],
    }
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], cwd=ROOT, stdin=subprocess.PIPE, text=True
    ) as process:
        try:
            proxy.add(callback(process.kill, when=last_range))
            process.communicate(json.dumps(told), timeout=60)
        finally:
            process.kill()
    assert [each.fault for each in proxy.fired] == ["callback"]
    assert target.read_bytes() == b"old"
    done = journal(target.parent)
    assert len(done) >= 3
    ranges, _ = resume(ranged, bucket, target, blob(SIZE))

    assert sorted(ranges) == sorted(RANGES - done)


def test_wrong_bytes_in_the_partial_file_are_found_and_repaired(
    ranged: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, target: Path
) -> None:
    """Nobody can say what a disk, or a person, has done to it meanwhile."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    fail(ranged, proxy, bucket, target, resume=True)
    done = journal(target.parent)
    (part,) = target.parent.glob(".file.*.part")
    spoiled = min(int(each[6:].partition("-")[0]) for each in done)
    with part.open("r+b") as file:
        file.seek(spoiled + 1000)
        file.write(b"wrong")
    ranges, receipt = resume(ranged, bucket, target, blob(SIZE))

    assert receipt.attempts == 2
    again = f"bytes={spoiled}-{spoiled + PART - 1}"
    assert again in ranges
    assert RANGES - done <= set(ranges)
    assert len(ranges) <= 2 * len(RANGES) - len(done)


def test_what_never_verifies_is_forgotten(
    ranged: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, target: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    proxy.add(flip_response_bit(5, method="GET", times=None))
    with pytest.raises(ObjectVerificationException):
        ranged.download_object(bucket, "key", target, resume=True)
    proxy.clear()
    assert journal(target.parent) == set()
    assert target.read_bytes() == b"old"
    ranges, _ = resume(ranged, bucket, target, blob(SIZE))

    assert sorted(ranges) == sorted(RANGES)


def test_without_verification_nothing_is_believed(
    ranged: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str, target: Path
) -> None:
    """Nothing would show that the journal claims what is not in the file."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    fail(ranged, proxy, bucket, target, resume=True)
    (part,) = target.parent.glob(".file.*.part")
    part.write_bytes(bytes(SIZE))
    wire = Wire(ranged)
    ranged.download_object(bucket, "key", target, verify_checksum=False, resume=True)

    assert target.read_bytes() == blob(SIZE)
    assert sorted(fetched(wire)) == sorted(RANGES)


def test_two_at_the_same_time(
    ranged: ObjectClerk,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
    target: Path,
) -> None:
    """The second is told, and the first ends well."""
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SIZE))
    told: list[str] = []

    def second() -> None:
        with pytest.raises(ObjectClerkFileException) as caught:
            proxied.download_object(bucket, "key", target, resume=True)
        told.append(str(caught.value))

    proxy.add(callback(second, when=last_range))
    resume(ranged, bucket, target, blob(SIZE))

    assert [each.error for each in proxy.fired] == [None]
    assert len(told) == 1
    assert f"another process is downloading to {target}" in told[0]


def test_only_to_a_path(clerk: ObjectClerk, bucket: str, tmp_path: Path) -> None:
    wire = Wire(clerk)
    with (
        (tmp_path / "file").open("wb") as file,
        pytest.raises(ObjectClerkParameterException, match="to a path can be resumed"),
    ):
        clerk.download_object(bucket, "key", file, resume=True)

    assert wire.sent == []
