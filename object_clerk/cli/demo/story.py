"""The demo, step by step. Nothing is printed here: a screen is told what happens."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol

from object_clerk import ObjectClerk, ObjectClerkException
from object_clerk.cli.demo.files import Found, Item, free_prefix, generate
from object_clerk.cli.demo.outcome import Outcome
from object_clerk.cli.exit_codes import ExitCode, exit_code_for
from object_clerk.cli.text import count, human_size, printable
from object_clerk.events import Event, Retrying
from object_clerk.testing import flip_response_bit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from object_clerk.cli.demo.files import Skipped
    from object_clerk.cli.demo.stage import Stage
    from object_clerk.receipt import Receipt

#: Where the bit is flipped: somewhere in the second part of the generated object.
_FLIPPED_BYTE = 7_654_321

#: The listing is made in about so many pages.
_PAGES = 5

#: More bytes than this deserve a word about where they are put.
_MUCH = 1 << 30

_BLOCK = 1 << 20


class Screen(Protocol):
    """Where the story is shown."""

    def tell(self, number: int, sentence: str) -> None:
        """Show what a step has shown."""

    def receipt(self, receipt: Receipt) -> None:
        """Show a receipt."""

    def skipped(self, skipped: Skipped) -> None:
        """Show what is not uploaded."""

    def shortfall(self, what: str) -> None:
        """Show what failed."""

    def progress(self, doing: str, total_bytes: int) -> AbstractContextManager[None]:
        """Show how far a step is, as :meth:`event` tells."""

    def event(self, event: Event) -> None:
        """Take an event of the library; called in any thread."""

    def end(self, outcome: Outcome) -> None:
        """Show the account of the whole demo."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


