"""What became of a run, and what the store's journal tells about it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.simulation.faults import CORRUPTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.scenario import Job, Place, Scenario
    from tests.simulation.store import Change, Version
    from tests.simulation.wire import Sent
    from tests.simulation.world import World

Where = tuple[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """How a job goes when nothing goes wrong.

    Attributes:
        requests: how many it takes.
        retries: how often it looks a second time even so.
        error: what it ends with, if it does not succeed.
    """

    requests: int
    retries: int
    error: type[BaseException] | None


@dataclasses.dataclass(slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        usual: tells how the job goes when nothing goes wrong.
        log: the clerk's requests, with what went wrong with them.
        litter: names of files that were left in the directory.
        tally: things that could not be helped, and are only counted.
        crashed: the client came to its end underway.
        broken: what does not hold.
    """

    scenario: Scenario
    world: World
    usual: Callable[[], Baseline]
    value: Any = None
    error: BaseException | None = None
    log: list[Sent] = dataclasses.field(default_factory=list)
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    elapsed_s: float = 0.0
    litter: list[str] = dataclasses.field(default_factory=list)
    tally: Counter[str] = dataclasses.field(default_factory=Counter)
    crashed: bool = False
    broken: list[str] = dataclasses.field(default_factory=list)

    @property
    def job(self) -> Job:
        return self.scenario.job

    @property
    def place(self) -> Place:
        return self.scenario.place

    @property
    def is_corrupted(self) -> bool:
        """Whether bytes were changed on their way, or on the server's disk."""
        return any(kind in CORRUPTING for kind in self.counts)

    @property
    def is_trusting(self) -> bool:
        """Whether bytes were changed, and nobody had asked for the proof that would show it."""
        proved = self.job.is_proved and (
            self.job.verify is True or self.place.profile.etag == "md5"
        )
        return self.is_corrupted and not proved

    def failed_methods(self) -> set[str]:
        """The requests with which something went wrong."""
        return {sent.method for sent in self.log if sent.fault is not None}

    # -- the journal ---------------------------------------------------------------------------

    def changes(self, where: Where | None = None) -> Iterator[Change]:
        """The changes since the work began, those of one key or all."""
        for change in self.world.store.journal[self.world.begun :]:
            if where is None or (change.bucket, change.key) == where:
                yield change

    def generations(self, where: Where) -> list[Version | None]:
        """What a reader of a key could see at one time or another since the work began."""
        changes = list(self.changes(where))
        first = changes[0].before if changes else self.world.store.current(*where)
        return [first, *(change.after for change in changes)]

    def contents(self, where: Where) -> list[bytes]:
        """The bytes that a key had since the work began; a move's tombstone does not count."""
        return [
            version.data
            for version in self.generations(where)
            if version is not None and not is_tombstone(version)
        ]

    def right(self) -> list[bytes]:
        """The bytes that may be at the target in the end."""
        if self.job.verb == "upload":
            return [self.world.content]
        return self.contents(self.world.source)


def is_tombstone(version: Version) -> bool:
    """Whether it is the empty object that a move may leave for a moment."""
    return version.author == "clerk" and any("moved-to" in name for name in version.metadata)
