"""What the demo has shown, and what it has not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from object_clerk.cli.exit_codes import ExitCode
from object_clerk.receipt import Receipt, Verdict

if TYPE_CHECKING:
    from object_clerk.cli.demo.files import Skipped

#: An upload may rest on the server's check of each request; what is read must be proved itself.
_ENOUGH_FOR_UPLOAD = (Verdict.CONTENT, Verdict.TRANSPORT)


def proves_enough(receipt: Receipt) -> bool:
    """Whether the receipt's verdict is what the demo promises."""
    if receipt.operation == "upload_object":
        return receipt.verdict in _ENOUGH_FOR_UPLOAD
    return receipt.verdict is Verdict.CONTENT


@dataclasses.dataclass(frozen=True, slots=True)
class Shortfall:
    """Something that was not shown; ``integrity`` if it is about the bytes themselves."""

    what: str
    integrity: bool


@dataclasses.dataclass(slots=True)
class Outcome:
    """The account of one demo.

    Attributes:
        files: regular files found.
        bytes: bytes uploaded, those of the generated object included.
        compared: comparisons of all bytes of an object with those of its file.
        healed: damaged answers that were noticed and read again.
        receipts: every receipt, in order.
        skipped: what was below the directory and is not uploaded.
        shortfalls: whatever was not shown.
    """

    files: int = 0
    bytes: int = 0
    compared: int = 0
    healed: int = 0
    receipts: list[Receipt] = dataclasses.field(default_factory=list)
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    shortfalls: list[Shortfall] = dataclasses.field(default_factory=list)

    def take(self, receipt: Receipt) -> None:
        """Add a receipt, and a shortfall if it does not prove enough."""
        self.receipts.append(receipt)
        if receipt.operation == "upload_object":
            self.bytes += receipt.size
        if not proves_enough(receipt):
            self.fall_short(
                f"{receipt.operation} {receipt.key}: the verdict is {receipt.verdict.value} "
                f"({receipt.basis})",
                integrity=True,
            )

    def fall_short(self, what: str, *, integrity: bool) -> None:
        """Add a shortfall."""
        self.shortfalls.append(Shortfall(what, integrity))

    @property
    def verdicts(self) -> dict[str, int]:
        """The number of receipts with each verdict, the strongest first."""
        counts = Counter(receipt.verdict for receipt in self.receipts)
        return {verdict.value: counts[verdict] for verdict in Verdict}

    @property
    def exit_code(self) -> ExitCode:
        """0 only if nothing is missing from the proof."""
        if any(shortfall.integrity for shortfall in self.shortfalls):
            return ExitCode.INTEGRITY
        return ExitCode.FAILED if self.shortfalls else ExitCode.OK

    def to_dict(self) -> dict[str, Any]:
        """The account as plain values, without the receipts themselves."""
        return {
            "ok": self.exit_code is ExitCode.OK,
            "files": self.files,
            "bytes": self.bytes,
            "verdicts": self.verdicts,
            "healed": self.healed,
            "compared": self.compared,
            "skipped": [dataclasses.asdict(each) for each in self.skipped],
            "failures": [shortfall.what for shortfall in self.shortfalls],
        }
