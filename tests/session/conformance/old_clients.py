"""What two old clients send, and how they read: made here from what is known of their wire.

Both compare the names of headers in an answer as they stand, so that titled ones are nothing to
them. Bodies go out in chunks.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from object_clerk.session.zstd import zstd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.session.conformance.asking import Answer
    from tests.session.conformance.gateways import Place

_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


@dataclasses.dataclass(frozen=True)
class Read:
    """What an old client makes of an answer to GET.

    Attributes:
        expiration: the kind of policy and its duration; None if there is none.
    """

    payload: bytes
    content_type: str
    compression: str | None
    expiration: tuple[str, timedelta] | None
    created: datetime | None
    expires: datetime | None
    origin: str | None
    custom: dict[str, str]


class OldClient:
    """What both have in common; the classes below say what differs."""

    agent: str

    def __init__(self, place: Place) -> None:
        self._place = place

    def duration(self, delta: timedelta) -> str:
        raise NotImplementedError

    def read_duration(self, text: str) -> timedelta:
        raise NotImplementedError

    def encoded(self, value: str) -> str:
        raise NotImplementedError

    def decoded(self, value: str) -> str:
        raise NotImplementedError

    def send(
        self,
        contents: bytes,
        key: str = "",
        *,
        compression: str = "zstd",
        content_type: str | None = None,
        expiration: tuple[str, timedelta] | None = None,
        origin: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a put; without a key it is a POST."""
        headers = {"Accept-Encoding": "identity", "User-Agent": self.agent}
        if compression == "zstd":
            headers["Content-Encoding"] = "zstd"
            contents = zstd.compress(contents)
        if content_type is not None:
            headers["Content-Type"] = content_type
        if expiration is not None:
            kind, delta = expiration
            headers["x-sn-expiration"] = f"{kind}:{self.duration(delta)}"
        if origin is not None:
            headers["x-sn-origin"] = self.encoded(origin)
        for name, value in (metadata or {}).items():
            headers[f"x-snme-{name}"] = self.encoded(value)
        # Their keys need no escapes here: the older one would not make any.
        method = "PUT" if key else "POST"
        return self._place.ask(method, self._place.path(key), headers, [contents])

    def put(
        self,
        contents: bytes,
        key: str = "",
        *,
        compression: str = "zstd",
        expiration: tuple[str, timedelta] | None = None,
    ) -> str:
        """The key."""
        answer = self.send(contents, key, compression=compression, expiration=expiration)
        assert answer.status in (200, 201), answer.text
        found: str = answer.json["key"]
        return found

    def get(self, key: str) -> Read:
        """What it makes of an object."""
        answer = self._place.get(key, Accept_Encoding="identity", User_Agent=self.agent)
        assert answer.status == 200
        told = dict(answer.headers)
        payload, compression = answer.body, told.get("content-encoding")
        if compression == "zstd":
            payload, compression = zstd.decompress(payload), None
        return Read(
            payload,
            told.get("content-type", "application/octet-stream"),
            compression,
            self._expiration(told.get("x-sn-expiration")),
            _time(told.get("x-sn-time-created")),
            _time(told.get("x-sn-time-expires")),
            None if (origin := told.get("x-sn-origin")) is None else self.decoded(origin),
            {
                name.removeprefix("x-snme-"): self.decoded(value)
                for name, value in told.items()
                if name.startswith("x-snme-")
            },
        )

    def _expiration(self, text: str | None) -> tuple[str, timedelta] | None:
        if text is None or text == "manual":
            return None
        kind, _, duration = text.partition(":")
        assert kind in ("ttl", "tti")
        return kind, self.read_duration(duration)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


class Client016(OldClient):
    """0.1.6: days and seconds, raw values, and a lenient reader."""

    agent = "python-urllib3/2.5.0"

    def duration(self, delta: timedelta) -> str:
        # Nothing is left of a time below a second.
        parts = (f"{delta.days} days" if delta.days else "",
                 f"{delta.seconds} seconds" if delta.seconds else "")  # fmt: skip
        return " ".join(part for part in parts if part)

    def read_duration(self, text: str) -> timedelta:
        """By the first letter of each unit: a month is minutes, and a year is nothing."""
        names = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
        found = timedelta(0)
        for count, unit in re.findall(r"(\d+) ?([a-z])", text):
            if unit in names:
                found += timedelta(**{names[unit]: int(count)})
        return found

    def encoded(self, value: str) -> str:
        return value

    def decoded(self, value: str) -> str:
        return value


class Client0210(OldClient):
    """0.2.10: the compact form, percent-encoded values, and a strict reader."""

    agent = "objectstore-client/0.2.10"

    def duration(self, delta: timedelta) -> str:
        left = delta.days * 86_400 + delta.seconds
        parts = []
        for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
            count, left = divmod(left, seconds)
            parts += [f"{count}{unit}"] if count else []
        return " ".join(parts) or "0s"

    def read_duration(self, text: str) -> timedelta:
        """Exactly what it writes.

        Raises:
            ValueError: it is anything else.
        """
        found = re.fullmatch(r"(?:(\d+)d ?)?(?:(\d+)h ?)?(?:(\d+)m ?)?(?:(\d+)s)?", text)
        if not text or text.endswith(" ") or found is None:
            raise ValueError(f"no duration: {text!r}")
        days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)

    def encoded(self, value: str) -> str:
        return quote(value, safe=_VISIBLE)

    def decoded(self, value: str) -> str:
        return unquote(value, errors="strict")


BOTH = (Client016, Client0210)
