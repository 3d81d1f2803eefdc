"""The two ways to show the demo: for people, and as lines of JSON."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from object_clerk.cli.consoles import messages, new_table, output
from object_clerk.cli.demo.outcome import Outcome, proves_enough
from object_clerk.cli.exit_codes import ExitCode
from object_clerk.cli.text import count, human_size, one_line, printable
from object_clerk.events import Event, Transferred
from object_clerk.receipt import Receipt, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from object_clerk.cli.demo.files import Skipped

#: More receipts than that are not all shown in the table ...
_MANY = 40
#: ... but so many of each operation, and all that are remarkable.
_SHOWN = 10

#: From this width on the table has a column for the basis.
_WIDE = 120

_MEANINGS = {
    Verdict.CONTENT: "our digest of all bytes equals an independent one of what is stored",
    Verdict.TRANSPORT: "the server checked each request's bytes before it kept them",
    Verdict.IDENTITY: "only size or ETag were compared",
    Verdict.NONE: "nothing was compared",
}
_STYLES = {
    Verdict.CONTENT: "green",
    Verdict.TRANSPORT: "cyan",
    Verdict.IDENTITY: "yellow",
    Verdict.NONE: "bold red",
}


class _Messages:
    """What both screens tell on stderr."""

    def __init__(self) -> None:
        self._messages = messages()

    def skipped(self, skipped: Skipped) -> None:
        """Show what is not uploaded."""
        line = f"skipped {printable(skipped.path)}: {one_line(skipped.reason)}"
        self._messages.print(Text(line, style="red" if skipped.failed else "yellow"))

    def shortfall(self, what: str) -> None:
        """Show what failed."""
        self._messages.print(Text(f"FAILED {one_line(what)}", style="bold red"))


class JsonScreen(_Messages):
    """One JSON object per receipt on stdout, and one for the whole at the end."""

    def tell(self, number: int, sentence: str) -> None:
        """Nothing: the story is for people."""

    def receipt(self, receipt: Receipt) -> None:
        """Print the receipt."""
        self._print("receipt", receipt.to_dict())

    @contextlib.contextmanager
    def progress(self, doing: str, total_bytes: int) -> Iterator[None]:
        """Nothing: no bars among the lines of a program."""
        yield

    def event(self, event: Event) -> None:
        """Nothing."""

    def end(self, outcome: Outcome) -> None:
        """Print the summary."""
        self._print("summary", outcome.to_dict())

    def _print(self, kind: str, values: dict[str, Any]) -> None:
        print(json.dumps({"type": kind, **values}), flush=True)


class TableScreen(_Messages):
    """The story as sentences, then the receipts as a table; a bar while something moves."""

    def __init__(self) -> None:
        super().__init__()
        self._output = output()
        self._bar: tuple[Progress, TaskID] | None = None

    def tell(self, number: int, sentence: str) -> None:
        """Print the sentence, indented behind its number."""
        line = Table.grid(padding=(0, 1))
        line.add_row(Text(f"{number}.", style="bold"), Text(one_line(sentence)))
        self._output.print(line)

    def receipt(self, receipt: Receipt) -> None:
        """Nothing yet: the table comes at the end."""

    @contextlib.contextmanager
    def progress(self, doing: str, total_bytes: int) -> Iterator[None]:
        """A bar on stderr if that is a terminal, gone when the step is done."""
        console = self._messages
        if not console.is_terminal or console.is_dumb_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(True))
        with Progress(*columns, console=console, transient=True) as bar:
            self._bar = (bar, bar.add_task(doing, total=total_bytes))
            try:
                yield
            finally:
                self._bar = None

    def event(self, event: Event) -> None:
        """Move the bar."""
        if isinstance(event, Transferred) and (bar := self._bar) is not None:
            bar[0].advance(bar[1], event.delta_bytes)

    def end(self, outcome: Outcome) -> None:
        """Print the table and the summary."""
        out = self._output
        out.print()
        out.print(receipts_table(outcome.receipts, wide=out.width >= _WIDE))
        out.print()
        if out.width < _WIDE:
            for line in bases(outcome.receipts):
                out.print(Text(line, style="dim"))
        for verdict, meaning in _MEANINGS.items():
            if outcome.verdicts[verdict.value]:
                out.print(Text(f"{verdict.value}: {meaning}", style="dim"))
        out.print(summary(outcome))


def receipts_table(receipts: Sequence[Receipt], *, wide: bool) -> Table:
    """The receipts, those of one operation together.

    Args:
        receipts: in the order in which they were made.
        wide: whether there is room for the basis beside the rest; else see :func:`bases`.
    """
    table = new_table()
    table.add_column("operation", no_wrap=True)
    table.add_column("object", overflow="fold", min_width=16)
    for name in ("size", "verdict", "attempts", "time"):
        table.add_column(name, no_wrap=True, justify="left" if name == "verdict" else "right")
    if wide:
        table.add_column("basis", overflow="fold")
    groups: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        groups.setdefault(receipt.operation, []).append(receipt)
    for group in groups.values():
        _add_group(table, group, _to_show(group, everything=len(receipts) <= _MANY), wide=wide)
    return table


def _to_show(group: Sequence[Receipt], *, everything: bool) -> list[Receipt]:
    """The first ones, and whatever is remarkable."""
    return [
        receipt
        for number, receipt in enumerate(group)
        if everything or number < _SHOWN or receipt.attempts > 1 or not proves_enough(receipt)
    ]


def _add_group(
    table: Table, group: Sequence[Receipt], shown: Sequence[Receipt], *, wide: bool
) -> None:
    if len(shown) > 1:
        table.add_section()
    for receipt in shown:
        table.add_row(*_cells(receipt), *([Text(receipt.basis)] if wide else []))
    if hidden := len(group) - len(shown):
        table.add_row("", Text(f"... and {hidden} more, which --json shows", style="dim"))
    if len(shown) > 1:
        table.add_section()


def bases(receipts: Sequence[Receipt]) -> list[str]:
    """A line for each basis, with the operations that rest on it."""
    operations: dict[str, dict[str, None]] = {}
    for receipt in receipts:
        operations.setdefault(receipt.basis, {})[_verb(receipt)] = None
    return [f"Basis of {', '.join(verbs)}: {basis}" for basis, verbs in operations.items()]


def _verb(receipt: Receipt) -> str:
    return receipt.operation.removesuffix("_object")


def _cells(receipt: Receipt) -> list[Text]:
    return [
        Text(_verb(receipt)),
        Text(printable(receipt.key)),
        Text(human_size(receipt.size)),
        Text(receipt.verdict.value, style=_STYLES[receipt.verdict]),
        Text(str(receipt.attempts), style="yellow" if receipt.attempts > 1 else ""),
        Text(f"{receipt.elapsed_s:.3f} s"),
    ]


def summary(outcome: Outcome) -> Text:
    """What the whole demo has shown, in a sentence or two."""
    verdicts = ", ".join(f"{n} {name}" for name, n in outcome.verdicts.items() if n)
    healed = count(outcome.healed, "flipped bit")
    facts = (
        f"{count(len(outcome.receipts), 'receipt')} ({verdicts or 'none'}), "
        f"{count(outcome.compared, 'comparison')}, {healed} caught and healed"
    )
    if outcome.exit_code is ExitCode.OK:
        return Text(f"Proved: {facts}. Nothing is left unproved.", style="green")
    missing = count(len(outcome.shortfalls), "failure")
    return Text(f"NOT everything was proved: {missing}, told above. {facts}.", style="bold red")
