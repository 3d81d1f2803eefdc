"""What has to hold after a run, whatever went wrong in it.

Each check returns sentences about what does not hold; none is the aim. The names I1 to I9 are
those of the design.
"""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any

from object_clerk import Verdict
from object_clerk.events import Failed, Finished, Transferred
from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectNotFoundException,
    PreconditionFailed,
)
from tests.simulation.faults import CORRUPTING, OTHERS, PASSING
from tests.simulation.wire import Crash
from tests.simulation.world import CONTENT_TYPE, LISTED, METADATA, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.run import Outcome
    from tests.simulation.store import Change, Version

#: Faults after which the client cannot know what the server has done.
ANSWER_LOST = frozenset(
    {
        *("drop-after", "stall-after", "late", "status-after", "empty-after", "garbage-after"),
        *("error200-after", "crash-after"),
    }
)

#: Requests that a fault may cost besides all of the usual ones again.
SPARE = 6

SENDING_PARTS = ("upload_part", "upload_part_copy")

#: Attempts at cleaning up after which we may give up.
CLEANING_TRIES = 4


def violations(outcome: Outcome) -> list[str]:
    """All that does not hold."""
    found = [*_nothing_lost(outcome), *_error(outcome), *_limits(outcome), *_left_behind(outcome)]
    found += _events(outcome)
    if outcome.error is None:
        found += _SUCCESS[outcome.job.verb](outcome)
        found += _verdict(outcome)
    else:
        found += _failure(outcome)
    return found


# -- what the journal tells ----------------------------------------------------------------


def _changes(outcome: Outcome, where: tuple[str, str] | None = None) -> Iterator[Change]:
    """The changes since the work began, those of one key or all."""
    for change in outcome.world.store.journal[outcome.world.begun :]:
        if where is None or (change.bucket, change.key) == where:
            yield change


def _ours(outcome: Outcome, where: tuple[str, str]) -> list[Change]:
    return [change for change in _changes(outcome, where) if change.author == "clerk"]


def generations(outcome: Outcome, where: tuple[str, str]) -> list[Version | None]:
    """What a reader of a key could see at one time or another since the work began."""
    changes = list(_changes(outcome, where))
    first = changes[0].before if changes else outcome.world.store.current(*where)
    return [first, *(change.after for change in changes)]


def _contents(outcome: Outcome, where: tuple[str, str]) -> list[bytes]:
    return [version.data for version in generations(outcome, where) if version is not None]


def _is_corrupted(outcome: Outcome) -> bool:
    return any(kind in CORRUPTING for kind in outcome.counts)


# -- I2, I3: nothing is lost, and nothing of others is touched --------------------------------


def _nothing_lost(outcome: Outcome) -> Iterator[str]:
    for change in _changes(outcome):
        if change.author == "clerk":
            yield from _allowed(outcome, change)
    job, world = outcome.job, outcome.world
    if job.verb != "move" or not world.store.buckets[world.source[0]].versioned:
        return
    # In a bucket with versions nothing is lost, but a marker of ours may hide what is new.
    stack = world.store.versions(*world.source)
    if len(stack) > 1 and stack[-1].marker and stack[-1].author == "clerk":
        hidden = stack[-2]
        if hidden.author == "other" and not hidden.marker and not _was_copied(outcome, hidden):
            yield "I3: a version of somebody else is hidden by our delete marker"


def _allowed(outcome: Outcome, change: Change) -> Iterator[str]:
    job, world = outcome.job, outcome.world
    where = (change.bucket, change.key)
    if change.made is not None and not change.made.marker:
        if job.verb not in ("upload", "copy", "move") or where != world.target:
            yield f"I3: {change.method} wrote {where}"
        elif job.condition:
            yield from _condition_kept(outcome, change)
        return
    if job.verb == "delete" and where == world.source:
        return
    if job.verb == "delete-many" and change.key in LISTED[:5]:
        return
    if job.verb == "move" and where == world.source:
        yield from _source_deleted(outcome, change)
        return
    victims = change.lost or ([change.before] if change.before else [])
    if any(victim.author != "clerk" for victim in victims):
        yield f"I3: {change.method} deleted {victims} at {where}, which is not ours"


def _condition_kept(outcome: Outcome, change: Change) -> Iterator[str]:
    """A conditional upload replaces only what it may, where the server looks at conditions."""
    before, traits = change.before, outcome.world.store.traits
    single = change.method == "put_object"
    if outcome.job.condition == "absent":
        honoured = traits.put_if_none_match if single else traits.complete_if_none_match
        if honoured and before is not None:
            yield f"I3: an upload that was only to create has replaced {before}"
        return
    honoured = traits.put_if_match if single else outcome.place.profile.complete_if_match
    wanted = outcome.world.wanted
    if honoured and (before is None or wanted is None or before.etag != wanted.etag):
        yield f"I3: an upload that was only to replace {wanted} has replaced {before}"


