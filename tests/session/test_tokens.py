"""What a client sends to be let in, and the URLs it makes."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import urllib3

from object_clerk.session import Client, Permission, SecretKey, TokenGenerator, Usecase
from object_clerk.session.auth import check_presigned, read_token
from object_clerk.session.scope import Scope
from tests.session.keys import KEY, pem
from tests.session.raw import RawServer, Request, answer
from tests.session.support import scripted

GENERATOR = TokenGenerator("kid", pem(KEY))


def keys(_: str) -> list[Any]:
    return [KEY.public_key()]


@pytest.mark.parametrize("name", ["token", "token_generator"])
def test_a_fresh_token_for_each_request(name: str) -> None:
    options: dict[str, Any] = {name: GENERATOR}
    with scripted(answer(204), **options) as (session, raw):
        session.delete("a")
        session.head("b")
    for request in raw.requests:
        scheme, _, token = request.headers["x-os-auth"].partition(" ")
        assert scheme == "Bearer"
        assert "authorization" not in request.headers
        claims = read_token(token, keys)
        assert claims.usecase == "attachments"
        assert claims.scopes == {"org": "42"}
        assert claims.permissions == set(Permission)


def test_a_token_as_it_is() -> None:
    with scripted(answer(204), token="verb.at.im") as (session, raw):
        session.delete("a")
        assert session.mint_token() == "verb.at.im"
        for options in ({"permissions": ["object.read"]}, {"expiry_seconds": 1}):
            with pytest.raises(ValueError, match="needs a key that signs"):
                session.mint_token(**options)
    assert raw.requests[0].headers["x-os-auth"] == "Bearer verb.at.im"


def test_no_token() -> None:
    with scripted(answer(204)) as (session, raw):
        session.delete("a")
        with pytest.raises(ValueError, match="give the client a TokenGenerator"):
            session.mint_token()
    assert "x-os-auth" not in raw.requests[0].headers


def test_impossible_tokens() -> None:
    with pytest.raises(ValueError, match="not both"):
        Client("http://x", token="a", token_generator=GENERATOR)
    for bad in ("", "a\nb", "ü"):
        with pytest.raises(ValueError, match="cannot stand in a header") as caught:
            Client("http://x", token=bad)
        assert bad == "" or bad not in str(caught.value)
    with pytest.raises(TypeError, match="TokenGenerator or a str"):
        Client("http://x", token=3)  # type: ignore[arg-type]


def test_minted_tokens() -> None:
    with Client("http://x", token=GENERATOR) as client:
        session = client.session(Usecase("att"), org=1)
        claims = read_token(session.mint_token(["object.read"], 3600), keys)
        assert claims.permissions == {Permission.OBJECT_READ}
        said = jwt.decode(
            session.mint_token(expiry_seconds=3600), KEY.public_key(), algorithms=["EdDSA"]
        )
        assert said["exp"] == pytest.approx(time.time() + 3600, abs=60)
    reader = SecretKey("kid", pem(KEY), permissions=[Permission.OBJECT_READ])
    with Client("http://x", token=reader) as client:
        session = client.session(Usecase("att"))
        with pytest.raises(ValueError, match=r"lacks object\.write"):
            session.mint_token([Permission.OBJECT_WRITE])


def test_urls_with_a_token_in_them() -> None:
    with Client("https://host/p", token=GENERATOR) as client:
        url = client.session(Usecase("att"), org=1).object_url("a b?", timedelta(minutes=5))
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "host")
    assert parts.path == "/p/v1/objects/att/org=1/a%20b%3F"
    [token] = parse_qs(parts.query)["os_auth"]
    claims = read_token(token, keys)
    assert claims.permissions == {Permission.OBJECT_READ}
    assert (claims.usecase, claims.scopes) == ("att", {"org": "1"})
    with Client("http://x", token="t") as client:
        session = client.session(Usecase("att"))
        with pytest.raises(ValueError, match="object_url needs a key"):
            session.object_url("k", timedelta(minutes=5))
        for bad in (timedelta(0), 5):
            with pytest.raises(ValueError, match="token_validity"):
                session.object_url("k", bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_presigned_urls_are_what_is_sent(method: Any) -> None:
    """The path that is signed is the one that arrives, byte for byte."""
    key = "a/:@!$&'()*+,;=-._~ b/ü%41?#"
    checked = []

    def check(request: Request) -> bytes:
        path, _, query = request.target.partition("?")
        checked.append(check_presigned(request.method, path, query, keys))
        return answer(204)

    with RawServer(check) as raw, Client(f"{raw.url}/pre", token=GENERATOR) as client:
        session = client.session(Usecase("att"), org=1)
        url = session.presigned_object_url(method, key, timedelta(minutes=5))
        for verb in ("GET", "HEAD"):
            urllib3.request(verb, url, retries=False)
        assert checked == ["kid", "kid"]
        assert raw.requests[0].target.startswith(
            "/pre/v1/objects/att/org=1/a/:@!$&'()*+,;=-._~%20b"
        )
        assert re.search(r"os_duration=300\b", url)
        moment = parse_qs(urlsplit(url).query)["os_timestamp"][0]
        assert abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(minutes=5)
        for bad in ("PUT", "get", "DELETE"):
            with pytest.raises(ValueError, match="GET or HEAD"):
                session.presigned_object_url(bad, "k")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="a week"):
            session.presigned_object_url("GET", "k", timedelta(days=8))
    with Client("http://x", token="t") as client, pytest.raises(ValueError, match="needs a key"):
        client.session(Usecase("att")).presigned_object_url("GET", "k")


def test_a_token_opens_a_scope_whatever_its_order() -> None:
    token = GENERATOR.sign_for_scope("att", Scope(a=1, b=2))
    assert read_token(token, keys).scopes == {"a": "1", "b": "2"}
