"""I2 and I3: nothing is lost, and nothing of others is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from object_clerk.names import is_staged
from tests.simulation.outcome import is_tombstone
from tests.simulation.world import LISTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.outcome import Outcome
    from tests.simulation.scenario import Job
    from tests.simulation.store import Change, Version


def is_scratch(key: str) -> bool:
    """Whether a key is one that the clerk makes up for itself."""
    return is_staged(key) or ".object-clerk-" in key


def nothing_lost(outcome: Outcome) -> Iterator[str]:
    """Judge every change that the clerk made."""
    for change in outcome.changes():
        if change.author == "clerk":
            yield from _allowed(outcome, change)
    job, world = outcome.job, outcome.world
    guarded = job.verb == "move" or _is_conditional_delete(job)
    if not guarded or not world.store.buckets[world.source[0]].versioned:
        return
    # In a bucket with versions nothing is lost, but a marker of ours may hide what is new.
    stack = world.store.versions(*world.source)
    if len(stack) > 1 and stack[-1].marker and stack[-1].author == "clerk":
        hidden = stack[-2]
        if hidden.author == "other" and not hidden.marker and not _may_go(outcome, hidden):
            yield from _hidden(outcome)


def _is_conditional_delete(job: Job) -> bool:
    return job.verb == "delete" and bool(job.condition)


def _may_go(outcome: Outcome, version: Version) -> bool:
    """Whether a marker may hide it: it was copied, or was looked at before it was deleted."""
    if outcome.job.verb == "move":
        return _was_copied(outcome, version)
    marked = [change for change in outcome.changes() if change.made and change.made.marker]
    return _was_seen(outcome, version, marked[-1])


def _was_seen(outcome: Outcome, version: Version, change: Change) -> bool:
    """Whether it was there when who made the change had last looked."""
    journal = outcome.world.store.journal
    return next(i for i, each in enumerate(journal) if each.made is version) < change.looked


def _hidden(outcome: Outcome) -> Iterator[str]:
    blind = outcome.job.verb == "delete" and "list_object_versions" in outcome.failed_methods()
    if outcome.crashed or outcome.error is not None or blind:
        # It could not look, or not take its marker back; nothing is lost, and it does not say
        # that all is well.
        outcome.tally["hidden by a marker"] += 1
        return
    yield "I3: all is said to be well, and our delete marker hides a version of somebody else"


def _allowed(outcome: Outcome, change: Change) -> Iterator[str]:
    job, world = outcome.job, outcome.world
    where = (change.bucket, change.key)
    if is_scratch(change.key):
        return
    if job.verb == "move" and where == world.source:
        yield from _source_gone(outcome, change)
    elif change.made is not None and not change.made.marker:
        if job.verb not in ("upload", "copy", "move") or where != world.target:
            yield f"I3: {change.method} wrote {where}"
        elif job.condition:
            yield from _condition_kept(outcome, change)
    elif _is_conditional_delete(job):
        yield from _deleted_on_condition(outcome, change)
    elif where not in _to_be_deleted(outcome):
        yield from _taken_back(outcome, change)


def _to_be_deleted(outcome: Outcome) -> list[tuple[str, str]]:
    match outcome.job.verb:
        case "delete":
            return [outcome.world.source]
        case "delete-many":
            return [("here", key) for key in LISTED[:5]]
    return []


def _taken_back(outcome: Outcome, change: Change) -> Iterator[str]:
    """What was written wrongly may be removed by who wrote it, and nothing else may."""
    victims = change.lost or ([change.before] if change.before else [])
    if all(victim.author == "clerk" for victim in victims):
        return
    if change.since == 1 and not _is_comparing(outcome, (change.bucket, change.key)):
        outcome.tally["windows"] += 1
        return
    yield f"I3: {change.method} deleted {victims} at {change.key}, which is not ours"


def _deleted_on_condition(outcome: Outcome, change: Change) -> Iterator[str]:
    """What is deleted has the ETag, and after an answer that was lost it is what was seen first."""
    deleted = change.lost or ([change.before] if change.before and change.made else [])
    for victim in deleted:
        if outcome.world.wanted is None or victim.etag != outcome.world.wanted.etag:
            yield f"I3: only {outcome.world.wanted} was to be deleted, not {victim}"
        elif _is_another(outcome, victim, change):
            yield f"I3: {victim} was written after an attempt had deleted, and another deleted it"


def _is_another(outcome: Outcome, victim: Version, change: Change) -> bool:
    """Whether it could be seen that it is not what the first attempt has deleted.

    Without versions, what has the same bytes and was written in the same second cannot be told.
    """
    done = next(each for each in outcome.changes(outcome.world.source) if each.author == "clerk")
    if done is change or done.before in (None, victim):
        return False
    told = outcome.place.versioned or done.before.modified != victim.modified
    return told and _was_seen(outcome, victim, change)


def _condition_kept(outcome: Outcome, change: Change) -> Iterator[str]:
    """A condition is kept or refused, whatever the server makes of it."""
    before, wanted = change.before, outcome.world.wanted
    if before is not None and before.author == "clerk":
        return
    if outcome.job.condition == "absent":
        if before is not None:
            yield f"I3: what was only to be created has replaced {before}"
    elif before is None or wanted is None or before.etag != wanted.etag:
        yield f"I3: what was only to replace {wanted} has replaced {before}"


def _source_gone(outcome: Outcome, change: Change) -> Iterator[str]:
    """A move removes what it has copied, and only where there is no other way also what is new."""
    made, buries = change.made, outcome.job.guard == "tombstone"
    if made is not None and not made.marker and not (buries and is_tombstone(made)):
        yield f"I3: {change.method} wrote {made} at the source"
    if outcome.is_trusting:
        return  # the copy was not to be proved
    where = (change.bucket, change.key)
    means = outcome.place.versioned or _is_comparing(outcome, where)
    for victim in change.lost:
        if _was_copied(outcome, victim, change) or is_tombstone(victim):
            continue
        if (
            buries
            and _is_over_a_tombstone(outcome, victim)
            and not _was_seen(outcome, victim, change)
        ):
            outcome.tally["windows"] += 1
        elif means or outcome.job.guard != "check":
            yield f"I2: the move removed {victim}, which it had not copied, where it need not"
        elif _was_seen(outcome, victim, change):
            yield f"I2: the move removed {victim}, though it had looked and seen that it is new"
        elif change.since > 1:
            yield f"I2: the move removed {victim}, since it did not delete right after it looked"
        else:
            outcome.tally["windows"] += 1


def _is_over_a_tombstone(outcome: Outcome, victim: Version) -> bool:
    changes = [change for change in outcome.changes() if change.made is victim]
    return any(change.before and is_tombstone(change.before) for change in changes)


def _is_comparing(outcome: Outcome, where: tuple[str, str]) -> bool:
    """Whether the server can delete what was there on the condition that it still is."""
    traits = outcome.place.profile.traits
    parts = any(seen is not None and seen.part_sizes for seen in outcome.generations(where))
    return traits.delete_if_match and (traits.delete_if_match_of_parts or not parts)


def _was_copied(outcome: Outcome, victim: Version, until: Change | None = None) -> bool:
    """Whether the bytes were at the target by our doing, and not spoilt by us since."""
    intact = False
    for change in outcome.changes(outcome.world.target):
        if change is until:
            break
        if change.author == "clerk":
            intact = change.after is not None and change.after.data == victim.data
    return intact
