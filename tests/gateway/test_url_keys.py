"""URLs that are good without a token, and the keys that they are signed with."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import logging
import multiprocessing
import signal
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import object_clerk.cli
from object_clerk import exceptions as e
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.url_keys import LEEWAY, LONGEST_LIFE, UrlKey, UrlKeys

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)

#: No child lives longer, whatever goes wrong.
LONGEST_S = 120


@dataclasses.dataclass
class Clock:
    """Shows what it was set to."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "url_keys.json"


@pytest.fixture
def keys(path: Path, clock: Clock) -> UrlKeys:
    return UrlKeys(path, clock)


def refusal(keys: UrlKeys, method: str, key: str, query: Any) -> str:
    """Why a URL is refused."""
    with pytest.raises(Refusal) as caught:
        keys.check(method, key, query)
    assert caught.value.status == 403
    assert caught.value.message.startswith("the signed URL is refused: ")
    return caught.value.message.removeprefix("the signed URL is refused: ")


def kids(path: Path) -> list[str]:
    return [each["kid"] for each in json.loads(path.read_text())["keys"]]


class Several(dict[str, str]):
    """Parameters of which there may be several of one name."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def multi_items(self) -> list[tuple[str, str]]:
        return list(self._pairs)


class TestSigning:
    @pytest.mark.parametrize(("signed", "used"), [("GET", "GET"), ("GET", "HEAD"), ("PUT", "PUT")])
    @pytest.mark.parametrize("key", ["a", "a b/ö%41#?", "a\nGET", "k" * 1024])
    def test_it_is_good(self, keys: UrlKeys, signed: str, used: str, key: str) -> None:
        query = keys.sign(signed, key, NOON + HOUR)
        keys.check(used, key, query)
        keys.check(used, key, Several(*query.items()))

    @pytest.mark.parametrize(
        ("signed", "used"), [("GET", "PUT"), ("PUT", "GET"), ("PUT", "HEAD"), ("HEAD", "PUT")]
    )
    def test_not_for_another_method(self, keys: UrlKeys, signed: str, used: str) -> None:
        query = keys.sign(signed, "a", NOON + HOUR)
        assert "signature is wrong" in refusal(keys, used, "a", query)

    def test_not_for_methods_that_are_never_signed(self, keys: UrlKeys) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        for method in ("DELETE", "get", "POST", ""):
            assert refusal(keys, method, "a", query) == f"no URL is signed for {method}"

    @pytest.mark.parametrize("other", ["b", "a/", "A", "a\n", "", "\ud800"])
    def test_not_for_another_key(self, keys: UrlKeys, other: str) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        assert "signature is wrong" in refusal(keys, "GET", other, query)

    def test_not_for_longer(self, keys: UrlKeys) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        longer = query | {"expires": str(int(query["expires"]) + 1)}
        assert "signature is wrong" in refusal(keys, "GET", "a", longer)

    def test_what_is_signed(self, path: Path, keys: UrlKeys) -> None:
        """Computed here once more, from the rule alone."""
        query = keys.sign("GET", "a/b", NOON + HOUR)
        (key,) = json.loads(path.read_text())["keys"]
        expires = int((NOON + HOUR).timestamp())
        text = f"object-clerk-url-1\nGET\n{expires}\na/b"
        digest = hmac.new(key["secret"].encode(), text.encode(), hashlib.sha256).digest()
        assert query == {
            "expires": str(expires),
            "kid": key["kid"],
            "signature": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        }

    @pytest.mark.parametrize(
        ("method", "key", "life"),
        [
            ("DELETE", "a", HOUR),
            ("get", "a", HOUR),
            ("GET", "", HOUR),
            ("GET", "a/../b", HOUR),
            ("GET", "a", 0 * SECOND),
            ("GET", "a", -SECOND),
            ("GET", "a", LONGEST_LIFE + SECOND),
        ],
    )
    def test_bad_arguments(
        self, path: Path, keys: UrlKeys, method: str, key: str, life: timedelta
    ) -> None:
        with pytest.raises(e.ObjectClerkParameterException):
            keys.sign(method, key, NOON + life)
        assert not path.exists()

    def test_secrets_are_not_shown(self, path: Path, keys: UrlKeys) -> None:
        (key,) = keys.rotate()
        assert key.secret in path.read_text()
        assert key.secret not in repr(key)


class TestExpiry:
    def test_to_the_second(self, keys: UrlKeys, clock: Clock) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        clock.now = NOON + HOUR - SECOND / 1000
        keys.check("GET", "a", query)
        clock.now = NOON + HOUR
        assert refusal(keys, "GET", "a", query) == "it has expired"

    def test_never_earlier_than_promised(self, keys: UrlKeys, clock: Clock) -> None:
        query = keys.sign("GET", "a", NOON + SECOND / 10)
        clock.now = NOON + SECOND / 10
        keys.check("GET", "a", query)

    def test_time_zones(self, keys: UrlKeys) -> None:
        there = (NOON + HOUR).astimezone(timezone(timedelta(hours=-8)))
        assert keys.sign("GET", "a", there) == keys.sign("GET", "a", NOON + HOUR)

    def test_too_far_ahead(self, path: Path, keys: UrlKeys, clock: Clock) -> None:
        """Even with the right signature: a gateway whose clock was wrong may have signed it."""
        fast = UrlKeys(path, Clock(NOON + LEEWAY))
        keys.check("GET", "a", fast.sign("GET", "a", NOON + LEEWAY + LONGEST_LIFE))
        fast = UrlKeys(path, Clock(NOON + LEEWAY + SECOND))
        query = fast.sign("GET", "a", NOON + LEEWAY + SECOND + LONGEST_LIFE)
        assert refusal(keys, "GET", "a", query) == "it is good for more than 7 days"
        clock.now = NOON + SECOND
        keys.check("GET", "a", query)


class TestParameters:
    @pytest.mark.parametrize("name", ["expires", "kid", "signature"])
    def test_missing_or_twice(self, keys: UrlKeys, name: str) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        pairs = tuple(query.items())
        said = "it has to have the parameters expires, kid, signature, once each, alone"
        fewer = {other: value for other, value in pairs if other != name}
        assert refusal(keys, "GET", "a", fewer) == said
        assert refusal(keys, "GET", "a", Several(*pairs, (name, query[name]))) == said
        assert refusal(keys, "GET", "a", Several((name, "x"), *pairs)) == said

    def test_nothing_that_was_not_signed(self, keys: UrlKeys) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        for other in ("content-type", "Expires", ""):
            assert "alone" in refusal(keys, "GET", "a", {**query, other: "x"})
        assert "alone" in refusal(keys, "GET", "a", {})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("expires", ""),
            ("expires", "-1"),
            ("expires", "0"),
            ("expires", "01769864400"),
            ("expires", "1769864400.0"),
            ("expires", "1769864400\n"),
            ("expires", "١٧٦٩٨٦٤٤٠٠"),
            ("expires", "9" * 5000),
            ("kid", ""),
            ("kid", "0" * 15),
            ("kid", "G" * 16),
            ("signature", ""),
            ("signature", "A" * 42),
            ("signature", "A" * 43 + "="),
            ("signature", "+" * 43),
            ("signature", "ä" * 43),
        ],
    )
    def test_malformed(self, keys: UrlKeys, name: str, value: str) -> None:
        query = keys.sign("GET", "a", NOON + HOUR) | {name: value}
        assert refusal(keys, "GET", "a", query) == f"its parameter {name} is malformed"

    def test_one_spelling_of_a_signature(self, keys: UrlKeys) -> None:
        """The last of its characters has two bits to spare."""
        query = keys.sign("GET", "a", NOON + HOUR)
        right = query["signature"]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for last in alphabet.replace(right[-1], ""):
            wrong = query | {"signature": right[:-1] + last}
            assert "signature is wrong" in refusal(keys, "GET", "a", wrong)

    def test_an_unknown_key(self, keys: UrlKeys) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        assert "signature is wrong" in refusal(keys, "GET", "a", query | {"kid": "0" * 16})

    def test_it_is_compared_in_constant_time(
        self, keys: UrlKeys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        compared: list[tuple[str, str]] = []

        def differ(one: str, other: str) -> bool:
            compared.append((one, other))
            return False

        monkeypatch.setattr("hmac.compare_digest", differ)
        assert "signature is wrong" in refusal(keys, "GET", "a", query)
        assert compared == [(query["signature"], query["signature"])]

    @settings(
        max_examples=200,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        changes=st.dictionaries(
            st.sampled_from(["expires", "kid", "signature"]) | st.text(max_size=8),
            st.text() | st.from_regex(r"[A-Za-z0-9_-]{43}|[0-9a-f]{16}|[0-9]{10}", fullmatch=True),
            min_size=1,
        )
    )
    def test_nothing_else_is_good(self, keys: UrlKeys, changes: dict[str, str]) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        if query | changes != query:
            assert refusal(keys, "GET", "a", query | changes)
        if changes != query:
            assert refusal(keys, "GET", "a", changes)


class TestRotation:
    def test_a_file_is_made_for_its_owner_alone(self, path: Path, keys: UrlKeys) -> None:
        assert "signature is wrong" in refusal(
            keys, "GET", "a", {"expires": "1769864400", "kid": "0" * 16, "signature": "A" * 43}
        )
        assert not path.exists()
        keys.sign("GET", "a", NOON + HOUR)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_key_signs_for_seven_days(self, keys: UrlKeys, clock: Clock) -> None:
        first = keys.sign("GET", "a", NOON + HOUR)["kid"]
        clock.now = NOON + LONGEST_LIFE
        assert keys.sign("GET", "a", clock.now + HOUR)["kid"] == first
        clock.now += SECOND
        second = keys.sign("GET", "a", clock.now + HOUR)["kid"]
        assert second != first
        assert keys.sign("GET", "b", clock.now + HOUR)["kid"] == second

    def test_the_longest_url_outlives_its_key(self, keys: UrlKeys, clock: Clock) -> None:
        clock.now = NOON
        keys.rotate()
        clock.now = NOON + LONGEST_LIFE  # the last moment at which it signs
        query = keys.sign("GET", "a", clock.now + LONGEST_LIFE)
        clock.now += SECOND
        assert keys.sign("GET", "a", clock.now + HOUR)["kid"] != query["kid"]
        clock.now = NOON + 2 * LONGEST_LIFE - SECOND
        keys.check("GET", "a", query)

    def test_a_key_that_is_of_no_use_any_more_is_dropped(
        self, path: Path, keys: UrlKeys, clock: Clock
    ) -> None:
        (first,) = keys.rotate()
        _, second = keys.rotate()
        clock.now = NOON + LONGEST_LIFE + LEEWAY
        assert kids(path) == [first.kid, second.kid]
        clock.now += SECOND
        third = keys.sign("GET", "a", clock.now + HOUR)["kid"]
        assert kids(path) == [second.kid, third]

    def test_a_retired_key_is_not_believed_for_ever(
        self, path: Path, keys: UrlKeys, clock: Clock
    ) -> None:
        """Although it is in the file until the next one is made."""
        (first,) = keys.rotate()
        keys.rotate()
        expires = str(int((NOON + LONGEST_LIFE + HOUR).timestamp()))
        stolen = {
            "expires": expires,
            "kid": first.kid,
            "signature": first.signature("GET", "a", expires),
        }
        clock.now = NOON + LONGEST_LIFE + LEEWAY
        keys.check("GET", "a", stolen)
        clock.now += SECOND
        assert first.kid in kids(path)
        assert "signature is wrong" in refusal(keys, "GET", "a", stolen)

    def test_the_newest_signs(self, keys: UrlKeys, path: Path) -> None:
        keys.rotate()
        *_, newest = keys.rotate()
        assert keys.sign("GET", "a", NOON + HOUR)["kid"] == newest.kid
        assert len(kids(path)) == 2

    def test_a_clock_that_was_wrong(self, path: Path, keys: UrlKeys) -> None:
        """A key from the far future would otherwise sign until then."""
        (wrong,) = UrlKeys(path, Clock(NOON + 9000 * DAY)).rotate()
        assert keys.sign("GET", "a", NOON + HOUR)["kid"] != wrong.kid

    def test_rotating_keeps_urls(self, keys: UrlKeys) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        keys.rotate()
        keys.check("GET", "a", query)
        keys.check("GET", "a", keys.sign("GET", "a", NOON + HOUR))

    def test_after_a_leak(self, path: Path, keys: UrlKeys) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        (new,) = keys.rotate(drop_old=True)
        assert kids(path) == [new.kid]
        assert "signature is wrong" in refusal(keys, "GET", "a", query)
        keys.check("GET", "a", keys.sign("GET", "a", NOON + HOUR))


class TestTheFile:
    def test_others_see_what_one_changes(self, path: Path, keys: UrlKeys, clock: Clock) -> None:
        other = UrlKeys(path, clock)
        query = keys.sign("GET", "a", NOON + HOUR)
        other.check("GET", "a", query)
        assert other.sign("GET", "a", NOON + HOUR) == query
        other.rotate(drop_old=True)
        assert "signature is wrong" in refusal(keys, "GET", "a", query)

    def test_it_outlives_the_process(self, path: Path, keys: UrlKeys, clock: Clock) -> None:
        query = keys.sign("PUT", "a", NOON + HOUR)
        UrlKeys(path, clock).check("PUT", "a", query)

    @pytest.mark.parametrize(
        "text",
        [
            "[",
            "[]",
            "{}",
            '{"keys": {}}',
            '{"keys": [], "more": 1}',
            '{"keys": ["a"]}',
            '{"keys": [{"kid": "0000000000000000"}]}',
            '{"keys": [{"kid": "0", "secret": "SECRET", "created": "2026-01-01"}]}',
            '{"keys": [{"kid": "0000000000000000", "secret": "SECRET", "created": "soon"}]}',
            '{"keys": [{"kid": "0000000000000000", "secret": "x", "created": "2026-01-01"}]}',
        ],
    )
    def test_a_corrupt_file_keeps_the_last_good_keys(
        self, path: Path, keys: UrlKeys, clock: Clock, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        query = keys.sign("GET", "a", NOON + HOUR)
        text = text.replace("SECRET", "S" * 43)
        path.write_text(text)
        for _ in range(3):
            keys.check("GET", "a", query)
            assert keys.sign("GET", "a", NOON + HOUR) == query
        warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
        assert len(warnings) == 1
        assert "S" * 43 not in caplog.text
        clock.now = NOON + LONGEST_LIFE + SECOND
        with pytest.raises(e.ObjectClerkConfigurationException):
            keys.sign("GET", "a", clock.now + HOUR)
        with pytest.raises(e.ObjectClerkConfigurationException):
            keys.rotate()
        assert path.read_text() == text
        (new,) = keys.rotate(drop_old=True)
        assert kids(path) == [new.kid]

    def test_one_key_for_many_threads(self, path: Path, clock: Clock) -> None:
        start = threading.Barrier(4)
        signed: list[str] = []

        def sign() -> None:
            start.wait(LONGEST_S)
            signed.append(UrlKeys(path, clock).sign("GET", "a", NOON + HOUR)["kid"])

        threads = [threading.Thread(target=sign) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONGEST_S)
        assert signed == kids(path) * 4

    def test_one_key_for_many_processes(self, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        start, said = context.Barrier(2), context.SimpleQueue()
        children = [context.Process(target=sign_once, args=(path, start, said)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join(LONGEST_S)
            assert child.exitcode == 0
            child.close()
        assert [said.get(), said.get()] == kids(path) * 2
        said.close()


def sign_once(path: Path, start: Any, said: Any) -> None:
    signal.alarm(LONGEST_S)
    start.wait(LONGEST_S)
    said.put(UrlKeys(path, Clock()).sign("GET", "a", NOON + HOUR)["kid"])


class TestKeys:
    @pytest.mark.parametrize("retired", [None, NOON + HOUR])
    def test_there_and_back(self, retired: datetime | None) -> None:
        key = dataclasses.replace(UrlKey.new(NOON), retired=retired)
        assert UrlKey.from_dict(json.loads(json.dumps(key.to_dict()))) == key


class TestCommand:
    def run(self, *arguments: str) -> int:
        return object_clerk.cli.main(["url-keys", "rotate", *arguments])

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_the_file_of_the_settings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("URL_KEYS_FILE", str(tmp_path / "mine.json"))
        assert self.run() == 0
        (kid,) = kids(tmp_path / "mine.json")
        assert kid in capsys.readouterr().out
        assert self.run("--json") == 0
        old, new = kids(tmp_path / "mine.json")
        assert json.loads(capsys.readouterr().out) == {
            "type": "url_key",
            "kid": new,
            "kept": [old],
        }

    def test_dropping_the_old(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run("--file", str(path)) == 0
        assert self.run("--file", str(path), "--drop-old") == 0
        (kid,) = kids(path)
        assert f"The key {kid} signs from now on" in capsys.readouterr().out

    def test_a_corrupt_file(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path.write_text("oops")
        assert self.run("--file", str(path)) == 7
        assert "line 1 is not JSON" in capsys.readouterr().err
        assert path.read_text() == "oops"
