"""Count what the main thread executes for one small request of each kind.

The server is a thread of the same process that answers from memory. Only the main thread is
traced, so it does not count.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gc
import hashlib
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from object_clerk import ObjectClerk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SMALL = bytes(range(256)) * 64
_ETAG = hashlib.md5(_SMALL, usedforsecurity=False).hexdigest()
_KEYS_OF_A_PAGE = 1000

#: Each is done so often before, and then so often to be counted; the least counts.
_WARM_UP, _REPEATED = 5, 3


@dataclasses.dataclass(frozen=True)
class Counts:
    """What one request takes.

    Attributes:
        calls: functions called, those written in C included.
        opcodes: instructions of Python's interpreter.
    """

    calls: int
    opcodes: int


def measure(**settings: Any) -> dict[str, Counts]:
    """The counts of every kind of request, for a clerk with these settings."""
    with _server() as port, _clerk(port, settings) as clerk:
        works: dict[str, Callable[[], object]] = {
            "put": lambda: clerk.upload_object(_SMALL, "bucket", "key"),
            "get": lambda: clerk.get_object("bucket", "key"),
            "list": lambda: sum(1 for _ in clerk.list_objects("bucket")),
        }
        return {name: _counts(work) for name, work in works.items()}


def _clerk(port: int, settings: dict[str, Any]) -> ObjectClerk:
    return ObjectClerk(
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key="access",
        secret_key="secret",
        retry_tries=1,
        **settings,
    )


def _counts(work: Callable[[], object]) -> Counts:
    for _ in range(_WARM_UP):
        work()
    gc.collect()
    gc.disable()  # whatever it would call does not belong to the request
    try:
        calls = min(_calls(work) for _ in range(_REPEATED))
        return Counts(calls, min(_opcodes(work) for _ in range(_REPEATED)))
    finally:
        gc.enable()


def _calls(work: Callable[[], object]) -> int:
    count = 0

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def _opcodes(work: Callable[[], object]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


@contextlib.contextmanager
def _server() -> Iterator[int]:
    """A server for plain PUT, GET and lists; its port."""
    answers = {"PUT": _answer(b"", etag=_ETAG), "GET": _answer(_SMALL, etag=_ETAG)}
    answers["LIST"] = _answer(_page(), kind="application/xml")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, answers), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _accept(listener: socket.socket, answers: dict[str, bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_serve, args=(connection, answers), daemon=True).start()


def _serve(connection: socket.socket, answers: dict[str, bytes]) -> None:
    with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            method, target, _ = line.decode().split(" ", 2)
            headers = {}
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, value = line.decode().split(":", 1)
                headers[name.lower()] = value.strip()
            if "expect" in headers:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = stream.read(int(headers.get("content-length", 0)))
            if stated := headers.get("content-md5"):
                digest = hashlib.md5(body, usedforsecurity=False).digest()
                assert stated == base64.b64encode(digest).decode()
            connection.sendall(answers["LIST" if "list-type" in target else method])


def _answer(body: bytes, *, etag: str = "", kind: str = "binary/octet-stream") -> bytes:
    headers = {
        "x-amz-request-id": "1",
        "Date": "Sat, 21 Nov 2026 00:00:00 GMT",
        "Last-Modified": "Sat, 21 Nov 2026 00:00:00 GMT",
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        **({"ETag": f'"{etag}"'} if etag else {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body


def _page() -> bytes:
    entries = "".join(
        f"<Contents><Key>key-{number:06d}</Key><LastModified>2026-11-21T00:00:00.000Z"
        f"</LastModified><ETag>&quot;{_ETAG}&quot;</ETag><Size>{len(_SMALL)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(_KEYS_OF_A_PAGE)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/'
        f'doc/2006-03-01/"><Name>bucket</Name><KeyCount>{_KEYS_OF_A_PAGE}</KeyCount>'
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    ).encode()