def _source_deleted(outcome: Outcome, change: Change) -> Iterator[str]:
    """A move deletes what it has copied, and only where there is no other way also what is new."""
    if not outcome.job.verify and _is_corrupted(outcome):
        return  # the copy was not to be proved
    versioned = outcome.world.store.buckets[change.bucket].versioned
    for victim in change.lost:
        if _was_copied(outcome, victim, change):
            continue
        journal = outcome.world.store.journal
        since = next(i for i, each in enumerate(journal) if each.made is victim)
        if versioned or outcome.world.store.traits.delete_if_match:
            yield f"I2: the move deleted {victim}, which it had not copied, where it need not"
        elif since < change.looked:
            yield f"I2: the move deleted {victim}, though it had looked and seen that it is new"
        else:
            outcome.windows += 1


def _was_copied(outcome: Outcome, victim: Version, until: Change | None = None) -> bool:
    """Whether the bytes were at the target by our doing, and not spoilt by us since."""
    intact = False
    for change in _changes(outcome):
        if change is until:
            break
        if (change.bucket, change.key) == outcome.world.target and change.author == "clerk":
            intact = change.after is not None and change.after.data == victim.data
    return intact


# -- I1: success means that it is true ---------------------------------------------------------


def _written(outcome: Outcome, allowed: list[bytes]) -> Iterator[str]:
    """The target holds one of the allowed contents, or did until somebody else came."""
    where = outcome.world.target
    ours = _ours(outcome, where)
    good = [c.made for c in ours if c.made and not c.made.marker and c.made.data in allowed]
    if not good:
        yield f"I1: success, but the right bytes were never at {where}"
        return
    last = list(_changes(outcome, where))[-1]
    if last.author == "clerk" and last.made not in good:
        yield f"I1: success, but {last.after} is at {where}"
    version_id = getattr(outcome.value, "version_id", None)
    versions = [version for version in generations(outcome, where) if version is not None]
    if (
        version_id
        and outcome.job.verify
        and not any(
            version.version_id == version_id and version.data in allowed for version in versions
        )
    ):
        yield f"I1: the receipt names the version {version_id}, which is not what was written"
    made = good[-1]
    if not METADATA.items() <= {k.lower(): v for k, v in made.metadata.items()}.items():
        yield f"I1: the metadata is {made.metadata}"
    if made.headers.get("ContentType") != CONTENT_TYPE:
        yield f"I1: the content type is {made.headers.get('ContentType')}"


def _upload(outcome: Outcome) -> Iterator[str]:
    believed = outcome.value.verdict is Verdict.TRANSPORT and "rot" in outcome.counts
    if believed or (not outcome.job.verify and _is_corrupted(outcome)):
        return  # what happens after the server's check is told by no transport
    yield from _written(outcome, [outcome.world.content])
    if outcome.value.size != outcome.job.size:
        yield f"I1: the receipt says {outcome.value.size} bytes"


def _copy(outcome: Outcome) -> Iterator[str]:
    if outcome.job.verify or not _is_corrupted(outcome):
        yield from _written(outcome, _contents(outcome, outcome.world.source))


def _move(outcome: Outcome) -> Iterator[str]:
    yield from _copy(outcome)
    left = outcome.world.store.current(*outcome.world.source)
    if left is not None and left.author == "before":
        yield f"I1: success, but {left} is still at the source"


def _read(outcome: Outcome) -> Iterator[str]:
    world, job = outcome.world, outcome.job
    match job.verb, job.form:
        case "get", _:
            found = outcome.value
        case "download", "path":
            found = world.path.read_bytes()
        case "reader", "some of it":
            if not _is_corrupted(outcome):
                contents = _contents(outcome, world.source)
                if not any(each.startswith(world.handed) for each in contents):
                    yield "I1: what was read is not what is stored"
            return
        case _:
            found = bytes(world.handed)
    contents = _contents(outcome, world.source)
    if not job.verify and _is_corrupted(outcome):
        if len(found) not in map(len, contents) and "short" not in outcome.counts:
            yield f"I1: {len(found)} bytes were read"
    elif found not in contents:
        yield f"I1: {len(found)} bytes were read that are not what is stored"


def _delete(outcome: Outcome) -> Iterator[str]:
    world = outcome.world
    changes = list(_changes(outcome, world.source))
    if None not in generations(outcome, world.source):
        yield "I1: success, but the object was there all the time"
    if changes and changes[-1].author == "clerk" and changes[-1].after is not None:
        yield "I1: success, but the object is there"


