"""The file of tokens: the gateway looks tokens up in it, the commands change it."""

from __future__ import annotations

import dataclasses
import hmac
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import (
    DestinationExists,
    ObjectClerkConfigurationException,
    ObjectNotFoundException,
)
from object_clerk.gateway._files import JsonFile, Watched, utc_now
from object_clerk.gateway.tokens.records import (
    TokenRecord,
    check_name,
    check_prefix,
    check_scopes,
    end_of_life,
    hash_of,
    new_text,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime


class TokenExists(DestinationExists):
    """There is a token of this name."""

    hint = "refresh replaces it by a new one"


class TokenNotFound(ObjectNotFoundException):
    """There is no token of this name."""

    hint = "list shows the names"


@dataclasses.dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made: the only time that its text is known.

    Attributes:
        record: what the file has of it.
        text: the token itself; not shown by ``repr``.
    """

    record: TokenRecord
    text: str = dataclasses.field(repr=False)


class TokenFile:
    """The tokens in a JSON file, of which only hashes are kept.

    Safe for any number of threads and processes. Changes of the file are seen at the next call of
    :meth:`find`.

    Args:
        path: the file; that it is missing means that there are no tokens.
        clock: tells the time.

    Attributes:
        path: the file.
    """

    def __init__(
        self, path: str | os.PathLike[str], clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._file = JsonFile(path)
        self.path = self._file.path
        self._clock = clock
        self._index: Watched[Mapping[str, TokenRecord]]
        self._index = Watched(self._file, lambda document: _index(self._records(document)), {})

    def find(self, text: str) -> TokenRecord | None:
        """The record of a token, also of one that has expired; None if there is no such token.

        Raises no error, whatever is in the file: see
        :class:`~object_clerk.gateway._files.Watched`. How long it takes tells nothing of a token:
        what is looked up and compared is a hash.
        """
        wanted = hash_of(text)
        record = self._index.current().get(wanted)
        return record if record and hmac.compare_digest(record.hash, wanted) else None

    def records(self) -> tuple[TokenRecord, ...]:
        """All tokens, in the order of the file.

        Raises:
            ObjectClerkConfigurationException: the file is corrupt.
            ObjectClerkFileException: it cannot be read.
        """
        document = self._file.read()
        return () if document is None else self._records(document)

    def add(self, name: str, ttl_days: float, scopes: Iterable[str], prefix: str = "") -> NewToken:
        """Make a token.

        Args:
            name: whose it is; nobody else's.
            ttl_days: for how many days it is good, more than 0.
            scopes: what it allows, at least one of read, write and delete.
            prefix: it allows that only for keys that begin with this; empty for all.

        Raises:
            TokenExists: there is one of this name.
            ObjectClerkParameterException: a bad argument.
            ObjectClerkConfigurationException: the file is corrupt.
            ObjectClerkFileException: it cannot be read or written.
        """
        now, text = self._clock(), new_text()
        expires = end_of_life(ttl_days, now)
        record = TokenRecord(
            check_name(name),
            hash_of(text),
            expires,
            now,
            check_scopes(scopes),
            check_prefix(prefix),
        )
        with self._file.locked() as replace:
            records = self.records()
            if any(each.name == name for each in records):
                raise TokenExists(f"there is a token named {name!r} already")
            replace([each.to_dict() for each in (*records, record)])
        return NewToken(record, text)

    def delete(self, name: str) -> TokenRecord:
        """Remove a token, which is refused from now on.

        Raises:
            TokenNotFound: there is none of this name.
            ObjectClerkConfigurationException: the file is corrupt.
            ObjectClerkFileException: it cannot be read or written.
        """
        with self._file.locked() as replace:
            records = self.records()
            found = _named(name, records)
            replace([each.to_dict() for each in records if each is not found])
        return found

    def refresh(
        self,
        name: str,
        ttl_days: float,
        scopes: Iterable[str] | None = None,
        prefix: str | None = None,
    ) -> NewToken:
        """Replace a token by a new one; the old text is refused from now on.

        Args:
            name: whose it is.
            ttl_days: for how many days the new one is good, more than 0.
            scopes: what it allows; None for what the old one does.
            prefix: the keys it is for begin with this; empty for all, None for those of the old.

        Raises:
            TokenNotFound: there is none of this name.
            ObjectClerkParameterException: a bad argument.
            ObjectClerkConfigurationException: the file is corrupt.
            ObjectClerkFileException: it cannot be read or written.
        """
        now, text = self._clock(), new_text()
        expires = end_of_life(ttl_days, now)
        changes: dict[str, Any] = {}
        if scopes is not None:
            changes["scopes"] = check_scopes(scopes)
        if prefix is not None:
            changes["prefix"] = check_prefix(prefix)
        with self._file.locked() as replace:
            records = self.records()
            old = _named(name, records)
            new = dataclasses.replace(
                old, hash=hash_of(text), expires=expires, created_at=now, **changes
            )
            replace([(new if each is old else each).to_dict() for each in records])
        return NewToken(new, text)

    def _records(self, document: Any) -> tuple[TokenRecord, ...]:
        if not isinstance(document, list):
            raise self._file.bad("it is not a list of tokens")
        records: dict[str, TokenRecord] = {}
        for number, each in enumerate(document, 1):
            try:
                record = TokenRecord.from_dict(each)
            except ObjectClerkConfigurationException as error:
                raise self._file.bad(f"entry {number}: {error}") from None
            if record.name in records:
                raise self._file.bad(f"entry {number}: there are two tokens {record.name!r}")
            records[record.name] = record
        if len(_index(records.values())) < len(records):
            raise self._file.bad("two names have the same token")
        return tuple(records.values())


def _index(records: Iterable[TokenRecord]) -> Mapping[str, TokenRecord]:
    return {record.hash: record for record in records}


def _named(name: str, records: Iterable[TokenRecord]) -> TokenRecord:
    for record in records:
        if record.name == name:
            return record
    raise TokenNotFound(f"there is no token named {name!r}")
