"""Delete: one object, or many with an outcome for each."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from object_clerk.connection import Connection, request
from object_clerk.exceptions import (
    ERROR_CODES,
    BucketNotFoundException,
    DeleteIncomplete,
    Failure,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
)
from object_clerk.receipt import DeleteOutcome
from object_clerk.retry import Operation, retried
from object_clerk.transfer.multipart import CLEANING_UP
from object_clerk.transfer.stream import Pin, pin

if TYPE_CHECKING:
    from collections.abc import Iterable

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
