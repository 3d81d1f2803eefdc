"""Resumable uploads: large contents in chunks, taken up again where the server says it stands."""

from __future__ import annotations

import contextlib
import random
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError

from object_clerk.session import wire
from object_clerk.session.errors import RequestError
from object_clerk.session.metadata import EXPIRATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from object_clerk.session.channel import Channel
    from object_clerk.session.outgoing import Outgoing
    from object_clerk.session.spool import Spool
    from object_clerk.session.transport import Answer

#: The bytes of one request, where the server has no other wish.
CHUNK_BYTES = 64 << 20

#: Least and most seconds before each try that follows one without progress; then it is given up.
PAUSES_S = ((2.0, 3.0), (4.0, 5.0))

#: How long the server may take to put an object together, once it has all bytes.
ASSEMBLY_S = 600.0

_BEGIN = wire.query({"upload_type": "resumable"})


def put(
    channel: Channel, key: str | None, headers: Mapping[str, str], outgoing: Outgoing
) -> wire.Stored | None:
    """Store an object by a resumable upload; None if the server knows none, and nothing was sent.

    Args:
        channel: where to.
        key: its key; the server chooses one if there is none.
        headers: what describes it.
        outgoing: what is stored, whose length is known.
    """
    if not _known(channel, outgoing):
        return None
    spool = outgoing.spooled(channel.client._spool_dir)
    size = outgoing.stored_size
    method, path = channel.place(key)
    headers = {**headers, **outgoing.headers}
    begin = {name: value for name, value in headers.items() if name != "content-length"}
    begin[wire.UPLOAD_LENGTH] = str(size)
    with contextlib.closing(spool):
        try:
            answer = channel.asked(method, f"{path}?{_BEGIN}", begin)
        except RequestError as error:
            if error.status != HTTPStatus.NOT_IMPLEMENTED:
                raise
        else:
            made = answer.stored(key).key
            started = answer.parsed(wire.ResumableStarted.from_json)
            if started is not None:
                stored = _Upload(channel, started, spool, size).run(cancels=not key)
                if stored is not None:
                    return stored
            # An older server behind the same address has made an object of the beginning, or of a
            # chunk. It is replaced.
            method, path = "PUT", channel.object(made)
        return channel.asked(method, path, headers, spool.blocks(0, size)).stored(key)


def _known(channel: Channel, outgoing: Outgoing) -> bool:
    """Whether the server knows resumable uploads. It is asked once.

    One that does not takes the beginning of an upload for an empty object. So it is asked under a
    key of its own choice, and what that made is taken back: what stands under the caller's key is
    never replaced by nothing.
    """
    client = channel.client
    if client._resumable is None:
        target = f"{channel.collection()}?{_BEGIN}"
        headers = {wire.UPLOAD_LENGTH: str(outgoing.size), EXPIRATION: "ttl:1h"}
        try:
            answer = channel.asked("POST", target, headers)
        except RequestError as error:
            if error.status == HTTPStatus.NOT_IMPLEMENTED:
                client._resumable = False
            return False  # if it is about something else, the put itself will tell
        target = channel.object(answer.stored(None).key)
        started = answer.parsed(wire.ResumableStarted.from_json)
        client._resumable = started is not None
        if started is not None:
            target += f"?{wire.query({'session': started.session})}"
        with contextlib.suppress(RequestError, HTTPError):
            channel.asked("DELETE", target)
    return client._resumable


