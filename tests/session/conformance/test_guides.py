"""The guides to the client are followed with the gateway as it is installed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from object_clerk.session import RequestError, TimeToIdle
from object_clerk.session.zstd import compressed
from tests.gateway.processes import service
from tests.session import guides
from tests.session.guides import Guide
from tests.session.keys import KEY, public_pem

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, str]]:
    """Of a gateway that lets nobody in without a token, and of one that asks for none."""
    directory = tmp_path_factory.mktemp("guides")
    (directory / "key.pem").write_text(public_pem(KEY))
    keys = {name: {"key_files": ["key.pem"]} for name in ("my-key-id", "my-service")}
    for name, enforce in (("strict", True), ("open", False)):
        config = {"auth": {"enforce": enforce, "keys": keys}}
        (directory / f"{name}.yaml").write_text(json.dumps(config))  # which is YAML too
    with (
        service(directory, SESSIONS_CONFIG="strict.yaml") as strict,
        service(directory, SESSIONS_CONFIG="open.yaml") as open_to_all,
    ):
        yield {True: strict.url, False: open_to_all.url}


@pytest.mark.parametrize("enforced", [True, False])
def test_the_readme(urls: dict[bool, str], enforced: bool) -> None:
    guide = Guide(urls[enforced])
    guide.run(guides.README)
    names = guide.names
    assert names["content"] == b"Hello, world!"
    assert names["result"].metadata.expiration_policy == TimeToIdle(timedelta(days=30))
    assert not names["session"].exists(names["object_key"])


def test_the_quick_start(urls: dict[bool, str]) -> None:
    guide = Guide(urls[False])
    guide.run(guides.QUICK_START)
    assert guide.names["content"] == b"Hello, world!"
    assert not guide.names["session"].exists(guide.names["key"])
    with pytest.raises(RequestError) as caught:
        Guide(urls[True]).run(guides.QUICK_START)
    assert caught.value.status == 400


def test_the_core_concepts(urls: dict[bool, str]) -> None:
    data = b"".join(compressed([b"content"]))
    guide = Guide(urls[False])
    guide.run(guides.QUICK_START)
    guide.run(guides.SCOPES)
    guide.names["already_compressed_data"] = data
    session = guide.names["session"]
    for example in (guides.EXPIRATION, guides.ORIGIN, guides.COMPRESSION, guides.METADATA):
        guide.run(f"key = {example}" if example.startswith("session") else example)
        if example == guides.EXPIRATION:
            continue
        result = session.get(guide.names["key"])
        with result.payload as payload:
            assert payload.read() == (data if example == guides.COMPRESSION else b"payload")
        if example == guides.ORIGIN:
            assert result.metadata.origin == "203.0.113.42"
        if example == guides.METADATA:
            assert result.metadata.custom == {"source": "upload-service"}


def test_authentication(urls: dict[bool, str]) -> None:
    guide = Guide(urls[True])
    guide.run(guides.AUTHENTICATION)
    usecase = guide.names["Usecase"]("my_app")
    session = guide.names["client"].session(usecase, org=42, project=1337)
    assert session.get(session.put(b"x")).payload.read() == b"x"
    with pytest.raises(RequestError) as caught:
        guide.names["client"].session(usecase, org=43).put(b"x")
    assert caught.value.status == 403


def test_configuration(urls: dict[bool, str]) -> None:
    guide = Guide(urls[False])
    guide.run(guides.CONFIGURATION)
    client = guide.names["client"]
    assert client.session(guide.names["attachments"]).exists("k") is False