def _delete_many(outcome: Outcome) -> Iterator[str]:
    for done in outcome.value:
        if done.deleted and None not in generations(outcome, ("here", done.key)):
            yield f"I1: {done.key} was there all the time"
    if [done.key for done in outcome.value] != [*LISTED[:5], "missing"]:
        yield f"I1: outcomes for {outcome.value}"


def _list(outcome: Outcome) -> Iterator[str]:
    keys = outcome.value
    if keys != sorted(set(keys)):
        yield f"I1: {keys} are not each once and in order"
    for key in {*keys, *LISTED, *(change.key for change in _changes(outcome))}:
        seen = generations(outcome, ("here", key))
        if key in keys and not any(seen):
            yield f"I1: {key} was listed and never there"
        if key not in keys and all(seen):
            yield f"I1: {key} was not listed and always there"


_SUCCESS = {
    "upload": _upload,
    "get": _read,
    "download": _read,
    "reader": _read,
    "copy": _copy,
    "move": _move,
    "delete": _delete,
    "delete-many": _delete_many,
    "list": _list,
}


def _verdict(outcome: Outcome) -> Iterator[str]:
    """A receipt says what was proved."""
    job = outcome.job
    receipts = [event.receipt for event in outcome.world.events if isinstance(event, Finished)]
    receipt = receipts[-1] if receipts else None
    if job.verb in ("delete", "delete-many", "list"):
        return
    if receipt is None:
        yield "there is no receipt"
    elif not job.verify or (job.verb == "reader" and job.form == "some of it"):
        if receipt.verdict is Verdict.CONTENT and not job.verify:
            yield "nothing was to be proved, but the verdict is CONTENT"
    elif receipt.verdict.strength < Verdict.TRANSPORT.strength:
        yield f"a strict success has the verdict {receipt.verdict}"
    elif receipt.verdict is not Verdict.CONTENT and job.verb != "upload":
        yield f"a strict {job.verb} has the verdict {receipt.verdict}"


# -- I4: what a failure leaves -------------------------------------------------------------------


def _failure(outcome: Outcome) -> Iterator[str]:
    world, job = outcome.world, outcome.job
    if job.verb == "download" and job.form == "path":
        now = world.path.read_bytes() if world.path.exists() else None
        old = world.old_file if job.occupied else None
        whole = now in _contents(outcome, world.source) and isinstance(outcome.error, Crash)
        if now != old and not whole:
            yield "I4: the file was touched by a download that failed"
    if job.verb in ("download", "reader") and job.form != "path" and world.handed:
        whole = bytes(world.handed) in _contents(outcome, world.source)
        if whole and not isinstance(outcome.error, Crash) and job.verify:
            yield "I4: all bytes were handed over by a read that failed"
    if job.verb in ("upload", "copy", "move"):
        yield from _garbage(outcome)


def _garbage(outcome: Outcome) -> Iterator[str]:
    """A failure leaves wrong bytes only where they could not be seen before they were visible."""
    job, world = outcome.job, outcome.world
    right = [world.content] if job.verb == "upload" else _contents(outcome, world.source)
    changes = list(_changes(outcome, world.target))
    if not changes or changes[-1].author != "clerk" or changes[-1].made is None:
        return
    made = changes[-1].made
    if made.marker or made.data in right:
        return
    outcome.garbage += 1
    if not job.verify:
        return
    in_parts = changes[-1].method == "complete_multipart_upload"
    if in_parts and world.place.profile.etag == "md5":
        yield f"I4: parts became visible as {made}, which is not what was to be written"
    elif not _is_corrupted(outcome):
        yield f"I4: {made} is at the target, and no fault has made it so"


def _left_behind(outcome: Outcome) -> Iterator[str]:
    if outcome.litter:
        yield f"I4: files were left: {outcome.litter}"
    if outcome.crashed:
        return
    for upload in outcome.world.store.uploads.values():
        created = outcome.log[upload.request].fault
        if created is not None and created.kind in ANSWER_LOST:
            outcome.orphans += 1
            continue
        aborts = [
            sent
            for sent in outcome.log
            if sent.method == "abort_multipart_upload" and sent.upload_id == upload.upload_id
        ]
        if sum(sent.fault is not None for sent in aborts) < CLEANING_TRIES:
            yield f"I9: {upload.upload_id} was left open"


# -- I5 to I8 --------------------------------------------------------------------------------------


