"""The world of one run: a store with a few objects in it, a clerk, and other people."""

from __future__ import annotations

import functools
import io
import itertools
import random
from typing import IO, TYPE_CHECKING, Any, cast

from object_clerk import ObjectClerk
from object_clerk.config import ClerkConfig, TransferSettings
from object_clerk.retry import Patience, RetryPolicy
from tests.simulation.multipart import S3
from tests.simulation.scenario import LAYOUTS, Job, Place
from tests.simulation.stagecraft import BLOCK, PART, SMALLEST_PART, STAGE, Clock
from tests.simulation.store import Bucket, Store
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from object_clerk.events import Event
    from tests.simulation.faults import Fault, Plan

#: Never to be seen in a message, a log, or a repr.
SECRET = "Secret-Key-Of-The-Simulation"

#: Metadata and headers of an object that is copied; an upload gets the same.
METADATA = {"night": "2026-11-21", "exposure": "1.5"}
CONTENT_TYPE = "image/fits"
TAGS = ({"Key": "band", "Value": "r & g"},)

#: The keys of a bucket that is listed.
LISTED = tuple(f"list/{number:02}" for number in range(7))


class Pipe(io.RawIOBase):
    """A stream that cannot be rewound."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, 30) if size >= 0 else size)


@functools.cache
def _config(place: Place, workers: int) -> ClerkConfig:
    settings = TransferSettings(
        threshold_bytes=PART, part_size_bytes=PART, workers=workers, block_bytes=BLOCK
    )
    return ClerkConfig(
        endpoint_url="http://made.up",
        access_key="access",
        secret_key=SECRET,
        upload=settings,
        download=settings,
        patience=Patience(connection=RetryPolicy(tries=place.tries), deadline_s=place.deadline_s),
    )


class World:
    """The store, the objects in it, and what is done to them.

    Attributes:
        source: bucket and key that are read, copied or deleted.
        target: bucket and key that are written.
        content: the bytes that are sent, or those of the source.
        begun: how long the journal was when the clerk's work began.
        wanted: the version that may be replaced, or deleted, on a condition.
        path: the file of a download, or of an upload.
    """

    def __init__(self, seed: int, job: Job, place: Place, directory: Path) -> None:
        self.job = job
        self.place = place
        self.clock = Clock()
        self.store = Store(place.profile, self.clock, SMALLEST_PART)
        self.s3 = S3(self.store)
        self.dice = random.Random(f"world {seed}")
        self.content = self.dice.randbytes(job.size)
        self.source = ("here", "50% a" if job.percent else "source")
        self.target = ("there" if job.elsewhere else "here", "target")
        if job.verb in ("get", "download", "reader", "delete"):
            self.target = self.source
        self.path = directory / "file"
        self.old_file = b"what was there before"
        self.events: list[Event] = []
        self.handed = bytearray()
        self._reads = self.dice.choices((1, 7, BLOCK, 50), k=4)
        self._arrange()
        self.begun = len(self.store.journal)
        # Times are told in whole seconds: what was made just now looks as old as its copy.
        self.clock.advance(self.dice.choice((0, 10)))
        self.wanted = self.store.current(*self.target)

    def _arrange(self) -> None:
        for bucket in ("here", "there"):
            self.store.buckets[bucket] = Bucket(self.place.versioned)
        verb = self.job.verb
        if verb in ("get", "download", "reader", "copy", "move", "delete"):
            self._make(*self.source, self.content, LAYOUTS[self.job.layout])
        if self.job.occupied and verb in ("upload", "copy", "move"):
            self._make(*self.target, self.dice.randbytes(50), None)
        if verb in ("list", "delete-many"):
            for key in LISTED:
                self._make("here", key, key.encode(), None)
        if verb == "download":
            for left in self.path.parent.glob("*.*"):  # to be resumed by a run before
                left.unlink()
            self.path.unlink(missing_ok=True)
            if self.job.form == "path" and self.job.occupied:
                self.path.write_bytes(self.old_file)
        elif verb == "upload" and self.job.form == "file":
            self.path.write_bytes(self.content)

    def _make(self, bucket: str, key: str, data: bytes, part_size: int | None) -> None:
        kept = {"Metadata": METADATA, "ContentType": CONTENT_TYPE}
        parts = [data]
        if part_size is not None:
            parts = [data[at : at + part_size] for at in range(0, len(data), part_size)]
        version = self.store.version(parts, part_size is None, kept)
        version.tags = TAGS if self.place.profile.traits.tagging else ()
        self.store.insert(bucket, key, version)

    def clerk(self, plan: Plan) -> tuple[ObjectClerk, Wire]:
        """A new clerk whose requests go as the plan says."""
        wire = Wire(self.s3, self.clock, plan, self.meddle, "clerk")
        STAGE.set(self.clock, self.dice, wire)
        config = _config(self.place, self.job.workers)
        clerk = ObjectClerk(config=config, on_event=self.events.append)
        if self.place.knows:
            profile = self.place.profile
            clerk.endpoint.copy_etag = profile.copy_etag
            clerk.endpoint.delete_if_match = profile.delete_if_match(self.place.versioned)
        return clerk, wire

    def meddle(self, fault: Fault) -> None:
        """Be somebody else who works with the same objects."""
        store = self.store
        store.author, store.method = "other", fault.kind
        bucket, key = self.target if fault.number & 1 else self.source
        if self.job.verb in ("list", "delete-many"):
            key = f"list/{fault.number % 9:02}"
        there = store.current(bucket, key)
        match fault.kind:
            case "other-put":
                size = len(there.data) if there and fault.number & 2 else 1 + fault.number % 150
                data = random.Random(fault.number).randbytes(size)
                self._make(bucket, key, data, None if fault.number & 4 else PART)
            case "other-same" if same := there or self.wanted:
                self._make(bucket, key, same.data, same.part_sizes[0] if same.part_sizes else None)
            case "other-delete":
                store.remove(bucket, key, None)
            case "lifecycle":
                store.uploads.clear()
            case "part-lost":
                for upload in store.uploads.values():
                    for part_number in sorted(upload.parts)[:1]:
                        del upload.parts[part_number]

    # -- the work --------------------------------------------------------------------------

    def work(self, clerk: ObjectClerk) -> Any:
        """Do the job; what it returns, with bytes that were read in place of a receipt."""
        job, verify = self.job, self.job.verify
        match job.verb:
            case "upload":
                return self._upload(clerk)
            case "get":
                return clerk.get_object(*self.source, verify)
            case "download":
                return self._download(clerk)
            case "reader":
                return self._read(clerk)
            case "copy":
                return clerk.copy_object(*self.source, *self.target, verify, **self._conditions())
            case "move":
                guard = {"source_guard": job.guard, **self._conditions()}
                return clerk.move_object(*self.source, *self.target, verify, **guard)
            case "delete":
                return clerk.delete_object(*self.source, **self._conditions())
            case "delete-many":
                return clerk.delete_objects("here", [*LISTED[:5], "missing"])
        return [entry["Key"] for entry in clerk.list_objects("here", "list/", page_size=2)]

    def _conditions(self) -> dict[str, Any]:
        match self.job.condition:
            case "absent":
                return {"if_absent": True}
            case "match":
                return {"if_match": self.wanted.etag if self.wanted else "0" * 32}
        return {}

    def _upload(self, clerk: ObjectClerk) -> Any:
        data: Any = self.content
        match self.job.form:
            case "stream":
                data = io.BytesIO(data)
            case "pipe":
                data = Pipe(data)
            case "file":
                data = self.path
        return clerk.upload_object(
            data,
            *self.target,
            self.job.verify,
            CONTENT_TYPE,
            METADATA,
            allow_empty=True,
            stage=self.job.stage,
            **self._conditions(),
        )

    def _download(self, clerk: ObjectClerk) -> Any:
        if self.job.form == "path":
            resume = self.job.resume
            return clerk.download_object(*self.source, self.path, self.job.verify, resume=resume)
        file = io.BytesIO()
        try:
            return clerk.download_object(*self.source, cast("IO[bytes]", file), self.job.verify)
        finally:
            self.handed[:] = file.getvalue()

    def _read(self, clerk: ObjectClerk) -> Any:
        self.handed.clear()
        with clerk.open_object(*self.source, self.job.verify) as reader:
            for size in itertools.cycle(self._reads):
                block = reader.read(size)
                self.handed += block
                if not block or self.job.form == "some of it":
                    break
        return reader.receipt
