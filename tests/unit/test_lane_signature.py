"""The lane's signatures are botocore's, byte for byte."""

from __future__ import annotations

import datetime
from urllib.parse import quote

import pytest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from object_clerk.lane.signature import EMPTY_SHA256, UNSIGNED, authorization
from tests.unit.lanes import signed_by_botocore

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "default", "x"]) | st.from_regex(
    "[a-z]{2}-[a-z]{1,9}-[0-9]", fullmatch=True
)

SET_BY_THE_SIGNER = (
    "host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization", "date",
)  # fmt: skip
_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_NAMES: st.SearchStrategy[str] = st.from_regex(
    "x-amz-[a-z0-9-]{1,12}|[a-z][a-z-]{1,12}", fullmatch=True
).filter(lambda name: name not in SET_BY_THE_SIGNER)
#: No value has spaces at its ends or two in a row: such a request is left to boto3.
_VALUES = st.text(_PRINTABLE, min_size=1, max_size=20).map(lambda text: " ".join(text.split()))
MOMENTS = st.datetimes(
    min_value=datetime.datetime(1970, 1, 1), max_value=datetime.datetime(2199, 1, 1)
)
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)


@given(
    method=st.sampled_from(METHODS),
    path=_TEXT.map(lambda text: "/" + quote(text, safe="/~")),
    pairs=st.dictionaries(_TEXT.filter(bool), _TEXT, max_size=4),
    headers=st.dictionaries(_NAMES, _VALUES, max_size=5),
    host=st.sampled_from(["localhost", "[::1]:9000", "b.s3.amazonaws.com", "127.0.0.1:8080"]),
    region=REGIONS,
    access_key=KEYS,
    secret_key=_TEXT.filter(bool),
    token=st.none() | KEYS,
    moment=MOMENTS,
    digest=st.sampled_from([EMPTY_SHA256, UNSIGNED, "ab" * 32]),
)
@example(
    method="PUT",
    path="/bucket/a/../b//%2520%C3%A4+?".replace("?", "%3F"),
    pairs={"partNumber": "1", "part": "~", "uploadId": "+/= &%", "uploads": ""},
    headers={"user-agent": "no", "expect": "100-continue", "content-md5": "x=="},
    host="localhost",
    region="us-east-1",
    access_key="AK/ID",
    secret_key="\u00e4 secret",
    token="a+/=",
    moment=datetime.datetime(2026, 2, 28, 23, 59, 59),
    digest=UNSIGNED,
)
def test_authorization_is_botocores(
    method: str,
    path: str,
    pairs: dict[str, str],
    headers: dict[str, str],
    host: str,
    region: str,
    access_key: str,
    secret_key: str,
    token: str | None,
    moment: datetime.datetime,
    digest: str,
) -> None:
    encoded = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in pairs.items())
    query = "&".join(f"{name}={value}" for name, value in encoded)
    credentials = Credentials(access_key, secret_key, token)
    theirs = signed_by_botocore(
        method, path, query, {**headers, "host": host}, region, credentials, moment, digest
    ).headers
    ours = {
        **headers,
        "host": host,
        "x-amz-date": moment.strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-content-sha256": digest,
        **({"x-amz-security-token": token} if token else {}),
    }
    assert ours["x-amz-date"] == theirs["X-Amz-Date"]
    assert (
        authorization(
            method,
            path,
            query,
            ours,
            region=region,
            access_key=access_key,
            secret_key=secret_key,
        )
        == theirs["Authorization"]
    )


@pytest.mark.parametrize("query", ["uploads", "partNumber=1&uploadId=a%2B", "acl&versionId="])
def test_a_query_without_a_value(query: str) -> None:
    headers = {
        "host": "localhost",
        "x-amz-date": "20261121T000000Z",
        "x-amz-content-sha256": EMPTY_SHA256,
    }
    ours = authorization(
        "POST", "/b/k", query, headers, region="us-east-1", access_key="A", secret_key="S"
    )
    theirs = signed_by_botocore(
        "POST",
        "/b/k",
        query,
        {"host": "localhost"},
        "us-east-1",
        Credentials("A", "S"),
        datetime.datetime(2026, 11, 21),
        EMPTY_SHA256,
    )
    assert ours == theirs.headers["Authorization"]


@pytest.mark.parametrize(
    ("changed", "value"),
    [("secret_key", "other"), ("region", "eu-west-1"), ("x-amz-date", "20261122T000000Z")],
)
def test_the_key_of_a_day_is_not_kept_for_another(changed: str, value: str) -> None:
    headers = {
        "host": "localhost",
        "x-amz-date": "20261121T000000Z",
        "x-amz-content-sha256": EMPTY_SHA256,
    }
    keys = {"region": "us-east-1", "access_key": "A", "secret_key": "S"}
    first = authorization("GET", "/b/k", "", headers, **keys)
    (headers if changed in headers else keys)[changed] = value
    then = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    theirs = signed_by_botocore(
        "GET",
        "/b/k",
        "",
        {"host": "localhost"},
        keys["region"],
        Credentials("A", keys["secret_key"]),
        then,
        EMPTY_SHA256,
    )
    second = authorization("GET", "/b/k", "", headers, **keys)
    assert second == theirs.headers["Authorization"] != first
