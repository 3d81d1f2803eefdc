"""What is done in a run, to what kind of store, in what weather: all drawn from one seed."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

from tests.simulation.faults import CORRUPTING, CRASHES, OTHERS, PASSING, Plan, Weather
from tests.simulation.profiles import PROFILES
from tests.simulation.stagecraft import PART

if TYPE_CHECKING:
    from tests.simulation.profiles import Profile

VERBS = (
    *("upload", "upload", "upload", "get", "download", "reader"),
    *("copy", "copy", "move", "move", "move", "delete", "delete-many", "list"),
)

#: Those that can prove most are where most can go wrong.
NAMES = (*PROFILES, "aws", "aws", "ceph", "ceph", "rclone", "rclone", "moto", "ministack")

#: Bytes, around the ends of one, two and more parts.
SIZES = (0, 1, 40, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 20)

#: A part size that nobody would guess.
ODD = 37

#: How an object came to be: in one piece, in parts of our size, of a usual one, of an odd one.
LAYOUTS: dict[str, int | None] = {"single": None, "own": PART, "foreign": 50, "odd": ODD}

#: The requests of a verb at which more than time can be lost.
CRITICAL = {
    "upload": ("put_object", "complete_multipart_upload", "head_object", "list_parts"),
    "copy": ("copy_object", "complete_multipart_upload", "upload_part_copy", "head_object"),
    "move": ("copy_object", "complete_multipart_upload", "delete_object", "delete_object"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One call of one verb, and the objects that it finds.

    Attributes:
        verb: what is done.
        size: bytes of the object that is sent, read or copied.
        form: what an upload is given, or where a download goes.
        layout: how the object that is read or copied was made.
        verify: verify_checksum.
        workers: part threads.
        occupied: there is an object, or a file, where the result goes.
        condition: it is only to be created ("absent"), or only to be replaced or deleted ("match").
        elsewhere: the target of a copy is in another bucket.
        percent: the source's key has a percent sign.
        guard: source_guard of a move.
        stage: an upload is staged.
        resume: a download goes on with what an earlier one has left.
    """

    verb: str
    size: int
    form: str = ""
    layout: str = "single"
    verify: bool | str = True
    workers: int = 1
    occupied: bool = False
    condition: str = ""
    elsewhere: bool = False
    percent: bool = False
    guard: str = "check"
    stage: bool = False
    resume: bool = False

    @property
    def is_proved(self) -> bool:
        """Whether wrong bytes have to be noticed: there has to be proof, and there can be one."""
        if self.verify == "available":
            # A copy is then not read back, and parts are not guessed with all effort.
            return self.verb not in ("copy", "move") and self.layout in ("single", "own")
        return self.verify is True


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """The store that a run is in, and the patience of the clerk.

    Attributes:
        profile: how the store behaves.
        versioned: whether the buckets have versions.
        tries: attempts that the clerk makes.
        deadline_s: how long a call may take.
        knows: the clerk has found out before what the ETag of a copy is worth, and the condition of
            a deletion.
    """

    profile: Profile
    versioned: bool
    tries: int = 5
    deadline_s: float = 3600.0
    knows: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """All that decides a run."""

    seed: int
    job: Job
    place: Place
    weather: Weather

    def plan(self) -> Plan:
        """The plan of what goes wrong; the same one every time."""
        return Plan(self.weather, random.Random(f"plan {self.seed}"))

    def __str__(self) -> str:
        job = ", ".join(
            f"{field.name}={value!r}"
            for field in dataclasses.fields(self.job)
            if (value := getattr(self.job, field.name)) != field.default
        )
        place = self.place
        versions = "versioned" if place.versioned else "plain"
        patience = f"{place.tries} tries, {place.deadline_s:g} s"
        known = ", known" if place.knows else ""
        return f"{job} on {place.profile.name} ({versions} bucket, {patience}{known})"


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    dice = random.Random(seed)
    profile = PROFILES[dice.choice(NAMES)]
    job = _job(dice)
    place = Place(profile, profile.versions and dice.random() < 0.4)
    if dice.random() < 0.2:
        place = dataclasses.replace(place, tries=-1, deadline_s=120.0)
    weather = _weather(dice, job)
    if job.verb in ("copy", "move", "delete") or job.stage:
        place = dataclasses.replace(place, knows=dice.random() < 0.3)
    return Scenario(seed, job, place, weather)


def _job(dice: random.Random) -> Job:
    verb = dice.choice(VERBS)
    job = Job(
        verb,
        dice.choice(SIZES),
        verify=dice.choice((True, True, True, True, True, True, True, True, "available", False)),
        workers=dice.choice((1, 1, 2, 3)),
        occupied=dice.random() < 0.5,
    )
    match verb:
        case "upload":
            form = dice.choice(("bytes", "stream", "pipe", "file"))
            stage = dice.random() < 0.1
            return dataclasses.replace(job, form=form, stage=stage, condition=_condition(dice))
        case "download":
            form = dice.choice(("path", "path", "file object"))
            resume = form == "path" and dice.random() < 0.4
            job = dataclasses.replace(job, form=form, resume=resume)
        case "reader":
            form = dice.choice(("to its end", "to its end", "some of it"))
            job = dataclasses.replace(job, form=form)
        case "copy" | "move":
            elsewhere, percent = dice.random() < 0.3, dice.random() < 0.1
            job = dataclasses.replace(job, elsewhere=elsewhere, percent=percent)
            job = dataclasses.replace(job, condition=_condition(dice))
            if verb == "move":
                guard = dice.choice((*("check",) * 8, "require", "tombstone"))
                job = dataclasses.replace(job, guard=guard)
        case "delete" | "delete-many" | "list":  # they move no bytes
            job = dataclasses.replace(job, size=PART, verify=True, workers=1)
            if verb != "delete" or dice.random() < 0.5:
                return job
            job = dataclasses.replace(job, condition="match")
    return dataclasses.replace(job, layout=_layout(dice, job.size))


def _condition(dice: random.Random) -> str:
    # The forty questions that a condition asks of the server take as long as ten other runs.
    return dice.choice(("absent", "match")) if dice.random() < 0.06 else ""


def _layout(dice: random.Random, size: int) -> str:
    return dice.choice(("single", "own", "own", "foreign", "odd")) if size else "single"


def _weather(dice: random.Random, job: Job) -> Weather:
    if job.verb == "delete" and job.condition and dice.random() < 0.5:
        # It is three requests long: an answer has to be lost, and somebody to come at once.
        return Weather(0.6, 6, ("drop-after", "other-put", "other-same", "status-after"))
    kinds = dice.choice(
        (
            tuple(sorted(PASSING)),
            tuple(sorted(PASSING | CORRUPTING)),
            tuple(sorted(PASSING | CORRUPTING)),
            tuple(sorted(PASSING | OTHERS)),
            tuple(sorted(PASSING | CRASHES)),
            tuple(sorted(PASSING | CORRUPTING | OTHERS | CRASHES)),
            tuple(sorted(OTHERS)),
            tuple(sorted(CRASHES)),
        )
    )
    most = dice.choice((1, 2, 3, 6, 40))
    rate = dice.choice((0.1, 0.3, 0.6)) if most > 1 else 0.3
    bursts: tuple[int, ...] = dice.choice(((1,), (1, 1, 2, 3), (1, 8, 40)))
    weather = Weather(rate, most, kinds, bursts)
    if job.verb in CRITICAL and dice.random() < 0.3:  # all of it where it hurts most
        return dataclasses.replace(weather, rate=0.8, focus=dice.choice(CRITICAL[job.verb]))
    return weather
