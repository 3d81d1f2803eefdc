"""The life of a multipart upload: begun, filled, then published or aborted."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.etag import bare
from object_clerk.checksum.record import Record
from object_clerk.connection import Connection, request
from object_clerk.exceptions import (
    Failure,
    ObjectChanged,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    ObjectVerificationException,
    PreconditionFailed,
)
from object_clerk.retry import Operation, Patience, RetryPolicy, retried
from object_clerk.transfer.pool import run_parts
from object_clerk.transfer.stream import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from object_clerk.transfer.stream import Pin

log = logging.getLogger(__name__)

#: How hard we try to clean up after a failure that is about to be raised.
CLEANING_UP = Patience(connection=RetryPolicy(0.5, 2.0, (0.0, 0.5), 5.0, 4), deadline_s=30.0)

#: The same for the many small things of a question, none of which may be left lying about.
TIDYING_UP = dataclasses.replace(CLEANING_UP, deadline_s=120.0)


class UploadGone(ObjectNotFoundException):
    """The server no longer knows the upload."""


class Inquiry:
    """Makes the requests of a question to the server, and tidies up in the end."""

    def __init__(self, op: Operation, connection: Connection) -> None:
        self._op = op
        self._connection = connection
        self._ending: Operation | None = None

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Make one request. A failure that may pass is no answer, so it is repeated.

        That a digest is refused is an answer, and is not.
        """
        patience = dataclasses.replace(
            self._op.patience,
            checksum=RetryPolicy(tries=1),
            deadline_s=max(1, self._op.remaining_s),
        )
        return request(self._op.child(method, patience), self._connection, method, **parameters)

    def insist(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Make one request that prepares something, or removes it again."""
        if method.startswith(("abort_", "delete_")):
            return self.end(method, **parameters)
        return request(self._op, self._connection, method, **parameters)

    def end(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Make one request of tidying up.

        It has a time of its own, which begins when it is first needed and is shared: the
        operation's may be over by then, and a server that is down must not hold up the caller
        once for each thing that is left.
        """
        self._ending = self._ending or self._op.child(method, TIDYING_UP)
        return request(self._ending, self._connection, method, **parameters)


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
        self.where = {**where, "UploadId": begin(op, connection, {**where, **parameters})}
        self._tried_to_publish = False
        self._recorded = Record.of(parameters).tx is not None

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

    def check_parts(self, expected: Mapping[int, tuple[str, int]]) -> None:
        """Compare the server's list of the parts with what was sent, while nothing is visible.

        Args:
            expected: part number -> bare ETag and size in bytes.

        Raises:
            ObjectVerificationException: a part is missing, is one too many, or is another one.
            ObjectNotFoundException: the server has dropped the upload.
        """
        try:
            listed = dict(self._listed())
        except ObjectNotFoundException:
            raise
        except ObjectClerkException as error:
            # Not every store lists parts, and not everybody may ask. Their ETags were compared.
            self._op.notes.append(f"the server's list of parts was not compared: {error.message}")
            return
        wrong = sorted(
            n for n in expected.keys() | listed.keys() if listed.get(n) != expected.get(n)
        )
        if wrong:
            raise ObjectVerificationException(
                f"part {wrong[0]} was sent as {expected.get(wrong[0])} and is listed as "
                f"{listed.get(wrong[0])} (ETag, bytes); {len(wrong)} parts differ",
                failure=Failure.INTEGRITY,
            )

    def _listed(self) -> Iterator[tuple[int, tuple[str | None, int]]]:
        marker: int | None = None
        while True:
            page = _page_of_parts(
                self._op, self._connection, {**self.where, "PartNumberMarker": marker}
            )
            last = marker or 0
            for part in page.get("Parts", ()):
                marker = int(part["PartNumber"])
                yield marker, (bare(part.get("ETag")), int(part["Size"]))
            if not page.get("IsTruncated") or (marker or 0) <= last:
                return

    def publish(
        self,
        parts: list[dict[str, Any]],
        *,
        tx: str,
        expected: str,
        look: Callable[[str | None], Pin],
        **parameters: Any,
    ) -> tuple[dict[str, Any], Pin]:
        """Make the object of its parts, and make sure that it was made: one attempt.

        The answer may be lost, empty, or of an attempt before, so it proves little. What proves
        the outcome is the object itself: its record names this upload.

        Args:
            parts: what :meth:`fill` gave.
            tx: the name of this upload in the record.
            expected: the ETag that the object should get; empty if it is not known.
            look: asks for the object, in the version that is given.
            **parameters: more parameters of CompleteMultipartUpload.

        Returns:
            the server's answer, empty if it was lost, and the object.

        Raises:
            UploadGone: the server does not know the upload, and the object is not ours: it was
                aborted.
            PreconditionFailed: the condition in the parameters does not hold.
            ObjectChanged: the object was made, and replaced by somebody at once.
        """
        again, self._tried_to_publish = self._tried_to_publish, True
        lost: ObjectClerkException | None = None
        answer: dict[str, Any] = {}
        try:
            answer = self._complete(parts, parameters)
        except (UploadGone, PreconditionFailed) as error:
            if not again:
                raise
            lost = error
        try:
            head: Pin | None = look(version_of(answer))
        except ObjectNotFoundException:
            head = None
        answered = bare(answer.get("ETag"))
        if head is not None and self._is_ours(head, tx, expected, answered):
            if lost:
                self._op.notes.append("the answer to CompleteMultipartUpload was lost")
            return answer, head
        if lost:
            raise lost
        if head is not None and answered and answered == expected:
            raise ObjectChanged("it was stored, and replaced by somebody else at once")
        raise ObjectClerkServerInternalException(
            "the server said that it had put the object together, but it is not there",
            failure=Failure.TRANSIENT,
        )

    def _is_ours(self, head: Pin, tx: str, expected: str, answered: str | None) -> bool:
        found = Record.of(head.answer).tx
        if found or head.etag == expected:
            return (found or tx) == tx
        # Only where no record was sent, the answer may speak for an object with another ETag.
        return not self._recorded and (answered == expected if expected else answered is not None)

    def _complete(
        self, parts: list[dict[str, Any]], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            return self._connection.call(
                self._op,
                "complete_multipart_upload",
                **self.where,
                **parameters,
                MultipartUpload={"Parts": parts},
            )
        except ObjectNotFoundException as error:
            if error.code != "NoSuchUpload":
                raise
            raise UploadGone(error.message, code=error.code, status=error.status) from error

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
        try:
            inquiry = Inquiry(self._op, self._connection)
            inquiry.insist("abort_multipart_upload", **self.where)
        except ObjectNotFoundException:
            pass  # it was completed, or somebody else has aborted it
        except ObjectClerkException as failed:
            upload_id = self.where["UploadId"]
            error.add_note(f"the parts of upload {upload_id} may be left behind: {failed}")
            log.warning("upload %s could not be aborted: %s", upload_id, failed)


@retried
def _page_of_parts(
    op: Operation, connection: Connection, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    page = connection.call(op, "list_parts", **parameters)
    if not page.keys() & {"Parts", "IsTruncated", "UploadId", "Bucket"}:
        raise ObjectClerkServerInternalException(
            "the server's list of parts is empty of everything", failure=Failure.TRANSIENT
        )
    return page


@retried
def begin(op: Operation, connection: Connection, parameters: Mapping[str, Any]) -> str:
    """Begin a multipart upload; its id."""
    answer = connection.call(op, "create_multipart_upload", **parameters)
    if not (upload_id := answer.get("UploadId")):
        raise ObjectClerkServerInternalException(
            "the server began an upload without naming it", failure=Failure.TRANSIENT
        )
    return str(upload_id)
