"""The commands about tokens, on both command lines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import object_clerk.cli
from object_clerk.gateway.tokens import TokenFile, __main__

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]


class Result:
    """What a command has said, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[str]:
        assert (self.code, self.err) == (0, "")
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTH_TOKENS_FILE", raising=False)


@pytest.fixture(params=["python -m", "object-clerk"])
def line(request: pytest.FixtureRequest) -> str:
    """One of the two command lines."""
    return str(request.param)


@pytest.fixture
def run(line: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        try:
            if line == "python -m":
                code = __main__.main(arguments)
            else:
                code = object_clerk.cli.main(["token", *arguments])
        except SystemExit as error:  # argparse
            code = int(error.code or 0)
        return Result(code, *capsys.readouterr())

    return run


READ = ("--scope", "read")


class TestAdd:
    def test_what_is_printed(self, run: Callable[..., Result]) -> None:
        scopes = ("--scope", "write", "--scope", "read", "--scope", "read")
        lines = run("add", "api-user", "--ttl", "365", *scopes, "--prefix", "a/").lines
        facts = dict(line.split(": ", 1) for line in lines[:5])
        expires = datetime.fromisoformat(facts.pop("expires"))
        assert facts == {
            "name": "api-user",
            "ttl_days": "365",
            "scopes": "read write",
            "prefix": "a/",
        }
        assert abs(expires - datetime.now(UTC) - timedelta(days=365)) < timedelta(hours=1)
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", lines[-1])
        found = TokenFile("tokens.json").find(lines[-1])
        assert found is not None
        assert (found.name, found.scopes, found.prefix) == ("api-user", ("read", "write"), "a/")

    def test_as_json(self, run: Callable[..., Result]) -> None:
        (said,) = run("add", "ann", "--ttl", "0.5", *READ, "--json").objects
        found = TokenFile("tokens.json").find(said.pop("token"))
        assert found is not None
        stored = found.to_dict()
        assert stored.pop("hash") not in json.dumps(said)
        assert said == {
            **stored,
            "type": "token",
            "prefix": "",
            "expired": False,
            "ttl_days": 0.5,
        }

    def test_a_name_that_is_there(self, run: Callable[..., Result]) -> None:
        run("add", "ann", "--ttl", "1", *READ)
        again = run("add", "ann", "--ttl", "1", *READ)
        assert (again.code, again.out) == (1, "")
        assert "there is a token named 'ann' already. refresh replaces it" in again.err
        assert len(again.err.splitlines()) == 1

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--ttl", "0", *READ), "more than 0"),
            (("--ttl", "-5", *READ), "more than 0"),
            (("--ttl", "nan", *READ), "more than 0"),
            (("--ttl", "9999999", *READ), "before the year 10000"),
            (("--ttl", "soon", *READ), "soon"),
            (READ, "--ttl"),
            (("--ttl", "1"), "give at least one of read, write, delete"),
            (("--ttl", "1", "--scope", "admin"), "there is no scope 'admin'"),
            (("--ttl", "1", *READ, "--prefix", "/etc"), "begins with a slash"),
        ],
    )
    def test_arguments_that_make_no_sense(
        self, run: Callable[..., Result], arguments: tuple[str, ...], said: str
    ) -> None:
        done = run("add", "ann", *arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert not Path("tokens.json").exists()


class TestList:
    def test_a_table(self, run: Callable[..., Result]) -> None:
        tokens = TokenFile("tokens.json")
        tokens.add("ann", 1, ["read", "write"], "a/")
        TokenFile("tokens.json", clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)).add(
            "bob", 1, ["delete"]
        )
        done = run("list")
        head, ann, bob = done.lines
        assert head.split() == ["name", "scopes", "prefix", "created", "expires"]
        assert ann.split()[:4] == ["ann", "read", "write", "a/"]
        assert bob.split() == [
            "bob",
            "delete",
            "2020-01-01T00:00:00+00:00",
            "2020-01-02T00:00:00+00:00",
            "expired",
        ]
        assert not any(each.hash in done.out for each in tokens.records())

    def test_as_json(self, run: Callable[..., Result]) -> None:
        TokenFile("tokens.json", clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)).add(
            "bob", 1, ["delete"]
        )
        assert run("list", "--json").objects == [
            {
                "type": "token",
                "name": "bob",
                "scopes": ["delete"],
                "prefix": "",
                "created_at": "2020-01-01T00:00:00+00:00",
                "expires": "2020-01-02T00:00:00+00:00",
                "expired": True,
            },
            {"type": "summary", "tokens": 1, "expired": 1},
        ]

    def test_none(self, run: Callable[..., Result]) -> None:
        assert run("list").lines == ["There are no tokens in tokens.json."]
        assert run("list", "--json").objects == [{"type": "summary", "tokens": 0, "expired": 0}]

    def test_names_do_not_move_the_cursor(self, run: Callable[..., Result]) -> None:
        record = {"name": "\x1b[2J\ud800\n", "hash": "0" * 64, "expires": "2036-01-01"}
        Path("tokens.json").write_text(json.dumps([record]))
        _, shown = run("list").lines
        assert shown.startswith(r"\x1b[2J\ud800\n  ")


