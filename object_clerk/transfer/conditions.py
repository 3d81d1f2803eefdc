"""Writing only if nobody else has: conditions that the server is known to honour, or a refusal.

Several servers take If-Match and If-None-Match, and ignore them. So they are asked first, with
scratch objects, once for each clerk.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.etag import bare
from object_clerk.connection import Connection, request
from object_clerk.endpoint import Support
from object_clerk.exceptions import (
    DestinationExists,
    ObjectClerkParameterException,
    ObjectNotFoundException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.transfer.multipart import Inquiry

if TYPE_CHECKING:
    from object_clerk.retry import Operation


@dataclasses.dataclass(frozen=True, slots=True)
class Conditions:
    """What must be under a key for it to be written.

    Attributes:
        if_absent: nothing.
        if_match: an object with this ETag.
    """

    if_absent: bool = False
    if_match: str | None = None

    def __post_init__(self) -> None:
        if self.if_absent and self.if_match is not None:
            raise ObjectClerkParameterException("give if_absent or if_match, not both")
        if self.if_match is not None and not bare(self.if_match):
            raise ObjectClerkParameterException("if_match is the ETag of the object to replace")

    def __bool__(self) -> bool:
        return self.if_absent or self.if_match is not None

    def look(self, op: Operation, connection: Connection, bucket: str, key: str) -> None:
        """Raise if the condition does not hold now. It may cease to; the server has the say."""
        if not self:
            return
        try:
            answer = request(op, connection, "head_object", Bucket=bucket, Key=key)
        except ObjectNotFoundException:
            if self.if_match is not None:
                raise PreconditionFailed(
                    "there is no object to replace, and if_match was given"
                ) from None
            return
        if self.if_absent:
            raise _exists()
        if bare(answer.get("ETag")) != bare(self.if_match):
            raise PreconditionFailed(f"its ETag is {answer.get('ETag')}, not {self.if_match}")

    def honoured_by(self, op: Operation, connection: Connection, bucket: str, verb: str) -> bool:
        """Whether the server was seen to honour the condition.

        Args:
            op: the operation that asks.
            connection: where.
            bucket: where scratch objects may be made, if it was not asked before.
            verb: ``put``, ``complete`` or ``copy``.
        """
        inquiry = Inquiry(op, connection)
        found = connection.endpoint.learn_condition(
            f"{verb}_if_none_match" if self.if_absent else f"{verb}_if_match",
            inquiry.ask,
            inquiry.insist,
            bucket,
            connection.config.probe_prefix,
        )
        return found is Support.HONOURED

    def parameters(self, connection: Connection) -> dict[str, Any]:
        """The condition as S3's parameters."""
        if self.if_absent:
            return {"IfNoneMatch": "*"}
        if self.if_match is None:
            return {}
        etag = bare(self.if_match)
        # Ceph 16 compares the quotes too, and never finds an equal one.
        return {"IfMatch": f'"{etag}"' if connection.endpoint.if_match_quoted else etag}

    def failed(self, error: PreconditionFailed) -> PreconditionFailed:
        """The error that says which condition did not hold."""
        if not self.if_absent:
            return error
        found = _exists()
        found.code, found.status, found.request_id = error.code, error.status, error.request_id
        return found

    def unsupported(self) -> UnsupportedError:
        """The refusal, before anything was sent."""
        name = "If-None-Match" if self.if_absent else "If-Match"
        return UnsupportedError(
            f"this server was not seen to honour {name} here, so another writer could be "
            "overwritten; nothing was sent (clerk.endpoint.report() has what it does honour)"
        )


def _exists() -> DestinationExists:
    return DestinationExists("there is an object under this key already, and it was left alone")
