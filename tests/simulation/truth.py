"""I1: success means that it is true, and the receipt says what was proved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from object_clerk import Verdict
from object_clerk.events import Finished
from tests.simulation.world import CONTENT_TYPE, LISTED, METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.outcome import Outcome
    from tests.simulation.store import Version


def truth(outcome: Outcome) -> Iterator[str]:
    """Judge a success."""
    yield from _JUDGES[outcome.job.verb](outcome)
    yield from _verdict(outcome)


def _written(outcome: Outcome) -> Iterator[str]:
    """The target holds what it should, or did until somebody else came."""
    where, right = outcome.world.target, outcome.right()
    changes = list(outcome.changes(where))
    ours = [change.made for change in changes if change.author == "clerk" and change.made]
    good = [version for version in ours if not version.marker and version.data in right]
    if not good:
        yield f"I1: success, but the right bytes were never at {where}"
        return
    last = changes[-1]
    if last.author == "clerk" and last.made not in good:
        yield f"I1: success, but {last.after} is at {where}"
    version_id = getattr(outcome.value, "version_id", None)
    if version_id and outcome.job.is_proved:
        named = [v for v in outcome.generations(where) if v and v.version_id == version_id]
        if not any(version.data in right for version in named):
            yield f"I1: the receipt names the version {version_id}, which is not what was written"
    yield from _described(outcome, good[-1])


def _described(outcome: Outcome, made: Version) -> Iterator[str]:
    """What is not content comes along too."""
    if not METADATA.items() <= {k.lower(): v for k, v in made.metadata.items()}.items():
        yield f"I1: the metadata is {made.metadata}"
    if made.headers.get("ContentType") != CONTENT_TYPE:
        yield f"I1: the content type is {made.headers.get('ContentType')}"
    if outcome.job.verb in ("copy", "move"):
        tags = [v.tags for v in outcome.generations(outcome.world.source) if v is not None]
        told = any("tags" in note for note in outcome.value.notes)
        if made.tags not in tags and not told:
            yield f"I1: the tags are {made.tags}, and no note says so"


def _upload(outcome: Outcome) -> Iterator[str]:
    believed = outcome.value.verdict is Verdict.TRANSPORT and "rot" in outcome.counts
    if believed or outcome.is_trusting:
        return  # what happens after the server's check is told by no transport
    yield from _written(outcome)
    if outcome.value.size != outcome.job.size:
        yield f"I1: the receipt says {outcome.value.size} bytes"


def _copy(outcome: Outcome) -> Iterator[str]:
    if not outcome.is_trusting:
        yield from _written(outcome)


def _move(outcome: Outcome) -> Iterator[str]:
    yield from _copy(outcome)
    left = outcome.world.store.current(*outcome.world.source)
    if left is not None and left.author != "other":
        yield f"I1: success, but {left} is at the source"


def _read(outcome: Outcome) -> Iterator[str]:
    world, job = outcome.world, outcome.job
    contents = outcome.contents(world.source)
    if job.form == "some of it":
        if not outcome.is_corrupted and not any(c.startswith(world.handed) for c in contents):
            yield "I1: what was read is not what is stored"
        return
    if job.verb == "get":
        found = outcome.value
    else:
        found = world.path.read_bytes() if job.form == "path" else bytes(world.handed)
    if outcome.is_trusting:
        if len(found) not in map(len, contents) and "short" not in outcome.counts:
            yield f"I1: {len(found)} bytes were read"
    elif found not in contents:
        yield f"I1: {len(found)} bytes were read that are not what is stored"


def _delete(outcome: Outcome) -> Iterator[str]:
    where = outcome.world.source
    changes = list(outcome.changes(where))
    if None not in outcome.generations(where):
        yield "I1: success, but the object was there all the time"
    if changes and changes[-1].author == "clerk" and changes[-1].after is not None:
        yield "I1: success, but the object is there"


def _delete_many(outcome: Outcome) -> Iterator[str]:
    for done in outcome.value:
        if done.deleted and None not in outcome.generations(("here", done.key)):
            yield f"I1: {done.key} was there all the time"
    if [done.key for done in outcome.value] != [*LISTED[:5], "missing"]:
        yield f"I1: outcomes for {outcome.value}"


def _list(outcome: Outcome) -> Iterator[str]:
    keys = outcome.value
    if keys != sorted(set(keys)):
        yield f"I1: {keys} are not each once and in order"
    for key in {*keys, *LISTED, *(change.key for change in outcome.changes())}:
        seen = outcome.generations(("here", key))
        if key in keys and not any(seen):
            yield f"I1: {key} was listed and never there"
        if key not in keys and all(seen):
            yield f"I1: {key} was not listed and always there"


_JUDGES = {
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
    """A receipt says what was proved, and a strict success has proof."""
    job = outcome.job
    if job.verb in ("delete", "delete-many", "list"):
        return
    receipts = [event.receipt for event in outcome.world.events if isinstance(event, Finished)]
    receipt = receipts[-1] if receipts else None
    if receipt is None:
        yield "there is no receipt"
    elif job.verify is False:
        if receipt.verdict is Verdict.CONTENT:
            yield "nothing was to be proved, but the verdict is CONTENT"
    elif job.verify is True and job.form != "some of it":
        least = Verdict.TRANSPORT if job.verb == "upload" else Verdict.CONTENT
        resumed = "earlier move" in receipt.basis  # which has proved it, and says so
        if receipt.verdict.strength < least.strength and not resumed:
            yield f"a strict {job.verb} has the verdict {receipt.verdict}: {receipt.basis}"
