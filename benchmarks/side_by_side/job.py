"""What a tool is asked to do, and what it says of it: all that passes between the processes."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One thing to do with one tool.

    Attributes:
        verb: a name in the driver's ``VERBS``.
        kind: the kind of server, which one tool wants to know.
        key: the object; the source of a copy or move.
        target: the key of the copy.
        path: the local file to read or write.
        size: how many bytes to read, where that matters.
        keys: the objects to delete.
        part_bytes: the size of parts, and of objects that are moved in parts; None for the
            tool's own.
        deadline_s: seconds for all of it, for tools that have such a setting; None for their own.
    """

    verb: str
    kind: str
    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str
    key: str
    target: str = ""
    path: str = ""
    size: int = 0
    keys: tuple[str, ...] = ()
    part_bytes: int | None = None
    deadline_s: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the tool said.

    Attributes:
        ended: whether it came to an end before it was stopped.
        ok: whether it reported success.
        error: what it reported otherwise.
        keys: what it listed.
        seconds: how long its process took.
    """

    ended: bool = True
    ok: bool = False
    error: str = ""
    keys: tuple[str, ...] = ()
    seconds: float = 0.0
