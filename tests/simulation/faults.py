"""What can go wrong with a request, and the plan that says when it does."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

#: Requests that carry the bytes of an object.
SENDING = frozenset({"put_object", "upload_part"})

#: Requests whose answer is a document that can be empty, cut, or an error in disguise.
DOCUMENTS = frozenset(
    {
        *("copy_object", "complete_multipart_upload", "upload_part_copy", "delete_objects"),
        *("create_multipart_upload", "list_objects_v2", "list_parts", "list_multipart_uploads"),
        "list_object_versions",
    }
)

#: Requests after which something is different.
CHANGING = SENDING | frozenset(
    {
        *("copy_object", "complete_multipart_upload", "upload_part_copy", "delete_objects"),
        *("create_multipart_upload", "abort_multipart_upload", "delete_object"),
    }
)

#: Codes of errors that a patient client has to sit out.
PASSING_ERRORS = (
    ("SlowDown", 503),
    ("InternalError", 500),
    ("ServiceUnavailable", 503),
    ("502", 502),
    ("504", 504),
    ("RequestTimeout", 400),
    ("OperationAborted", 409),
    ("429", 429),
)

#: Trouble that passes: asking again is enough.
PASSING = frozenset(
    {
        *("never-sent", "drop-before", "drop-after", "stall-before", "stall-after", "late"),
        *("status-before", "status-after", "empty-before", "empty-after", "garbage-before"),
        *("garbage-after", "error200-before", "error200-after", "cut", "cut-silent", "no-length"),
        *("ignore-range", "other-range", "slow", "busy"),
    }
)

#: Bytes that change on their way or on the server's disk: the transfer has to be done again.
CORRUPTING = frozenset({"flip-request", "flip-answer", "rot", "short", "wrong-range", "no-etag"})

#: What other people do meanwhile, and what a server forgets.
OTHERS = frozenset({"other-put", "other-same", "other-delete", "lifecycle", "part-lost"})

#: The end of the client.
CRASHES = frozenset({"crash-before", "crash-after"})


class Fault(NamedTuple):
    """One thing that goes wrong; `number` says which bit, which error, which key."""

    kind: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


def applies(kind: str, method: str, given: Mapping[str, Any]) -> bool:
    """Whether a fault can make a difference to a request."""
    match kind:
        case "flip-request":
            return method in SENDING and given.get("ContentLength") != 0
        case "rot":
            return method in SENDING | {"copy_object", "upload_part_copy"}
        case "no-etag":
            return method in SENDING
        case "flip-answer" | "cut" | "cut-silent" | "short" | "no-length":
            return method == "get_object"
        case "ignore-range" | "wrong-range" | "other-range":
            return method == "get_object" and "Range" in given
        case "late" | "drop-after" | "stall-after" | "status-after" | "crash-after":
            return method in CHANGING
        case "busy":
            return method == "delete_objects"
    if kind.partition("-")[0] in ("empty", "garbage", "error200"):
        return method in DOCUMENTS and (method in CHANGING or kind.endswith("before"))
    return True


@dataclasses.dataclass(frozen=True, slots=True)
class Weather:
    """How bad it is: what may happen, and how often.

    Attributes:
        rate: the chance that something happens to a request.
        most: the most that happens in all.
        kinds: what may happen.
        bursts: lengths of runs of the same trouble, of which one is drawn.
        focus: the only request that something happens to, if not all.
    """

    rate: float
    most: int
    kinds: tuple[str, ...]
    bursts: tuple[int, ...] = (1,)
    focus: str = ""


class Plan:
    """Decides for each request what goes wrong, and remembers what it decided.

    Attributes:
        fired: number of the request -> what went wrong with it.
    """

    def __init__(self, weather: Weather, dice: random.Random) -> None:
        self._weather = weather
        self._dice = dice
        self._burst: tuple[str, Fault, int] | None = None
        self.fired: dict[int, Fault] = {}

    def at(self, number: int, method: str, given: Mapping[str, Any]) -> Fault | None:
        """What goes wrong with this request."""
        fault = self._decide(method, given)
        if fault is not None:
            self.fired[number] = fault
        return fault

    def _decide(self, method: str, given: Mapping[str, Any]) -> Fault | None:
        weather, dice = self._weather, self._dice
        if self._burst is not None and self._burst[0] == method:
            _, fault, left = self._burst
            self._burst = (method, fault, left - 1) if left > 1 else None
            return fault if applies(fault.kind, method, given) else None
        if weather.focus not in ("", method):
            return None
        if len(self.fired) >= weather.most or dice.random() >= weather.rate:
            return None
        kinds = [kind for kind in weather.kinds if applies(kind, method, given)]
        if not kinds:
            return None
        kind = dice.choice(kinds)
        fault = Fault(kind, dice.randrange(1 << 16))
        length = dice.choice(weather.bursts)
        if length > 1 and kind not in OTHERS | CRASHES:
            self._burst = (method, fault, length - 1)
        return fault

    @property
    def counts(self) -> Counter[str]:
        """How often each kind of fault fired."""
        return Counter(fault.kind for fault in self.fired.values())


class Replay(Plan):
    """A plan made of faults that are known, to run the same again or with fewer of them."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        self._faults = faults
        self.fired = {}

    def _decide(self, method: str, given: Mapping[str, Any]) -> Fault | None:
        raise NotImplementedError

    def at(self, number: int, method: str, given: Mapping[str, Any]) -> Fault | None:
        """What goes wrong with this request."""
        fault = self._faults.get(number)
        if fault is None or not applies(fault.kind, method, given):
            return None
        self.fired[number] = fault
        return fault
