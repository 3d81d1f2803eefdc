"""The service as it is run: its memory, its workers, what a killed one leaves, and Redis."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx2
import psutil
import pytest

from tests.conftest import skip_unavailable
from tests.gateway.processes import PATIENCE_S, Service, service

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Server

_FILES = "stores: {f: {type: AsyncSafeFilesystemStore, config: {root_path: data}}}\nmain: f\n"

_MIB = 1 << 20
_PIECE = random.Random(1).randbytes(_MIB)

#: Beyond what the process has when it is ready, and far less than what is sent.
_ROOM_BYTES = 256 * _MIB
_LARGE_BYTES = 640 * _MIB


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a store of files."""
    (tmp_path / "storage.yaml").write_text(_FILES)
    return tmp_path


def _pieces(count: int) -> Iterator[bytes]:
    """Large content, of which each piece differs."""
    for number in range(count):
        yield number.to_bytes(8) + _PIECE[8:]


def _limit_memory(running: Service) -> None:
    pid = running.process.pid
    # What can be written to: address space is also reserved for each thread, and never used.
    most = psutil.Process(pid).memory_info().data + _ROOM_BYTES
    resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))


def _large_there_and_back(running: Service) -> None:
    count = _LARGE_BYTES // _MIB
    sent = hashlib.sha256()
    for piece in _pieces(count):
        sent.update(piece)
    _limit_memory(running)
    for key, headers in (
        ("known", {"content-length": str(_LARGE_BYTES)}),
        ("chunked", {}),
    ):
        told = running.client.put(f"/objects/{key}", content=_pieces(count), headers=headers)
        assert told.status_code == 200, told.text
        assert told.json()["sha256"] == sent.hexdigest()
        came = hashlib.sha256()
        with running.client.stream("GET", f"/objects/{key}") as answer:
            assert answer.headers["content-length"] == str(_LARGE_BYTES)
            for piece in answer.iter_raw():
                came.update(piece)
        assert came.digest() == sent.digest()


def test_bodies_larger_than_memory_files(place: Path) -> None:
    """A body that is larger than the memory of the process goes in and out."""
    with service(place, STORAGE_CONFIG="storage.yaml") as running:
        _large_there_and_back(running)


def test_bodies_larger_than_memory_s3(tmp_path: Path, server: Server, bucket: str) -> None:
    """The same over S3."""
    if server.name != "rclone":
        pytest.skip("one server that keeps no objects in memory shows it for all")
    (tmp_path / "storage.yaml").write_text(json.dumps(_s3_config(server, bucket)))
    with service(tmp_path, STORAGE_CONFIG="storage.yaml") as running:
        _large_there_and_back(running)


def _s3_config(server: Server, bucket: str) -> dict[str, object]:
    config = {
        "bucket_name": bucket,
        "endpoint_url": server.endpoint_url,
        "s3_access_key": server.access_key,
        "s3_secret_key": server.secret_key,
    }
    return {"stores": {"s3": {"type": "AsyncBucketStore", "config": config}}, "main": "s3"}


def test_workers_are_one_store(place: Path) -> None:
    """Check 33: whichever worker answers, it is the same store and the same tokens."""
    with service(place, "--workers", "3", STORAGE_CONFIG="storage.yaml") as running:
        assert len(running.workers) == 3
        headers = {"authorization": f"Bearer {running.token}", "connection": "close"}
        for number in range(30):  # a new connection each, so any worker may get it
            content = str(number).encode()
            url = f"{running.url}/objects/key"
            assert httpx2.put(url, content=content, headers=headers).status_code == 200
            assert httpx2.get(url, headers=headers).content == content


def test_killed_workers_lose_nothing(place: Path) -> None:
    """Checks 32 and 35: kill -9 amid many uploads; what was acknowledged is there, whole.

    What was under way is there whole, as it was before, or not at all.
    """
    _kill_workers(place)


def test_killed_workers_lose_nothing_s3(tmp_path: Path, server: Server, bucket: str) -> None:
    """The same over S3."""
    if server.name not in ("ministack", "ceph"):
        pytest.skip("this server is slow, or keeps what was written by halves")
    (tmp_path / "storage.yaml").write_text(json.dumps(_s3_config(server, bucket)))
    _kill_workers(tmp_path)


