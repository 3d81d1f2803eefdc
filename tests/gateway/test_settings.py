"""The settings of the gateway: where they come from, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from object_clerk import ObjectClerkConfigurationException
from object_clerk.gateway.settings import GatewaySettings

PASSWORD = "h0kusp0kus"


def load(dotenv: str | Path | bool = False, /, **variables: str) -> GatewaySettings:
    return GatewaySettings.load(variables, dotenv)


def refused(**variables: str) -> str:
    with pytest.raises(ObjectClerkConfigurationException) as caught:
        load(**variables)
    return str(caught.value)


class TestSources:
    def test_nothing_is_given(self) -> None:
        found = load()

        assert found == GatewaySettings()
        assert found.auth_tokens_file == Path("tokens.json")
        assert found.storage_config is None
        assert (found.host, found.port, found.workers) == ("127.0.0.1", 8000, 1)
        assert found.rate_limit == "1000/second"
        assert found.max_object_bytes == 5 << 30
        assert found.rate_limit_store is None
        assert found.forwarded_allow_ips is None

    def test_each_field_has_a_variable(self) -> None:
        given = {
            "HOST": "0.0.0.0",
            "PORT": "0",
            "WORKERS": "3",
            "LOG_LEVEL": "Debug",
            "LOG_FORMAT": "text",
            "AUTH_TOKENS_FILE": "/a/tokens.json",
            "URL_KEYS_FILE": "/b/keys.json",
            "STORAGE_CONFIG": "storage.yaml",
            "STORAGE_NAME": "archive",
            "RATE_LIMIT": "10/second;200/minute",
            "ANONYMOUS_RATE_LIMIT": "OFF",
            "RATE_LIMIT_STORE": "redis://localhost:6379/0",
            "MAX_OBJECT_BYTES": "17",
            "MAX_REQUESTS": "5",
            "IDLE_TIMEOUT_S": "0.5",
            "HEADER_TIMEOUT_S": "7",
            "PUBLIC_URL": "https://objects.example.org/",
            "METRICS": "off",
            "FORWARDED_ALLOW_IPS": "10.0.0.1",
        }
        found = load(**given)

        assert dataclasses.asdict(found) | {"origins": {}} == {
            "host": "0.0.0.0",
            "port": 0,
            "workers": 3,
            "log_level": "debug",
            "log_format": "text",
            "auth_tokens_file": Path("/a/tokens.json"),
            "url_keys_file": Path("/b/keys.json"),
            "storage_config": Path("storage.yaml"),
            "storage_name": "archive",
            "rate_limit": "10/second;200/minute",
            "anonymous_rate_limit": None,
            "rate_limit_store": "redis://localhost:6379/0",
            "max_object_bytes": 17,
            "max_requests": 5,
            "idle_timeout_s": 0.5,
            "header_timeout_s": 7,
            "public_url": "https://objects.example.org",
            "metrics": "off",
            "forwarded_allow_ips": "10.0.0.1",
            "origins": {},
        }
        assert given.keys() == {field.upper() for field in found.origins}

    def test_argument_then_environment_then_file_then_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text("PORT=1\nWORKERS=2\nMAX_REQUESTS=3\n", encoding="utf-8")

        found = GatewaySettings.load({"PORT": "4", "WORKERS": "5"}, port=6, host=None)

        assert (found.port, found.workers, found.max_requests) == (6, 5, 3)
        assert found.host == "127.0.0.1"
        assert found.origins == {
            "port": "argument port",
            "workers": "variable WORKERS",
            "max_requests": ".env MAX_REQUESTS",
        }

    def test_the_file_of_another_directory_is_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".env").write_text("PORT=1\n", encoding="utf-8")
        below = tmp_path / "below"
        below.mkdir()
        monkeypatch.chdir(below)

        assert load(True).port == 8000
        assert load(tmp_path / ".env").port == 1

    @pytest.mark.parametrize("empty", ["", "  "])
    def test_empty_is_not_set(self, empty: str, tmp_path: Path) -> None:
        file = tmp_path / "settings.env"
        file.write_text("STORAGE_CONFIG=s.yaml\nPORT=\n", encoding="utf-8")

        found = load(file, STORAGE_CONFIG=empty, RATE_LIMIT_STORE=empty)

        assert found.storage_config == Path("s.yaml")
        assert found.rate_limit_store is None
        assert found.port == 8000

    def test_an_argument_that_is_not_known(self) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match="did you mean 'workers'"):
            GatewaySettings.load({}, False, worker=3)


class TestPaths:
    def test_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/me")
        assert load(AUTH_TOKENS_FILE="~/t.json").auth_tokens_file == Path("/home/me/t.json")

    def test_keys_are_beside_the_tokens(self, tmp_path: Path) -> None:
        assert GatewaySettings().url_keys_file == Path("url_keys.json").absolute()
        tokens = str(tmp_path / "tokens.json")
        assert load(AUTH_TOKENS_FILE=tokens).url_keys_file == tmp_path / "url_keys.json"
        found = load(AUTH_TOKENS_FILE=tokens, URL_KEYS_FILE="keys/k.json")
        assert found.url_keys_file == tmp_path / "keys" / "k.json"
        assert dataclasses.replace(found, port=1).url_keys_file == found.url_keys_file


class TestRefused:
    @pytest.mark.parametrize(
        ("variable", "value", "said"),
        [
            ("PORT", "65536", "a whole number, 0 or more, up to 65535"),
            ("PORT", "-1", "a whole number"),
            ("PORT", "80.5", "a whole number"),
            ("PORT", "٣", "a whole number"),
            ("WORKERS", "0", "1 or more, up to 256"),
            ("WORKERS", "10000", "1 or more, up to 256"),
            ("HOST", "http://here", "a host name or address alone"),
            ("HOST", "here there", "a host name or address alone"),
            ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
            ("LOG_FORMAT", "xml", "one of json, text"),
            ("METRICS", "all", "one of off, local, public"),
            ("RATE_LIMIT", "plenty", "a limit such as 1000/second"),
            ("RATE_LIMIT", "0/second", "a limit such as 1000/second"),
            ("RATE_LIMIT", "1/second junk", "a limit such as 1000/second"),
            ("ANONYMOUS_RATE_LIMIT", "1", "or off"),
            ("MAX_OBJECT_BYTES", "5GiB", "a whole number, 1 or more"),
            ("MAX_OBJECT_BYTES", "0", "a whole number, 1 or more"),
            ("MAX_REQUESTS", "9" * 5000, "a whole number, 1 or more"),
            ("IDLE_TIMEOUT_S", "nan", "a number of seconds"),
            ("IDLE_TIMEOUT_S", "0", "more than 0"),
            ("HEADER_TIMEOUT_S", "soon", "a number of seconds"),
            ("HEADER_TIMEOUT_S", "inf", "up to 86400"),
            ("PUBLIC_URL", "objects.example.org", "a URL such as"),
            ("PUBLIC_URL", "https://me:pw@objects.example.org", "without credentials"),
            ("AUTH_TOKENS_FILE", "~nobody-of-that-name/t", "a path"),
            ("STORAGE_CONFIG", "a\nb", "one line of text"),
            ("STORAGE_NAME", "a\0b", "one line of text"),
        ],
    )
    def test_the_variable_is_named(self, variable: str, value: str, said: str) -> None:
        message = refused(**{variable: value})

        assert message.startswith(f"variable {variable} must be ")
        assert said in message

    @pytest.mark.parametrize(
        "url",
        [
            f"http://:{PASSWORD}@localhost",
            f"redis://:{PASSWORD}@",
            f"redis://:{PASSWORD}@localhost:port",
            f"redis://:{PASSWORD}@localhost:0",
            f"{PASSWORD}",
            f"redis://:{PASSWORD}\x00@localhost",
        ],
    )
    def test_a_password_is_never_told(self, url: str) -> None:
        message = refused(RATE_LIMIT_STORE=url)

        assert message.startswith("variable RATE_LIMIT_STORE must be a URL such as redis://")
        assert PASSWORD not in message

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(
            ObjectClerkConfigurationException, match=r"settings\.env cannot be read"
        ):
            load(tmp_path / "settings.env")

    def test_the_file_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "settings.env"
        file.write_text("PORT=much\n", encoding="utf-8")
        with pytest.raises(ObjectClerkConfigurationException, match=r"^\.env PORT must be"):
            load(file)


class TestExplain:
    def test_every_field(self) -> None:
        found = load(RATE_LIMIT="off", PORT="1")
        shown = {each.name: (each.value, each.origin) for each in found.explain()}

        fields = {field.name for field in dataclasses.fields(GatewaySettings)}
        assert shown.keys() == fields - {"origins"}
        assert shown["port"] == ("1", "variable PORT")
        assert shown["host"] == ("127.0.0.1", "default")
        assert shown["storage_config"] == ("not set", "default")
        assert shown["rate_limit"] == ("off", "variable RATE_LIMIT")

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("redis://localhost:6379/0", "redis://localhost:6379/0"),
            (f"rediss://me:{PASSWORD}@h:1/2", "rediss://********@h:1/2"),
            (f"redis://:a@{PASSWORD}@h:1", "redis://********@h:1"),
            (f"redis://h:1?password={PASSWORD}", "redis://********"),
            (f"redis://h:1?password=a@{PASSWORD}", "redis://********"),
        ],
    )
    def test_no_password(self, url: str, shown: str) -> None:
        found = load(RATE_LIMIT_STORE=url)
        lines: dict[str, Any] = {each.name: each.value for each in found.explain()}

        assert lines["rate_limit_store"] == shown
        assert PASSWORD not in repr(found)
