"""Which source wins where several speak, and what they may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ClerkConfig, ObjectClerkConfigurationException

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(
        "OBJECT_STORE_ENDPOINT_URL=http://from-file:1\n"
        "OBJECT_STORE_ACCESS_KEY=file\n"
        "OBJECT_STORE_SECRET_KEY='pa${HOME}ss'\n"
    )
    return path


def test_file_never_overrides_the_environment(dotenv: Path) -> None:
    """Not even by a name that comes first among names."""
    environ = {
        "AWS_ENDPOINT_URL": "http://from-environment:2",
        "AWS_ACCESS_KEY_ID": "environment",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }

    config = ClerkConfig.from_env(environ, dotenv=dotenv)

    assert config.endpoint_url == "http://from-environment:2"
    assert (config.access_key, config.secret_key) == ("environment", "secret")


def test_file_counts_where_the_environment_is_silent(dotenv: Path) -> None:
    config = ClerkConfig.from_env({"HOME": "/nowhere"}, dotenv=dotenv)

    assert config.endpoint_url == "http://from-file:1"
    assert (config.access_key, config.secret_key) == ("file", "pa${HOME}ss")
    assert config.origins["secret_key"] == ".env OBJECT_STORE_SECRET_KEY"


def test_pair_may_be_split_between_environment_and_file(dotenv: Path) -> None:
    config = ClerkConfig.from_env({"OBJECT_STORE_ACCESS_KEY": "environment"}, dotenv=dotenv)

    assert (config.access_key, config.secret_key) == ("environment", "pa${HOME}ss")


@pytest.mark.parametrize("name", ["access_key", "secret_key", "session_token"])
def test_key_with_a_line_break_is_refused_and_not_shown(name: str) -> None:
    keys: dict[str, Any] = {"access_key": "AAAA", "secret_key": "BBBB", "session_token": "CCCC"}
    keys[name] = "s3cret\r\nX-Header: y"

    with pytest.raises(ObjectClerkConfigurationException, match=name) as caught:
        ClerkConfig.load({}, dotenv=False, **keys)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"port": 1},
        {"use_ssl": True},
        {"endpoint_url": "http://host", "port": 1},
        {"endpoint_url": "http://host", "use_ssl": True},
        {"access_key": "alone"},
        {"session_token": "alone"},
    ],
)
def test_argument_that_means_nothing_alone_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ObjectClerkConfigurationException):
        ClerkConfig.load({}, dotenv=False, **arguments)
