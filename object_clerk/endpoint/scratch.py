"""Objects of a few bytes under a random name, made to ask questions, and removed again."""

from __future__ import annotations

import functools
import logging
import uuid
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import Digests
from object_clerk.checksum.etag import bare
from object_clerk.endpoint.answers import Answer, Support, of_condition
from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
)

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Scratch:
    """The scratch objects of one examination.

    Attributes:
        ask: makes one request about the bucket, and takes a refusal for an answer.
        insist: makes one with retries.
        bucket: the bucket.
    """

    def __init__(
        self, call: Callable[..., Any], insist: Callable[..., Any], bucket: str, prefix: str
    ) -> None:
        self.ask = functools.partial(call, Bucket=bucket)
        self.insist = functools.partial(insist, Bucket=bucket)
        self.bucket = bucket
        self._left: dict[str, None] = {}
        self._prefix = f"{prefix}{uuid.uuid4().hex}/"
        self._made: dict[str, None] = {}
        self._uploads: list[dict[str, str]] = []
        self._heads: dict[str, dict[str, Any]] = {}
        self._has_versions = False

    def key(self, name: str) -> str:
        """The key of an object that is about to be made, so that it is removed in the end."""
        key = self._prefix + name
        self._made[key] = None
        return key

    def put(self, name: str, body: bytes) -> str:
        """Make an object and look at it; its key."""
        key = self.key(name)
        try:
            self.insist("put_object", Key=key, Body=body)
        except ObjectClerkException as error:
            if error.status is not None and error.status < 500:
                del self._made[key]  # it was refused, so there is nothing to remove
            raise
        self.look(key)
        return key

    def look(self, key: str) -> dict[str, Any]:
        """What a HEAD says now, empty if there is no object."""
        try:
            head = self.ask("head_object", Key=key, ChecksumMode="ENABLED")
        except ObjectNotFoundException:
            head = {}
        self._heads[key] = head
        self._has_versions = self._has_versions or head.get("VersionId", "null") != "null"
        return dict(head)

    def etag(self, key: str) -> str | None:
        """The ETag when the object was last looked at."""
        return bare(self._heads.get(key, {}).get("ETag"))

    def begin(self, name: str, body: bytes, **parameters: Any) -> dict[str, Any]:
        """Begin an upload of one part; the parameters that complete it."""
        where = {"Key": self.key(name)}
        created = self.insist("create_multipart_upload", **where, **parameters)
        if "UploadId" not in created:
            raise ObjectClerkServerInternalException("the server began an upload without naming it")
        where["UploadId"] = created["UploadId"]
        self._uploads.append(where)
        digest = {"ChecksumCRC32": Digests.of([body]).checksum_crc32} if parameters else {}
        answer = self.insist("upload_part", **where, PartNumber=1, Body=body, **digest)
        part = {"PartNumber": 1, "ETag": answer["ETag"], **digest}
        return {**where, "MultipartUpload": {"Parts": [part]}}

    def condition(self, method: str, key: str, **parameters: Any) -> Answer:
        """Ask with a condition that does not hold, and see whether ``key`` stays what it was."""
        before = self.etag(key)
        try:
            answer = self.ask(method, Key=key, **parameters)
        except ObjectClerkException as error:
            found = of_condition(error)
        else:
            found = Answer(Support.IGNORED)
            if "Body" in answer:
                answer["Body"].close()
        self.look(key)
        if found.support is Support.HONOURED and self.etag(key) != before:
            return Answer(Support.IGNORED, "it is refused, and carried out all the same")
        return found

    def remove(self, *, has_versions: bool) -> tuple[str, ...]:
        """Remove everything that was made, whatever else went wrong.

        Returns:
            the keys of which something may be left.
        """
        for where in self._uploads:
            self._drop("abort_multipart_upload", **where)
        for key in self._made:
            self._drop("delete_object", Key=key)
        if has_versions or self._has_versions:
            self._remove_versions()
        return tuple(self._left)

    def _remove_versions(self) -> None:
        try:
            listed = self.insist("list_object_versions", Prefix=self._prefix)
        except ObjectClerkException as error:
            self._could_not("list the versions of", self._prefix, error)
            return
        for each in [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]:
            if each["Key"] in self._made:  # whatever the server lists: nothing of anybody else
                self._drop("delete_object", Key=each["Key"], VersionId=each["VersionId"])

    def _drop(self, method: str, **where: str) -> None:
        try:
            self.insist(method, **where)
        except ObjectNotFoundException:
            pass  # it was completed, or never made
        except ObjectClerkException as error:
            self._could_not(method, where["Key"], error)

    def _could_not(self, what: str, key: str, error: ObjectClerkException) -> None:
        self._left[key] = None
        log.warning("an object of the examination may be left behind: %s %s: %s", what, key, error)