class Story:
    """The plan of the demo, and what came of it."""

    def __init__(self, stage: Stage, found: Found, screen: Screen) -> None:
        self._proxy = stage.proxy
        self._bucket = stage.bucket
        self._found = found
        self._screen = screen
        self._prefix = free_prefix(found.items)
        self._big = generate(stage.scratch / "generated", f"{self._prefix}generated.bin")
        self._returned = stage.scratch / "returned"
        #: What is in the bucket by now, and the file that has the same bytes.
        self._stored: dict[str, Item] = {}
        self._outcome = Outcome(files=len(found.items), skipped=found.skipped)
        self._fresh: list[Receipt] = []
        self._retries: list[Retrying] = []
        self._clerk = ObjectClerk(
            config=stage.config, on_receipt=self._fresh.append, on_event=self._on_event
        )

    def play(self) -> Outcome:
        """Play all steps; one that fails does not keep the others from being played."""
        for skipped in self._found.skipped:
            self._screen.skipped(skipped)
            if skipped.failed:
                self._outcome.fall_short(f"{skipped.path}: {skipped.reason}", integrity=False)
        steps = (
            self._introduce,
            self._upload,
            self._download,
            self._flip_a_bit,
            self._copy,
            self._move,
            self._list,
            self._read_again,
        )
        with self._clerk:
            for number, step in enumerate(steps, start=1):
                self._screen.tell(number, step() + self._repeated())
        return self._outcome

    # -- the steps, each of which returns a sentence about what it has shown ----------------

    def _introduce(self) -> str:
        sentence = (
            "Started an S3 server (moto) of our own, and a proxy before it that can damage "
            "answers; both end with this demo."
        )
        if self._found.size > _MUCH:
            sentence += (
                f" The server holds the {human_size(self._found.size)} of "
                f"{self._found.label} in memory and in temporary files."
            )
        return sentence

    def _upload(self) -> str:
        items = [self._big, *self._found.items]
        with self._screen.progress("uploading", sum(item.size for item in items)):
            for item in items:
                self._try(
                    f"upload {printable(item.key)}", functools.partial(self._upload_one, item)
                )
        total = len(self._found.items)
        missing = total - sum(item.key in self._stored for item in self._found.items)
        files = count(total, "file") if not missing else f"{total - missing} of {total} files"
        return (
            f"Uploaded {count(len(self._stored), 'object')} "
            f"({human_size(self._outcome.bytes)}): {files} of {self._found.label}, and one of "
            f"{human_size(self._big.size)} generated here and sent in parts."
        )

    def _upload_one(self, item: Item) -> None:
        self._clerk.upload_object(item.path, self._bucket, item.key, allow_empty=True)
        self._stored[item.key] = item

    def _download(self) -> str:
        items = list(self._stored.items())
        with self._screen.progress("downloading", _size(self._stored.values())):
            equal = sum(self._download_one(key, item) for key, item in items)
        return f"Downloaded {count(len(items), 'object')}; {_comparison(equal, len(items))}."

    def _flip_a_bit(self) -> str:
        key = self._big.key
        if key not in self._stored:
            return "Flipped no bit, since the generated object could not be uploaded."
        seen, retries = len(self._proxy.fired), len(self._retries)
        self._proxy.add(flip_response_bit(_FLIPPED_BYTE, method="GET", times=1))
        with self._screen.progress("reading through a bad line", self._big.size):
            self._try(f"read {key} through a bad line", lambda: self._get_and_compare(key))
        self._proxy.clear()
        flips, noticed = len(self._proxy.fired) - seen, self._retries[retries:]
        receipt = self._outcome.receipts[-1]
        if not (flips == 1 and noticed and receipt.operation == "get_object"):
            self._fall_short("the flipped bit was not shown to be caught and healed")
            return "Flipped a bit, but could not show that it was caught and healed."
        del self._retries[retries:]  # it is told here, not as something unexpected
        self._outcome.healed += flips
        return (
            f"Flipped one bit of byte {_FLIPPED_BYTE:,} of an answer. The clerk noticed, read "
            f"again, and returned the right bytes after {receipt.attempts} attempts."
        )

    def _get_and_compare(self, key: str) -> None:
        data = self._clerk.get_object(self._bucket, key)
        self._compared(data == self._big.path.read_bytes(), key)

    def _copy(self) -> str:
        return self._duplicate("copy", f"{self._prefix}copied.bin", self._big.key)

    def _move(self) -> str:
        source = f"{self._prefix}copied.bin"
        sentence = self._duplicate("move", f"{self._prefix}moved.bin", source)
        if source not in self._stored:
            return sentence
        gone = self._try(f"look for {source}", lambda: self._must_be_gone(source))
        return f"{sentence[:-1]}, and the source is {'gone' if gone else 'NOT gone'}."

    def _duplicate(self, verb: str, target: str, source: str) -> str:
        """Copy or move ``source`` to ``target``, and compare what is there then."""
        if source not in self._stored:
            return f"Could not {verb} {source}, since it is not there."
        item = self._stored[source]
        act = self._clerk.copy_object if verb == "copy" else self._clerk.move_object
        with self._screen.progress(f"{verb} and comparison", 2 * item.size):
            made = self._try(
                f"{verb} {source}", lambda: act(self._bucket, source, self._bucket, target)
            )
            if not made:
                return f"Could not {verb} {source}."
            self._stored[target] = item
            equal = self._download_one(target, item)
        done = {"copy": "Copied", "move": "Moved"}[verb]
        return f"{done} {source} to {target}; {_comparison(equal, 1)}."

    def _must_be_gone(self, key: str) -> None:
        if self._clerk.exists(self._bucket, key):
            self._fall_short(f"{key} is still there after it was moved")
        else:
            del self._stored[key]

    def _list(self) -> str:
        size = max(1, min(1000, len(self._stored) // _PAGES))
        before = len(self._proxy.log)
        keys: list[str] = []
        self._try("list the objects", lambda: keys.extend(self._keys(size)))
        pages = sum("list-type=2" in each.query for each in self._proxy.log[before:])
        if keys != sorted(self._stored):
            self._fall_short("the listing does not have each key once, in order")
            return f"Listed {count(len(keys), 'key')}, which are NOT the right ones."
        return (
            f"Listed {count(len(keys), 'key')} in {count(pages, 'page')}: each object once, "
            "in order."
        )

    def _keys(self, page_size: int) -> Iterable[str]:
        return (
            each["Key"]
            for each in self._clerk.list_objects(self._bucket, None, page_size=page_size)
        )

    def _read_again(self) -> str:
        items = list(self._stored.items())
        with self._screen.progress("reading again", _size(self._stored.values())):
            equal = sum(self._stream_one(key, item) for key, item in items)
        return (
            f"Read {count(len(items), 'object')} once more, as streams; "
            f"{_comparison(equal, len(items))}."
        )

    # -- pieces of steps -------------------------------------------------------------------

    def _download_one(self, key: str, item: Item) -> bool:
        def download() -> None:
            self._clerk.download_object(self._bucket, key, self._returned)
            with self._returned.open("rb") as stream:
                self._compared(_has_bytes_of(stream, item.path), key)

        before = len(self._outcome.shortfalls)
        self._try(f"download {printable(key)}", download)
        self._returned.unlink(missing_ok=True)
        return len(self._outcome.shortfalls) == before

    def _stream_one(self, key: str, item: Item) -> bool:
        def read() -> None:
            with self._clerk.open_object(self._bucket, key) as stream:
                self._compared(_has_bytes_of(stream, item.path), key)

        before = len(self._outcome.shortfalls)
        self._try(f"read {printable(key)}", read)
        return len(self._outcome.shortfalls) == before

    def _compared(self, equal: bool, key: str) -> None:
        self._outcome.compared += 1
        if not equal:
            path = self._stored[key].path
            self._fall_short(f"{printable(key)}: the bytes differ from those that {path} has now")

    def _try(self, what: str, action: Callable[[], object]) -> bool:
        """Do one thing; a failure is noted and shown, and the story goes on."""
        before = len(self._outcome.shortfalls)
        try:
            action()
        except (ObjectClerkException, OSError) as error:
            said = str(error)
            integrity = exit_code_for(error) is ExitCode.INTEGRITY
            self._fall_short(f"could not {what}: {said}", integrity=integrity)
        while self._fresh:
            receipt = self._fresh.pop(0)
            self._outcome.take(receipt)
            self._screen.receipt(receipt)
        return len(self._outcome.shortfalls) == before

    def _fall_short(self, what: str, *, integrity: bool = True) -> None:
        self._outcome.fall_short(what, integrity=integrity)
        self._screen.shortfall(what)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Retrying):
            self._retries.append(event)
        self._screen.event(event)

    def _repeated(self) -> str:
        """What to add to a step's sentence about requests that unexpectedly were repeated."""
        if not self._retries:
            return ""
        last, number = self._retries[-1].cause, len(self._retries)
        self._retries.clear()
        return f" {count(number, 'request')} had to be repeated, the last one because: {last}."


def _size(items: Iterable[Item]) -> int:
    return sum(item.size for item in items)


def _comparison(equal: int, total: int) -> str:
    if equal == total:
        return "every byte equals the file's" if total else "nothing to compare"
    return f"{equal} of {total} proved equal to the file"


def _has_bytes_of(stream: _Readable, path: Path) -> bool:
    """Whether the stream, read to its end in any case, has the bytes of the file."""
    equal = True
    with path.open("rb") as file:
        while block := stream.read(_BLOCK):
            equal = file.read(len(block)) == block and equal
        return equal and not file.read(1)
