"""What the fault proxy leaves to chance, drawn so that a seed brings it back."""

from __future__ import annotations

import re
from collections import Counter
from random import Random, SystemRandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faults import Request

# These differ from run to run, whatever the seed.
_PASSING = re.compile(r"uploadid|versionid|continuation-token|x-amz-.*", re.IGNORECASE)


class Draws:
    """Random numbers for each request.

    They depend on the seed, on what is asked for, and on how often that was asked before, but
    not on the order in which the requests of several threads happen to arrive.

    Attributes:
        seed: Given, or drawn anew.
    """

    def __init__(self, seed: int | None) -> None:
        """Begin to count requests."""
        self.seed = SystemRandom().randrange(2**32) if seed is None else seed
        self._asked: Counter[str] = Counter()

    def stream(self, request: Request) -> Random:
        """Return the random numbers for this request, which is counted."""
        fields = request.query.split("&")
        query = "&".join(f for f in fields if not _PASSING.fullmatch(f.partition("=")[0]))
        asked = f"{request.method} {request.path}?{query} {request.header('Range') or ''}"
        self._asked[asked] += 1
        # Text is hashed for the seed in the same way by every Python and in every process.
        return Random(f"{self.seed} {self._asked[asked]} {asked}")  # noqa: S311
