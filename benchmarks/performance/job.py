"""What one process is told to do, and what it has measured."""

from __future__ import annotations

import dataclasses
from typing import Any

MIB = 1 << 20
REGION = "us-east-1"

#: Under which keys a process warms up; what it reads or moves there is made before.
WARM, WARM_OUT = "warm/", "warm-out/"
WARM_COUNT = 20


@dataclasses.dataclass(frozen=True)
class Job:
    """One measurement of one tool.

    Attributes:
        driver: the module of the tool.
        options: settings of the tool, other than its defaults.
        verb: ``put``, ``get``, ``copy``, ``move``, ``list``, ``upload``, ``download``, ``import``.
        prefix: what the keys begin with; it ends with a slash.
        target: the same for what copies and moves make.
        count: how many objects.
        size: bytes of each small object.
        key: the large object.
        path: the file that is uploaded or written.
        place: a directory for whatever the tool needs.
        threads: requests made at once by tools that are libraries.
        package: the directory that ``object_clerk`` is imported from.
    """

    driver: str
    verb: str
    endpoint_url: str = ""
    access_key: str = ""
    secret_key: str = ""
    bucket: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    prefix: str = ""
    target: str = ""
    count: int = 0
    size: int = 0
    key: str = "large"
    path: str = ""
    place: str = ""
    threads: int = 1
    package: str = ""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What it took.

    Attributes:
        cpu_s: seconds of CPU time, of the system too, and of programs that were started.
        wall_s: seconds by the clock.
        peak_mib: by how much the process has grown since it was ready; all of it for programs.
        said: what the tool says that it has proved.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float
    version: str = ""
    said: str = ""


def names(prefix: str, count: int) -> list[str]:
    """The keys of small objects."""
    return [f"{prefix}{number:06d}" for number in range(count)]


def content(size: int) -> bytes:
    """The bytes of a small object."""
    return bytes(range(256)) * (size // 256) + bytes(size % 256)
