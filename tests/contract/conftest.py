"""Runs every test that uses the fixture `server` against each chosen server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import chosen_servers, skip_unavailable
from tests.servers import Server, Traits, arrange, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        # The scope makes pytest run all tests of one server together, whatever file they are in.
        names = chosen_servers(metafunc.config)
        metafunc.parametrize("server", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, _clean_session_environment: None) -> Iterator[Server]:
    """A running server; the tests of an unavailable one are skipped with the reason."""
    with skip_unavailable(), running(request.param) as started:
        yield started


@pytest.fixture(scope="session")
def traits(server: Server) -> Traits:
    """What the server does not do the way S3 is documented to."""
    return server.traits


@pytest.fixture(scope="session")
def s3(server: Server) -> S3Client:
    """A plain boto3 client with which to arrange and to check, independent of the library."""
    return arrange.client(server)


@pytest.fixture
def bucket(server: Server, s3: S3Client) -> Iterator[str]:
    """An empty bucket for this test alone; removed afterwards."""
    with skip_unavailable(), arrange.fresh_bucket(server, s3) as name:
        yield name
