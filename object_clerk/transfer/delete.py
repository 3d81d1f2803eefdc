"""Delete: one object, or many with an outcome for each."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.etag import bare
from object_clerk.connection import Connection, request
from object_clerk.endpoint import Support
from object_clerk.exceptions import (
    ERROR_CODES,
    BucketNotFoundException,
    DeleteIncomplete,
    Failure,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.names import check_text
from object_clerk.receipt import DeleteOutcome
from object_clerk.retry import Operation, retried
from object_clerk.transfer.conditions import Conditions
from object_clerk.transfer.multipart import CLEANING_UP, Inquiry
from object_clerk.transfer.stream import Pin, pin, unchanged, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

log = logging.getLogger(__name__)

#: Keys in one request (API reference of DeleteObjects).
MOST_KEYS = 1000


def delete(
    op: Operation, connection: Connection, bucket: str, key: str, version_id: str | None
) -> None:
    """Delete one object; that it is missing is no error, that its bucket is missing is one."""
    try:
        request(op, connection, "delete_object", Bucket=bucket, Key=key, VersionId=version_id)
    except BucketNotFoundException:
        raise
    except ObjectNotFoundException:
        return  # S3 says nothing about a missing key, some stores say this


@dataclasses.dataclass(frozen=True, slots=True)
class Generation:
    """Which object is to be deleted, and no other that has come in its place.

    Attributes:
        etag: its ETag, bare.
        size: its length in bytes, if that is known.
        modified: when it was written, if that is known. Seconds are compared, since a HEAD tells
            no less.
        version_id: its version, if that is known.
    """

    etag: str
    size: int | None = None
    modified: datetime | None = None
    version_id: str | None = None

    @classmethod
    def of(cls, if_match: str) -> Generation:
        """Whichever has this ETag, with quotes or without."""
        etag = bare(check_text("if_match", if_match))
        if etag in (None, "*"):
            raise ObjectClerkParameterException("if_match is the ETag of the object to delete")
        return cls(etag)

    def check(self, there: Pin) -> None:
        """Raise unless this is what is there."""
        modified = self.modified and self.modified.replace(microsecond=0)
        for name, meant, found in (
            ("ETag", self.etag, there.etag),
            ("size", self.size, there.size),
            ("time", modified, there.answer.get("LastModified")),
            ("version", self.version_id, there.version_id),
        ):
            if meant not in (None, found):
                raise PreconditionFailed(f"its {name} is {found}, not {meant}; it was kept")


def delete_unchanged(
    op: Operation, connection: Connection, bucket: str, key: str, meant: Generation
) -> bool:
    """Delete an object if it is still the one that is meant.

    The server compares the ETag in the step that deletes. All else is compared by a look right
    before that, and in a bucket with versions by another one right after.

    Returns:
        whether it was there; if not, its bucket may be missing as well.

    Raises:
        PreconditionFailed: it is another one. It was kept.
        UnsupportedError: the server was not seen to honour If-Match when it deletes, or does not
            know the ETag of this object. Nothing was deleted.
    """
    where = {"Bucket": bucket, "Key": key}
    if connection.endpoint.delete_if_match is Support.UNKNOWN:
        there = _first_look(op, connection, where)
        if there is None:
            return False
        meant.check(there)
        _learn(op, connection, there, bucket, key)
    seen: list[Pin] = []
    answer = _delete_what_was_seen(op, connection, where, meant, seen)
    if answer is None:
        return False
    marker = version_of(answer) if answer.get("DeleteMarker") else None
    if marker is not None:
        _uncover(op, connection, bucket, key, marker, seen[0])
    return True


def _learn(op: Operation, connection: Connection, there: Pin, bucket: str, key: str) -> None:
    """Find out whether If-Match counts when this object is deleted."""
    inquiry = Inquiry(op, connection)
    if "VersionId" in there.answer:
        # Where a DELETE leaves a marker it takes objects of our own, which are removed for good.
        prefix = connection.config.probe_prefix
        connection.endpoint.learn_condition(
            "delete_if_match", inquiry.ask, inquiry.insist, bucket, prefix
        )
    else:
        connection.endpoint.learn_delete(inquiry.ask, bucket, key)


def _look(op: Operation, connection: Connection, where: dict[str, Any]) -> Pin | None:
    """The object as it is now; None if there is none."""
    try:
        return Pin.of(connection.call(op, "head_object", **where))
    except ObjectNotFoundException:
        return None


_first_look = retried(_look)


@retried
def _delete_what_was_seen(
    op: Operation,
    connection: Connection,
    where: dict[str, Any],
    meant: Generation,
    seen: list[Pin],
) -> dict[str, Any] | None:
    """Delete an object if it is what is meant, and what the first attempt has seen.

    An attempt whose answer was lost may have deleted it, and somebody may have written the same
    bytes since; these must not be deleted by another attempt.

    Returns:
        the answer; None if the object is gone.
    """
    there = _look(op, connection, where)
    if there is None:
        return None
    meant.check(there)
    if seen and not unchanged(there, seen[0]):
        raise PreconditionFailed(
            "somebody has written it anew since the first attempt; it was kept"
        )
    if connection.endpoint.delete_if_match is not Support.HONOURED:
        raise UnsupportedError(
            "this server was not seen to honour If-Match when it deletes, so what another writer "
            "has put there could be deleted; nothing was (clerk.endpoint.report() has what it does "
            "honour)"
        )
    seen[:] = [there]
    condition = Conditions(if_match=meant.etag).parameters(connection)
    try:
        return connection.call(op, "delete_object", **where, **condition)
    except ObjectNotFoundException:
        return None
    except PreconditionFailed as error:
        now = _look(op, connection, where)
        if now is None:  # by an attempt before whose answer was lost, or by somebody else
            return None
        if unchanged(now, there):
            # Swift compares something else where an object is made of parts, or has versions.
            raise UnsupportedError(
                "this server's If-Match does not know this ETag, so nothing was deleted"
            ) from error
        error.message = "somebody replaced it in the last moment; it was kept"
        raise


def _uncover(
    op: Operation, connection: Connection, bucket: str, key: str, marker: str, deleted: Pin
) -> None:
    """Take a delete marker back if it hides another version than the one that was looked at.

    That one has the same ETag, or there would be no marker.
    """
    try:
        newest = newest_version(op, connection, bucket, key)
    except ObjectClerkException as error:
        log.warning("what the delete marker of %s/%s hides is not known: %s", bucket, key, error)
        return
    if not newest or newest.get("IsLatest") or version_of(newest) == deleted.version_id:
        return
    ending = op.child("delete_object", CLEANING_UP)
    try:
        request(ending, connection, "delete_object", Bucket=bucket, Key=key, VersionId=marker)
    except ObjectClerkException as error:
        raise PreconditionFailed(
            "somebody wrote the same bytes in the last moment, and the delete marker "
            f"{marker} hides them, since it could not be removed: {error.message}"
        ) from error
    raise PreconditionFailed("somebody wrote the same bytes in the last moment; they were kept")


@retried
def newest_version(op: Operation, connection: Connection, bucket: str, key: str) -> dict[str, Any]:
    """What a listing says of the newest version of an object; empty if there is none.

    It may lie under a delete marker.
    """
    answer = connection.call(op, "list_object_versions", Bucket=bucket, Prefix=key, MaxKeys=100)
    if not answer.keys() & {"IsTruncated", "Versions", "DeleteMarkers"}:
        raise ObjectClerkServerInternalException(
            "the server's answer is no list of versions", failure=Failure.TRANSIENT
        )
    of_key = (each for each in answer.get("Versions", ()) if each.get("Key") == key)
    return next(of_key, {})


def take_back(
    op: Operation, connection: Connection, bucket: str, key: str, stored: Pin, extra: dict[str, Any]
) -> str:
    """Remove an object of ours that was stored wrong, unless somebody else has replaced it.

    What it has overwritten comes back only where there are versions.

    Args:
        op: the operation that has failed; removing has a time of its own.
        connection: where.
        bucket: the bucket.
        key: the key.
        stored: the object that was made, as the server described it.
        extra: parameters that a HEAD of it needs.

    Returns:
        what to add to the error.
    """
    ending = op.child("delete_object", CLEANING_UP)
    where: dict[str, Any] = {"Bucket": bucket, "Key": key}
    try:
        if stored.version_id is None:
            now = pin(ending, connection, bucket, key, extra).answer
            if any(now.get(name) != stored.answer.get(name) for name in ("ETag", "LastModified")):
                return ""
            # The condition counts where it is honoured, and does no harm where it is not.
            where["IfMatch"] = now.get("ETag")
        request(ending, connection, "delete_object", **where, VersionId=stored.version_id)
    except ObjectClerkException as error:
        return f"; the wrong object could not be removed: {error.message}"
    return "; the wrong object was removed"


def delete_many(
    op: Operation, connection: Connection, bucket: str, keys: Iterable[str]
) -> list[DeleteOutcome]:
    """Delete the keys, a thousand to a request.

    Returns:
        an outcome for each key, in the order given.

    Raises:
        DeleteIncomplete: some were not deleted; it holds all outcomes.
    """
    wanted = list(dict.fromkeys(keys))
    outcomes: dict[str, DeleteOutcome] = {}
    for start in range(0, len(wanted), MOST_KEYS):
        batch = dict.fromkeys(wanted[start : start + MOST_KEYS])
        with contextlib.suppress(_SomeBusy):  # their outcomes say so
            _delete_batch(op, connection, bucket, batch, outcomes)
    result = [outcomes[key] for key in wanted]
    failed = [outcome for outcome in result if not outcome.deleted]
    if failed:
        names = ", ".join(f"{outcome.key} ({outcome.code})" for outcome in failed[:5])
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        error = DeleteIncomplete(
            f"{len(failed)} of {len(result)} keys were not deleted: {names}{more}",
            operation=op.name,
            bucket=bucket,
        )
        error.outcomes = result
        raise error
    return result


class _SomeBusy(ObjectClerkServerInternalException):
    """Some keys failed in a way that may pass."""


@retried
def _delete_batch(
    op: Operation,
    connection: Connection,
    bucket: str,
    batch: dict[str, Any],
    outcomes: dict[str, DeleteOutcome],
) -> None:
    """Delete what is left of ``batch``, taking out what has its final outcome."""
    for key in batch:
        outcomes.pop(key, None)  # what an attempt before was told counts no more
    answer = connection.call(
        op,
        "delete_objects",
        Bucket=bucket,
        Delete={"Objects": [{"Key": key} for key in batch], "Quiet": False},
    )
    for deleted in answer.get("Deleted", ()):
        outcomes[deleted["Key"]] = DeleteOutcome(deleted["Key"], deleted=True)
        batch.pop(deleted["Key"], None)
    busy: Failure | None = None
    for failed in answer.get("Errors", ()):
        key, code = failed.get("Key", ""), failed.get("Code", "")
        gone = code in ("NoSuchKey", "NoSuchVersion")
        outcomes[key] = DeleteOutcome(key, gone, code, failed.get("Message"))
        failure = ERROR_CODES.get(code, (None, Failure.FINAL))[1]
        if failure is Failure.FINAL:
            batch.pop(key, None)
        elif key in batch:
            busy = failure
    for key in batch.keys() - outcomes.keys():
        outcomes[key] = DeleteOutcome(key, deleted=False, code="NoAnswer")
    if any(outcomes[key].code == "NoAnswer" for key in batch):
        busy = busy or Failure.TRANSIENT
    if busy is not None:
        raise _SomeBusy(f"{len(batch)} keys of a bulk delete failed for now", failure=busy)
