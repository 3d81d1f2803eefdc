"""Which keys of the store are ``/v1``'s: the REST API neither shows nor touches them.

Else a token of the REST API would open every scope, and what ``/v1`` takes for its own when it
sweeps might be somebody else's.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from object_clerk.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from object_clerk.store.store import ObjectStore

#: All keys of ``/v1``, and no others, begin with it.
RESERVED = ".sessions/"

#: Behind all of them: what follows the prefix is the name of a usecase, which is ASCII.
_BEHIND = RESERVED + "\U0010ffff"


def checked(key: str) -> str:
    """The key, if the REST API may use it.

    Raises:
        Refusal: 403, it is one of ``/v1``'s.
    """
    if _is_reserved(key):
        raise Refusal(403, f"keys that begin with {RESERVED} are those of /v1")
    return key


def _is_reserved(key: str) -> bool:
    return key.startswith(RESERVED)


def keys_of_others(
    store: ObjectStore, prefix: str, start_after: str | None, limit: int
) -> Iterator[str]:
    """A listing of keys that passes over those of ``/v1``, however many they are.

    Args:
        store: which store.
        prefix: what the keys begin with.
        start_after: behind this key.
        limit: at most so many.
    """
    left = limit
    for each in store.list_objects(prefix, start_after=start_after, limit=limit):
        if _is_reserved(each.key):
            break
        left -= 1
        yield each.key
    else:
        return
    behind = (each.key for each in store.list_objects(prefix, start_after=_BEHIND))
    others = (key for key in behind if not _is_reserved(key))
    yield from itertools.islice(others, left)
