"""What is measured: the works, their variants, and the settings of the tools in them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from benchmarks.performance.job import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The tool that all others are compared with, in the same round.
REFERENCE = "boto3"

#: With https no payload is signed. Here that is said to clients of plain http, so that the
#: encryption, which is the same for all, is not measured too.
_UNSIGNED = {"s3": {"payload_signing_enabled": False}}
_PART = 8 * MIB
_IN_PARTS = {"multipart_threshold": _PART, "multipart_chunksize": _PART}

_SMALL = 16 << 10


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool with its settings.

    Attributes:
        name: what the tables call it.
        driver: its module in ``drivers``.
        options: settings other than its defaults.
    """

    name: str
    driver: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


BOTO3 = Tool(REFERENCE, "with_boto3")
CLERK = Tool("object-clerk", "with_clerk")
SLOW = Tool("object-clerk, slow lane", "with_clerk", {"fast_lane": False})
OURS = (CLERK, SLOW)
PEERS = (
    Tool("obstore", "with_obstore"),
    Tool("s5cmd", "with_s5cmd"),
    Tool("rclone", "with_rclone"),
    Tool("minio-py", "with_minio"),
    Tool("s3fs", "with_s3fs"),
)
TOOLS = (BOTO3, *OURS, *PEERS)


@dataclasses.dataclass(frozen=True)
class Work:
    """One thing that all tools do.

    Attributes:
        name: what the command line calls it.
        variant: which form of it.
        verb: what the drivers call it.
        count: how many objects.
        size: bytes of each, or of the one.
        options: settings of a driver in this variant.
        stub: settings of the stub server.
        stored: how a large object is stored before it is read: ``parts``, ``single``, or
            ``crc64nvme`` for parts and a checksum.
        tools: who takes part.
    """

    name: str
    variant: str
    verb: str
    count: int
    size: int
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    stub: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stored: str = ""
    tools: tuple[Tool, ...] = TOOLS

    @property
    def amount(self) -> float:
        """In thousands of objects, or GiB; imports count as one."""
        if self.verb in ("upload", "download"):
            return self.size / (1 << 30)
        return self.count / 1000 if self.count else 1.0

    @property
    def takes_the_stub(self) -> bool:
        """Whether it is about something that only the stub surely does."""
        return "CRC64NVME" in self.variant

    @property
    def is_large(self) -> bool:
        """Whether one large object is moved."""
        return self.verb in ("upload", "download")


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much of it: 0 or less for what the work has by default.

    Attributes:
        count: small objects.
        listed: keys of a listing.
        size_mib: the large object.
        sizes_mib: the large objects of ``memory``.
        units: how many times the unit, in ``scaling``.
        unit_mib: one unit of bytes, in ``scaling``; one of objects is a thousand.
    """

    count: int = 1500
    listed: int = 100_000
    size_mib: int = 1024
    sizes_mib: tuple[int, ...] = (64, 256, 1024)
    units: tuple[int, ...] = (1, 2, 4, 8)
    unit_mib: int = 128


NAMES = (
    "small-put",
    "small-get",
    "small-copy",
    "small-move",
    "list",
    "upload",
    "download",
    "download-single",
    "memory",
    "import",
    "scaling",
)


def works(name: str, scale: Scale) -> Iterator[Work]:
    """The variants of a work."""
    large = scale.size_mib * MIB
    if name.startswith("small-"):
        yield Work(name, "16 KiB", name.removeprefix("small-"), scale.count, _SMALL)
    elif name == "list":
        yield Work(name, f"{scale.listed} keys", "list", scale.listed, 0)
    elif name == "upload":
        yield from _uploads(large)
    elif name == "download":
        yield Work(name, "parts of 8 MiB", "download", 0, large, stored="parts")
        with_sum = Work(name, "stored CRC64NVME", "download", 0, large, stored="crc64nvme")
        yield dataclasses.replace(with_sum, tools=(BOTO3, *OURS))
    elif name == "download-single":
        yield Work(name, "uploaded in one request", "download", 0, large, stored="single")
    elif name == "memory":
        for mib in scale.sizes_mib:
            yield Work(name, f"upload, {mib} MiB", "upload", 0, mib * MIB)
            yield Work(name, f"download, {mib} MiB", "download", 0, mib * MIB, stored="parts")
    elif name == "import":
        yield Work(name, "import and first client", "import", 0, 0, tools=(BOTO3, CLERK))
    else:
        yield from _scaling(scale)


def _uploads(size: int) -> Iterator[Work]:
    """With CRC64NVME unknown to the server, as to most; and with it."""
    without = {"crc64nvme": False}
    few = (BOTO3, Tool("boto3, unsigned payload", "with_boto3", _UNSIGNED), *OURS)
    yield Work("upload", "signed payload", "upload", 0, size, stub=without)
    plain = Work("upload", "unsigned payload", "upload", 0, size, stub=without, tools=few)
    unsigned: dict[str, Any] = {"client_config": _UNSIGNED}
    clerk = {"with_clerk": unsigned}
    yield dataclasses.replace(plain, options=clerk)
    in_parts = {"with_clerk": {**unsigned, "transfer_config": _IN_PARTS}}
    variant = "unsigned payload, parts of 8 MiB"
    yield dataclasses.replace(plain, options=in_parts, variant=variant)
    known = "unsigned payload, CRC64NVME honoured"
    yield dataclasses.replace(plain, options=clerk, variant=known, stub={})
    # A server that hashes bounds the time by the clock: this one only sums up.
    quick = f"{known}, no MD5 in the server"
    yield dataclasses.replace(plain, options=clerk, variant=quick, stub={"md5": False})


def _scaling(scale: Scale) -> Iterator[Work]:
    for units in scale.units:
        size = units * scale.unit_mib * MIB
        stored = {"upload": "", "download": "parts"}
        for verb, how in stored.items():
            variant = f"{verb}, {units} x {scale.unit_mib} MiB"
            yield Work("scaling", variant, verb, 0, size, stored=how, tools=(BOTO3, *OURS))
        for verb in ("put", "get", "list"):
            work = Work("scaling", f"{verb}, {units} x 1000", verb, units * 1000, _SMALL)
            yield dataclasses.replace(work, tools=(BOTO3, *OURS))