class _Upload:
    """One upload underway.

    Attributes:
        spool: what is sent.
        sent: how far it was sent.
    """

    def __init__(
        self, channel: Channel, started: wire.ResumableStarted, spool: Spool, size: int
    ) -> None:
        self.spool = spool
        self.sent = 0
        self._channel = channel
        self._key = started.key
        self._target = f"{channel.object(started.key)}?{wire.query({'session': started.session})}"
        self._size = size
        self._until_s: float | None = None
        step = started.granularity or 1
        self._chunk = max(step, CHUNK_BYTES - CHUNK_BYTES % step)

    def run(self, *, cancels: bool) -> wire.Stored | None:
        """Send all chunks; None if an older server has taken one for a whole object.

        Args:
            cancels: whether to cancel what was begun if it fails. An older server would take that
                for the deletion of the object: it is for keys of the server's own choice.
        """
        try:
            return self._run()
        except BaseException:
            if cancels:
                with contextlib.suppress(RequestError, HTTPError):
                    self._channel.asked("DELETE", self._target)
            raise

    def _run(self) -> wire.Stored | None:
        offset: int | None = 0
        most = tries = 0
        while True:
            trouble: Exception | None = None
            asked = offset is None
            try:
                answer = self._send(offset)
                if answer.status == HTTPStatus.OK:
                    return None
                if answer.status == HTTPStatus.CREATED:
                    return self._completed(answer)
                offset = self._offset(answer)
            except (HTTPError, RequestError) as error:
                trouble, offset = error, self._offset_after(error)
            if self._has_waited(trouble):
                tries = 0
            elif offset is not None and offset > most:
                most, tries = offset, 0
            elif trouble or not asked:  # that it was asked and says the same is no failure
                if tries == len(PAUSES_S):
                    raise trouble or RequestError("the server takes no more of the upload")
                time.sleep(random.uniform(*PAUSES_S[tries]))  # noqa: S311 - no secret
                tries += 1

    def _send(self, offset: int | None) -> Answer:
        """Send the chunk at an offset, or ask for the offset if it is not known."""
        if offset is None:
            return self._channel.asked("PUT", self._target, {wire.UPLOAD_OFFSET: "*"})
        count = min(self._chunk, self._size - offset)
        headers = {wire.UPLOAD_OFFSET: str(offset), "content-length": str(count)}
        return self._channel.asked("PUT", self._target, headers, _Chunk(self, offset, count))

    def _completed(self, answer: Answer) -> wire.Stored:
        if self.sent < self._size:
            raise RequestError(
                "the server says that it has all, and not all was sent", answer.status, answer.text
            )
        return answer.stored(self._key)

    def _offset(self, answer: Answer) -> int:
        if answer.status != HTTPStatus.NO_CONTENT:
            raise RequestError("the answer makes no sense", answer.status, answer.text)
        text = answer.headers.get(wire.UPLOAD_OFFSET, "")
        offset = answer.parsed(lambda _: wire.parse_count(text, wire.UPLOAD_OFFSET))
        if offset > self.sent:
            raise RequestError("the server has more of the upload than was sent", answer.status)
        return offset

    def _offset_after(self, error: HTTPError | RequestError) -> int | None:
        """Where to go on after a failure; None if that has to be asked.

        Raises:
            RequestError: going on is of no use.
        """
        if isinstance(error, RequestError) and error.status is not None:
            if error.status == HTTPStatus.CONFLICT:
                offset = _count_in(error, wire.UPLOAD_OFFSET)
                if offset is None or offset > self.sent:
                    raise error
                return offset
            if error.status < 500 and error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise error
        return None

    def _has_waited(self, trouble: Exception | None) -> bool:
        """Wait as long as the server wishes, if it puts the object together.

        Raises:
            RequestError: it takes too long.
        """
        if not isinstance(trouble, RequestError) or self.sent < self._size:
            return False
        wish_s = _count_in(trouble, "retry-after")
        if trouble.status != HTTPStatus.SERVICE_UNAVAILABLE or wish_s is None:
            return False
        now_s = time.monotonic()
        if self._until_s is None:
            self._until_s = now_s + ASSEMBLY_S
        if now_s >= self._until_s:
            raise trouble
        time.sleep(min(max(wish_s, 1), self._until_s - now_s))
        return True


def _count_in(error: RequestError, header: str) -> int | None:
    try:
        return wire.parse_count(error.headers.get(header, ""), header)
    except ValueError:
        return None


class _Chunk:
    """The bytes of a chunk; while they are sent, the upload is told how far they got."""

    def __init__(self, upload: _Upload, offset: int, count: int) -> None:
        self._upload = upload
        self._offset = offset
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        end = self._offset
        for block in self._upload.spool.blocks(self._offset, self._count):
            end += len(block)
            self._upload.sent = max(self._upload.sent, end)  # half of a block may arrive
            yield block
