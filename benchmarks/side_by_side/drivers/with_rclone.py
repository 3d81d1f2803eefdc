"""rclone: a program; what it says is its exit status."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.job import Job

#: What rclone calls the servers it knows.
_PROVIDERS = {"ceph": "Ceph", "minio": "Minio", "rclone": "Rclone"}


def version() -> str:
    """The release."""
    first, *_ = sources.run([sources.command("rclone"), "version"], os.environ).splitlines()
    return first.split()[-1].lstrip("v")


def _run(job: Job, *arguments: str, to: str = "") -> str:
    environment = {
        **os.environ,
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_PEER_TYPE": "s3",
        "RCLONE_CONFIG_PEER_PROVIDER": _PROVIDERS.get(job.kind, "Other"),
        "RCLONE_CONFIG_PEER_ENDPOINT": job.endpoint_url,
        "RCLONE_CONFIG_PEER_REGION": sources.REGION,
        "RCLONE_CONFIG_PEER_ACCESS_KEY_ID": job.access_key,
        "RCLONE_CONFIG_PEER_SECRET_ACCESS_KEY": job.secret_key,
    }
    options: list[str] = []
    if job.part_bytes is not None:
        part = f"{job.part_bytes}B"
        options += ["--s3-upload-cutoff", part, "--s3-chunk-size", part]
        options += ["--multi-thread-cutoff", part, "--multi-thread-chunk-size", part]
    return sources.run([sources.command("rclone"), *arguments, *options], environment, to)


def _at(job: Job, key: str) -> str:
    return f"peer:{job.bucket}/{key}"


def _get(job: Job) -> None:
    _run(job, "cat", _at(job, job.key), to=job.path)


def _get_file(job: Job) -> None:
    if job.deadline_s is None:
        _run(job, "copyto", _at(job, job.key), job.path)
        return
    # A limit on the time holds for directories only.
    directory, _, name = job.key.rpartition("/")
    place = Path(f"{job.path}.directory")
    limit = ["--max-duration", f"{job.deadline_s}s", "--cutoff-mode", "hard"]
    _run(job, "copy", _at(job, directory), str(place), "--include", f"/{name}", *limit)
    (place / name).replace(job.path)


def _put(job: Job) -> None:
    _run(job, "copyto", job.path, _at(job, job.key))


def _copy(job: Job) -> None:
    _run(job, "copyto", _at(job, job.key), _at(job, job.target))


def _move(job: Job) -> None:
    _run(job, "moveto", _at(job, job.key), _at(job, job.target))


def _delete_many(job: Job) -> None:
    names = Path(f"{job.path}.names")
    names.write_text("".join(f"{key}\n" for key in job.keys), encoding="utf-8")
    _run(job, "delete", "--files-from-raw", str(names), _at(job, ""))


def _list(job: Job) -> list[str]:
    found = _run(job, "lsf", "--recursive", "--files-only", _at(job, job.key))
    return [f"{job.key}{name}" for name in found.splitlines()]


VERBS: dict[str, Callable[[Job], list[str] | None]] = {
    "get": _get,
    "get_file": _get_file,
    "put": _put,
    "copy": _copy,
    "move": _move,
    "delete_many": _delete_many,
    "list": _list,
}
