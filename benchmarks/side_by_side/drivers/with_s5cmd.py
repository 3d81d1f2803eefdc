"""s5cmd: a program; what it says is its exit status."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.job import Job


def version() -> str:
    """The release of the program, which is not that of the package it comes in."""
    return sources.run([sources.command("s5cmd"), "version"], os.environ).strip().lstrip("v")


def _run(job: Job, *arguments: str, to: str = "", json_lines: bool = False) -> str:
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": job.access_key,
        "AWS_SECRET_ACCESS_KEY": job.secret_key,
        "AWS_REGION": sources.REGION,
    }
    options = ["--endpoint-url", job.endpoint_url, *(["--json"] if json_lines else [])]
    return sources.run([sources.command("s5cmd"), *options, *arguments], environment, to)


def _at(job: Job, key: str) -> str:
    return f"s3://{job.bucket}/{key}"


def _parts(job: Job) -> list[str]:
    return [] if job.part_bytes is None else ["--part-size", str(job.part_bytes // sources.MIB)]


def _get(job: Job) -> None:
    _run(job, "cat", _at(job, job.key), to=job.path)


def _get_file(job: Job) -> None:
    _run(job, "cp", *_parts(job), _at(job, job.key), job.path)


def _put(job: Job) -> None:
    _run(job, "cp", *_parts(job), job.path, _at(job, job.key))


def _copy(job: Job) -> None:
    _run(job, "cp", _at(job, job.key), _at(job, job.target))


def _move(job: Job) -> None:
    _run(job, "mv", _at(job, job.key), _at(job, job.target))


def _delete_many(job: Job) -> None:
    _run(job, "rm", *(_at(job, key) for key in job.keys))


def _list(job: Job) -> list[str]:
    lines = _run(job, "ls", _at(job, f"{job.key}*"), json_lines=True).splitlines()
    start = _at(job, "")
    return [json.loads(line)["key"].removeprefix(start) for line in lines]


VERBS: dict[str, Callable[[Job], list[str] | None]] = {
    "get": _get,
    "get_file": _get_file,
    "put": _put,
    "copy": _copy,
    "move": _move,
    "delete_many": _delete_many,
    "list": _list,
}
