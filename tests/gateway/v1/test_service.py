"""The service as it is run: a process of its own, several workers, and the sweeping command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.gateway.processes import PATIENCE_S, environment, service
from tests.gateway.v1.running import path
from tests.gateway.v1.test_objects import blob

if TYPE_CHECKING:
    from pathlib import Path

_FILES = "stores: {f: {type: AsyncFilesystemStore, config: {root_path: data}}}\nmain: f\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "storage.yaml").write_text(_FILES)
    (tmp_path / "sessions.yaml").write_text("auth: {enforce: false}\n")
    return tmp_path


def command(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "object_clerk.cli", *arguments],
        cwd=directory,
        env=environment(STORAGE_CONFIG="storage.yaml", **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_workers_share_everything(directory: Path) -> None:
    """Any worker goes on with what another has begun: nothing is kept outside the store."""
    whole = blob(300_000)
    arguments = ("--workers", "3", "--storage-config", "storage.yaml")
    with service(directory, *arguments, SESSIONS_CONFIG="sessions.yaml") as served:
        # A connection stays with its worker, so each request has one of its own.
        limits = httpx2.Limits(max_keepalive_connections=0)
        with httpx2.Client(base_url=served.url, timeout=PATIENCE_S, limits=limits) as client:
            session = client.put(
                f"{path()}?upload_type=resumable", headers={"upload-length": str(len(whole))}
            ).json()["session"]
            for offset in range(0, len(whole), 10_000):
                answer = client.put(
                    f"{path()}?session={session}",
                    content=whole[offset : offset + 10_000],
                    headers={"upload-offset": str(offset)},
                )
                assert answer.status_code in (201, 204)
            assert answer.json()["sha256"] == hashlib.sha256(whole).hexdigest()
            for _ in range(10):
                assert client.get(path()).content == whole
            assert client.get("/health").json()["status"] == "healthy"
            assert client.get("/ready").status_code == 200


def test_sweep_command(directory: Path) -> None:
    """What has expired is removed, when somebody says so."""
    arguments = ("--storage-config", "storage.yaml")
    with service(directory, *arguments, OS__AUTH__ENFORCE="false") as served:
        for number in range(5):
            headers = {"x-sn-expiration": "ttl:1s" if number > 1 else "ttl:1h"}
            assert served.client.put(path(str(number)), headers=headers).status_code == 200
        end = time.monotonic() + PATIENCE_S
        while served.client.head(path("4")).status_code != 404:
            assert time.monotonic() < end, "it does not expire"
            time.sleep(0.1)
    for options, removed in ((["--dry-run"], 3), ([], 3), ([], 0)):
        done = command(
            directory, "sweep-expired", "--json", "--batch", "2", *options, OS__SWEEP="{grace: 0s}"
        )
        assert done.returncode == 0, done.stderr
        *batches, summary = map(json.loads, done.stdout.splitlines())
        assert {each["type"] for each in batches} == {"batch"}
        assert (summary["removed"], summary["last"]) == (removed, None)
    assert "0 of 2 keys removed." in command(directory, "sweep-expired").stdout
    done = command(directory, "sweep-expired", "--most", "1")
    assert "There are more, behind '.sessions/tests/org.42/project.7/objects/0'" in done.stdout


def test_mistakes_are_told_at_the_start(directory: Path) -> None:
    """In one line, before anything listens."""
    for variables, said in (
        ({"SESSIONS_CONFIG": "missing.yaml"}, "missing.yaml"),
        ({"OS__AUTH__ENFORCE": "perhaps"}, "auth.enforce"),
        ({"OS__AUTH__KEYS": "{main: {key_files: [missing.pem]}}"}, "auth.keys.main"),
    ):
        done = command(directory, "serve", "--check", **variables)
        assert done.returncode == 7
        assert said in done.stderr
        assert done.stderr.count(os.linesep) == 1
