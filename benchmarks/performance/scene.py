"""The server of a work, and what has to be there before it begins."""

from __future__ import annotations

import contextlib
import http.client
import random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from boto3.s3.transfer import TransferConfig

from benchmarks import stub
from benchmarks.performance.job import MIB, WARM, WARM_COUNT, content, names
from tests.servers import arrange, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.performance.works import Work
    from tests.servers import Server

STUB = "stub"
_LARGE = "large"


class Scene:
    """A server in which a work can be done, again and again.

    Attributes:
        server: the server.
        bucket: where everything happens.
        source: the file that is uploaded, or was.
    """

    def __init__(self, server: Server, bucket: str, source: Path, work: Work) -> None:
        self.server = server
        self.bucket = bucket
        self.source = source
        self._work = work
        self._client = arrange.client(server)

    def prepare(self) -> None:
        """Make what is needed once."""
        work = self._work
        if work.is_large:
            make_file(self.source, work.size)
        if work.verb in ("copy", "move"):
            self._fill(names(WARM, WARM_COUNT), work.size)
        if work.verb == "get":
            self._fill(names("in/", work.count), work.size)
        if work.verb == "list" and self.server.name != STUB:
            self._fill(names("", work.count), 1)
        if work.stored:
            self._store(work.stored)

    def prepare_round(self, prefix: str) -> str:
        """Make what one measurement uses up; the prefix it finds its objects under."""
        if self._work.verb == "move":
            self._fill(
                [*names(prefix, self._work.count), *names(WARM, WARM_COUNT)], self._work.size
            )
        elif self._work.verb == "copy" and not self._has_sources:
            self._fill(names("in/", self._work.count), self._work.size)
            self._has_sources = True
        if self._work.verb == "list":
            return ""
        return prefix if self._work.verb in ("move", "put") else "in/"

    _has_sources = False

    def seen(self) -> str:
        """How bodies were signed since this was asked last, and their digests; of the stub only."""
        if self.server.name != STUB or self._work.verb not in ("put", "upload"):
            return ""
        with contextlib.closing(self._open()) as connection:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            return (answer.getheader("x-stub-seen") or "").rstrip(",").replace(",", ", ")

    def is_stored(self) -> bool:
        """Whether the uploaded object has the size of the source."""
        head = self._client.head_object(Bucket=self.bucket, Key=_LARGE)
        return head["ContentLength"] == self._work.size

    def _open(self) -> http.client.HTTPConnection:
        url = urlsplit(self.server.endpoint_url)
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)

    def _fill(self, keys: Sequence[str], size: int) -> None:
        data = content(size)
        if self.server.name != STUB:
            for key in keys:
                self._client.put_object(Bucket=self.bucket, Key=key, Body=data)
            return
        with contextlib.closing(self._open()) as connection:  # it asks for no signature
            for key in keys:
                connection.request("PUT", f"/{self.bucket}/{key}", data)
                connection.getresponse().read()

    def _store(self, how: str) -> None:
        size = self._work.size
        part = size + 1 if how == "single" else 8 * MIB
        config = TransferConfig(multipart_threshold=part, multipart_chunksize=max(part, 8 * MIB))
        extra = {"ChecksumAlgorithm": "CRC64NVME"} if how == "crc64nvme" else {}
        self._client.upload_file(
            str(self.source), self.bucket, _LARGE, ExtraArgs=extra, Config=config
        )


def make_file(path: Path, size: int) -> None:
    """Write a file of which no two parts are alike."""
    block = random.Random(size).randbytes(MIB)
    with path.open("wb") as file:
        for number in range(-(-size // MIB)):
            file.write(number.to_bytes(8) + block[8:])
        file.truncate(size)


@contextlib.contextmanager
def opened(server: str, work: Work, place: Path, latency_s: float) -> Iterator[Scene]:
    """Start the server of a work and prepare it; stop it when the block ends.

    Args:
        server: ``stub``, or a name that ``tests.servers`` knows.
        work: the work.
        place: a directory for the source.
        latency_s: the stub's latency.
    """
    source = place / "source"
    with contextlib.ExitStack() as stack:
        stack.callback(source.unlink, missing_ok=True)
        if server == STUB:
            settings = {"listed": work.count if work.verb == "list" else 1, **work.stub}
            started = stack.enter_context(stub.running(latency_s=latency_s, **settings))
            # What is only written need not be kept; without MD5 it may have to be read back.
            bucket = (
                "null" if work.verb in ("put", "upload") and "md5" not in work.stub else "bucket"
            )
            bucket = "list" if work.verb == "list" else bucket
        else:
            started = stack.enter_context(running(server))
            bucket = stack.enter_context(arrange.fresh_bucket(started, arrange.client(started)))
        scene = Scene(started, bucket, source, work)
        scene.prepare()
        yield scene
