"""A tiny server of this protocol in memory, as servers of others are: it knows no digests.

``Imitation(knows=True)`` keeps digests and says them, as our gateway does.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.session.raw import Request, answer, title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT = ("content-type", "content-encoding")
KEPT_PREFIXES = ("x-sn-", "x-snme-")
DIGESTS = ("repr-digest", "x-oc-content-sha256")


class Imitation:
    """Objects by their path; call it with a request.

    Args:
        knows: whether it keeps digests and says what it stored.
        resumable: "yes", "declines" (501), or "old", which takes every request for a plain one.
        titled: whether names of headers are sent in title case.
    """

    def __init__(
        self,
        *,
        knows: bool = False,
        resumable: str = "old",
        titled: bool = False,
        granularity: int | None = None,
    ) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[str, bytes]] = []
        self._knows = knows
        self._resumable = resumable
        self._titled = titled
        self._granularity = granularity
        self._lock = threading.Lock()
        #: called first; what it gives is the answer
        self.before: Callable[[Request], Any] = lambda _: None

    def __call__(self, request: Request) -> Any:
        if not request.whole:
            return None
        with self._lock:
            early = self.before(request)
            return early if early is not None else self._routed(request)

    def _answer(
        self, status: int, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> Any:
        return answer(status, body, (title if self._titled else dict)(dict(headers or {})))

    def _routed(self, request: Request) -> Any:
        given = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
        query = {name: values[0] for name, values in given.items()}
        _, _, kind, usecase, scopes, key = [*request.path.split("/", 5), ""][:6]
        if kind != "objects":
            return self._multipart(request, kind.removeprefix("objects:"), unquote(key), query)
        key = unquote(key)
        made = key or str(uuid.uuid4())
        place = f"{usecase}/{scopes}/{made}"
        if "session" in query:
            return self._resume(request, query["session"])
        if query.get("upload_type") == "resumable" and self._resumable != "old":
            if self._resumable == "declines":
                return self._answer(501, {"detail": "not here"})
            return self._begin(request, place, made)
        return self._plain(request, place, made)

    def _plain(self, request: Request, place: str, made: str) -> Any:
        if request.method in ("PUT", "POST"):
            self._store(place, request.body, request.headers)
            body = {"key": made}
            if self._knows:
                body["sha256"] = hashlib.sha256(request.body).hexdigest()
            return self._answer(201 if request.method == "POST" else 200, body)
        if place not in self.objects:
            return self._answer(404)
        stored, headers = self.objects[place]
        if request.method == "DELETE":
            del self.objects[place]
            return self._answer(204)
        if request.method == "HEAD":
            return self._answer(204, headers=headers)
        if request.method == "PATCH":
            json.loads(request.body)
            return self._answer(204)
        return self._answer(200, stored, headers)

    def _store(self, place: str, body: bytes, given: Mapping[str, str]) -> None:
        headers = {"content-type": "application/octet-stream"}
        headers |= {
            name: value
            for name, value in given.items()
            if name in KEPT or name.startswith(KEPT_PREFIXES) or (self._knows and name in DIGESTS)
        }
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        headers["x-sn-time-created"] = now
        self.objects[place] = (body, headers)
        self.history.append((place, body))

    def _multipart(self, request: Request, kind: str, key: str, query: dict[str, str]) -> Any:
        if kind == "multipart" and request.method in ("POST", "PUT"):
            name = uuid.uuid4().hex
            self.uploads[name] = {}
            return self._answer(200, {"key": key or "chosen", "upload_id": name})
        parts = self.uploads.get(query.get("upload_id", ""))
        if parts is None:
            return self._answer(404, {"detail": "no such upload"})
        if kind == "multipart":
            del self.uploads[query["upload_id"]]
            return self._answer(204)
        if kind == "multipart:parts" and request.method == "PUT":
            parts[int(query["part_number"])] = request.body
            return self._answer(200, {"etag": hashlib.md5(request.body).hexdigest()})
        if kind == "multipart:parts":
            return self._parts(parts, int(query.get("part_number_marker", 0)))
        wanted = json.loads(request.body)["parts"]
        for part in wanted:
            there = parts.get(part["part_number"])
            if there is None or hashlib.md5(there).hexdigest() != part["etag"]:
                error = {"error": {"code": "InvalidPart", "message": "no such part"}}
                return self._answer(200, b"  \n " + json.dumps(error).encode())
        usecase, scopes = request.path.split("/")[3:5]
        body = b"".join(parts[part["part_number"]] for part in wanted)
        self._store(f"{usecase}/{scopes}/{key}", body, {})
        return self._answer(200, b"    " + json.dumps({"key": key}).encode())

    def _parts(self, parts: dict[int, bytes], marker: int) -> Any:
        """Two on each page."""
        numbers = sorted(number for number in parts if number > marker)
        listed = [
            {
                "part_number": number,
                "etag": hashlib.md5(parts[number]).hexdigest(),
                "last_modified": "2026-01-01T00:00:00Z",
                "size": len(parts[number]),
            }
            for number in numbers[:2]
        ]
        body: dict[str, Any] = {"parts": listed, "is_truncated": len(numbers) > 2}
        if len(numbers) > 2:
            body["next_part_number_marker"] = numbers[1]
        return self._answer(200, body)

    def _begin(self, request: Request, place: str, key: str) -> Any:
        name = uuid.uuid4().hex
        self.sessions[name] = {
            "place": place, "key": key, "headers": request.headers, "body": bytearray(),
            "length": int(request.headers["upload-length"]),
        }  # fmt: skip
        body = {"key": key, "session": name}
        if self._granularity:
            body["granularity"] = self._granularity  # type: ignore[assignment]
        return self._answer(200, body)

    def _resume(self, request: Request, name: str) -> Any:
        if name not in self.sessions:
            return self._answer(410, {"detail": "gone"})
        upload = self.sessions[name]
        if request.method == "DELETE":
            del self.sessions[name]
            return self._answer(204)
        at = {"upload-offset": str(len(upload["body"]))}
        offset = request.headers["upload-offset"]
        if offset == "*":
            return self._answer(204, headers=at)
        if int(offset) != len(upload["body"]):
            return self._answer(409, {"detail": "another offset"}, at)
        upload["body"] += request.body
        if len(upload["body"]) < upload["length"]:
            return self._answer(204, headers={"upload-offset": str(len(upload["body"]))})
        del self.sessions[name]
        self._store(upload["place"], bytes(upload["body"]), upload["headers"])
        return self._answer(201, {"key": upload["key"]})
