"""What has to hold after a run, whatever went wrong in it.

Each check returns sentences about what does not hold; none is the aim. The names I1 to I9 are
those of the design: I1 success implies the right bytes; I2 every acknowledged write has an intact
copy; I3 what others wrote is neither deleted nor overwritten without permission; I4 no final place
holds unverified bytes; I5 every error is one of ours; I6 requests and I7 time are bounded; I8 no
secret is told; I9 no upload is left open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectNotFoundException, PreconditionFailed
from tests.simulation.aftermath import aftermath
from tests.simulation.conduct import conduct
from tests.simulation.faults import OTHERS
from tests.simulation.loss import nothing_lost
from tests.simulation.truth import truth

if TYPE_CHECKING:
    from tests.simulation.outcome import Outcome


def violations(outcome: Outcome) -> list[str]:
    """All that does not hold after a run."""
    found = [*nothing_lost(outcome), *aftermath(outcome), *conduct(outcome)]
    return [*found, *truth(outcome)] if outcome.error is None else found


def converges(outcome: Outcome) -> list[str]:
    """After a crash the same once more ends well, unless it is done already or was thwarted."""
    found = [*nothing_lost(outcome), *aftermath(outcome)]
    if outcome.error is None:
        return [*found, *truth(outcome)]
    thwarted = outcome.counts.keys() & OTHERS
    if not _is_done(outcome) and not thwarted and outcome.usual().error is None:
        found.append(f"done once more it does not end well: {outcome.error!r}")
    return found


def _is_done(outcome: Outcome) -> bool:
    world, error = outcome.world, outcome.error
    there = world.store.current(*world.target)
    if there is None or there.data != world.content:
        return False
    if isinstance(error, PreconditionFailed):
        return bool(outcome.job.condition)
    moved = isinstance(error, ObjectNotFoundException) and outcome.job.verb == "move"
    return moved and world.store.current(*world.source) is None


def summary(value: Any) -> str:
    """A value that was returned, in few words."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
