"""What the drivers share."""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer as Buffer

REGION = "us-east-1"
MIB = 1 << 20


class Broken(Exception):
    """What a producer raises in the middle of its data."""


class Refused(Exception):
    """The tool named keys that it did not delete; its answer was a value, not an error."""


class Failed(Exception):
    """A command ended with another status than 0."""


class BreakingStream(io.RawIOBase):
    """The first bytes of a file; if there are more, reading then raises."""

    def __init__(self, path: str, good: int) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115 - closed with the stream
        self._left = good

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """The next bytes, as many as there are before it breaks."""
        if not self._left and self._file.read(1):
            raise Broken("the producer broke")
        view = memoryview(buffer)
        got = self._file.readinto(view[: self._left])
        self._left -= got
        return got

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()


def blocks(path: str, good: int) -> io.BufferedReader:
    """The good bytes of a file, to be read in blocks; before more reading raises Broken."""
    return io.BufferedReader(BreakingStream(path, good), MIB)


def exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """So many bytes, and no look at whether there are more."""
    got = bytearray()
    while len(got) < size and (data := read(size - len(got))):
        got += data
    return bytes(got)


def command(name: str) -> str:
    """The path of a program that was installed beside this interpreter.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(sysconfig.get_path("scripts"), name)
    if not path.is_file():
        raise FileNotFoundError(f"no program {name} beside {Path(sys.executable).name}")
    return str(path)


def run(arguments: list[str], environment: Mapping[str, str], to: str = "") -> str:
    """Run a command to its end; ``to`` is a file for what it prints, else that is returned.

    Raises:
        Failed: it ended with another status than 0; what it wrote is in the message.
    """
    done = subprocess.run(arguments, env=dict(environment), capture_output=True, check=False)
    if done.returncode:
        words = done.stderr + done.stdout
        raise Failed(f"status {done.returncode}: {words.decode(errors='replace')}")
    if to:
        Path(to).write_bytes(done.stdout)
        return ""
    return done.stdout.decode()
