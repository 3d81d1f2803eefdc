"""What the experiments share: the invariants, and servers that misbehave in ways of their own.

Signed requests cannot be altered on their way. So a server that ignores a range, or stores other
bytes than it got, is played by doing the same behind the clerk's back and answering in its place.

The invariants are checked after every test of this directory: every error is one of ours and is
told once (I5), no secret is in a message, a log, a receipt or an event (I8), and no multipart
upload is left open (I9). The experiments count requests as well (I6). That success means the
right bytes (I1), that a good copy is left (I2), that nothing is lost which belongs to others (I3)
and that no file holds unverified bytes (I4) is for each test to assert.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import io
import os
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from botocore.exceptions import ClientError

from object_clerk import ObjectClerkException
from object_clerk.events import Failed, Finished, Retrying, Started
from object_clerk.testing import Action, Drop, Fault, Reply, error_document
from object_clerk.transfer.files import PartialFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from object_clerk.events import Event
    from object_clerk.testing import Request, ResponseHead, Turn
    from tests.faults.conftest import Stage

#: No request is made more often than this: four tries, and each of three checksum tries anew.
MOST_ALIKE = 12

XML = (("Content-Type", "application/xml"),)


# -- invariants ----------------------------------------------------------------------------


def check_invariants(stage: Stage, logged: str) -> None:
    """I5, I8 and I9, at the end of any test."""
    kinds = Counter(type(event) for event in stage.events)
    assert kinds[Failed] + kinds[Finished] <= kinds[Started], "an end was told twice"
    errors = [event.error for event in stage.events if isinstance(event, Failed)]
    assert all(isinstance(error, ObjectClerkException) for error in errors)

    causes = [event.cause for event in stage.events if isinstance(event, Retrying)]
    told = [logged, repr(stage.clerk), repr(stage.clerk.config)]
    told += [text for each in (*stage.events, *stage.receipts) for text in (str(each), repr(each))]
    told += ["".join(traceback.format_exception(error)) for error in (*errors, *causes)]
    assert not any(stage.secret in text for text in told), "the secret key can be read somewhere"

    assert stage.uploads() == [], "a multipart upload was left open"


def check_budget(stage: Stage) -> None:
    """I6: no request was made more often than the attempts that are allowed."""
    alike = Counter(
        (each.method, each.path, each.query, each.request_header("Range"))
        for each in stage.proxy.log
    )
    assert all(count <= MOST_ALIKE for count in alike.values()), alike.most_common(1)


class Target:
    """A file to download to, looked at whenever the clerk tells of something (I4).

    Attributes:
        path: where it is.
        seen: all that it was seen to hold; None while there was no file.
    """

    def __init__(self, stage: Stage, path: Path, old: bytes | None = None) -> None:
        self.path = path
        self.seen: list[bytes | None] = []
        if old is not None:
            path.write_bytes(old)
        stage.watchers.append(self._look)

    def _look(self, _: Event | None = None) -> None:
        found = self.path.read_bytes() if self.path.exists() else None
        if found not in self.seen:
            self.seen.append(found)

    def held(self) -> list[bytes | None]:
        """What the file has held, in order, up to now; nothing may lie beside it."""
        self._look()
        assert [each for each in self.path.parent.iterdir() if each != self.path] == []
        return self.seen


# -- bytes --------------------------------------------------------------------------------


def md5(data: bytes) -> str:
    """The MD5 of the bytes, as in an ETag."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def flipped(data: bytes, offset: int) -> bytes:
    """The bytes with the lowest bit of one of them flipped."""
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


class Pipe(io.RawIOBase):
    """A stream that cannot be rewound, and may end with an error."""

    def __init__(self, data: bytes, error: type[BaseException] | None = None) -> None:
        self._stream = io.BytesIO(data)
        self._error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data = self._stream.read(size)
        if not data and self._error is not None:
            raise self._error("the tape broke")
        return data


# -- servers that misbehave ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Headed(Action):
    """Answers with other headers."""

    make: Callable[[Mapping[str, str]], Mapping[str, str]]

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        old = {name.lower(): value for name, value in head.headers}
        new = {name.lower(): value for name, value in self.make(old).items()}
        if not new or head.status >= 300:
            return head
        turn.effective = True
        kept = tuple(each for each in head.headers if each[0].lower() not in new)
        return dataclasses.replace(head, headers=(*kept, *new.items()))


