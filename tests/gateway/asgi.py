"""A server and a client in one: requests are lists of messages, answers too."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

#: Ends a hang, nothing else.
PATIENCE_S = 30

DISCONNECT: Message = {"type": "http.disconnect"}


def scope_of(
    method: str = "GET", path: str = "/x", *headers: tuple[str, str], **more: Any
) -> Scope:
    """The scope of a request."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("192.0.2.1", 1234),
        **more,
    }


def pieces(*blocks: bytes) -> list[Message]:
    """A body of so many pieces."""
    last = len(blocks) - 1
    return [
        {"type": "http.request", "body": block, "more_body": number < last}
        for number, block in enumerate(blocks)
    ]


def unfinished(*blocks: bytes) -> list[Message]:
    """The beginning of a body; the client sends no more, but it stays."""
    return [{"type": "http.request", "body": block, "more_body": True} for block in blocks]


@dataclasses.dataclass
class Answer:
    """What the client got."""

    messages: list[Message]

    @property
    def status(self) -> int:
        starts = [each for each in self.messages if each["type"] == "http.response.start"]
        assert len(starts) == 1, self.messages
        assert self.messages[0] is starts[0]
        status: int = starts[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        given = [(name.decode(), value.decode()) for name, value in self.messages[0]["headers"]]
        assert len({name for name, _ in given}) == len(given), given
        return dict(given)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.messages[1:])

    @property
    def is_whole(self) -> bool:
        last = self.messages[-1]
        return last["type"] == "http.response.body" and not last.get("more_body", False)

    @property
    def error(self) -> str:
        """What the error JSON says, which has to be one."""
        assert self.headers["content-type"] == "application/json"
        said = json.loads(self.body)
        assert said == {"error": {"code": str(self.status), "message": said["error"]["message"]}}
        message: str = said["error"]["message"]
        return message


async def ask(
    app: ASGIApp,
    scope: Scope | None = None,
    body: list[Message] | None = None,
    takes: int | None = None,
) -> Answer:
    """Let an application answer one request.

    Args:
        app: the application.
        scope: of the request.
        body: what comes of its body, and maybe a disconnect behind it.
        takes: pieces of the answer that the client takes before it takes no more.
    """
    coming = list(pieces(b"") if body is None else body)
    taken: list[Message] = []

    async def receive() -> Message:
        if coming:
            return coming.pop(0)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        if takes is not None and len(taken) >= takes:
            await asyncio.get_running_loop().create_future()
        taken.append(message)

    scope = scope_of() if scope is None else scope
    await asyncio.wait_for(app(scope, receive, send), PATIENCE_S)
    return Answer(taken)
