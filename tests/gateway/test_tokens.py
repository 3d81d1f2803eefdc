"""Tokens: the records, and the file that the gateway looks them up in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from object_clerk import exceptions as e
from object_clerk.gateway.tokens import (
    SCOPES,
    TokenExists,
    TokenFile,
    TokenNotFound,
    TokenRecord,
)

REPOSITORY = Path(__file__).parents[2]
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

#: No child lives longer, whatever goes wrong.
LONGEST_S = 120

#: As the tool that others used before has written it, for the token of this text.
TEXT = "Zk3-_0123456789abcdefghijklmnopqrstuvwxyzAB"
HASH = hashlib.sha256(TEXT.encode()).hexdigest()
WRITTEN_ELSEWHERE = f"""[
  {{
    "created_at": "2025-11-02T10:20:30.123456+00:00",
    "expires": "2036-11-02T10:20:30.123456+00:00",
    "hash": "{HASH}",
    "name": "api-user",
    "scopes": [
      "delete",
      "read",
      "write"
    ]
  }}
]"""


def record(**changes: Any) -> dict[str, Any]:
    """A token as it is in the file."""
    return {"name": "ann", "hash": HASH, "expires": "2036-01-01T00:00:00+00:00", **changes}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def tokens(path: Path) -> TokenFile:
    return TokenFile(path, clock=lambda: NOW)


class TestRecords:
    def test_a_file_from_elsewhere(self, path: Path, tokens: TokenFile) -> None:
        path.write_text(WRITTEN_ELSEWHERE)
        created = datetime(2025, 11, 2, 10, 20, 30, 123456, UTC)
        known = TokenRecord(
            "api-user",
            HASH,
            created.replace(year=2036),
            created_at=created,
            scopes=("delete", "read", "write"),
        )
        assert tokens.find(TEXT) == known
        assert tokens.records() == (known,)

    def test_it_is_written_as_elsewhere(self, path: Path, tokens: TokenFile) -> None:
        path.write_text(WRITTEN_ELSEWHERE)
        tokens.add("ann", 1, ["read"])
        tokens.delete("ann")
        assert path.read_text() == WRITTEN_ELSEWHERE + "\n"

    def test_naive_times_are_utc(self) -> None:
        found = TokenRecord.from_dict(
            record(expires="2030-01-01T00:00:00", created_at="2029-01-01")
        )
        assert found.expires == datetime(2030, 1, 1, tzinfo=UTC)
        assert found.created_at == datetime(2029, 1, 1, tzinfo=UTC)
        assert TokenRecord("a", HASH, datetime(2030, 1, 1)).expires == found.expires

    def test_scopes_are_sorted_and_single(self) -> None:
        found = TokenRecord.from_dict(record(scopes=["write", "read", "write", "other"]))
        assert found.scopes == ("other", "read", "write")

    @pytest.mark.parametrize("prefix", ["", "a/"])
    def test_there_and_back(self, prefix: str) -> None:
        known = TokenRecord("ann", HASH, NOW, NOW, ("read",), prefix)
        assert TokenRecord.from_dict(json.loads(json.dumps(known.to_dict()))) == known
        assert ("prefix" in known.to_dict()) == bool(prefix)

    def test_when_it_has_expired(self) -> None:
        known = TokenRecord("ann", HASH, NOW)
        tick = timedelta(microseconds=1)
        assert not known.has_expired(NOW - tick)
        assert known.has_expired(NOW)
        assert known.has_expired((NOW + tick).astimezone(timezone(timedelta(hours=-9))))

    def test_it_does_not_show_the_hash(self) -> None:
        assert HASH not in repr(TokenRecord("ann", HASH, NOW))

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (record(hash=HASH[:-1]), "the token 'ann' has a hash that is not 64"),
            (record(hash=HASH.upper()), "the token 'ann' has a hash that is not 64"),
            (record(hash=None), "the token 'ann' has a hash that is not 64"),
            (record(expires="soon"), "the token 'ann' has no time in ISO 8601 as expires"),
            (record(expires=None), "the token 'ann' has no time in ISO 8601 as expires"),
            (record(expires="9999-12-31T23:59:59-12:00"), "'ann' has no time"),
            (record(created_at=5), "the token 'ann' has no time in ISO 8601 as created_at"),
            (record(scopes="read"), "the token 'ann' has scopes that are not a list"),
            (record(scopes=[1]), "the token 'ann' has scopes that are not a list"),
            (record(prefix=None), "the token 'ann' has a prefix that is not a text"),
            (record(Prefix="a/"), "a token has the unknown field 'Prefix'"),
            (record(name=""), "a name that is not a text"),
            (record(name=7), "a name that is not a text"),
            ({"name": "ann", "hash": HASH}, "has no expires"),
            ([], "a token is not an object"),
        ],
    )
    def test_what_is_no_record(self, path: Path, tokens: TokenFile, given: Any, said: str) -> None:
        with pytest.raises(e.ObjectClerkConfigurationException, match=re.escape(said)):
            TokenRecord.from_dict(given)
        good = record(name="bob", hash=hashlib.sha256(b"bob").hexdigest())
        path.write_text(json.dumps([good, given]))
        with pytest.raises(e.ObjectClerkConfigurationException) as caught:
            tokens.records()
        assert f"{path}: entry 2: " in str(caught.value)
        assert said in str(caught.value)
        assert HASH[:-1].lower() not in str(caught.value).lower()
        assert tokens.find("bob") is None

    @pytest.mark.parametrize(
        ("document", "said"),
        [
            ({}, "not a list of tokens"),
            (None, "not a list of tokens"),
            ([record(), record(hash="0" * 64)], "entry 2: there are two tokens 'ann'"),
            ([record(), record(name="bob")], "two names have the same token"),
        ],
    )
    def test_what_is_no_list_of_records(
        self, path: Path, tokens: TokenFile, document: Any, said: str
    ) -> None:
        path.write_text(json.dumps(document))
        if document is None:
            path.write_text("5")
        with pytest.raises(e.ObjectClerkConfigurationException, match=said):
            tokens.records()
        assert tokens.find(TEXT) is None


class TestFinding:
    def test_only_the_very_token(self, tokens: TokenFile) -> None:
        ann, bob = (tokens.add(name, 1, SCOPES) for name in ("ann", "bob"))
        assert tokens.find(ann.text) == ann.record
        assert tokens.find(bob.text) == bob.record
        wrong = ("", ann.text[:-1], ann.text + " ", ann.record.hash, "\ud800", "ä" * 10_000)
        assert [tokens.find(text) for text in wrong] == [None] * len(wrong)

    def test_one_that_has_expired_is_found(self, path: Path) -> None:
        new = TokenFile(path).add("ann", 1e-6, ["read"])
        found = TokenFile(path).find(new.text)
        assert found == new.record
        assert found.has_expired(datetime.now(UTC) + timedelta(seconds=1))

    def test_the_file_is_not_there(
        self, path: Path, tokens: TokenFile, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        assert [tokens.find(TEXT) for _ in range(3)] == [None] * 3
        assert [each.getMessage() for each in caplog.records] == [f"{path} does not exist"]

    def test_what_others_change_counts_at_once(self, path: Path, tokens: TokenFile) -> None:
        """A token that was deleted or replaced is refused at the next request."""
        others = TokenFile(path)
        assert tokens.find(TEXT) is None
        first = others.add("ann", 1, ["read"])
        assert tokens.find(first.text) == first.record
        second = others.refresh("ann", 1)
        assert tokens.find(first.text) is None
        assert tokens.find(second.text) == second.record
        others.delete("ann")
        assert tokens.find(second.text) is None

    def test_a_corrupt_file_keeps_the_last_good_tokens(
        self, path: Path, tokens: TokenFile, caplog: pytest.LogCaptureFixture
    ) -> None:
        new = tokens.add("ann", 1, ["read"])
        assert tokens.find(new.text) == new.record
        good = path.read_text()
        for bad in (good[:-5], "[1]", good.replace("2026-02-01", "2026-02-99")):
            path.write_text(bad)
            assert [tokens.find(new.text) for _ in range(3)] == [new.record] * 3
            assert tokens.find(TEXT) is None
        assert [each.levelname for each in caplog.records] == ["WARNING"] * 3
        assert "the token 'ann' has no time" in caplog.text
        assert new.record.hash not in caplog.text
        assert new.text not in caplog.text
        path.write_text("[]")
        assert tokens.find(new.text) is None

    def test_all_that_are_in_the_index_are_compared(
        self, tokens: TokenFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The last word has a comparison that takes as long wherever the difference is."""
        new = tokens.add("ann", 1, ["read"])
        compared: list[tuple[str, str]] = []

        def differ(one: str, other: str) -> bool:
            compared.append((one, other))
            return False

        monkeypatch.setattr("hmac.compare_digest", differ)
        assert tokens.find(new.text) is None
        assert compared == [(new.record.hash, new.record.hash)]

    def test_many_threads(self, path: Path, tokens: TokenFile) -> None:
        new = tokens.add("ann", 1, ["read"])
        others = TokenFile(path)
        found: list[TokenRecord | None] = []

        def look() -> None:
            found.extend(tokens.find(new.text) for _ in range(500))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(5):
            others.add(f"other {number}", 1, ["read"])
        for thread in threads:
            thread.join(LONGEST_S)
        assert found == [new.record] * 2000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