class TestDelete:
    def test_what_is_there(self, run: Callable[..., Result]) -> None:
        new = TokenFile("tokens.json").add("ann", 1, ["read"])
        assert run("delete", "ann").lines == ["The token 'ann' is deleted."]
        assert TokenFile("tokens.json").find(new.text) is None

    def test_as_json(self, run: Callable[..., Result]) -> None:
        TokenFile("tokens.json").add("ann", 1, ["read"])
        (said,) = run("delete", "ann", "--json").objects
        assert (said["name"], said["deleted"]) == ("ann", True)
        assert "hash" not in said


class TestRefresh:
    def test_the_old_token_ends(self, run: Callable[..., Result]) -> None:
        old = TokenFile("tokens.json").add("ann", 1, ["read", "write"], "a/")
        lines = run("refresh", "ann", "--ttl", "3").lines
        assert lines[0] == "name: ann"
        assert TokenFile("tokens.json").find(old.text) is None
        found = TokenFile("tokens.json").find(lines[-1])
        assert found is not None
        assert (found.scopes, found.prefix) == (("read", "write"), "a/")

    def test_scopes_and_prefix_can_change(self, run: Callable[..., Result]) -> None:
        TokenFile("tokens.json").add("ann", 1, ["read", "write"], "a/")
        run("refresh", "ann", "--ttl", "3", "--scope", "delete", "--prefix", "")
        (found,) = TokenFile("tokens.json").records()
        assert (found.scopes, found.prefix) == (("delete",), "")


@pytest.mark.parametrize("arguments", [("delete", "eve"), ("refresh", "eve", "--ttl", "1")])
def test_a_name_that_is_not_there(
    run: Callable[..., Result], line: str, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (1 if line == "python -m" else 3, "")
    assert "there is no token named 'eve'. list shows the names" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "ann", "--ttl", "1", *READ),
        ("list",),
        ("delete", "ann"),
        ("refresh", "ann", "--ttl", "1"),
    ],
)
def test_a_corrupt_file(run: Callable[..., Result], line: str, arguments: tuple[str, ...]) -> None:
    Path("tokens.json").write_text("[\n\n  oops]")
    done = run(*arguments)
    assert (done.code, done.out) == (1 if line == "python -m" else 7, "")
    assert "tokens.json: line 3 is not JSON" in done.err
    assert Path("tokens.json").read_text() == "[\n\n  oops]"


def test_a_file_that_cannot_be_written(run: Callable[..., Result]) -> None:
    done = run("add", "ann", "--ttl", "1", *READ, "--file", "missing/tokens.json")
    assert (done.code, done.out) == (1, "")
    assert "missing/tokens.json cannot be written: No such file or directory" in done.err


class TestWhichFile:
    @pytest.mark.parametrize("option", ["--file", "-f"])
    def test_before_or_behind_the_command(
        self, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, option: str
    ) -> None:
        monkeypatch.setenv("AUTH_TOKENS_FILE", "unwanted.json")
        run(option, "one.json", "add", "ann", "--ttl", "1", *READ)
        run("add", "bob", "--ttl", "1", *READ, option, "two.json")
        assert [each.name for each in TokenFile("one.json").records()] == ["ann"]
        assert [each.name for each in TokenFile("two.json").records()] == ["bob"]
        assert not Path("unwanted.json").exists()

    def test_the_variable(
        self, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path(".env").write_text("AUTH_TOKENS_FILE=from_dotenv.json\n")
        assert run("list").lines == ["There are no tokens in from_dotenv.json."]
        monkeypatch.setenv("AUTH_TOKENS_FILE", "from_environment.json")
        assert run("list").lines == ["There are no tokens in from_environment.json."]

    def test_an_empty_variable(
        self, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AUTH_TOKENS_FILE", "")
        assert run("list").lines == ["There are no tokens in tokens.json."]


@pytest.mark.parametrize(
    "command", [["object_clerk.gateway.tokens"], ["object_clerk.cli", "token"]]
)
def test_as_processes(tmp_path: Path, command: list[str]) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", *command, *arguments],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    added = run("add", "my-token", "--ttl", "30", *READ, "--scope", "write", "--scope", "delete")
    assert (added.returncode, added.stderr) == (0, "")
    found = TokenFile(tmp_path / "tokens.json").find(added.stdout.splitlines()[-1])
    assert found is not None
    assert found.scopes == ("delete", "read", "write")
    again = run("add", "my-token", "--ttl", "30", *READ)
    assert (again.returncode, again.stdout) == (1, "")
    assert "already" in again.stderr
    assert run("add", "other", "--ttl", "0", *READ).returncode == 2
    assert run().returncode == 2


def test_debug_is_taken_behind_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert object_clerk.cli.main(["token", "delete", "eve", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err
