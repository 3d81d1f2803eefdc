"""What the fault proxy leaves to chance: the same seed brings the same faults."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from object_clerk import testing as t
from tests.unit.upstream import BODY, Upstream, ask, connect, names

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterable

KEYS = [f"/bucket/{number}" for number in range(60)]


def some_of_everything() -> tuple[t.Fault, ...]:
    return (
        t.status_before(rate=0.2, times=None),
        t.flip_response_bit(offset=None, bit=None, method="GET", rate=0.3, times=None),
        t.body_after(rate=0.1, times=None),
    )


def answers(
    upstream: Upstream, seed: int | None, paths: Iterable[str] = KEYS, threads: int = 1
) -> dict[str, tuple[int, bytes]]:
    """What each path is answered when all are asked for, by one thread or several."""
    with t.FaultProxy(upstream.url, seed=seed) as proxy:
        proxy.add(*some_of_everything())

        def get(path: str) -> tuple[str, tuple[int, bytes]]:
            connection = connect(proxy)
            status, body, _ = ask(connection, path=path)
            connection.close()
            return path, (status, body)

        with ThreadPoolExecutor(threads) as pool:
            return dict(pool.map(get, paths))


def altered_bits(body: bytes) -> list[tuple[int, int]]:
    return [
        (index, bit)
        for index, (was, now) in enumerate(zip(BODY, body, strict=True))
        for bit in range(8)
        if (was ^ now) >> bit & 1
    ]


class TestSeed:
    def test_the_same_seed_brings_the_same_faults(self, upstream: Upstream) -> None:
        first = answers(upstream, 7)
        assert {status for status, _ in first.values()} == {200, 503}
        assert len({body for _, body in first.values()}) > 5
        assert answers(upstream, 7) == first
        assert answers(upstream, 8) != first

    def test_neither_order_nor_threads_matter(self, upstream: Upstream) -> None:
        shuffled = random.Random(1).sample(KEYS, len(KEYS))
        assert answers(upstream, 7, shuffled, threads=8) == answers(upstream, 7)

    def test_it_is_the_same_everywhere(self, upstream: Upstream) -> None:
        """Values noted down once: a seed is of use in another process and under another Python."""
        seen = answers(upstream, 2026, KEYS[:12])
        told = {
            key: "busy" if status == 503 else altered_bits(body) if body else "empty"
            for key, (status, body) in seen.items()
        }
        assert {key: value for key, value in told.items() if value} == {
            "/bucket/0": "busy",
            "/bucket/2": [(327, 3)],
            "/bucket/5": "empty",
            "/bucket/6": "busy",
            "/bucket/8": "busy",
            "/bucket/10": [(266, 1)],
        }

    def test_one_is_drawn_if_none_is_given(self, upstream: Upstream) -> None:
        seeds = {t.FaultProxy(upstream.url).seed for _ in range(20)}
        assert len(seeds) > 1
        seed = seeds.pop()
        assert answers(upstream, seed) == answers(upstream, seed)

    def test_a_retry_is_drawn_anew(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.status_before(rate=0.5, times=None))
        assert {ask(client)[0] for _ in range(60)} == {200, 503}

    def test_what_differs_from_run_to_run_does_not_matter(self, upstream: Upstream) -> None:
        def paths(run: str) -> list[str]:
            return [
                f"/k?partNumber={number}&uploadId={run}&X-Amz-Signature={run}&versionId={run}"
                for number in range(30)
            ]

        one, other = (answers(upstream, 7, paths(run)) for run in ("one", "other"))
        assert list(one.values()) == list(other.values())
        assert len(set(one.values())) > 3

    def test_parts_and_ranges_are_drawn_each_by_itself(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.status_before(rate=0.5, times=None))
        parts = [ask(client, "PUT", f"/k?partNumber={n}&uploadId=u", b"x")[0] for n in range(40)]
        ranges = [ask(client, Range=f"bytes={n}-{n}")[0] for n in range(40)]
        assert set(parts) == {200, 503}
        assert set(ranges) == {206, 503}


class TestShowing:
    def test_repr_brings_it_back(self, upstream: Upstream) -> None:
        assert repr(t.FaultProxy(upstream.url, seed=5)) == f"FaultProxy({upstream.url!r}, seed=5)"
        drawn = t.FaultProxy(upstream.url)
        again = eval(repr(drawn), {"FaultProxy": t.FaultProxy})
        assert (again.upstream_url, again.seed) == (upstream.url, drawn.seed)

    def test_failure_tells_the_seed(self, upstream: Upstream) -> None:
        with pytest.raises(KeyError) as caught, t.FaultProxy(upstream.url) as proxy:
            raise KeyError("something in a test")
        [note] = caught.value.__notes__
        assert note == f"{proxy!r} brings the same faults again"


class TestRate:
    def test_share_is_about_the_rate(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.status_before(rate=0.25, times=None))
        count = 800
        busy = sum(ask(client, "HEAD", f"/{number}")[0] == 503 for number in range(count))
        # Eight standard deviations: no seed will ever come that far.
        assert abs(busy - count * 0.25) < 8 * (count * 0.25 * 0.75) ** 0.5

    def test_with_skip_and_times(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.status_before(rate=0.5, skip=10, times=3))
        statuses = [ask(client)[0] for _ in range(100)]
        assert statuses[:10] == [200] * 10
        assert statuses.count(503) == 3

    def test_faults_are_drawn_each_by_itself(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.status_before(400, "A", rate=0.5, times=None))
        proxy.add(t.status_before(500, "B", rate=0.5, times=None))
        assert {ask(client)[0] for _ in range(100)} == {200, 400, 500}


class TestPlaces:
    def test_any_bit_of_the_response(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection
    ) -> None:
        proxy.add(t.flip_response_bit(offset=None, bit=None, times=None))
        places = set()
        for _ in range(200):
            [place] = altered_bits(ask(client)[1])
            places.add(place)
        assert len({index for index, _ in places}) > 100
        assert {bit for _, bit in places} == set(range(8))

    def test_any_bit_of_the_request(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        proxy.add(t.flip_request_bit(offset=None, bit=None, times=None))
        for _ in range(40):
            ask(client, "PUT", body=BODY)
        places = [altered_bits(body) for _, _, _, body in upstream.seen]
        assert {len(found) for found in places} == {1}
        assert len({index for [(index, _)] in places}) > 25

    @pytest.mark.parametrize("path", ["/chunked", "/until-close"])
    def test_nowhere_without_a_length(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, path: str
    ) -> None:
        proxy.add(t.flip_response_bit(offset=None))
        assert ask(client, path=path)[1] == BODY
        assert names(proxy) == []

    def test_nowhere_in_an_empty_body(
        self, proxy: t.FaultProxy, client: http.client.HTTPConnection, upstream: Upstream
    ) -> None:
        upstream.content = b""
        proxy.add(t.flip_response_bit(offset=None))
        assert ask(client)[:2] == (200, b"")
        assert names(proxy) == []

    def test_own_action_draws_too(self, upstream: Upstream) -> None:
        class Note(t.Action):
            def before(self, turn: t.Turn) -> None:
                drawn.append(turn.random.random())

        drawn: list[float] = []
        for _ in range(2):
            with t.FaultProxy(upstream.url, seed=3) as proxy:
                proxy.add(t.Fault(name="note", action=Note(), times=None))
                client = connect(proxy)
                ask(client)
                ask(client)
                client.close()
        assert drawn[:2] == drawn[2:]
        assert drawn[0] != drawn[1]
