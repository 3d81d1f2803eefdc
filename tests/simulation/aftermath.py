"""I4 and I9: what a failure leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.loss import is_scratch
from tests.simulation.wire import Crash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.outcome import Outcome

#: Faults after which the client cannot know what the server has done.
ANSWER_LOST = frozenset(
    {
        *("drop-after", "stall-after", "late", "status-after", "empty-after", "garbage-after"),
        *("error200-after", "crash-after"),
    }
)

#: Failures after which patience with cleaning up may end, and what takes all of it at once. There
#: are four tries in thirty seconds, less if the server asks for time; two minutes for the objects
#: with which it was asked what it honours.
CLEANING_FAILURES = 3
SLOW = frozenset({"stall-before", "stall-after", "late", "slow"})


def aftermath(outcome: Outcome) -> Iterator[str]:
    """Judge what is left."""
    yield from _files(outcome)
    if outcome.error is not None and outcome.job.verb in ("upload", "copy", "move"):
        yield from _garbage(outcome)
    if not outcome.crashed:
        yield from _uploads(outcome)
        yield from _scratch(outcome)


def _files(outcome: Outcome) -> Iterator[str]:
    world, job = outcome.world, outcome.job
    resumable = job.resume and outcome.error is not None
    if outcome.litter and not resumable:
        yield f"I4: files were left: {outcome.litter}"
    if outcome.error is None or job.verb not in ("download", "reader"):
        return
    crashed = isinstance(outcome.error, Crash)
    contents = outcome.contents(world.source)
    if job.form == "path":
        now = world.path.read_bytes() if world.path.exists() else None
        old = world.old_file if job.occupied else None
        if now != old and not (crashed and now in contents):
            yield "I4: the file was touched by a download that failed"
    elif world.handed and job.verify and not crashed and bytes(world.handed) in contents:
        yield "I4: all bytes were handed over by a read that failed"


def _garbage(outcome: Outcome) -> Iterator[str]:
    """A failure leaves wrong bytes only where they could not be seen before they were visible."""
    changes = list(outcome.changes(outcome.world.target))
    if not changes or changes[-1].author != "clerk" or changes[-1].made is None:
        return
    made = changes[-1].made
    if made.marker or made.data in outcome.right():
        return
    outcome.tally["wrong bytes left"] += 1
    if not outcome.job.is_proved:
        return
    in_parts = changes[-1].method == "complete_multipart_upload"
    if in_parts and outcome.place.profile.etag == "md5":
        yield f"I4: parts became visible as {made}, which is not what was to be written"
    elif not outcome.is_corrupted:
        yield f"I4: {made} is at the target, and no fault has made it so"


def _uploads(outcome: Outcome) -> Iterator[str]:
    for upload in outcome.world.store.uploads.values():
        created = outcome.log[upload.request].fault
        if created is not None and created.kind in ANSWER_LOST:
            outcome.tally["orphans"] += 1  # the clerk never heard of its name
        elif is_scratch(upload.key) and _may_be_left(outcome):
            continue
        elif not _gave_up(_failures(outcome, "abort_multipart_upload", upload.upload_id)):
            yield f"I9: {upload.upload_id} was left open"


def _scratch(outcome: Outcome) -> Iterator[str]:
    """Objects that the clerk made for itself are gone."""
    for bucket in outcome.world.store.buckets:
        for key in outcome.world.store.keys(bucket):
            if is_scratch(key) and not _may_be_left(outcome):
                yield f"I9: {key} was left"


def _may_be_left(outcome: Outcome) -> bool:
    """Whether it could not be removed, or came to be when all was thought to be over.

    All that is to be removed shares one patience.
    """
    late = any(sent.fault and sent.fault.kind == "late" for sent in outcome.log)
    cleaning = ("delete_object", "list_object_versions", "abort_multipart_upload")
    return late or _gave_up([kind for method in cleaning for kind in _failures(outcome, method)])


def _failures(outcome: Outcome, method: str, upload_id: str | None = None) -> list[str]:
    """What went wrong with requests of a method."""
    return [
        sent.fault.kind
        for sent in outcome.log
        if sent.fault and sent.method == method and upload_id in (None, sent.given.get("UploadId"))
    ]


def _gave_up(kinds: list[str]) -> bool:
    return len(kinds) >= CLEANING_FAILURES or bool(SLOW & {*kinds})
