"""Where the time of a small request goes: ``python -m benchmarks.performance.profile``.

Requests go to the stub through both lanes. What is printed are microseconds per request of the
profiler's own clock, so they are too large, functions that do little most of all. It is the shares
that mean something.
"""

from __future__ import annotations

import cProfile
import pstats
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import stub
from object_clerk import ObjectClerk

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTS = 500
KEYS = 20_000
BUCKET = "bucket"

#: What a function belongs to, by its file or its name; the first that fits counts.
LAYERS = {
    name: re.compile(pattern)
    for name, pattern in (
        ("sockets", r"_socket\.socket|'poll'|_ssl\._SSLSocket"),
        ("digests", r"_hashlib|openssl_(md5|sha256)|hmac|zlib\.crc32|awscrt"),
        ("object_clerk.lane", r"/object_clerk/lane/"),
        ("object_clerk", r"/object_clerk/"),
        ("dateutil", r"/dateutil/"),
        ("urllib3", r"/urllib3/"),
        ("botocore and boto3", r"/(botocore|boto3|s3transfer|jmespath)/"),
        ("standard library", r"\.py:"),
        ("functions written in C", r""),
    )
}


def shares(act: Callable[[], object]) -> Counter[str]:
    """Seconds that a call spends in each layer, what it calls there not included."""
    profile = cProfile.Profile()
    profile.runcall(act)
    spent: Counter[str] = Counter()
    for (file, line, name), (_, _, own_s, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        text = name if file == "~" else f"{file}:{line}"
        layer = next(each for each, pattern in LAYERS.items() if pattern.search(text))
        spent[layer] += own_s
    return spent


def works() -> dict[str, tuple[int, Callable[[ObjectClerk], object]]]:
    """What is done, and how often."""
    data = bytes(16 << 10)
    return {
        "PUT of 16 KiB": (REQUESTS, lambda clerk: clerk.upload_object(data, BUCKET, "key")),
        "GET of 16 KiB": (REQUESTS, lambda clerk: clerk.get_object(BUCKET, "key")),
        f"a list of {KEYS} keys": (1, lambda clerk: sum(1 for _ in clerk.list_objects("list"))),
    }


def again(times: int, act: Callable[[ObjectClerk], object], clerk: ObjectClerk) -> None:
    """Do it so many times."""
    for _ in range(times):
        act(clerk)


def main() -> None:
    """Print a table for each kind of request."""
    with stub.running(listed=KEYS) as server:
        where: dict[str, Any] = {
            "endpoint_url": server.endpoint_url,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
        }
        with ObjectClerk(**where, fast_lane=False) as slow, ObjectClerk(**where) as fast:
            fast.client.create_bucket(Bucket=BUCKET)
            for title, (times, act) in works().items():
                found = []
                for clerk in (slow, fast):
                    act(clerk)  # what is loaded once is not of interest
                    found.append(shares(partial(again, times, act, clerk)))
                print(f"\n{title:<26}{'by boto3':>14}{'fast lane':>14}")
                for layer in (*LAYERS, "all of it"):
                    spent = [
                        each.total() if layer == "all of it" else each[layer] for each in found
                    ]
                    if any(spent):
                        print(layer.ljust(26), *(f"{each / times * 1e6:>13,.0f}" for each in spent))


if __name__ == "__main__":
    main()