odd_fields = st.dictionaries(
    st.sampled_from(["name", "hash", "expires", "created_at", "scopes", "prefix"]),
    json_values | st.sampled_from([HASH, "2036-01-01", "2036-01-01T00:00:00Z"]),
)
odd_records = odd_fields.map(lambda fields: record() | fields)
odd_files = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.lists(odd_fields | odd_records).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=5).map(lambda end: WRITTEN_ELSEWHERE.encode()[: -len(end) or None] + end),
)
quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class TestGarbage:
    @quick
    @given(raw=odd_files, text=st.text(st.characters()))
    def test_finding_never_raises(self, path: Path, raw: bytes, text: str) -> None:
        """Either the file is understood, or no token of it counts."""
        path.write_bytes(raw)
        tokens = TokenFile(path)
        assert tokens.find(text) is None
        found = tokens.find(TEXT)
        try:
            known = {each.hash: each for each in tokens.records()}
        except e.ObjectClerkConfigurationException:
            known = {}
        assert found == known.get(HASH)

    @quick
    @given(given=odd_records)
    def test_what_is_read_can_be_written(self, given: dict[str, Any]) -> None:
        try:
            known = TokenRecord.from_dict(given)
        except e.ObjectClerkConfigurationException:
            return
        assert TokenRecord.from_dict(json.loads(json.dumps(known.to_dict()))) == known


