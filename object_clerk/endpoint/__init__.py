"""What the server at the other end really does, learnt by asking it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from object_clerk.endpoint.answers import Answer, Support
from object_clerk.endpoint.features import FEATURES, Finding
from object_clerk.endpoint.invisible import (
    ask_crc64nvme,
    ask_delete,
    ask_digests,
    ask_versioning,
)
from object_clerk.endpoint.scratch import Scratch
from object_clerk.endpoint.visible import UNQUOTED, ask_all
from object_clerk.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Endpoint", "Finding", "Support"]

log = logging.getLogger(__name__)


class Endpoint:
    """What is known of one server; learnt once for each clerk.

    Whatever was not asked, or not answered clearly, is ``Support.UNKNOWN``. Safe to share between
    threads; a forked child keeps what was known.

    Attributes:
        crc32: what it makes of ``x-amz-checksum-crc32``.
        crc64nvme: of ``x-amz-checksum-crc64nvme``; asked only where it can be computed here, and
            where the CRC32 is checked.
        content_md5: what it makes of ``Content-MD5``.
        delete_if_match: of the If-Match of a DELETE.
        put_if_none_match: of ``If-None-Match: *`` of a PUT.
        put_if_match: of the If-Match of a PUT.
        if_match_quoted: whether that has to be spelled with quotes, as in the ETag itself; Ceph 16
            holds only without them.
        complete_if_none_match: of ``If-None-Match: *`` of CompleteMultipartUpload.
        complete_if_match: of its If-Match.
        copy_source_if_match: of the condition on the source of CopyObject.
        copy_if_none_match: of ``If-None-Match: *`` on its target.
        copy_if_match: of If-Match on its target.
        get_if_match: of the If-Match of a GET.
        part_number: of the part number of a HEAD or GET.
        copy_etag: HONOURED if CopyObject computes the ETag of the copy, IGNORED if it carries the
            source's over.
        checksums: HONOURED if a checksum sent with a PUT comes back with a HEAD.
        full_object: what it makes of a CRC32 of the whole at CompleteMultipartUpload.
        object_size: of the size of the whole there.
        copies_parts: False once the server gave no answer to the copy of a part.
        gives_crc64nvme: whether the object of an upload in parts was seen to come back with the
            CRC64NVME that was sent, so that it needs no MD5 beside it; None before the first.
        etag_is_md5: False once an object was seen whose ETag is not its MD5.
        versioning: HONOURED if the bucket examined keeps versions, IGNORED if it never did,
            REFUSED if it ceased to.
        left_behind: keys of objects that the last examination could not remove; usually none.
    """

    def __init__(self) -> None:
        self.crc32 = Support.UNKNOWN
        self.crc64nvme = Support.UNKNOWN
        self.content_md5 = Support.UNKNOWN
        self.delete_if_match = Support.UNKNOWN
        self.put_if_none_match = Support.UNKNOWN
        self.put_if_match = Support.UNKNOWN
        self.if_match_quoted = True
        self.complete_if_none_match = Support.UNKNOWN
        self.complete_if_match = Support.UNKNOWN
        self.copy_source_if_match = Support.UNKNOWN
        self.copy_if_none_match = Support.UNKNOWN
        self.copy_if_match = Support.UNKNOWN
        self.get_if_match = Support.UNKNOWN
        self.part_number = Support.UNKNOWN
        self.copy_etag = Support.UNKNOWN
        self.checksums = Support.UNKNOWN
        self.full_object = Support.UNKNOWN
        self.object_size = Support.UNKNOWN
        self.versioning = Support.UNKNOWN
        self.left_behind: tuple[str, ...] = ()
        self.gives_crc64nvme: bool | None = None
        self.etag_is_md5 = True
        self.copies_parts = True
        self._details: dict[str, str] = {}
        self._unsettled: set[tuple[str, str]] = set()
        self._lock = ForkSafeLock()
        self._examining = ForkSafeLock()

    def learn(
        self, call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
    ) -> None:
        """Ask, once, which digests of a body the server checks.

        Parts with wrong digests are offered to a multipart upload that is aborted at once, so
        nothing ever becomes visible. Acceptance alone would prove nothing: several servers take
        the headers without looking at them.

        Args:
            call: makes one request; a failure that may pass is no answer, so it is repeated.
            insist: makes one with retries, to end what was begun.
            bucket: where an upload may be begun.
            key: under which key; permission to upload is needed for no other.
        """
        with self._lock:
            if Support.UNKNOWN in (self.crc32, self.content_md5):
                self._found(bucket, ask_digests(call, insist, bucket, key))
                log.debug("%s", self.report())

    def learn_crc64nvme(
        self, call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
    ) -> Support:
        """Ask, once, whether the server checks a CRC64NVME; the rest has to be learnt before.

        Args:
            call: as for :meth:`learn`.
            insist: as for :meth:`learn`, with a time of its own for tidying up.
            bucket: as for :meth:`learn`.
            key: as for :meth:`learn`.
        """
        with self._lock:
            if self.gives_crc64nvme is not False and self._is_open("crc64nvme", bucket):
                found = ask_crc64nvme(call, insist, bucket, key, self.crc32)
                self._found(bucket, {"crc64nvme": found})
                log.debug("%s", self.report())
        return self.crc64nvme

    def saw_crc64nvme(self, bucket: str, *, given: bool) -> None:
        """Take note whether an object came back with its CRC64NVME; if not, MD5 proves more."""
        with self._lock:
            self.gives_crc64nvme = given
            if not given:
                self.crc64nvme = Support.UNKNOWN
                answer = Answer(Support.UNKNOWN, "not used, since objects come back without it")
                self._found(bucket, {"crc64nvme": answer})

    def learn_delete(self, call: Callable[..., Any], bucket: str, key: str = "") -> None:
        """Ask, once, whether the server heeds the If-Match of a DELETE.

        Only a key that does not exist is deleted, and nothing at all is sent to a bucket that
        has, or may have, versions, since there a DELETE would leave a marker.

        Args:
            call: makes one request, as for :meth:`learn`.
            bucket: where an object is to be deleted.
            key: its key; the random key that is asked about begins like it, so that no further
                permission is needed.
        """
        with self._lock:
            if self._is_open("delete_if_match", bucket):
                self._found(bucket, {"delete_if_match": ask_delete(call, bucket, key)})
                log.debug("%s", self.report())

    def learn_condition(
        self,
        feature: str,
        call: Callable[..., Any],
        insist: Callable[..., Any],
        bucket: str,
        prefix: str,
    ) -> Support:
        """What the server makes of a condition; :meth:`examine` asks if that is not known yet.

        However many threads want to know, it is asked once.

        Args:
            feature: the name of the attribute, such as ``put_if_none_match``.
            call: as for :meth:`examine`.
            insist: as for :meth:`examine`.
            bucket: as for :meth:`examine`.
            prefix: as for :meth:`examine`.
        """
        with self._examining:
            if self._is_open(feature, bucket):
                self.examine(call, insist, bucket, prefix)
        return self._of(feature)

    def _is_open(self, feature: str, bucket: str) -> bool:
        """Whether to ask; where no clear answer came, asking again would only cost time."""
        return self._of(feature) is Support.UNKNOWN and (feature, bucket) not in self._unsettled

    def examine(
        self,
        call: Callable[..., Any],
        insist: Callable[..., Any],
        bucket: str,
        prefix: str,
    ) -> None:
        """Ask everything else, with objects of a few bytes that are removed again.

        About fifty small requests, each time it is called. A condition counts as honoured only
        if one that does not hold was refused and the object stayed as it was.

        Args:
            call: makes one request, as for :meth:`learn`.
            insist: makes one with retries, to prepare and to tidy up.
            bucket: where objects may be written, read and deleted.
            prefix: what the keys of these objects begin with; a random name follows.

        Raises:
            ObjectClerkException: no object could be made there at all.
        """
        versioning = ask_versioning(call, bucket)
        scratch = Scratch(call, insist, bucket, prefix)
        try:
            answers = ask_all(scratch)
        finally:
            had = versioning.support in (Support.HONOURED, Support.REFUSED)
            self.left_behind = scratch.remove(has_versions=had)
        with self._lock:
            self._found(bucket, {**answers, "versioning": versioning})
            self.if_match_quoted = self._details.get("put_if_match") != UNQUOTED
        log.debug("%s", self.report())

    def _found(self, bucket: str, answers: dict[str, Answer]) -> None:
        for name, answer in answers.items():
            if answer.support is Support.UNKNOWN and not answer.may_pass:
                self._unsettled.add((name, bucket))
            # That nothing could be seen this time does not unmake what was seen before.
            if answer.support is not Support.UNKNOWN or self._of(name) is Support.UNKNOWN:
                setattr(self, name, answer.support)
                self._details[name] = answer.detail

    def _of(self, name: str) -> Support:
        support: Support = getattr(self, name)
        return support

    def findings(self) -> list[Finding]:
        """All that is known, what it means, and what helps, feature by feature."""
        return [
            each.finding(Answer(self._of(each.name), self._details.get(each.name, "")))
            for each in FEATURES
        ]

    def report(self) -> dict[str, str]:
        """What is known, as text: feature -> finding."""
        return {each.feature: each.text for each in self.findings()}

    def advice(self) -> list[str]:
        """What one should know before relying on this server, and which settings help."""
        return [
            f"{each.feature}: {'; '.join(filter(None, (each.meaning, each.settings)))}"
            for each in self.findings()
            if each.support in (Support.IGNORED, Support.REFUSED)
        ]
