"""What is said to those who manage tokens: the same whichever command line they use."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_clerk.config import read_dotenv
from object_clerk.gateway._files import utc_now
from object_clerk.gateway.tokens.file import NewToken, TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from object_clerk.gateway.tokens.records import TokenRecord

#: The variable that names the file, and what its value is otherwise.
VARIABLE, DEFAULT_FILE = "AUTH_TOKENS_FILE", "tokens.json"

#: Help for the options, which both command lines have.
FILE_HELP = f"The file of tokens; else the variable {VARIABLE}, else {DEFAULT_FILE}."
TTL_HELP = "For how many days the token is good, such as 365 or 0.5."
SCOPE_HELP = "What the token allows: read, write or delete; may be given several times."
PREFIX_HELP = "Allow that only for keys that begin with P; for a folder, end it with a slash."
JSON_HELP = "Print JSON, one object a line."


@dataclasses.dataclass(frozen=True, slots=True)
class Commands:
    """The commands; each returns what is to be printed.

    Args:
        file: the file that the user named, if any.
        as_json: whether a program reads the answer.
    """

    file: str | None = None
    as_json: bool = False

    def add(
        self, name: str, ttl_days: float, scopes: Iterable[str], prefix: str | None = None
    ) -> str:
        """Make a token; the last line is the token."""
        return self._made(self._tokens().add(name, ttl_days, scopes, prefix or ""), ttl_days)

    def refresh(
        self,
        name: str,
        ttl_days: float,
        scopes: Sequence[str] | None = None,
        prefix: str | None = None,
    ) -> str:
        """Replace a token; the last line is the new one. Scopes stay if none are given."""
        new = self._tokens().refresh(name, ttl_days, scopes or None, prefix)
        return self._made(new, ttl_days)

    def delete(self, name: str) -> str:
        """Remove a token."""
        record = self._tokens().delete(name)
        if self.as_json:
            return json.dumps(_fields(record) | {"deleted": True})
        return f"The token {record.name!r} is deleted."

    def list(self) -> str:
        """Show all tokens, in the order in which they were made."""
        tokens = self._tokens()
        records = tokens.records()
        if self.as_json:
            expired = sum(record.has_expired(utc_now()) for record in records)
            summary = {"type": "summary", "tokens": len(records), "expired": expired}
            return "\n".join(map(json.dumps, (*map(_fields, records), summary)))
        return _table(records) if records else f"There are no tokens in {tokens.path}."

    def _tokens(self) -> TokenFile:
        # As the gateway looks for it: its settings also come from .env.
        given = self.file or os.environ.get(VARIABLE) or read_dotenv(True).get(VARIABLE)
        return TokenFile(Path(given or DEFAULT_FILE).expanduser())

    def _made(self, new: NewToken, ttl_days: float) -> str:
        record = new.record
        if self.as_json:
            return json.dumps(_fields(record) | {"ttl_days": ttl_days, "token": new.text})
        facts = {
            "name": _printable(record.name),
            "ttl_days": str(ttl_days).removesuffix(".0"),
            "expires": record.expires.isoformat(timespec="seconds"),
            "scopes": " ".join(map(_printable, record.scopes)),
            "prefix": _printable(record.prefix) or "(all keys)",
        }
        lines = [f"{fact}: {value}" for fact, value in facts.items()]
        return "\n".join((*lines, "The token, which is shown only now:", new.text))


def _fields(record: TokenRecord) -> dict[str, Any]:
    """What may be told of a token: all but its hash."""
    fields = record.to_dict()
    del fields["hash"]
    expired = record.has_expired(utc_now())
    return {"type": "token", "prefix": "", **fields, "expired": expired}


def _table(records: Iterable[TokenRecord]) -> str:
    rows = [("name", "scopes", "prefix", "created", "expires", "")]
    for record in records:
        created = record.created_at
        rows.append(
            (
                _printable(record.name),
                " ".join(map(_printable, record.scopes)),
                _printable(record.prefix),
                created.isoformat(timespec="seconds") if created else "",
                record.expires.isoformat(timespec="seconds"),
                "expired" if record.has_expired(utc_now()) else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _printable(text: str) -> str:
    """``text`` without characters that would move the cursor: others may write to the file."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
