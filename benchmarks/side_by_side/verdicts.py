"""What a cell of the table says, decided from what was found afterwards: pure functions."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.side_by_side.job import Outcome

_BLOCK = 4096


class Cell(enum.StrEnum):
    """What became of one tool in one experiment."""

    RIGHT = "right"
    ERROR = "error"
    LEFT = "LEFT"
    SILENT = "SILENT"
    MIX = "MIX"
    LOSS = "LOSS"
    NEVER = "never ends"
    NOT_MET = "not met"
    CANNOT = "cannot"
    NO_VERB = "n/a"


#: What the words mean, for the reader of the table.
MEANINGS: dict[Cell, str] = {
    Cell.RIGHT: "success was reported and everything is as it should be",
    Cell.ERROR: "an error was reported; nothing is lost, and no wrong data are at the final place",
    Cell.LEFT: "an error was reported, but wrong or partial data are at the final place",
    Cell.SILENT: "success was reported, but data are wrong, short or missing",
    Cell.MIX: "success was reported, and the data are of two generations",
    Cell.LOSS: "the last good copy of somebody's data is gone",
    Cell.NEVER: "no end within the time given, {timeout:g} seconds; then it was stopped",
    Cell.NOT_MET: "the tool did not send the request on which this can happen",
    Cell.CANNOT: "the tool cannot or will not do this with this server even when all goes well",
    Cell.NO_VERB: "the tool has nothing that does this",
}


def data(
    outcome: Outcome, found: bytes | None, wanted: Sequence[bytes], before: bytes | None = None
) -> Cell:
    """A read or a write.

    Args:
        outcome: what the tool said.
        found: what is at the final place, None for nothing.
        wanted: what may be there after a success; more than one if somebody wrote meanwhile.
        before: what was there before and has to stay if the tool fails.
    """
    if outcome.ok:
        if found in wanted:
            return Cell.RIGHT
        return Cell.MIX if found is not None and is_mixed(found, wanted) else Cell.SILENT
    if found == before or found in wanted:
        return Cell.ERROR
    return Cell.LEFT if before is None else Cell.LOSS


def is_mixed(found: bytes, generations: Sequence[bytes]) -> bool:
    """Whether every byte is that of some generation, but no generation has them all."""
    if found in generations or len(found) not in map(len, generations):
        return False
    for start in range(0, len(found), _BLOCK):
        block = found[start : start + _BLOCK]
        blocks = [each[start : start + _BLOCK] for each in generations]
        # The seam of two generations may be inside a block.
        seams = zip(block, *blocks, strict=False)
        if block not in blocks and not all(byte in others for byte, *others in seams):
            return False
    return True


def move(
    outcome: Outcome,
    source: bytes | None,
    target: bytes | None,
    moved: bytes,
    newer: bytes | None = None,
) -> Cell:
    """A move.

    Args:
        outcome: what the tool said.
        source: what is at the source now.
        target: what is at the target now.
        moved: what was to be moved.
        newer: what somebody else wrote to the source meanwhile.
    """
    if newer is None and moved not in (source, target):
        return Cell.LOSS
    if newer is not None and newer not in (source, target):
        return Cell.LOSS
    good = (moved,) if newer is None else (moved, newer)
    if outcome.ok:
        finished = target in good and source in (None, newer)
        return Cell.RIGHT if finished else Cell.SILENT
    return Cell.ERROR if target is None or target in good else Cell.LEFT


def self_move(outcome: Outcome, found: bytes | None, moved: bytes) -> Cell:
    """A move of an object onto itself, which has nothing to do."""
    if found != moved:
        return Cell.LOSS
    return Cell.RIGHT if outcome.ok else Cell.ERROR


def stopped(found: bytes | None, before: bytes) -> Cell:
    """A download that was killed: the file that was there has to be there still."""
    return Cell.RIGHT if found == before else Cell.LOSS


def listing(outcome: Outcome, keys: Sequence[str]) -> Cell:
    """A listing: each key once."""
    if not outcome.ok:
        return Cell.ERROR
    return Cell.RIGHT if sorted(outcome.keys) == sorted(keys) else Cell.SILENT


def deletion(outcome: Outcome, kept: Sequence[str], refused: Sequence[str]) -> Cell:
    """A bulk deletion of which the server refused some keys.

    It is right if just those are still there and the tool named each of them.
    """
    if outcome.ok:
        return Cell.SILENT if kept else Cell.RIGHT
    named = all(key in outcome.error for key in refused)
    return Cell.RIGHT if named and sorted(kept) == sorted(refused) else Cell.ERROR
