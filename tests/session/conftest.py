"""A client and an imitation of a server, with names of headers in both cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk.session import Client, Session, Usecase
from tests.session.imitation import Imitation
from tests.session.raw import RawServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["lower", "title"])
def double(request: pytest.FixtureRequest) -> Iterator[tuple[Imitation, RawServer]]:
    """An imitation, and the socket that it answers on."""
    imitation = Imitation(titled=request.param == "title")
    with RawServer(imitation) as raw:
        yield imitation, raw


@pytest.fixture
def session(double: tuple[Imitation, RawServer]) -> Iterator[Session]:
    """A session on it."""
    with Client(double[1].url) as client:
        yield client.session(Usecase("attachments"), org=42, project=1337)