class TestChanging:
    def test_adding(self, path: Path, tokens: TokenFile) -> None:
        new = tokens.add("ann", 0.5, ["write", "read", "write"], "a/")
        assert new.record == TokenRecord(
            "ann",
            hashlib.sha256(new.text.encode()).hexdigest(),
            NOW + timedelta(hours=12),
            created_at=NOW,
            scopes=("read", "write"),
            prefix="a/",
        )
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", new.text)
        assert json.loads(path.read_text()) == [new.record.to_dict()]
        assert new.text not in path.read_text()
        assert new.text not in repr(new)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_every_token_is_another(self, tokens: TokenFile) -> None:
        texts = {tokens.add(str(number), 1, ["read"]).text for number in range(5)}
        assert len(texts) == 5
        assert len(tokens.records()) == 5

    def test_a_name_is_one_token_s(self, path: Path, tokens: TokenFile) -> None:
        tokens.add("ann", 1, ["read"])
        before = path.read_text()
        with pytest.raises(TokenExists, match=r"'ann' already\. refresh"):
            tokens.add("ann", 1, ["read"])
        assert path.read_text() == before

    def test_deleting(self, tokens: TokenFile) -> None:
        news = [tokens.add(name, 1, ["read"]) for name in ("ann", "bob", "eve")]
        assert tokens.delete("bob") == news[1].record
        assert tokens.records() == (news[0].record, news[2].record)
        with pytest.raises(TokenNotFound, match="no token named 'bob'"):
            tokens.delete("bob")

    def test_refreshing(self, path: Path, tokens: TokenFile) -> None:
        old = tokens.add("ann", 1, ["read"], "a/").record
        tokens.add("bob", 1, ["read"])
        later = TokenFile(path, clock=lambda: NOW + timedelta(days=9))
        new = later.refresh("ann", 2)
        assert dataclasses.replace(new.record, hash=old.hash) == dataclasses.replace(
            old, expires=NOW + timedelta(days=11), created_at=NOW + timedelta(days=9)
        )
        assert new.record.hash == hashlib.sha256(new.text.encode()).hexdigest() != old.hash
        assert [each.name for each in tokens.records()] == ["ann", "bob"]
        changed = tokens.refresh("ann", 1, ["delete"], "").record
        assert (changed.scopes, changed.prefix) == (("delete",), "")
        with pytest.raises(TokenNotFound, match="no token named 'eve'"):
            tokens.refresh("eve", 1)

    @pytest.mark.parametrize(
        "ttl_days", [0, -1, -0.0, 1e-12, math.nan, math.inf, -math.inf, 1e300, 2_913_000]
    )
    def test_impossible_lives(self, path: Path, tokens: TokenFile, ttl_days: float) -> None:
        with pytest.raises(e.ObjectClerkParameterException, match="time to live"):
            tokens.add("ann", ttl_days, ["read"])
        assert not path.exists()
        tokens.add("ann", 1, ["read"])
        with pytest.raises(e.ObjectClerkParameterException, match="time to live"):
            tokens.refresh("ann", ttl_days)

    @pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0", "\ud800", "n" * 201, "\x1b[2J"])
    def test_impossible_names(self, path: Path, tokens: TokenFile, name: str) -> None:
        with pytest.raises(e.ObjectClerkParameterException):
            tokens.add(name, 1, ["read"])
        assert not path.exists()

    @pytest.mark.parametrize(
        ("scopes", "said"),
        [
            ([], "allows nothing: give at least one of read, write, delete"),
            (["read", "admin"], "there is no scope 'admin'; the scopes are read, write, delete"),
            (["Read"], "there is no scope 'Read'"),
        ],
    )
    def test_impossible_scopes(
        self, path: Path, tokens: TokenFile, scopes: list[str], said: str
    ) -> None:
        with pytest.raises(e.ObjectClerkParameterException, match=said):
            tokens.add("ann", 1, scopes)
        assert not path.exists()
        tokens.add("ann", 1, ["read"])
        with pytest.raises(e.ObjectClerkParameterException, match=said):
            tokens.refresh("ann", 1, scopes)

    @pytest.mark.parametrize("prefix", ["/a", "a/../b", "a\0", "\ud800", "p" * 1025])
    def test_impossible_prefixes(self, path: Path, tokens: TokenFile, prefix: str) -> None:
        with pytest.raises(e.ObjectClerkParameterException):
            tokens.add("ann", 1, ["read"], prefix)
        assert not path.exists()

    def test_a_corrupt_file_is_left_as_it_is(self, path: Path, tokens: TokenFile) -> None:
        path.write_text("[\n  oops\n]")
        for change in (
            lambda: tokens.add("ann", 1, ["read"]),
            lambda: tokens.delete("ann"),
            lambda: tokens.refresh("ann", 1),
        ):
            with pytest.raises(e.ObjectClerkConfigurationException, match="line 2 is not JSON"):
                change()
        assert path.read_text() == "[\n  oops\n]"


def add_ten(path: Path, whose: str, start: Any) -> None:
    signal.alarm(LONGEST_S)
    start.wait(LONGEST_S)
    for number in range(10):
        TokenFile(path).add(f"{whose} {number}", 1, ["read"])


def test_two_processes_lose_nothing(path: Path, tokens: TokenFile) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    children = [context.Process(target=add_ten, args=(path, who, start)) for who in ("a", "b")]
    for child in children:
        child.start()
    for child in children:
        child.join(LONGEST_S)
        assert child.exitcode == 0
        child.close()
    names = [each.name for each in tokens.records()]
    assert sorted(names) == sorted(f"{who} {number}" for who in ("a", "b") for number in range(10))


def test_neither_a_server_nor_a_client_is_imported(tmp_path: Path) -> None:
    """Tokens are made on machines that have no gateway installed."""
    code = """
import json, sys
import object_clerk.gateway.tokens, object_clerk.gateway.tokens.__main__
unwanted = ("fastapi", "starlette", "uvicorn", "httpx2", "limits", "redis", "prometheus_client",
            "pydantic", "yaml", "click", "rich", "boto3")
print(json.dumps([name for name in unwanted if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []
