"""Scopes: ordered pairs of name and value that separate the objects of one usecase."""

from __future__ import annotations

import re

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException

#: How a scope without pairs is written: a path cannot have an empty segment.
NO_SCOPE = "_"

_WORD = re.compile(r"[A-Za-z0-9\-_()$!+']+")


class Scope:
    """Where objects live within a usecase: pairs of name and value, whose order counts.

    Args:
        **scopes: name and value of each pair. ``Scope(org=42, project=7)`` is another scope than
            ``Scope(project=7, org=42)``. A bool is written as Python does, ``True`` or ``False``:
            objects are found again where other Python programs have put them.

    Raises:
        ObjectClerkParameterException: a name or value is empty, or has another character than
            ``A-Z a-z 0-9 - _ ( ) $ ! + '``.
        ObjectClerkTypeException: a value is none of str, int, bool.
    """

    __slots__ = ("_pairs", "_values")

    def __init__(self, /, **scopes: str | int | bool) -> None:
        self._values = dict(scopes)
        self._pairs = tuple((_word(name), _written(name, scopes[name])) for name in scopes)

    @classmethod
    def parse(cls, text: str) -> Scope:
        """The scope that ``str`` has written; all values are text.

        Raises:
            ObjectClerkParameterException: it is no scope, or names something twice.
        """
        if text == NO_SCOPE:
            return cls()
        pairs: dict[str, str] = {}
        for each in text.split(";"):
            name, equals, value = each.partition("=")
            if not equals:
                raise ObjectClerkParameterException(
                    f"a scope is name=value, joined by ';', or '{NO_SCOPE}' for none; "
                    f"{each[:80]!r} is not"
                )
            if name in pairs:
                raise ObjectClerkParameterException(f"the scope has {name[:80]!r} twice")
            pairs[name] = value
        return cls(**pairs)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names and values as they are written, in order."""
        return self._pairs

    def dict(self) -> dict[str, str | int | bool]:
        """Names and values as they were given."""
        return dict(self._values)

    def __str__(self) -> str:
        return ";".join(f"{name}={value}" for name, value in self._pairs) or NO_SCOPE

    def __repr__(self) -> str:
        return f"Scope({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def __eq__(self, other: object) -> bool:
        return self._pairs == other._pairs if isinstance(other, Scope) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._pairs)


def _written(name: str, value: object) -> str:
    if not isinstance(value, str | int):
        raise ObjectClerkTypeException(
            f"the scope {name!r} is a str, an int or a bool, not {type(value).__name__}"
        )
    return _word(str(value))


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        hint = "; '*' stands for any value in tokens, and is no value itself" if "*" in text else ""
        raise ObjectClerkParameterException(
            f"names and values of a scope have 1 or more of A-Z a-z 0-9 - _ ( ) $ ! + '; "
            f"{text[:80]!r} does not fit{hint}"
        )
    return text
