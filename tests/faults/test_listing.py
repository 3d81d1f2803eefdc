"""Experiment E26: pages that fail, repeat or say nothing. Each key once, and always an end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from object_clerk import ObjectClerkException, ObjectClerkServerInternalException
from object_clerk.testing import (
    Reply,
    body_after,
    cut_response,
    drop_after,
    drop_before,
    error_document,
    status_before,
)
from object_clerk.transfer import listing
from tests.faults.conftest import Stage, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.testing import Request

KEYS = [f"key-{number}" for number in range(7)]
PAGE: Any = {"method": "GET", "query": "list-type"}


def _page(keys: list[str], token: str | None = None, truncated: bool | None = None) -> Reply:
    """A page of a listing; it is truncated if there is a token, unless that is told."""
    truncated = token is not None if truncated is None else truncated
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{'0' * 32}&quot;</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    token_row = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    body = (
        f'<?xml version="1.0"?><ListBucketResult xmlns="{namespace}"><Name>bucket</Name>'
        f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{token_row}{rows}</ListBucketResult>"
    )
    return Reply(200, body.encode(), (("Content-Type", "application/xml"),))


def _script(stage: Stage, answer: Callable[[dict[str, str]], Reply]) -> None:
    """Answer every listing request by a function of its query."""

    def by_query(request: Request) -> Reply:
        return answer({name: values[0] for name, values in parse_qs(request.query).items()})

    stage.proxy.add(scripted(by_query, times=None, **PAGE))


def _some(entries: Iterator[dict[str, Any]]) -> list[str]:
    """The keys of a listing, not more than a listing of this size could ever have."""
    return [entry["Key"] for entry in itertools.islice(entries, 1000)]


def _until_error(
    entries: Iterator[dict[str, Any]],
) -> tuple[list[str], ObjectClerkException | None]:
    """The keys of a listing (not more than it could ever have), and how it ended."""
    got: list[str] = []
    try:
        for entry in itertools.islice(entries, 1000):
            got.append(entry["Key"])
    except ObjectClerkException as error:
        return got, error
    return got, None


@pytest.fixture
def filled(stage: Stage) -> Stage:
    for key in KEYS:
        stage.put(key, b"x")
    return stage


class TestE26PagesThatFail:
    @pytest.mark.parametrize("page", [0, 1, 2])
    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param(
                lambda **match: status_before(503, "SlowDown", **match), marks=pytest.mark.smoke
            ),
            lambda **match: status_before(500, "InternalError", **match),
            lambda **match: cut_response(200, **match),
            lambda **match: cut_response(200, keep_length=False, **match),
            lambda **match: body_after(200, b"", **match),
            lambda **match: body_after(200, error_document("InternalError"), **match),
            drop_before,
            drop_after,
        ],
        ids=["503", "500", "cut", "cut without length", "empty", "error in 200", "drop", "lost"],
    )
    def test_one_page_fails_once(self, filled: Stage, fault: Any, page: int) -> None:
        """Check 17: each key once, in order."""
        filled.proxy.add(fault(**PAGE, skip=page))

        entries = filled.clerk.list_objects(filled.bucket, page_size=3)

        assert [entry["Key"] for entry in entries] == KEYS
        assert len(filled.fired) == 1

    def test_page_that_always_fails(self, filled: Stage) -> None:
        """Check 17: the documented exception after the keys that could be had."""
        filled.proxy.add(status_before(503, "SlowDown", times=None, **PAGE, skip=1))
        got: list[str] = []

        with pytest.raises(ObjectClerkServerInternalException) as caught:
            got.extend(
                entry["Key"] for entry in filled.clerk.list_objects(filled.bucket, page_size=3)
            )

        assert caught.value.attempts == len(filled.fired) == 4

    def test_first_page_fails_where_the_listing_is_asked_for(self, filled: Stage) -> None:
        """Check 16: errors show at the call, not at the first iteration."""
        filled.proxy.add(status_before(403, "AccessDenied", times=None, **PAGE))

        with pytest.raises(PermissionError):
            filled.clerk.list_objects(filled.bucket)

        assert filled.fired == ["status_before"]

    @pytest.mark.companion
    def test_e26_without_its_guard_the_listing_ends(self, filled: Stage) -> None:
        """No second attempt at a page."""
        filled.proxy.add(status_before(503, "SlowDown", **PAGE, skip=1))

        with pytest.raises(ObjectClerkServerInternalException):
            list(filled.new_clerk(retry_tries=1).list_objects(filled.bucket, page_size=3))


class TestE26PagesThatMakeNoSense:
    @pytest.mark.smoke
    def test_page_is_sent_twice(self, filled: Stage) -> None:
        """Check 17: a page repeated under a token of its own yields its keys once."""
        pages = {
            "": _page(KEYS[:3], "1"), "1": _page(KEYS[:3], "2"), "2": _page(KEYS[3:])
        }  # fmt: skip
        _script(filled, lambda query: pages[query.get("continuation-token", "")])

        assert _some(filled.clerk.list_objects(filled.bucket)) == KEYS
        assert len(filled.fired) == 3

    def test_pages_go_round_and_round(self, filled: Stage) -> None:
        """Check 17: a server that begins again must not make the listing endless."""
        pages = {
            "": _page(KEYS[:3], "1"), "1": _page(KEYS[3:], "2"), "2": _page(KEYS[:3], "1")
        }  # fmt: skip
        _script(filled, lambda query: pages[query.get("continuation-token", "")])
        got, error = _until_error(filled.clerk.list_objects(filled.bucket))

        assert got == KEYS
        assert error is not None
        assert len(filled.fired) < 10

    def test_earlier_page_again(self, filled: Stage) -> None:
        """Check 17: keys that were yielded do not come a second time."""
        pages = {
            "": _page(KEYS[:3], "1"), "1": _page(KEYS[3:5], "2"),
            "2": _page(KEYS[:3], "3"), "3": _page(KEYS[5:]),
        }  # fmt: skip
        _script(filled, lambda query: pages[query.get("continuation-token", "")])
        got, error = _until_error(filled.clerk.list_objects(filled.bucket))

        # Either is right, but not a key twice, nor an end without all of them.
        assert got == KEYS or (error is not None and got == KEYS[:5])
        assert len(filled.fired) >= 3

    def test_same_page_for_ever(self, filled: Stage) -> None:
        """Check 17: a token that leads back to itself is a clear error."""
        _script(filled, lambda _: _page(KEYS[:3], "same"))

        with pytest.raises(ObjectClerkServerInternalException, match="more keys"):
            _some(filled.clerk.list_objects(filled.bucket))

        assert len(filled.fired) < 10

    def test_same_page_for_ever_with_new_tokens(self, filled: Stage) -> None:
        """Check 17: neither does a server that always has a new token get us to loop."""
        tokens = itertools.count()

        def answer(_: dict[str, str]) -> Reply:
            if next(tokens) > 200:  # it would go on for ever; the proxy ends it
                return Reply(403, error_document("AccessDenied", "the loop was ended"))
            return _page(KEYS[:3], f"token-{next(tokens)}")

        _script(filled, answer)
        got, error = _until_error(filled.clerk.list_objects(filled.bucket))

        assert got == KEYS[:3]
        assert type(error) is ObjectClerkServerInternalException
        assert len(filled.fired) < 100

    def test_truncated_empty_page_with_a_token(self, filled: Stage) -> None:
        """Check 17: a server that filters may have a page without keys; the listing goes on."""
        pages = {
            "": _page(KEYS[:3], "1"), "1": _page([], "2"), "2": _page([], "3"),
            "3": _page(KEYS[3:]),
        }  # fmt: skip
        _script(filled, lambda query: pages[query.get("continuation-token", "")])

        assert _some(filled.clerk.list_objects(filled.bucket)) == KEYS
        assert len(filled.fired) == 4

    @pytest.mark.parametrize("first", [[], KEYS[:3]], ids=["first", "later"])
    def test_truncated_empty_page_without_a_token(self, filled: Stage, first: list[str]) -> None:
        """Check 17: there is no way to go on, which is an error and not a short listing."""
        _script(
            filled,
            lambda query: (
                _page([], truncated=True)
                if "start-after" in query
                else _page(first, truncated=True)
            ),
        )

        with pytest.raises(ObjectClerkServerInternalException, match="more keys"):
            _some(filled.clerk.list_objects(filled.bucket))

        assert len(filled.fired) < 10

    @pytest.mark.companion
    def test_e26_without_its_guard_keys_come_twice(
        self, filled: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every page is believed to bring something new."""
        monkeypatch.setattr(listing._Progress, "made_by", lambda *_: True)
        pages = {
            "": _page(KEYS[:3], "1"), "1": _page(KEYS[:3], "2"), "2": _page(KEYS[3:])
        }  # fmt: skip
        _script(filled, lambda query: pages[query.get("continuation-token", "")])

        assert _some(filled.clerk.list_objects(filled.bucket)) == KEYS[:3] + KEYS

    def test_server_without_tokens(self, filled: Stage) -> None:
        """Check 17: it is asked to go on after the last key."""

        def after(query: dict[str, str]) -> Reply:
            left = [key for key in KEYS if key > query.get("start-after", "")]
            return _page(left[:3], truncated=len(left) > 3)

        _script(filled, after)

        assert _some(filled.clerk.list_objects(filled.bucket)) == KEYS
        assert len(filled.fired) == 3
