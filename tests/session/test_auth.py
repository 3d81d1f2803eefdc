"""Tokens and presigned URLs: made, read, and refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.session.auth import (
    AuthError,
    Claims,
    Permission,
    SecretKey,
    TokenGenerator,
    bearer,
    check_claims,
    check_presigned,
    presigned_query,
    public_key,
    read_token,
)
from object_clerk.session.scope import Scope
from tests.session.keys import KEY, OTHER, pem, public_pem

NOW = 1_800_000_000
PUBLIC = KEY.public_key()
GENERATOR = TokenGenerator("my-kid", pem(KEY))


def keys(kid: str) -> list[Any]:
    return [PUBLIC] if kid == "my-kid" else []


def signed(claims: Any, kid: str | None = "my-kid", key: Any = KEY) -> str:
    return jwt.encode(claims, key, "EdDSA", headers={} if kid is None else {"kid": kid})


def claims(**more: Any) -> dict[str, Any]:
    return {
        "res": {"os:usecase": "att", "org": "42"},
        "permissions": ["object.read"],
        "exp": NOW + 60,
        **more,
    }


def test_what_a_token_says() -> None:
    before = int(time.time())
    token = GENERATOR.sign_for_scope("att", Scope(org=42, on=True))
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": "my-kid", "typ": "JWT"}
    said = jwt.decode(token, PUBLIC, algorithms=["EdDSA"])
    assert said.keys() == {"res", "permissions", "exp"}
    assert said["res"] == {"os:usecase": "att", "org": "42", "on": "True"}
    assert said["permissions"] == ["object.read", "object.write", "object.delete"]
    assert before + 60 <= said["exp"] <= time.time() + 60


def test_overrides_never_widen() -> None:
    key = SecretKey("k", pem(KEY), 10, [Permission.OBJECT_READ, Permission.OBJECT_WRITE])
    token = key.token_for_scope("att", Scope(), ["object.read"], 3600)
    said = jwt.decode(token, PUBLIC, algorithms=["EdDSA"])
    assert said["permissions"] == ["object.read"]
    assert said["exp"] > time.time() + 3000
    with pytest.raises(ValueError, match=r"lacks object\.delete"):
        key.sign_for_scope("att", Scope(), Permission.max())


def test_impossible_keys() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for bad in ("", "nonsense", pem(curve), public_pem(KEY), b"\xff"):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no Ed25519 private key") as caught:
            SecretKey("k", bad)
        assert "nonsense" not in str(caught.value)
    with pytest.raises(TypeError, match="PEM"):
        SecretKey("k", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kid"):
        SecretKey("", pem(KEY))
    for seconds in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="expiry_seconds"):
            SecretKey("k", pem(KEY), seconds)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="permissions are"):
        SecretKey("k", pem(KEY), permissions=["object.everything"])
    for pem_text in ("", pem(KEY), "x"):
        with pytest.raises(ValueError, match="public key"):
            public_key(pem_text)
    assert "PRIVATE" not in repr(SecretKey("k", pem(KEY)))


def test_a_good_token() -> None:
    found = read_token(signed(claims()), keys, NOW)
    assert found == Claims("my-kid", "att", {"org": "42"}, frozenset({Permission.OBJECT_READ}))
    assert public_key(public_pem(KEY)) == PUBLIC


@pytest.mark.parametrize("other", [{"iss": "sentry"}, {"iss": "relay"}, {"aud": "objectstore"},
                                   {"aud": ["x", "objectstore"]}, {"nbf": NOW + 30}])  # fmt: skip
def test_other_claims_that_are_right(other: dict[str, Any]) -> None:
    assert read_token(signed(claims(**other)), keys, NOW).usecase == "att"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "garbage",
        "a.b.c",
        "\ud800",
        signed(claims(), kid=None),
        signed(claims(), kid="unknown"),
        signed(claims(), kid=""),
        signed(claims(), key=OTHER),
        signed(claims(exp=NOW - 60)),
        signed(claims(exp=None)),
        signed(claims(exp="soon")),
        signed(claims(exp=True)),
        signed({k: v for k, v in claims().items() if k != "exp"}),
        signed(claims(nbf=NOW + 61)),
        signed(claims(aud="others")),
        signed(claims(aud=None)),
        signed(claims(iss="others")),
        signed(claims(res=None)),
        signed(claims(res={"org": "42"})),
        signed(claims(res={"os:usecase": "att", "org": 42})),
        signed(claims(permissions="object.read")),
        jwt.encode(claims(), "secret" * 10, "HS256", headers={"kid": "my-kid"}),
        signed(claims())[:-4] + "AAAA",
        signed(claims()) + ".x",
    ],
)
def test_bad_tokens(token: str) -> None:
    with pytest.raises(AuthError) as caught:
        read_token(token, keys, NOW)
    assert caught.value.status == 401


def test_an_unsigned_token_is_refused() -> None:
    token = jwt.encode(claims(), None, "none", headers={"kid": "my-kid"})  # type: ignore[arg-type]
    with pytest.raises(AuthError):
        read_token(token, keys, NOW)


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400, 1e300])
def test_what_is_no_time_at_all(name: str, value: float) -> None:
    with pytest.raises(AuthError, match=f"no time {name}") as caught:
        read_token(signed(claims(**{name: value})), keys, NOW)
    assert caught.value.status == 401


def test_clocks_may_differ_by_a_minute() -> None:
    assert read_token(signed(claims(exp=NOW - 59)), keys, NOW).usecase == "att"


def test_rotation_tries_all_keys_of_a_kid() -> None:
    both = [OTHER.public_key(), PUBLIC]
    assert read_token(signed(claims()), lambda _: both, NOW).kid == "my-kid"
    assert read_token(signed(claims(), key=OTHER), lambda _: both, NOW).kid == "my-kid"


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_read_token_raises_nothing_but_auth_errors(token: str) -> None:
    with pytest.raises(AuthError):
        read_token(token, keys, NOW)


CLAIMS = Claims("k", "att", {"org": "42", "project": "*"}, frozenset({Permission.OBJECT_READ}))


@pytest.mark.parametrize(
    "scope", [Scope(org=42), Scope(project="any", org=42), Scope(), Scope(project=0)]
)
def test_scopes_that_a_token_opens(scope: Scope) -> None:
    check_claims(CLAIMS, "att", scope, Permission.OBJECT_READ)


@pytest.mark.parametrize(
    ("usecase", "scope", "permission", "at_most"),
    [
        ("other", Scope(), Permission.OBJECT_READ, Permission.max()),
        ("att", Scope(org=43), Permission.OBJECT_READ, Permission.max()),
        ("att", Scope(org=42, team=1), Permission.OBJECT_READ, Permission.max()),
        ("att", Scope(), Permission.OBJECT_WRITE, Permission.max()),
        ("att", Scope(), Permission.OBJECT_READ, [Permission.OBJECT_WRITE]),
    ],
)
def test_what_a_token_does_not_open(
    usecase: str, scope: Scope, permission: Permission, at_most: list[Permission]
) -> None:
    with pytest.raises(AuthError) as caught:
        check_claims(CLAIMS, usecase, scope, permission, at_most)
    assert caught.value.status == 403


def test_bearer() -> None:
    for value in ("Bearer t", "bearer t", "BEARER  t "):
        assert bearer(value) == "t"
    for value in ("", "t", "Bearer", "Bearer ", "Basic t"):
        with pytest.raises(AuthError) as caught:
            bearer(value)
        assert caught.value.status == 400


# -- presigned URLs ------------------------------------------------------------------------

PATH = "/v1/objects/att/org=42/a%20b"
MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def query(**more: Any) -> str:
    return presigned_query(
        GENERATOR, PATH, **{"duration": timedelta(hours=1), "now": MOMENT, **more}
    )


def test_a_presigned_url() -> None:
    text = query()
    assert parse_qs(text).keys() == {"os_kid", "os_timestamp", "os_duration", "os_sig"}
    assert parse_qs(text)["os_timestamp"] == ["2026-01-01T12:00:00Z"]
    assert "=" not in parse_qs(text)["os_sig"][0]
    for method in ("GET", "HEAD"):
        assert check_presigned(method, PATH, text, keys, MOMENT) == "my-kid"
    reordered = "&".join(reversed(text.split("&")))
    assert check_presigned("GET", PATH, reordered, keys, MOMENT) == "my-kid"


@pytest.mark.parametrize(
    ("delta", "good"),
    [
        (timedelta(seconds=-60), True),
        (timedelta(seconds=-61), False),
        (timedelta(hours=1), True),
        (timedelta(hours=1, seconds=1), False),
    ],
)
def test_when_it_holds(delta: timedelta, good: bool) -> None:
    if good:
        assert check_presigned("GET", PATH, query(), keys, MOMENT + delta)
        return
    with pytest.raises(AuthError) as caught:
        check_presigned("GET", PATH, query(), keys, MOMENT + delta)
    assert caught.value.status == 401


def _resigned(text: str) -> str:
    """A query whose signature is right, whatever it says."""
    from object_clerk.session.wire import canonical_text

    return f"{text}&os_sig=" + GENERATOR.signature_for_canonical_form(
        canonical_text("GET", PATH, text)
    )


_BEGUN = "os_kid=my-kid&os_timestamp=2026-01-01T12:00:00Z"


@pytest.mark.parametrize(
    ("method", "path", "text", "status"),
    [
        ("PUT", PATH, query(), 403),
        ("DELETE", PATH, query(), 403),
        ("GET", PATH + "x", query(), 401),
        ("GET", PATH, query() + "&more=1", 401),
        ("GET", PATH, query().replace("os_duration=3600", "os_duration=3601"), 401),
        ("GET", PATH, query().replace("os_kid=my-kid", "os_kid=x"), 401),
        ("GET", PATH, query().rpartition("&")[0], 400),
        ("GET", PATH, "os_sig=", 400),
        ("GET", PATH, query() + "&os_kid=x", 400),
        ("GET", PATH, query().replace("os_sig=", "os_sig=*"), 400),
        ("GET", PATH, _resigned(f"{_BEGUN}&os_duration=604801"), 400),
        ("GET", PATH, _resigned(f"{_BEGUN}&os_duration=x"), 400),
        ("GET", PATH, _resigned("os_kid=my-kid&os_timestamp=noon&os_duration=60"), 400),
        (
            "GET",
            PATH,
            _resigned("os_kid=my-kid&os_timestamp=0001-01-01T00:00:00Z&os_duration=60"),
            401,
        ),
        ("GET", PATH, "&".join(["a=1"] * 100), 400),
    ],
)  # fmt: skip
def test_bad_presigned_urls(method: str, path: str, text: str, status: int) -> None:
    with pytest.raises(AuthError) as caught:
        check_presigned(method, path, text, keys, MOMENT)
    assert caught.value.status == status


def test_a_week_is_the_most() -> None:
    week = query(duration=timedelta(days=7))
    assert check_presigned("GET", PATH, week, keys, MOMENT)
    for bad in (timedelta(days=7, seconds=1), timedelta(0), timedelta(milliseconds=1)):
        with pytest.raises(ValueError, match="a second to a week"):
            query(duration=bad)
    with pytest.raises(TypeError, match="timedelta"):
        query(duration=60)
    writer = SecretKey("k", pem(KEY), permissions=[Permission.OBJECT_WRITE])
    with pytest.raises(ValueError, match=r"lacks object\.read"):
        presigned_query(writer, PATH, timedelta(hours=1))


@given(st.text(max_size=80))
def test_check_presigned_raises_nothing_but_auth_errors(text: str) -> None:
    with pytest.raises(AuthError):
        check_presigned("GET", PATH, text, keys, MOMENT)
