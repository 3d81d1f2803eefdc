"""The files that the demo works on."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkParameterException
from object_clerk.names import check_key

if TYPE_CHECKING:
    from collections.abc import Collection

GENERATED_BYTES = 16 << 20

#: Python may write here while we look.
_VOLATILE = "__pycache__"

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A local file and the key it is stored under."""

    key: str
    path: Path
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Skipped:
    """Something below the directory that is not uploaded; ``failed`` if it should have been."""

    path: str
    reason: str
    failed: bool


@dataclasses.dataclass(slots=True)
class Found:
    """What is below a directory."""

    label: str
    items: list[Item] = dataclasses.field(default_factory=list)
    skipped: list[Skipped] = dataclasses.field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(item.size for item in self.items)

    def skip(self, path: str, reason: str, *, failed: bool) -> None:
        """Remember that ``path`` is left out."""
        self.skipped.append(Skipped(path, reason, failed))


def own_files() -> Found:
    """The files of the installed package."""
    import object_clerk

    return find_files(
        Path(object_clerk.__file__).parent,
        label=f"the installed package (without {_VOLATILE})",
        without={_VOLATILE},
    )


def find_files(directory: Path, *, label: str = "", without: Collection[str] = ()) -> Found:
    """Every regular file below ``directory``, in the order of the paths.

    Symbolic links are not followed. What is no regular file or cannot be looked at is told in
    ``skipped``.

    Args:
        directory: where to look.
        label: how to call it in a sentence, its path if empty.
        without: names of directories to leave out.
    """
    found = Found(label or str(directory))

    def unlisted(error: OSError) -> None:
        name = os.path.relpath(error.filename, directory)
        found.skip(name, f"cannot be listed: {error.strerror}", failed=True)

    for place, directories, names in os.walk(directory, onerror=unlisted):
        directories[:] = sorted(name for name in directories if name not in without)
        links = [name for name in directories if (Path(place) / name).is_symlink()]
        for name in sorted(names + links):
            _look_at(Path(place) / name, directory, found)
    found.items.sort(key=lambda item: item.key)
    return found


def _look_at(path: Path, directory: Path, found: Found) -> None:
    key = path.relative_to(directory).as_posix()
    try:
        status = path.lstat()
        check_key(key)
    except OSError as error:
        found.skip(key, f"cannot be looked at: {error.strerror}", failed=True)
    except ObjectClerkParameterException as error:
        found.skip(key, error.message, failed=True)
    else:
        if stat.S_ISREG(status.st_mode):
            found.items.append(Item(key, path, status.st_size))
        else:
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
            found.skip(key, kind, failed=False)


def generate(path: Path, key: str) -> Item:
    """A file of 16 MiB without structure, with the same bytes each time."""
    path.write_bytes(hashlib.shake_128(b"object-clerk").digest(GENERATED_BYTES))
    return Item(key, path, GENERATED_BYTES)


def free_prefix(items: Collection[Item]) -> str:
    """A prefix that none of the keys has."""
    prefix = "demo/"
    while any(item.key.startswith(prefix) for item in items):
        prefix = f"_{prefix}"
    return prefix