def headed(make: Callable[[Mapping[str, str]], Mapping[str, str]], **match: Any) -> Fault:
    """A fault that sets headers of every successful answer, made from those of the server."""
    return Fault(**{"name": "headed", "times": None, **match}, action=Headed(make))


@dataclasses.dataclass(frozen=True)
class Together(Action):
    """Does to an answer what several actions do, one after the other."""

    actions: tuple[Action, ...]

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        for action in self.actions:
            head = action.edit_response_head(turn, head)
        return head

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        for action in self.actions:
            blocks = action.edit_response_body(turn, head, blocks)
        return blocks


def together(name: str, *faults: Fault, **match: Any) -> Fault:
    """A fault that does what several do to the same answer."""
    return Fault(name=name, action=Together(tuple(each.action for each in faults)), **match)


@dataclasses.dataclass(frozen=True)
class Afterwards(Action):
    """Does something when the server has carried the request out, before it is answered."""

    function: Callable[[], object]

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        turn.effective = True
        self.function()
        return None


def afterwards(function: Callable[[], object], **match: Any) -> Fault:
    """A fault that calls a function when the server has carried the request out."""
    return Fault(**{"name": "afterwards", **match}, action=Afterwards(function))


@dataclasses.dataclass(frozen=True)
class Redirected(Action):
    """Sends a request without a body to another path, and gives the answer back.

    Only for servers that do not look at signatures.
    """

    stage: Stage
    alias: str
    path: str

    def before(self, turn: Turn) -> Reply | Drop | None:
        request = turn.request
        host = self.stage.server.endpoint_url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as link:
            target = request.target.replace(self.alias, self.path, 1)
            kept = {n: v for n, v in request.headers if n.lower() not in ("host", "connection")}
            link.request(request.method, target, headers=kept)
            answer = link.getresponse()
            unwanted = ("connection", "transfer-encoding", "keep-alive")
            headers = [each for each in answer.getheaders() if each[0].lower() not in unwanted]
            return Reply(answer.status, answer.read(), tuple(headers))


def redirected(stage: Stage, alias: str, path: str) -> Fault:
    """A server that knows one bucket or object by two names."""
    action = Redirected(stage, alias, path)
    return Fault(name="redirected", action=action, path=alias, times=None)


def asked(request: Request, name: str) -> str:
    """One parameter of a request's query; empty if it is not there."""
    return parse_qs(request.query, keep_blank_values=True).get(name, [""])[0]


def xml_reply(root: str, **elements: str) -> Reply:
    """An answer in XML with these elements."""
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in elements.items())
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    text = f'<?xml version="1.0"?><{root} xmlns="{namespace}">{inner}</{root}>'
    return Reply(200, text.encode(), XML)


def keeps_other_bytes(
    stage: Stage, wrong: bytes, *, claims: str | None = None
) -> Callable[[Request], Reply]:
    """A server that checks nothing, and stores other bytes than it got; in parts or at once.

    Args:
        stage: where.
        wrong: what is stored.
        claims: the ETag that it answers with; None for the true one of what it stored.
    """

    def answer(request: Request) -> Reply:
        key = unquote(request.path).removeprefix(f"/{stage.bucket}/")
        where: dict[str, Any] = {"Bucket": stage.bucket, "Key": key, "Body": wrong}
        upload_id = asked(request, "uploadId")
        if upload_id:
            where |= {"UploadId": upload_id, "PartNumber": int(asked(request, "partNumber"))}
        try:
            done: Any = (stage.s3.upload_part if upload_id else stage.s3.put_object)(**where)
        except ClientError as error:  # some take no part twice
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return Reply(status, error_document(error.response["Error"]["Code"]), XML)
        etag = claims or done["ETag"]
        version = done.get("VersionId")
        headers = (("x-amz-version-id", version),) if version else ()
        if request.header("x-amz-copy-source") is None:
            return Reply(200, headers=(("ETag", etag), *headers))
        root = "CopyPartResult" if upload_id else "CopyObjectResult"
        answer = xml_reply(root, ETag=etag, LastModified="2026-01-01T00:00:00.000Z")
        return dataclasses.replace(answer, headers=(*answer.headers, *headers))

    return answer


# -- guards that are switched off ----------------------------------------------------------


@contextlib.contextmanager
def written_in_place(path: Path, size: int, identity: str | None) -> Iterator[PartialFile]:
    """In place of `partial_beside`: bytes go to the very file that was asked for, as they come."""
    file = PartialFile(path, path, exclusive=False)
    os.ftruncate(file.fd, 0)
    try:
        yield file
    finally:
        os.close(file.fd)
