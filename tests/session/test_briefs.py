"""The guides to the client are followed, on a server in memory that keeps what it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk.session.auth import read_token
from object_clerk.session.zstd import compressed
from tests.session import guides
from tests.session.guides import Guide
from tests.session.imitation import Imitation
from tests.session.keys import KEY
from tests.session.raw import RawServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def imitation() -> Imitation:
    return Imitation()


@pytest.fixture
def guide(imitation: Imitation) -> Iterator[Guide]:
    with RawServer(imitation) as raw:
        guide = Guide(raw.url)
        yield guide
        guide.names.clear()


def test_the_readme(guide: Guide, imitation: Imitation) -> None:
    seen: list[Request] = []

    def note(request: Request) -> None:
        seen.append(request)

    imitation.before = note
    guide.run(guides.README)
    assert guide.names["content"] == b"Hello, world!"
    assert imitation.objects == {}
    assert [request.method for request in seen] == ["POST", "GET", "DELETE"]
    put = seen[0]
    assert put.path == "/v1/objects/my-usecase/org=42;project=1337;app_slug=email_app/"
    assert put.headers["x-sn-expiration"] == "tti:30d"
    claims = read_token(put.headers["x-os-auth"].split()[1], lambda _: [KEY.public_key()])
    assert (claims.kid, claims.usecase) == ("my-key-id", "my-usecase")


def test_the_quick_start(guide: Guide, imitation: Imitation) -> None:
    guide.run(guides.QUICK_START)
    assert guide.names["content"] == b"Hello, world!"
    assert imitation.objects == {}
    assert len(imitation.history) == 1


def test_the_core_concepts(guide: Guide, imitation: Imitation) -> None:
    data = b"".join(compressed([b"content"]))
    guide.run(guides.QUICK_START)
    guide.names["already_compressed_data"] = data
    imitation.history.clear()
    for example in (
        guides.SCOPES,
        guides.EXPIRATION,
        guides.ORIGIN,
        guides.COMPRESSION,
        guides.METADATA,
    ):
        guide.run(example)
    places = [place for place, _ in imitation.history]
    assert len(places) == 4
    assert all(p.startswith("attachments/org=42;project=1337;app_slug=email_app/") for p in places)
    objects = [imitation.objects[place] for place in places]
    assert objects[0][1]["x-sn-expiration"] == "ttl:1h"
    assert objects[1][1]["x-sn-origin"] == "203.0.113.42"
    assert objects[2][0] == data
    assert "content-encoding" not in objects[2][1]
    assert objects[3][1]["x-snme-source"] == "upload-service"


def test_authentication(guide: Guide, imitation: Imitation) -> None:
    guide.run(guides.AUTHENTICATION)
    claims = read_token(guide.names["token"], lambda _: [KEY.public_key()])
    assert (claims.usecase, claims.scopes) == ("my_app", {"org": "42", "project": "1337"})
    guide.names["client"].session(guide.names["Usecase"]("my_app"), org=42).put(b"x")
    assert len(imitation.objects) == 1


def test_configuration(guide: Guide) -> None:
    guide.run(guides.CONFIGURATION)
    client = guide.names["client"]
    assert client.session(guide.names["attachments"]).exists("k") is False
