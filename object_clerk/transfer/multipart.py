"""The life of a multipart upload: begun, filled, then published or aborted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from object_clerk.connection import Connection, request
from object_clerk.exceptions import ObjectClerkException, ObjectNotFoundException
from object_clerk.retry import Operation, Patience, RetryPolicy
from object_clerk.transfer.pool import run_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

log = logging.getLogger(__name__)

#: How hard we try to clean up after a failure that is about to be raised.
CLEANING_UP = Patience(connection=RetryPolicy(0.5, 2.0, (0.0, 0.5), 5.0, 4), deadline_s=30.0)


class MultipartUpload:
    """One multipart upload. Nothing is visible under the key before :meth:`publish`.

    As a context manager it aborts the upload when its block raises, Ctrl-C included, so that no
    parts are left behind.

    Attributes:
        where: the parameters that name the upload in every request.
    """

    def __init__(
        self,
        op: Operation,
        connection: Connection,
        where: Mapping[str, Any],
        parameters: Mapping[str, Any],
    ) -> None:
        self._op = op
        self._connection = connection
        created = request(op, connection, "create_multipart_upload", **where, **parameters)
        self.where = {**where, "UploadId": created["UploadId"]}
        self._publishing = False

    def fill(
        self, workers: int, tasks: Iterable[Callable[[], dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Run the tasks that send the parts.

        Returns:
            what they returned, as :meth:`publish` wants it: in the order of the parts.
        """
        parts: list[dict[str, Any]] = []
        run_parts(self._op, workers, tasks, parts.append)
        return sorted(parts, key=lambda part: int(part["PartNumber"]))

    def publish(self, parts: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
        """Make the object of its parts: one attempt.

        Returns:
            the server's answer; an empty one if an earlier attempt seems to have been carried out
            although its answer was lost. Anybody may have written this key meanwhile, so the
            caller must look at what is there.
        """
        again, self._publishing = self._publishing, True
        try:
            return self._connection.call(
                self._op,
                "complete_multipart_upload",
                **self.where,
                **parameters,
                MultipartUpload={"Parts": parts},
            )
        except ObjectNotFoundException as error:
            if not again or error.code != "NoSuchUpload":
                raise
            self._op.notes.append("the answer to CompleteMultipartUpload was lost")
            return {}

    def __enter__(self) -> MultipartUpload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            return
        op = self._op.child("abort_multipart_upload", CLEANING_UP)
        try:
            request(op, self._connection, "abort_multipart_upload", **self.where)
        except ObjectNotFoundException:
            pass  # it was completed, or somebody else has aborted it
        except ObjectClerkException as failed:
            upload_id = self.where["UploadId"]
            error.add_note(f"the parts of upload {upload_id} may be left behind: {failed}")
            log.warning("upload %s could not be aborted: %s", upload_id, failed)
