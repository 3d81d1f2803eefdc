"""Resumable uploads: large contents in chunks, taken up again where the server says it stands."""

from __future__ import annotations

import contextlib
import random
import time
from http import HTTPStatus
from typing import IO, TYPE_CHECKING

from urllib3.exceptions import HTTPError

from object_clerk.exceptions import ObjectSaveException
from object_clerk.session import wire
from object_clerk.session.errors import RequestError
from object_clerk.session.metadata import EXPIRATION
from object_clerk.session.zstd import STEP_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from object_clerk.session.contents import Outgoing
    from object_clerk.session.session import Session
    from object_clerk.session.transport import Answer

#: The bytes of one request, where the server has no other wish.
CHUNK_BYTES = 64 << 20

#: Least and most seconds before each try that follows one without progress; then it is given up.
PAUSES_S = ((2.0, 3.0), (4.0, 5.0))

_BEGIN = wire.query({"upload_type": "resumable"})


def put(
    session: Session, key: str | None, headers: Mapping[str, str], outgoing: Outgoing
) -> wire.Stored | None:
    """Store an object by a resumable upload; None if the server knows none, and nothing was sent.

    Args:
        session: where to.
        key: its key; the server chooses one if there is none.
        headers: what describes it.
        outgoing: what is stored, whose length is known.
    """
    if not _known(session, outgoing):
        return None
    file = outgoing.spooled(session._client._spool_dir)
    method, path = ("PUT", session._object(key)) if key else ("POST", session._collection())
    headers = {**headers, **outgoing.headers}
    begin = {name: value for name, value in headers.items() if name != "content-length"}
    begin[wire.UPLOAD_LENGTH] = str(outgoing.stored_size)
    with contextlib.closing(file):
        try:
            answer = session._asked(method, f"{path}?{_BEGIN}", begin)
        except RequestError as error:
            if error.status != HTTPStatus.NOT_IMPLEMENTED:
                raise
        else:
            started = answer.parsed(wire.ResumableStarted.from_json)
            if started is not None:
                return _Upload(session, started, file, outgoing.stored_size).run()
            # An older server behind the same address: the empty object that it made is replaced.
            method, path = "PUT", session._object(answer.parsed(wire.Stored.from_json).key)
        body = _blocks(file, 0, outgoing.stored_size)
        return session._asked(method, path, headers, body).parsed(wire.Stored.from_json)


def _known(session: Session, outgoing: Outgoing) -> bool:
    """Whether the server knows resumable uploads. It is asked once.

    One that does not takes the beginning of an upload for an empty object. So it is asked under a
    key of its own choice, and what that made is taken back: what stands under the caller's key is
    never replaced by nothing.
    """
    client = session._client
    if client._resumable is None:
        target = f"{session._collection()}?{_BEGIN}"
        headers = {wire.UPLOAD_LENGTH: str(outgoing.size), EXPIRATION: "ttl:1h"}
        try:
            answer = session._asked("POST", target, headers)
        except RequestError as error:
            if error.status == HTTPStatus.NOT_IMPLEMENTED:
                client._resumable = False
            return False  # if it is about something else, the put itself will tell
        started = answer.parsed(wire.ResumableStarted.from_json)
        client._resumable = started is not None
        target = session._object(answer.parsed(wire.Stored.from_json).key)
        if started is not None:
            target += f"?{wire.query({'session': started.session})}"
        with contextlib.suppress(RequestError, HTTPError):
            session._asked("DELETE", target)
    return client._resumable


class _Upload:
    """One upload underway."""

    def __init__(
        self, session: Session, started: wire.ResumableStarted, file: IO[bytes], size: int
    ) -> None:
        self._session = session
        self._target = f"{session._object(started.key)}?{wire.query({'session': started.session})}"
        self._file = file
        self._size = size
        step = started.granularity or 1
        self._chunk = max(step, CHUNK_BYTES - CHUNK_BYTES % step)

    def run(self) -> wire.Stored:
        """Send all chunks. What was begun is cancelled if that fails."""
        try:
            return self._run()
        except BaseException:
            with contextlib.suppress(RequestError, HTTPError):
                self._session._asked("DELETE", self._target)
            raise

    def _run(self) -> wire.Stored:
        offset: int | None = 0
        most = tries = 0
        while True:
            trouble: Exception | None = None
            asked = offset is None
            try:
                answer = self._send(offset)
                if answer.status != HTTPStatus.NO_CONTENT:
                    return answer.parsed(wire.Stored.from_json)
                offset = self._offset(answer)
            except (HTTPError, RequestError) as error:
                trouble = error
                offset = self._offset_after(error)
            if offset is not None and offset > most:
                most, tries = offset, 0
            elif trouble or not asked:  # that it was asked and says the same is no failure
                if tries == len(PAUSES_S):
                    raise trouble or RequestError("the server takes no more of the upload")
                time.sleep(random.uniform(*PAUSES_S[tries]))  # noqa: S311 - no secret
                tries += 1

    def _send(self, offset: int | None) -> Answer:
        """Send the chunk at an offset, or ask for the offset if it is not known."""
        if offset is None:
            return self._session._asked("PUT", self._target, {wire.UPLOAD_OFFSET: "*"})
        count = min(self._chunk, self._size - offset)
        headers = {wire.UPLOAD_OFFSET: str(offset), "content-length": str(count)}
        return self._session._asked(
            "PUT", self._target, headers, _blocks(self._file, offset, count)
        )

    def _offset(self, answer: Answer) -> int:
        text = answer.headers.get(wire.UPLOAD_OFFSET, "")
        offset = answer.parsed(lambda _: wire.parse_count(text, wire.UPLOAD_OFFSET))
        if offset > self._size:
            raise RequestError("the server has more of the upload than there is", answer.status)
        return offset

    def _offset_after(self, error: HTTPError | RequestError) -> int | None:
        """Where to go on after a failure; None if that has to be asked.

        Raises:
            RequestError: going on is of no use.
        """
        if isinstance(error, RequestError) and error.status is not None:
            if error.status == HTTPStatus.CONFLICT:
                with contextlib.suppress(ValueError):
                    text = error.headers.get(wire.UPLOAD_OFFSET, "")
                    if (offset := wire.parse_count(text, wire.UPLOAD_OFFSET)) <= self._size:
                        return offset
                raise error
            if error.status < 500 and error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise error
        return None


def _blocks(file: IO[bytes], offset: int, count: int) -> Iterator[bytes]:
    file.seek(offset)
    while count:
        block = file.read(min(count, STEP_BYTES))
        if not block:
            raise ObjectSaveException("the contents became shorter while they were sent")
        count -= len(block)
        yield block
