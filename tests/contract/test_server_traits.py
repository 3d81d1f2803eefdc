"""Holds the table of traits to the truth: every field is measured on every server."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.conftest import skip_unavailable
from tests.servers import NAMES, TRAITS, Server, Traits, arrange
from tests.servers.probes import PROBES, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

FIELDS = [field.name for field in dataclasses.fields(Traits)]


@pytest.fixture(scope="module")
def subject(server: Server) -> Iterator[Subject]:
    # No retries: a probe wants the server's first answer.
    s3 = arrange.client(server, attempts=1)
    with skip_unavailable(), arrange.fresh_bucket(server, s3) as bucket:
        yield Subject(server, s3, bucket)


def test_every_trait_has_a_probe() -> None:
    assert sorted(PROBES) == sorted(FIELDS)


def test_every_server_of_ours_has_traits() -> None:
    assert set(TRAITS) == set(NAMES) - {"live"}


@pytest.mark.parametrize("trait", FIELDS)
def test_trait_is_what_the_server_does(trait: str, subject: Subject) -> None:
    expected = getattr(subject.server.traits, trait)
    if trait == "put_if_none_match_atomic" and not expected:
        pytest.skip("a race: a server that may lose it does not lose it every time")
    assert PROBES[trait](subject) == expected


def test_plain_round_trip(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a/key", Body=b"content")

    assert s3.get_object(Bucket=bucket, Key="a/key")["Body"].read() == b"content"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/key"]
