"""I5 to I8: errors, limits and events; and that what passes is no reason to fail."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING

from object_clerk.events import Failed, Finished, Transferred
from object_clerk.exceptions import ObjectClerkException
from tests.simulation.aftermath import ANSWER_LOST
from tests.simulation.faults import CORRUPTING, OTHERS, PASSING
from tests.simulation.loss import is_scratch
from tests.simulation.stagecraft import PART
from tests.simulation.wire import Crash
from tests.simulation.world import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.outcome import Outcome
    from tests.simulation.scenario import Job

#: Requests that a fault may cost besides all of the usual ones again.
SPARE = 6

#: Seconds that a call may take beyond its deadline: its last attempt, thirty seconds and an
#: attempt to end an upload, two minutes and an attempt to remove what was made to ask the server.
BEYOND_S = 60 + (30 + 60) + (120 + 60)

#: Requests that the longest job takes: a move on conditions, with all questions to the server.
MOST_USUAL = 110

_SENDING_PARTS = ("upload_part", "upload_part_copy")


def conduct(outcome: Outcome) -> Iterator[str]:
    """Judge how it was done."""
    yield from _error(outcome)
    yield from _limits(outcome)
    yield from _events(outcome)


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
    if bearable(outcome):
        yield f"it failed for what it should bear: {type(error).__name__}: {error}"


def bearable(outcome: Outcome) -> bool:
    """Whether it usually succeeds, and what went wrong passes within the tries that are allowed."""
    counts, job, place = outcome.counts, outcome.job, outcome.place
    if place.tries < 0 or counts.keys() - PASSING - CORRUPTING:
        return False
    corrupted = sum(counts[kind] for kind in CORRUPTING)
    # A body that is short of the range that was asked for counts as one that broke off.
    passing = sum(counts.values()) - corrupted + counts["short"]
    if corrupted > 2 or passing >= place.tries:
        return False
    if corrupted and (job.verb == "reader" or job.form == "file object"):
        return False  # what was handed over cannot be taken back
    if corrupted and job.condition:
        return False  # what was spoilt under a condition cannot be replaced under the same one
    if {"late", "rot"} & counts.keys() and place.profile.etag != "md5":
        return False  # such an ETag tells neither that a part came twice nor that it was spoilt
    if any(
        each.fault and each.fault.kind == "late" and is_scratch(each.given.get("Key", ""))
        for each in outcome.log
    ):
        return False  # a question to the server that nobody has answered
    traits = place.profile.traits
    kinds = {
        each.fault.kind for each in outcome.log if each.fault and each.method in _SENDING_PARTS
    }
    # A stream cannot begin anew, and such a server takes no part twice.
    one_chance = not (traits.part_replaceable and traits.upload_survives_bad_part)
    if one_chance and kinds & (ANSWER_LOST | CORRUPTING):
        return False
    usual = outcome.usual()  # second looks at objects of unknown parts are retries too
    return usual.error is None and corrupted + usual.retries <= 2


def _limits(outcome: Outcome) -> Iterator[str]:
    made, faults = len(outcome.log), sum(outcome.counts.values())
    if made > (_least(outcome.job) + SPARE) * (1 + faults):  # else it cannot be too many
        usual = outcome.usual().requests
        if outcome.counts.keys() & OTHERS:
            usual = max(usual, MOST_USUAL)  # what others did may have made it another job
        most = (usual + SPARE) * (1 + faults)
        if made > most:
            yield f"I6: {made} requests, where {usual} are usual and {most} are the most"
    if outcome.place.tries > 0:
        yield from _tries(outcome)
    if outcome.job.verb in ("reader", "list"):  # the consumer sets the pace, step by step
        return
    most_s = outcome.place.deadline_s + BEYOND_S
    if outcome.elapsed_s > most_s:
        yield f"I7: {outcome.elapsed_s:.0f} s, where {most_s:.0f} are the most"


def _least(job: Job) -> int:
    """Requests that a job takes at the least; what is usual need be known only beyond that."""
    parts = job.size // PART
    match job.verb:
        case "upload":
            return 1 if not parts else 7 + parts  # four of them to ask what the server checks
        case "copy" | "move":
            return (2 if not parts else 5) + 3 * (job.verb == "move")
        case "list":
            return 4
    return 1


def _tries(outcome: Outcome) -> Iterator[str]:
    """No request is made more often than the policy allows, one failure after the other."""
    run, before = 0, None
    for sent in outcome.log:
        failed = sent.fault is not None and sent.fault.kind in PASSING - {"slow", "no-length"}
        this = (sent.method, {k: v for k, v in sent.given.items() if k != "Body"})
        run = run + 1 if failed and this == before else int(failed)
        before = this
        if run > outcome.place.tries:
            yield f"I6: {sent} was made for the {run}th time, {outcome.place.tries} are allowed"
            return


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
        yield from _progress(outcome)


def _progress(outcome: Outcome) -> Iterator[str]:
    job = outcome.job
    if job.verb in ("delete", "delete-many") or "short" in outcome.counts:
        return
    sizes = {job.size}
    if job.verb != "upload":
        sizes = {len(data) for data in outcome.contents(outcome.world.source)}
    if job.stage:
        sizes = {2 * size for size in sizes}  # to the staging key, and from there
    moved = sum(e.delta_bytes for e in outcome.world.events if isinstance(e, Transferred))
    if moved not in sizes:
        yield f"progress tells of {moved} bytes, of {sizes}"
