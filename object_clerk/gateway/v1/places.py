"""Where an object is in the store, and what lies beside it.

The object ``key`` of the usecase ``attachments`` with the scopes ``org=42;project=7`` is
``attachments/org.42/project.7/objects/key``. No name or value of a scope has a dot or a slash, so
no two objects can be at the same place, and no key leads out of its scope.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from object_clerk.session.scope import Scope

#: What is below a scope. Names of scopes have a dot in them there, so these are none.
OBJECTS = "objects"
DEADLINES = "deadlines"
DIGESTS = "digests"
UPLOADS = "uploads"

#: What says of an upload what it is; the last of it that is removed.
MANIFEST = "manifest"

AREAS = frozenset((OBJECTS, DEADLINES, DIGESTS, UPLOADS))


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
        return "/".join((self.usecase, *(f"{name}.{value}" for name, value in self.scope.pairs())))

    @property
    def scopes(self) -> dict[str, str]:
        """The values of the scopes, by name."""
        return dict(self.scope.pairs())

    @property
    def at(self) -> str:
        """The object's key in the store."""
        return self.beside(OBJECTS)

    def beside(self, area: str) -> str:
        """The key in the store of what belongs to the object."""
        return f"{self.root}/{area}/{self.key}"


def split(at: str) -> tuple[str, str, str] | None:
    """Root, area and rest of a key in the store; None for a key that is none of ours."""
    usecase, *steps = at.split("/")
    for number, step in enumerate(steps):
        if step in AREAS:
            rest = "/".join(steps[number + 1 :])
            return ("/".join((usecase, *steps[:number])), step, rest) if usecase and rest else None
        if "." not in step:
            return None
    return None
