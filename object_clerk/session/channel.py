"""The requests of one session: its paths, its token, and whom they are told to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from object_clerk.session import transport, wire
from object_clerk.session.metrics import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import urllib3

    from object_clerk.session.client import Client
    from object_clerk.session.scope import Scope
    from object_clerk.session.usecase import Usecase


class Channel:
    """Requests about the objects of one scope of one usecase.

    Attributes:
        client: whose connections they take.
        usecase: the usecase.
        scope: the scope.
    """

    def __init__(self, client: Client, usecase: Usecase, scope: Scope) -> None:
        self.client = client
        self.usecase = usecase
        self.scope = scope

    def object(self, key: str, prefix: str = wire.OBJECTS) -> str:
        """The path of an object."""
        return wire.object_path(self.usecase.name, self.scope, key, prefix)

    def collection(self, prefix: str = wire.OBJECTS) -> str:
        """The path where objects are made whose keys the server chooses."""
        return wire.collection_path(self.usecase.name, self.scope, prefix)

    def place(self, key: str | None, prefix: str = wire.OBJECTS) -> tuple[str, str]:
        """Method and path that make an object, with a key or without."""
        return ("PUT", self.object(key, prefix)) if key else ("POST", self.collection(prefix))

    def call(self, name: str, key: str | None) -> Call:
        """An operation that begins now."""
        client = self.client
        return Call(
            name, self.usecase.name, str(self.scope), key, client._metrics, client._listeners
        )

    @contextlib.contextmanager
    def doing(self, name: str, key: str | None) -> Iterator[Call]:
        """An operation that moves no object, from its beginning to its end."""
        call = self.call(name, key)
        with call.underway():
            yield call
        call.finished()

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes | memoryview] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One request with the token of this session; the answer is not read yet."""
        headers = dict(headers or {})
        token = self.client._token
        if token is not None:
            signed = (
                token
                if isinstance(token, str)
                else token.sign_for_scope(self.usecase.name, self.scope)
            )
            headers[wire.TOKEN] = f"Bearer {signed}"
        return self.client._transport.ask(method, path, headers, body)

    def asked(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes | memoryview] | None = None,
    ) -> transport.Answer:
        """The whole answer to one request, if it is a good one.

        Raises:
            RequestError: it is not.
        """
        return transport.read(self.ask(method, path, headers, body)).good()
