"""One clerk, many threads, and a fork in between."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import traceback
import warnings
from typing import TYPE_CHECKING

from object_clerk import ObjectClerkException
from tests.contract.support import LARGE, SMALL, THRESHOLD, blob, keys, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from tests.contract.conftest import MakeClerk
    from tests.servers import Traits

THREADS = 16


def test_threads_share_a_clerk(
    clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path
) -> None:
    """Check 28: threads sharing one clerk work, with verbs of all kinds at once."""
    clerk.upload_object(blob(LARGE), bucket, "shared")

    def work(number: int) -> str:
        data = blob(LARGE if number % 8 == 0 else SMALL + number, number % 3)
        mine = f"thread/{number:02}"
        receipt = clerk.upload_object(data, bucket, mine)
        assert (receipt.key, receipt.size) == (mine, len(data))
        assert clerk.get_object(bucket, mine) == data
        clerk.download_object(bucket, "shared", tmp_path / str(number))
        clerk.copy_object(bucket, mine, bucket, f"{mine}-copy")
        with clerk.open_object(bucket, f"{mine}-copy") as reader:
            assert reader.read() == data
        clerk.move_object(bucket, f"{mine}-copy", bucket, f"{mine}-moved")
        assert not clerk.exists(bucket, f"{mine}-copy")
        found = [entry["Key"] for entry in clerk.list_objects(bucket, mine, page_size=2)]
        assert found == [mine, f"{mine}-moved"]
        clerk.delete_object(bucket, mine)
        return f"{mine}-moved"

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        moved = list(pool.map(work, range(THREADS)))

    assert keys(s3, bucket) == ["shared", *moved]
    assert all((tmp_path / str(n)).read_bytes() == blob(LARGE) for n in range(THREADS))


def test_first_use_from_many_threads(make_clerk: MakeClerk, bucket: str) -> None:
    """Check 28: also when the first thing that a clerk does happens everywhere at once."""
    clerk = make_clerk()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda number: clerk.exists(bucket, f"{number}"), range(THREADS)))

    assert found == [False] * THREADS


def test_writers_of_one_key(clerk: ObjectClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    """Check 28: of many writers one wins whole; nobody's object is deleted or mixed."""
    contents = [blob(THRESHOLD + 1000 + number, number) for number in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(clerk.upload_object, each, bucket, "key") for each in contents]
        concurrent.futures.wait(futures)

    # A writer may learn that what is there is not what it sent, but must not take it away.
    errors = [future.exception() for future in futures]
    assert all(error is None or isinstance(error, ObjectClerkException) for error in errors)
    assert stored(s3, bucket, "key") in contents


def test_fork(clerk: ObjectClerk, s3: S3Client, bucket: str, tmp_path: Path) -> None:
    """Check 28: a clerk works on both sides of a fork, on connections of their own."""
    clerk.upload_object(blob(LARGE), bucket, "key")
    clerk.get_object(bucket, "key")  # so that there is a connection to inherit

    def child() -> None:
        assert clerk.get_object(bucket, "key") == blob(LARGE)
        clerk.download_object(bucket, "key", tmp_path / "file")
        clerk.upload_object(b"from the child", bucket, "child")

    process = _fork(child)
    for _ in range(5):  # at the same time
        assert clerk.get_object(bucket, "key") == blob(LARGE)
    _, status = os.waitpid(process, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert stored(s3, bucket, "child") == b"from the child"
    assert (tmp_path / "file").read_bytes() == blob(LARGE)
    assert clerk.get_object(bucket, "child") == b"from the child"


def _fork(work: Callable[[], None]) -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads; whether it works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    code = 1
    try:
        signal.alarm(60)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
