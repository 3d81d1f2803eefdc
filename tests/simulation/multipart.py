"""The requests of the made-up store that make an object of parts."""

from __future__ import annotations

import re
from typing import Any

from tests.simulation.api import (
    CONDITIONS,
    COPY,
    KEPT,
    SSE,
    SUMS,
    WHERE,
    Answer,
    Params,
    accepts,
)
from tests.simulation.digests import ALGORITHMS, checksum, composite_etag
from tests.simulation.errors import Unsupported
from tests.simulation.listings import Listings
from tests.simulation.store import Upload, Version

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_MOST_PARTS = 1000


class S3(Listings):
    """All of the made-up store's requests."""

    def _upload(self, given: Params, known: bool = True) -> Upload:
        found = self.store.uploads.get(given["UploadId"])
        if found is not None and (found.bucket, found.key) == (given["Bucket"], given["Key"]):
            return found
        raise self.error("NoSuchUpload", 404) if known else self.error("InternalError", 500)

    @accepts(WHERE + KEPT + "ChecksumAlgorithm ChecksumType")
    def create_multipart_upload(self, given: Params) -> Answer:
        upload_id = f"upload{self.store.next_serial()}"
        store = self.store
        store.uploads[upload_id] = Upload(
            upload_id, store.author, given["Bucket"], given["Key"], dict(given), store.request
        )
        return {"Bucket": given["Bucket"], "Key": given["Key"], "UploadId": upload_id}

    @accepts(WHERE + "UploadId PartNumber Body ContentLength " + SUMS + SSE)
    def upload_part(self, given: Params) -> Answer:
        upload = self._upload(given, self.traits.no_such_upload_on_part)
        data = given.get("Body", b"")
        try:
            self.check_body(given, data)
        except Exception:
            if not self.traits.upload_survives_bad_part:
                del self.store.uploads[upload.upload_id]
            raise
        part = self._keep_part(upload, given["PartNumber"], self.store.kept_of(data))
        answer: Answer = {"ETag": f'"{part.etag}"', **self.encryption()}
        if self.traits.verifies_checksum_header and self.traits.returns_checksum:
            for name in ALGORITHMS:
                if given.get(f"Checksum{name}") is not None:
                    answer[f"Checksum{name}"] = checksum(name, part.data)
        return answer

    def _keep_part(self, upload: Upload, number: int, data: bytes) -> Version:
        if number in upload.parts and not self.traits.part_replaceable:
            raise self.error("NotImplemented", 501)
        part = upload.parts[number] = self.store.version([data], True, {"ChecksumAlgorithm": None})
        return part

    @accepts(WHERE + "UploadId PartNumber CopySourceRange " + COPY + SSE)
    def upload_part_copy(self, given: Params) -> Answer:
        upload = self._upload(given, self.traits.no_such_upload_on_part)
        source = self.copy_source(given)
        data = source.data
        if match := _RANGE.fullmatch(given.get("CopySourceRange", "")):
            if int(match[2]) >= len(data):
                raise self.error("InvalidRange", 416)
            data = data[int(match[1]) : int(match[2]) + 1]
        part = self._keep_part(upload, given["PartNumber"], self.store.kept_of(data))
        result: Answer = {"ETag": f'"{part.etag}"', "LastModified": part.modified}
        if not self.traits.upload_part_copy:
            del result["ETag"]
        return {"CopyPartResult": result, **self.encryption()}

    @accepts(WHERE + "UploadId MaxParts PartNumberMarker")
    def list_parts(self, given: Params) -> Answer:
        upload = self._upload(given)
        after = int(given.get("PartNumberMarker", 0))
        numbers = sorted(number for number in upload.parts if number > after)
        most = min(given.get("MaxParts", _MOST_PARTS), _MOST_PARTS)
        page = numbers[:most]
        answer: Answer = {"IsTruncated": len(numbers) > most}
        rows = [self._part_row(upload, number) for number in page]
        if rows:
            answer["Parts"] = rows
            answer["NextPartNumberMarker"] = page[-1]
        return answer

    def _part_row(self, upload: Upload, number: int) -> Answer:
        part = upload.parts[number]
        row: Answer = {
            "PartNumber": number,
            "ETag": f'"{part.etag}"',
            "Size": len(part.data),
            "LastModified": part.modified,
        }
        algorithm = upload.kept.get("ChecksumAlgorithm")
        if algorithm and self.traits.returns_checksum and self.traits.verifies_checksum_header:
            row[f"Checksum{algorithm}"] = checksum(algorithm, part.data)
        return row

    @accepts(WHERE + "UploadId")
    def abort_multipart_upload(self, given: Params) -> Answer:
        del self.store.uploads[self._upload(given).upload_id]
        return {}

    # -- the end of an upload --------------------------------------------------------------

    @accepts(
        WHERE + "UploadId MultipartUpload MpuObjectSize ChecksumType " + SUMS + CONDITIONS + SSE
    )
    def complete_multipart_upload(self, given: Params) -> Answer:
        upload_id = given["UploadId"]
        if upload_id in self.store.completed and self.traits.complete_repeatable:
            return dict(self.store.completed[upload_id])
        known = self.traits.no_such_upload_on_complete or upload_id in self.store.completed
        upload = self._upload(given, known)
        parts = self._chosen(upload, given["MultipartUpload"]["Parts"])
        if_none_match = self.traits.complete_if_none_match
        self.check_conditions(given, self.profile.complete_if_match, if_none_match)
        self._check_whole(given, parts)
        version = self.store.version([part.data for part in parts], False, upload.kept)
        self._sum_up(upload, given, version, parts)
        del self.store.uploads[upload_id]
        self.store.insert(upload.bucket, upload.key, version)
        answer = self._stored(given, version) | {"Bucket": upload.bucket, "Key": upload.key}
        if not self.traits.complete_reply_has_etag:
            empty = self.profile.complete_etag_empty
            composite = composite_etag([part.data for part in parts])
            answer["ETag"] = "" if empty else f'"{composite}"'
        self.store.completed[upload_id] = answer | {"ETag": f'"{version.etag}"'}
        return answer

    def _chosen(self, upload: Upload, listed: list[Any]) -> list[Version]:
        parts: list[Version] = []
        numbers = [entry["PartNumber"] for entry in listed]
        if not numbers or numbers != sorted(set(numbers)):
            raise self.error("InvalidPartOrder", 400)
        for entry in listed:
            part = upload.parts.get(entry["PartNumber"])
            if part is None or self._contradicts(entry, part):
                raise self.error("InvalidPart", 400)
            parts.append(part)
        small = any(len(part.data) < self.store.smallest_part for part in parts[:-1])
        if small and self.traits.min_part_size_enforced:
            raise self.error("EntityTooSmall", 400)
        return parts

    def _contradicts(self, entry: Params, part: Version) -> bool:
        known = {"PartNumber", "ETag", *(f"Checksum{name}" for name in ALGORITHMS)}
        if not entry.keys() <= known:
            raise Unsupported(f"the made-up store does not know all of {entry}")
        wrong = entry["ETag"].strip('"') != part.etag
        if wrong and self.traits.wrong_part_etag_rejected:
            return True
        return self.traits.verifies_checksum_header and any(
            entry[f"Checksum{name}"] != checksum(name, part.data)
            for name in ALGORITHMS
            if f"Checksum{name}" in entry
        )

    def _check_whole(self, given: Params, parts: list[Version]) -> None:
        data = b"".join(part.data for part in parts)
        size = int(given.get("MpuObjectSize", len(data)))
        if size != len(data) and self.traits.object_size_compared:
            raise self.error("InvalidRequest", 400)
        if given.get("ChecksumType") != "FULL_OBJECT":
            return
        for name in ALGORITHMS:
            stated = given.get(f"Checksum{name}")
            wrong = stated != checksum(name, data) and self.traits.full_object_checksum
            if stated is not None and (wrong or self.profile.refuses_full_object):
                raise self.error("BadDigest", 400)

    def _sum_up(
        self, upload: Upload, given: Params, version: Version, parts: list[Version]
    ) -> None:
        algorithm = upload.kept.get("ChecksumAlgorithm")
        if not algorithm:
            return
        kind = upload.kept.get("ChecksumType")
        kind = kind or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
        claimed = given.get(f"Checksum{algorithm}")
        bodies = [part.data for part in parts]
        self.store.add_checksum(version, algorithm, claimed, kind, bodies)
