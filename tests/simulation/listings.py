"""The requests of the made-up store that list something, page by page."""

from __future__ import annotations

import datetime
import email.utils
from typing import TYPE_CHECKING, Any

from tests.simulation.api import Answer, Api, Params, accepts
from tests.simulation.errors import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 1000


def _page(entries: Sequence[Any], size: int) -> tuple[list[Any], bool]:
    size = min(size, _MOST)
    return list(entries[:size]), len(entries) > size


class Listings(Api):
    """Listings of objects, of versions, of uploads."""

    @accepts("Bucket Prefix Delimiter MaxKeys StartAfter ContinuationToken EncodingType FetchOwner")
    def list_objects_v2(self, given: Params) -> Answer:
        store, bucket, prefix = self.store, given["Bucket"], given.get("Prefix", "")
        after: str = given.get("ContinuationToken") or given.get("StartAfter", "")
        rows: dict[str, Answer] = {}
        for key in store.keys(bucket):
            if not key.startswith(prefix):
                continue
            name, row = self._row(bucket, key, prefix, given.get("Delimiter"))
            if name > after:
                rows.setdefault(name, row)
        page, more = _page(list(rows), given.get("MaxKeys", _MOST))
        answer: Answer = {"Name": bucket, "IsTruncated": more, "KeyCount": len(page)}
        for name in page:
            kind = "Contents" if "Key" in rows[name] else "CommonPrefixes"
            answer.setdefault(kind, []).append(rows[name])
        if more:
            answer["NextContinuationToken"] = page[-1]
        return answer

    def _row(self, bucket: str, key: str, prefix: str, delimiter: str | None) -> tuple[str, Answer]:
        if delimiter and (cut := key.find(delimiter, len(prefix))) >= 0:
            name = key[: cut + len(delimiter)]
            return name, {"Prefix": name}
        version = self.store.current(bucket, key)
        assert version is not None
        return key, {
            "Key": key,
            "Size": len(version.data),
            "ETag": f'"{version.etag}"',
            "LastModified": version.modified,
            "StorageClass": "STANDARD",
        }

    @accepts("Bucket Prefix Delimiter KeyMarker VersionIdMarker MaxKeys EncodingType")
    def list_object_versions(self, given: Params) -> Answer:
        objects = self.store.buckets[given["Bucket"]].objects
        rows = []
        for key in sorted(objects):
            if not key.startswith(given.get("Prefix", "")):
                continue
            for version in reversed(objects[key]):
                rows.append((key, version))
        marker = (given.get("KeyMarker", ""), given.get("VersionIdMarker"))
        rows = rows[self._after(rows, marker) :]
        page, more = _page(rows, given.get("MaxKeys", _MOST))
        answer: Answer = {"IsTruncated": more}
        for key, version in page:
            row: Answer = {
                "Key": key,
                "VersionId": version.version_id if self.is_versioned(given) else "null",
                "IsLatest": objects[key][-1] is version,
                "LastModified": version.modified,
            }
            if not version.marker:
                row |= {"ETag": f'"{version.etag}"', "Size": len(version.data)}
            kind = "DeleteMarkers" if version.marker else "Versions"
            answer.setdefault(kind, []).append(row)
        if more:
            answer["NextKeyMarker"], last = page[-1]
            answer["NextVersionIdMarker"] = last.version_id
        return answer

    def _after(self, rows: list[Any], marker: tuple[str, str | None]) -> int:
        for index, (key, version) in enumerate(rows):
            if key > marker[0] or (key, version.version_id) == marker:
                return index + int(key == marker[0])
        return len(rows) if marker[0] else 0

    @accepts("Bucket Prefix Delimiter KeyMarker UploadIdMarker MaxUploads EncodingType")
    def list_multipart_uploads(self, given: Params) -> Answer:
        marker = (given.get("KeyMarker", ""), given.get("UploadIdMarker", "~"))
        found = sorted(
            (upload.key, upload.upload_id)
            for upload in self.store.uploads.values()
            if upload.bucket == given["Bucket"]
            and upload.key.startswith(given.get("Prefix", ""))
            and (upload.key, upload.upload_id) > marker
        )
        page, more = _page(found, given.get("MaxUploads", _MOST))
        answer: Answer = {"IsTruncated": more}
        if page:
            answer["Uploads"] = [
                {"Key": key, "UploadId": upload_id, "Initiated": self._initiated()}
                for key, upload_id in page
            ]
        if more:
            answer["NextKeyMarker"], answer["NextUploadIdMarker"] = page[-1]
        date = email.utils.format_datetime(self.store.now(), usegmt=True)
        answer["ResponseMetadata"] = metadata(headers={"date": date})
        return answer

    def _initiated(self) -> datetime.datetime:
        if self.traits.upload_initiated:
            return self.store.now()
        return datetime.datetime(2010, 11, 10, tzinfo=datetime.UTC)
