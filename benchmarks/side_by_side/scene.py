"""The place in which one tool plays one experiment: objects, faults, a local directory."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import subprocess
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from benchmarks.side_by_side import faults

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from benchmarks.side_by_side.job import Outcome
    from benchmarks.side_by_side.verdicts import Cell
    from object_clerk.testing import Action, Fault, FaultProxy, Request
    from tests.servers import Server

    Judge = Callable[[Outcome], Cell]
    Play = Callable[["Scene"], Judge]

MIB = 1 << 20

#: The smallest part that S3 takes. Where parts matter, every tool is told to use this.
PART = 5 * MIB


def content(size: int, seed: str = "") -> bytes:
    """Bytes that look random, are the same every time, and differ between seeds."""
    return hashlib.shake_128(f"{seed}:{size}".encode()).digest(size)


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        experiment: its number in our list of experiments.
        verbs: what the tool is asked to do: the first of these that it has.
        play: prepares a scene and returns the function that judges what was made of it. In a
            scene that is not armed nothing goes wrong.
        faultless: what goes wrong is no doing of the proxy, so its log cannot tell.
    """

    experiment: str
    verbs: tuple[str, ...]
    play: Play
    faultless: bool = False

    @property
    def title(self) -> str:
        """What goes wrong: what the function says of itself."""
        return (self.play.__doc__ or "").partition("\n")[0].removesuffix(".")

    @property
    def name(self) -> str:
        """A name for keys and files."""
        return f"{self.experiment}-{self.play.__name__}"


class Cases(list[Case]):
    """The cases of a module, in the order of the table."""

    def add(self, experiment: str, *verbs: str, faultless: bool = False) -> Callable[[Play], Play]:
        """A decorator for the function that plays the case."""

        def keep(play: Play) -> Play:
            self.append(Case(experiment, verbs, play, faultless))
            return play

        return keep


@dataclasses.dataclass
class Theatre:
    """What the scenes at one server share.

    Attributes:
        s3: a plain client that goes to the server itself.
        place: a directory for local files.
        listed: the keys of the objects that are there to be listed, once somebody needed them.
    """

    server: Server
    s3: S3Client
    bucket: str
    place: Path
    listed: tuple[str, ...] = ()


class Scene:
    """One tool, one experiment, one proxy.

    Attributes:
        key: the object it is about.
        target: where it is copied or moved to.
        path: the local file.
        job: further fields of the job.
        kill_at: if set, the tool is killed as soon as this is.
        reason: why the experiment cannot be made here, empty if it can.
        armed: False where everything is to go well, to see whether the tool works at all.
    """

    def __init__(
        self, theatre: Theatre, proxy: FaultProxy, place: Path, name: str, *, armed: bool
    ) -> None:
        self.theatre = theatre
        self.proxy = proxy
        self.armed = armed
        self.place = place
        self.bucket = theatre.bucket
        self.key = f"{name}/object"
        self.target = f"{name}/target"
        self.path = place / "file"
        self.job: dict[str, Any] = {}
        self.kill_at: threading.Event | None = None
        self.reason = ""
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        """Remove what is left of it."""
        for key in (self.key, self.target):
            with contextlib.suppress(ClientError):
                self.theatre.s3.delete_object(Bucket=self.bucket, Key=key)
        self._stack.close()

    # -- faults ------------------------------------------------------------------------------

    def add(self, fault: Fault) -> None:
        """Arm a fault, unless this is the run without any."""
        if self.armed:
            self.proxy.add(fault)

    def arm(self, name: str, action: Action, **match: Any) -> None:
        """Arm a fault made of an action."""
        self.add(faults.fault(name, action, **match))

    @property
    def fired(self) -> bool:
        """Whether a fault took effect, by the proxy's log."""
        return bool(self.proxy.fired)

    def reads(self, request: Request) -> bool:
        """Whether the request reads the object."""
        return faults.is_read(request) and faults.is_about(request, self.bucket, self.key)

    def writes(self, request: Request) -> bool:
        """Whether it sends the object, or a part of it."""
        sends = request.method == "PUT" and request.header("x-amz-copy-source") is None
        return sends and faults.is_about(request, self.bucket, self.key)

    def completes(self, request: Request) -> bool:
        """Whether it puts the parts together."""
        about = faults.is_about(request, self.bucket, self.key)
        return request.method == "POST" and about and "uploadId=" in request.query

    def copies(self, request: Request) -> bool:
        """Whether it copies to the target."""
        return faults.is_copy(request) and faults.is_about(request, self.bucket, self.target)

    def deletes(self, request: Request) -> bool:
        """Whether it deletes the object, alone or with others."""
        if request.method == "DELETE":
            return faults.is_about(request, self.bucket, self.key)
        in_bulk = request.method == "POST" and request.path.strip("/") == self.bucket
        return in_bulk and "delete" in request.query

    # -- behind the tool's back --------------------------------------------------------------

    def put(self, key: str, data: bytes, **parameters: Any) -> bytes:
        """Store an object with one request."""
        self.theatre.s3.put_object(Bucket=self.bucket, Key=key, Body=data, **parameters)
        return data

    def put_parts(self, key: str, data: bytes, *sizes: int) -> bytes:
        """Store an object in parts of these sizes; what is left is the last part."""
        where: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        where["UploadId"] = self.theatre.s3.create_multipart_upload(**where)["UploadId"]
        done: list[Any] = []
        start = 0
        for number, size in enumerate((*sizes, len(data) - sum(sizes)), 1):
            part = data[start : start + size]
            start += size
            answer = self.theatre.s3.upload_part(**where, PartNumber=number, Body=part)
            done.append({"PartNumber": number, "ETag": answer["ETag"]})
        self.theatre.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
        return data

    def overwrite(self, key: str, data: bytes) -> str:
        """Store other bytes under what the object is called and described by; the new ETag."""
        head = self.theatre.s3.head_object(Bucket=self.bucket, Key=key)
        answer = self.theatre.s3.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=data,
            Metadata=head["Metadata"],
            ContentType=head["ContentType"],
        )
        return answer["ETag"]

    def stored(self, key: str) -> bytes | None:
        """What the server holds, None if there is no such object."""
        try:
            return self.theatre.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def local(self) -> bytes | None:
        """What the local file holds, None if there is none."""
        return self.path.read_bytes() if self.path.is_file() else None

    def write(self, data: bytes) -> bytes:
        """Make the local file."""
        self.path.write_bytes(data)
        return data

    def small_disk(self, size: int) -> None:
        """Put the local file on a file system of its own, of this many bytes; root can do that."""
        place = self.place / "disk"
        place.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
        try:
            subprocess.run(["mount", *options, place], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.reason = f"no small file system can be mounted: {error}"
            return
        self._stack.callback(lambda: subprocess.run(["umount", "-l", place], check=True))
        self.path = place / "file"
