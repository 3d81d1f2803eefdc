"""Listings and bulk deletions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.side_by_side import faults, verdicts
from benchmarks.side_by_side.scene import Cases
from object_clerk.testing import status_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.job import Outcome
    from benchmarks.side_by_side.scene import Judge, Scene
    from object_clerk.testing import Request

CASES = Cases()

_PREFIX = "listing/"
#: More than fit on a page.
_COUNT = 1100
_THREADS = 8


def _listing(scene: Scene) -> Judge:
    theatre = scene.theatre
    if not theatre.listed:
        theatre.listed = tuple(f"{_PREFIX}{number:04}" for number in range(_COUNT))
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda key: scene.put(key, b"x"), theatre.listed))
    scene.key = _PREFIX
    return lambda outcome: verdicts.listing(outcome, theatre.listed)


def _lists(scene: Scene) -> Callable[[Request], bool]:
    return lambda request: faults.is_listing(request, scene.bucket)


@CASES.add("E26", "list")
def page_fails(scene: Scene) -> Judge:
    """The second page of a listing fails, once."""

    def second_page(request: Request) -> bool:
        more = "continuation-token=" in request.query or "marker=" in request.query
        return more and faults.is_listing(request, scene.bucket)

    scene.add(status_before(500, "InternalError", when=second_page))
    return _listing(scene)


@CASES.add("E26", "list")
def page_repeated(scene: Scene) -> Judge:
    """The first page of a listing comes twice."""
    scene.arm("repeat", faults.FirstPageTwice(), when=_lists(scene), times=None)
    return _listing(scene)


@CASES.add("E26", "list")
def page_empty(scene: Scene) -> Judge:
    """The first page of a listing is empty, but says that there are more."""
    scene.arm("empty", faults.EmptyPageFirst(), when=_lists(scene), times=None)
    return _listing(scene)


@CASES.add("E29", "delete_many")
def some_refused(scene: Scene) -> Judge:
    """Three of ten keys may not be deleted."""
    keys = tuple(f"{scene.key}-{number}" for number in range(10))
    refused = keys[2:5]
    for key in keys:
        scene.put(key, b"x")
    scene.job["keys"] = keys

    def restore() -> None:
        for key in refused:
            scene.put(key, b"x")

    def in_bulk(request: Request) -> bool:
        bulk = request.method == "POST" and request.path.strip("/") == scene.bucket
        return bulk and "delete" in request.query

    def alone(request: Request) -> bool:
        about = any(faults.is_about(request, scene.bucket, key) for key in refused)
        return request.method == "DELETE" and about

    scene.arm("some refused", faults.RefuseSome(keys, refused, restore), when=in_bulk, times=None)
    scene.add(status_before(403, "AccessDenied", when=alone, times=None))

    def judge(outcome: Outcome) -> verdicts.Cell:
        kept = [key for key in keys if scene.stored(key) is not None]
        for key in kept:
            scene.theatre.s3.delete_object(Bucket=scene.bucket, Key=key)
        return verdicts.deletion(outcome, kept, refused)

    return judge