def _error(outcome: Outcome) -> Iterator[str]:
    error = outcome.error
    if error is None or isinstance(error, Crash):
        return
    if not isinstance(error, ObjectClerkException):
        yield f"I5: {error!r} is none of our errors"
        return
    chain: list[BaseException | None] = [error, error.__cause__, error.__context__]
    notes = getattr(error, "__notes__", [])
    texts = [text for each in chain if each is not None for text in (str(each), repr(each))]
    if any(SECRET in text for text in [*texts, *notes]):
        yield "I8: the error tells the secret key"
    if error.operation is None or error.bucket is None:
        yield f"the error does not say what it is about: {error!r}"
    again = pickle.loads(pickle.dumps(error))
    if (type(again), str(again)) != (type(error), str(error)):
        yield "the error changes when it is pickled"
    yield from _liveness(outcome, error)


def _liveness(outcome: Outcome, error: ObjectClerkException) -> Iterator[str]:
    """What passes within the tries that are allowed is no reason to fail."""
    usual = outcome.usual()
    if usual.error is not None:
        if not outcome.counts and type(error) is not usual.error:
            yield f"the same run once failed with {usual.error.__name__}"
        return
    if outcome.is_bearable:
        yield f"it failed for what it should bear: {type(error).__name__}: {error}"


def _limits(outcome: Outcome) -> Iterator[str]:
    made, faults = len(outcome.log), sum(outcome.counts.values())
    if made > SPARE * (1 + faults):  # else it cannot be too many, whatever is usual
        usual = outcome.usual().requests
        most = (usual + SPARE) * (1 + faults)
        if made > most:
            yield f"I6: {made} requests, where {usual} are usual and {most} are the most"
    if outcome.job.verb in ("reader", "list"):  # the consumer sets the pace, step by step
        return
    most_s = outcome.place.deadline_s + 2 * 60 + 30
    if outcome.elapsed_s > most_s:
        yield f"I7: {outcome.elapsed_s:.0f} s, where {most_s:.0f} are the most"


def _events(outcome: Outcome) -> Iterator[str]:
    events, job = outcome.world.events, outcome.job
    if any(SECRET in repr(event) for event in events):
        yield "I8: an event tells the secret key"
    if outcome.crashed or job.verb == "list":
        return
    ends = Counter(type(event) for event in events if isinstance(event, (Finished, Failed)))
    wanted = Finished if outcome.error is None else Failed
    if ends != {wanted: 1}:
        yield f"the ends that were announced are {dict(ends)}"
    if outcome.error is None and job.form != "some of it":
        moved = sum(event.delta_bytes for event in events if isinstance(event, Transferred))
        sizes = {job.size} if job.verb == "upload" else set()
        if job.verb in ("get", "download", "reader", "copy", "move"):
            sizes = {len(data) for data in _contents(outcome, outcome.world.source)}
        if sizes and moved not in sizes and "short" not in outcome.counts:
            yield f"progress tells of {moved} bytes, of {sizes}"


# -- what comes after a crash ----------------------------------------------------------------------


def converges(outcome: Outcome) -> list[str]:
    """After a crash the same once more ends well, unless it is done already or was thwarted."""
    found = [*_nothing_lost(outcome), *_left_behind(outcome)]
    if outcome.error is None:
        return [*found, *_SUCCESS[outcome.job.verb](outcome)]
    done = _is_done(outcome)
    thwarted = outcome.counts.keys() & OTHERS
    if not done and not thwarted and outcome.usual().error is None:
        found.append(f"after the crash it does not end well: {outcome.error!r}")
    return found


def _is_done(outcome: Outcome) -> bool:
    world, error = outcome.world, outcome.error
    there = world.store.current(*world.target)
    if there is None or there.data != world.content:
        return False
    if isinstance(error, PreconditionFailed):
        return bool(outcome.job.condition)
    moved = isinstance(error, ObjectNotFoundException) and outcome.job.verb == "move"
    return moved and world.store.current(*world.source) is None


def bearable(outcome: Outcome) -> bool:
    """Whether all that went wrong would have passed within the tries that are allowed."""
    counts, job, place = outcome.counts, outcome.job, outcome.place
    if place.tries < 0 or counts.keys() - PASSING - CORRUPTING:
        return False
    corrupted = sum(counts[kind] for kind in CORRUPTING)
    if corrupted > 2 or sum(counts.values()) - corrupted >= place.tries:
        return False
    if corrupted and (job.verb == "reader" or job.form == "file object"):
        return False  # what was handed over cannot be taken back
    traits = place.profile.traits
    if "late" in counts and place.profile.etag != "md5":
        return False  # the same bytes, arriving twice, have another ETag there
    kinds = {each.fault.kind for each in outcome.log if each.fault and each.method in SENDING_PARTS}
    # A stream cannot begin anew, and such a server takes no part twice.
    one_chance = not (traits.part_replaceable and traits.upload_survives_bad_part)
    return not (one_chance and kinds & (ANSWER_LOST | CORRUPTING))


def summary(value: Any) -> str:
    """A value that was returned, in few words."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