def _kill_workers(place: Path) -> None:
    rng = random.Random(7)
    acknowledged: dict[str, str] = {}
    attempted: dict[str, set[str]] = {}
    ends = threading.Event()
    lock = threading.Lock()

    def write(who: int) -> None:
        mine = random.Random(who)
        number = 0
        with httpx2.Client(timeout=30) as client:
            while not ends.is_set():
                number += 1
                key = f"{who}/{number % 5}"
                content = mine.randbytes(mine.choice((100, 70_000, 3_000_000)))
                digest = hashlib.sha256(content).hexdigest()
                with lock:
                    attempted.setdefault(key, set()).add(digest)
                try:
                    answer = client.put(
                        f"{running.url}/objects/{key}",
                        content=(
                            content[at : at + 50_000] for at in range(0, len(content), 50_000)
                        ),
                        headers={"authorization": f"Bearer {running.token}"},
                    )
                except httpx2.TransportError:
                    time.sleep(0.05)
                    continue
                assert answer.status_code == 200, answer.text
                with lock:
                    # Of later attempts nobody knows; only this one must be there, or one of them.
                    acknowledged[key] = digest
                    attempted[key] = {digest}

    with service(place, "--workers", "2", STORAGE_CONFIG="storage.yaml") as running:
        with ThreadPoolExecutor(6) as threads:
            writers = [threads.submit(write, who) for who in range(6)]
            try:
                for _ in range(6):
                    time.sleep(0.7)
                    victims = running.workers
                    if victims:
                        rng.choice(victims).send_signal(signal.SIGKILL)
                end = time.monotonic() + PATIENCE_S
                before = len(acknowledged)
                while len(acknowledged) == before < 30 and time.monotonic() < end:
                    time.sleep(0.2)
            finally:
                ends.set()
            for each in writers:
                each.result()
        assert acknowledged
        for key in sorted(attempted):
            answer = running.client.get(f"/objects/{key}")
            if answer.status_code == 404:
                assert key not in acknowledged
                continue
            assert answer.status_code == 200, answer.text
            assert hashlib.sha256(answer.content).hexdigest() in attempted[key]


def test_many_clients_and_slow_ones(place: Path) -> None:
    """Check 35: a hundred clients lose nothing, while others are slow, vanish, or talk nonsense."""
    with service(place, STORAGE_CONFIG="storage.yaml", IDLE_TIMEOUT_S="2") as running:
        head = f"Host: x\r\nAuthorization: Bearer {running.token}\r\n"
        address = ("127.0.0.1", int(running.url.rpartition(":")[2]))
        running.client.put("/objects/large", content=_pieces(8))
        strangers = []
        for request in (
            "",  # says nothing
            "PUT /objects/slow HTTP/1.1\r\n",  # stops in its head
            f"PUT /objects/slow HTTP/1.1\r\n{head}Content-Length: 1000\r\n\r\nbytes",
            f"GET /objects/large HTTP/1.1\r\n{head}\r\n",  # takes nothing of the answer
            "nonsense\r\n\r\n",
        ):
            for _ in range(4):
                stranger = socket.create_connection(address)
                stranger.sendall(request.encode())
                strangers.append(stranger)

        def client(number: int) -> None:
            key, content = f"/objects/{number}", os.urandom(1000 * number)
            with httpx2.Client(base_url=running.url, headers=running.client.headers) as mine:
                mine.timeout = PATIENCE_S
                assert mine.put(key, content=content).status_code == 200
                assert mine.get(key).content == content
                if number % 3 == 0:
                    assert mine.delete(key).status_code == 204

        with ThreadPoolExecutor(100) as threads:
            for done in [threads.submit(client, number) for number in range(100)]:
                done.result()
        for stranger in strangers:
            stranger.close()
        page = running.client.get("/objects", params={"limit": 1000}).json()
        kept = {str(number) for number in range(100) if number % 3}
        assert set(page["keys"]) == kept | {"large"}


def test_uploads_end_before_the_server(place: Path) -> None:
    """A server that is asked to end lets an upload end that has begun."""
    with service(place, STORAGE_CONFIG="storage.yaml") as running:

        def slowly() -> Iterator[bytes]:
            yield b"first"
            running.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            yield b" second"

        assert running.client.put("/objects/key", content=slowly()).status_code == 200
        assert running.process.wait(PATIENCE_S) == 0
    with service(place, STORAGE_CONFIG="storage.yaml") as running:
        assert running.client.get("/objects/key").content == b"first second"


def test_two_gateways_share_a_limit(place: Path) -> None:
    """Check 27: with Redis, a limit is one limit, however many processes there are."""
    from tests.servers.redis import redis_server

    with skip_unavailable(), redis_server() as url:

        def limited() -> contextlib.AbstractContextManager[Service]:
            return service(
                place, STORAGE_CONFIG="storage.yaml", RATE_LIMIT="10/hour", RATE_LIMIT_STORE=url
            )

        with limited() as one, limited() as two:
            headers = {"authorization": f"Bearer {one.token}"}
            statuses = [
                httpx2.get(f"{each.url}/objects", headers=headers).status_code
                for _ in range(8)
                for each in (one, two)
            ]
            assert statuses == [200] * 10 + [429] * 6
            refused = httpx2.get(f"{two.url}/objects", headers=headers)
            assert int(refused.headers["retry-after"]) > 60
            # Another token is not affected, and neither is /health.
            assert two.client.get("/objects").status_code == 200
            assert httpx2.get(f"{two.url}/health", headers=headers).status_code == 200


def test_nothing_is_left_running(place: Path) -> None:
    """The workers end with the process that was started."""
    with service(place, "--workers", "2", STORAGE_CONFIG="storage.yaml") as running:
        workers = running.workers
        assert len(workers) == 2
    assert [each for each in workers if psutil.pid_exists(each.pid)] == []
