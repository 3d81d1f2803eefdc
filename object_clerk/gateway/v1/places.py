"""Which keys of the store belong to an object, and to what kind of thing a key belongs.

All of them begin with :data:`~object_clerk.gateway.reserved.RESERVED`. What lies beside an object
goes by the object's generation, a name that no other write has: so it can never be taken for that
of another write, and two who write at once are never in each other's way.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from object_clerk.gateway.reserved import RESERVED

if TYPE_CHECKING:
    from object_clerk.session.scope import Scope

#: What is below a scope. Names of scopes have a dot in them there, so these are none.
OBJECTS = "objects"
DEADLINES = "deadlines"
DIGESTS = "digests"
UPLOADS = "uploads"

#: What says of an upload what it is; the first of it that is removed.
MANIFEST = "manifest"

#: So long may usecase and scopes be that the names of what lies beside objects fit behind them.
LONGEST_ROOT = 800


@dataclasses.dataclass(frozen=True)
class Place:
    """An object, or with an empty key a collection of objects.

    Attributes:
        usecase: the usecase.
        scope: the scopes.
        key: the key, as the client knows it.
    """

    usecase: str
    scope: Scope
    key: str

    @property
    def root(self) -> str:
        """What all keys of this scope in the store begin with."""
        steps = (self.usecase, *(f"{name}.{value}" for name, value in self.scope.pairs()))
        return RESERVED + "/".join(steps)

    @property
    def scopes(self) -> dict[str, str]:
        """The values of the scopes, by name."""
        return dict(self.scope.pairs())

    @property
    def at(self) -> str:
        """The object's key in the store."""
        return f"{self.root}/{OBJECTS}/{self.key}"


#: What follows each area, where that is of our own making.
_RESTS = {
    OBJECTS: re.compile(r".+", re.DOTALL),
    DEADLINES: re.compile(r"[0-9a-f]{32}"),
    DIGESTS: re.compile(r"[0-9a-f]{32}"),
    UPLOADS: re.compile(rf"[A-Za-z0-9_-]{{32}}/(?:{MANIFEST}|(?:claims|chunks|data|parts)/.+)"),
}


def split(at: str) -> tuple[str, str, str] | None:
    """Root, area and rest of a key in the store; None for a key that ``/v1`` does not write."""
    usecase, *steps = at.removeprefix(RESERVED).split("/")
    for number, step in enumerate(steps):
        if step in _RESTS:
            root, rest = "/".join((usecase, *steps[:number])), "/".join(steps[number + 1 :])
            return (RESERVED + root, step, rest) if _RESTS[step].fullmatch(rest) else None
        if "." not in step:
            return None
    return None
