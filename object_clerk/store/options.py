"""What a caller may ask of an adapter besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkTypeException
from object_clerk.store.configurations import near_miss

if TYPE_CHECKING:
    from collections.abc import Mapping


def known(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """``options``, if all of them are among ``names``.

    Raises:
        ObjectClerkTypeException: one of them is not; it says which was meant.
    """
    for name in options:
        if name not in names:
            raise ObjectClerkTypeException(f"there is no option {name!r}; {near_miss(name, names)}")
    return dict(options)
