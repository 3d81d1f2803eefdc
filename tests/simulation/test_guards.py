"""The simulation sees when a guard is missing: each is taken away, and a rule is broken.

Without this a simulation that finds nothing would prove nothing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from object_clerk import Verdict
from object_clerk.connection import request
from object_clerk.receipt import Finding
from object_clerk.retry import Operation, RetryPolicy
from object_clerk.transfer import delete, download, listing, stream, upload
from object_clerk.transfer.copy import Copy
from object_clerk.transfer.files import PartialFile
from object_clerk.transfer.multipart import MultipartUpload
from tests.simulation.run import Simulation
from tests.simulation.scenario import Job, draw
from tests.simulation.stagecraft import PART

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Schedules after which a missing guard must have shown.
ENOUGH = 1500

_PROVED = Finding(Verdict.CONTENT, "nobody looked")


def _proved(*_: object, **__: object) -> Finding:
    return _PROVED


def _nothing(*_: object, **__: object) -> None:
    return None


def _always(*_: object, **__: object) -> bool:
    return True


def _never(*_: object, **__: object) -> bool:
    return False


_remaining_s = cast("property", Operation.remaining_s).fget


def _half_an_hour_more(op: Operation) -> float:
    assert _remaining_s is not None
    return float(_remaining_s(op)) + 1800.0


def _any_page(op: Operation, connection: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    return request(op, connection, "list_objects_v2", **parameters)


class Guard(NamedTuple):
    """Where it is, what takes its place, what the report then says, and which jobs need it."""

    where: Any
    name: str
    instead: Any
    rules: tuple[str, ...]
    needed: Callable[[Job], bool]


def _verbs(*verbs: str) -> Callable[[Job], bool]:
    return lambda job: job.verb in verbs


def _unproved_parts(job: Job) -> bool:
    return job.verb == "upload" and job.verify is False and job.size >= PART


def _conditional_delete(job: Job) -> bool:
    return job.verb == "delete" and bool(job.condition)


def _in_parts(job: Job) -> bool:
    return job.verb == "upload" and job.size >= PART


GUARDS = {
    "bytes that were read are compared": Guard(
        download, "judge_read", _proved, ("I1",), _verbs("get", "download", "reader")
    ),
    "an upload is compared": Guard(upload, "judge_stored", _proved, ("I1",), _verbs("upload")),
    "a part's ETag is compared": Guard(upload, "part_stored", _always, ("I1", "I4"), _in_parts),
    "a copy is compared": Guard(Copy, "_compare", _proved, ("I1", "I2"), _verbs("copy", "move")),
    "the answer to a copy is no proof by itself": Guard(
        Copy, "_proved_by_etag", _proved, ("I1", "I2"), _verbs("copy", "move")
    ),
    "the source is looked at before it is deleted": Guard(
        stream, "_IDENTITY", (), ("I2", "I3"), _verbs("move")
    ),
    "an object of somebody else is not taken for ours": Guard(
        MultipartUpload, "_is_ours", _always, ("I1",), _unproved_parts
    ),
    "only what the first attempt has seen is deleted": Guard(
        delete, "unchanged", _always, ("I3",), _conditional_delete
    ),
    "a marker that hides another version is taken back": Guard(
        delete, "_uncover", _nothing, ("I3",), _conditional_delete
    ),
    "a failed upload is aborted": Guard(
        MultipartUpload, "__exit__", _nothing, ("I9",), _verbs("upload", "copy")
    ),
    "a temporary file is removed": Guard(PartialFile, "end", _nothing, ("I4",), _verbs("download")),
    "the number of tries is limited": Guard(
        RetryPolicy, "spent", _never, ("I6",), _verbs("get", "delete")
    ),
    "the deadline is kept": Guard(
        Operation, "remaining_s", property(_half_an_hour_more), ("I7",), _verbs("upload", "copy")
    ),
    "a listing has to be one": Guard(listing, "_page", _any_page, ("I1",), _verbs("list")),
}


def _seeds(needed: Callable[[Job], bool]) -> Iterator[int]:
    return (seed for seed in itertools.count() if needed(draw(seed).job))


def _breaks(simulation: Simulation, seed: int, rules: tuple[str, ...]) -> bool:
    return any(rule.startswith(rules) for rule in simulation.run(seed).broken)


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS.keys())
def test_a_missing_guard_is_noticed(guard: Guard) -> None:
    with Simulation() as whole, Simulation() as lacking:
        for seed in itertools.islice(_seeds(guard.needed), ENOUGH):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(guard.where, guard.name, guard.instead)
                noticed = _breaks(lacking, seed, guard.rules)
            if noticed and not _breaks(whole, seed, guard.rules):  # it is for want of the guard
                return
    pytest.fail(f"nobody noticed in {ENOUGH} schedules")
