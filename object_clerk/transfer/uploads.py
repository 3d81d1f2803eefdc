"""Uploads that nobody finished: listed, and swept away when they are old."""

from __future__ import annotations

import dataclasses
import email.utils
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from object_clerk.connection import Connection, request
from object_clerk.exceptions import (
    BucketNotFoundException,
    DeleteIncomplete,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectClerkTimeoutException,
    ObjectNotFoundException,
)
from object_clerk.names import is_staged
from object_clerk.receipt import SweptUpload, UnfinishedUpload
from object_clerk.transfer.delete import delete_many
from object_clerk.transfer.listing import Listing
from object_clerk.transfer.marked import Identity, MarkedListing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from object_clerk.retry import Operation

#: How many uploads one request asks for, the most that S3 gives.
PAGE_SIZE = 1000


class Uploads(MarkedListing[UnfinishedUpload]):
    """An iterator over the unfinished multipart uploads of a bucket.

    Attributes:
        now: the server's clock when it answered first; ours if it told no date.
    """

    method = "list_multipart_uploads"
    listed = "uploads"
    markers = ("KeyMarker", "UploadIdMarker")

    def __init__(
        self,
        operation: Callable[[], Operation],
        connection: Connection,
        bucket: str,
        prefix: str | None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self.now = datetime.now(UTC)
        self._asked = False
        # The prefix is not sent: MinIO takes it for a whole key, and lists too little.
        super().__init__(operation, connection, bucket, prefix, MaxUploads=page_size)

    def _request(self, op: Operation) -> dict[str, Any]:
        try:
            page = super()._request(op)
        except BucketNotFoundException:
            raise
        except ObjectNotFoundException as error:
            if error.code != "NoSuchUpload":
                raise
            # rclone's way to say that the bucket never had one. What the time is, it can be asked.
            bucket = self._parameters["Bucket"]
            page = self._connection.call(op, "head_bucket", Bucket=bucket)
        if not self._asked:
            self._asked, self.now = True, _date(page) or self.now
        return page

    def _entries(self, page: dict[str, Any]) -> Iterable[tuple[Identity, UnfinishedUpload]]:
        for entry in page.get("Uploads", ()):
            upload = UnfinishedUpload(entry["Key"], entry["UploadId"], entry.get("Initiated"))
            yield (upload.key, upload.upload_id), upload


def _date(answer: Mapping[str, Any]) -> datetime | None:
    """The server's clock, to the second."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
    try:
        then = email.utils.parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)


def sweep(
    op: Operation,
    connection: Connection,
    operation: Callable[[], Operation],
    bucket: str,
    prefix: str | None,
    *,
    older_than_s: float,
    dry_run: bool,
) -> list[SweptUpload]:
    """Abort the old uploads, and delete the old temporary objects that uploads have left.

    Everything is listed before anything is removed. How old something is, is told by the
    server's clock alone.

    Returns:
        an outcome for each that is old enough: uploads first, then objects.

    Raises:
        DeleteIncomplete: some could not be removed; it holds all outcomes.
    """
    uploads = Uploads(operation, connection, bucket, prefix)

    def is_old(begun: datetime | None) -> bool:
        if begun is None:
            return False
        # Dates of answers are cut to whole seconds, those in listings are rounded up by some: what
        # was begun just now may seem to come from the future.
        return older_than_s == 0 or (uploads.now - begun).total_seconds() >= older_than_s

    probe = re.compile(re.escape(connection.config.probe_prefix) + "[0-9a-f]{32}/.*", re.DOTALL)

    def is_scratch(key: str) -> bool:
        return is_staged(key) or probe.fullmatch(key) is not None

    old = [
        SweptUpload(each.key, deleted=False, upload_id=each.upload_id, initiated=each.initiated)
        for each in uploads
        if is_old(each.initiated)
    ]
    staged = [
        SweptUpload(each["Key"], deleted=False, initiated=each["LastModified"])
        for each in _objects(operation, connection, bucket, prefix)
        if is_scratch(each["Key"]) and is_old(each.get("LastModified"))
    ]
    if dry_run:
        return [*old, *staged]
    outcomes = [*_abort_all(op, connection, bucket, old), *_delete(op, connection, bucket, staged)]
    failed = [outcome for outcome in outcomes if not outcome.deleted]
    if failed:
        names = ", ".join(f"{outcome.key} ({outcome.code})" for outcome in failed[:5])
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        error = DeleteIncomplete(
            f"{len(failed)} of {len(outcomes)} leftovers of uploads were not removed: "
            f"{names}{more}",
            operation=op.name,
            bucket=bucket,
        )
        error.outcomes = outcomes
        raise error
    return outcomes


def _objects(
    operation: Callable[[], Operation], connection: Connection, bucket: str, prefix: str | None
) -> Iterator[dict[str, Any]]:
    return Listing(
        operation,
        connection,
        bucket,
        prefix=prefix,
        delimiter=None,
        start_after=None,
        limit=None,
        page_size=PAGE_SIZE,
    )


def _abort_all(
    op: Operation, connection: Connection, bucket: str, old: list[SweptUpload]
) -> Iterator[SweptUpload]:
    down: ObjectClerkException | None = None
    for upload in old:
        error = down or _abort(op, connection, bucket, upload)
        if isinstance(error, (ObjectClerkServerInternalException, ObjectClerkTimeoutException)):
            down = error  # the server is at fault, not this upload: the others would fare no better
        yield _outcome(upload, error)


def _abort(
    op: Operation, connection: Connection, bucket: str, upload: SweptUpload
) -> ObjectClerkException | None:
    """Abort one upload; that it is gone already is fine."""
    op.restart_deadline()  # how many there are, nobody knew when the deadline was set
    try:
        request(
            op,
            connection,
            "abort_multipart_upload",
            Bucket=bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
        )
    except BucketNotFoundException as error:
        return error
    except ObjectNotFoundException:
        return None
    except ObjectClerkException as error:
        return error
    return None


def _outcome(upload: SweptUpload, error: ObjectClerkException | None) -> SweptUpload:
    if error is None:
        return dataclasses.replace(upload, deleted=True)
    code = error.code or type(error).__name__
    return dataclasses.replace(upload, code=code, message=error.message)


def _delete(
    op: Operation, connection: Connection, bucket: str, staged: list[SweptUpload]
) -> Iterator[SweptUpload]:
    op.restart_deadline()
    try:
        outcomes = delete_many(op, connection, bucket, [each.key for each in staged])
    except DeleteIncomplete as error:
        outcomes = list(error.outcomes)
    except ObjectClerkException as error:
        yield from (_outcome(each, error) for each in staged)
        return
    for each, found in zip(staged, outcomes, strict=True):
        yield dataclasses.replace(
            each, deleted=found.deleted, code=found.code, message=found.message
        )
