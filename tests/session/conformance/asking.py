"""Raw requests to a gateway, and answers with the names of their headers as they were sent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from object_clerk.testing import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from io import BufferedReader

#: Ends a hang, nothing else.
PATIENCE_S = 120


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came.

    Attributes:
        headers: in their order, with names as they stand on the wire.
        body: without its framing.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str | None:
        """The value of a header with exactly this name: the old clients heed the case."""
        return dict(self.headers).get(name)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.headers]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@contextlib.contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A raw connection."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S) as connection:
        yield connection


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The beginning of a request, as it is given."""
    return wire.encode_head(f"{method} {target} HTTP/1.1", (("Host", "x"), *headers.items()))


def ask(
    url: str,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
) -> Answer:
    """The answer to one request on a connection of its own.

    Args:
        url: where the gateway listens.
        method: of the request.
        target: path and query, which go out as they are.
        headers: theirs too.
        body: bytes go out with their length, pieces in chunks, and for None nothing is said.
    """
    given = dict(headers or {})
    if isinstance(body, bytes):
        given["Content-Length"] = str(len(body))
        sent = [body]
    elif body is not None:
        given["Transfer-Encoding"] = "chunked"
        sent = [*wire.encode_chunks(iter(body))]
    else:
        sent = []
    with connected(url) as connection, connection.makefile("rb") as reader:
        connection.sendall(b"".join((head(method, target, given), *sent)))
        return _answer(reader, has_body=method != "HEAD")


def _answer(reader: BufferedReader, *, has_body: bool) -> Answer:
    found = wire.read_head(reader)
    assert found is not None, "there was no answer"
    line, headers = found
    status = int(line.split(" ")[1])
    if not has_body or status == 204:
        body = b""
    elif wire.is_chunked(headers):
        body = b"".join(wire.read_chunked(reader))
    else:
        length = wire.content_length(headers)
        assert length is not None, "nobody knows where this answer ends"
        body = b"".join(wire.read_sized(reader, length))
    return Answer(status, headers, body)
