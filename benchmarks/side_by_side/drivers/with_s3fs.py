"""s3fs: fsspec's file system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import s3fs

from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.job import Job


def version() -> str:
    """The release."""
    return str(s3fs.__version__)


def _fs(job: Job) -> Any:
    return s3fs.S3FileSystem(
        key=job.access_key,
        secret=job.secret_key,
        endpoint_url=job.endpoint_url,
        client_kwargs={"region_name": sources.REGION},
        skip_instance_cache=True,
    )


def _at(job: Job, key: str) -> str:
    return f"{job.bucket}/{key}"


def _parts(job: Job) -> dict[str, int]:
    return {} if job.part_bytes is None else {"chunksize": job.part_bytes}


def _get(job: Job) -> None:
    Path(job.path).write_bytes(_fs(job).cat_file(_at(job, job.key)))


def _get_file(job: Job) -> None:
    _fs(job).get_file(_at(job, job.key), job.path, **_parts(job))


def _read_exact(job: Job) -> None:
    with _fs(job).open(_at(job, job.key), "rb") as file:
        Path(job.path).write_bytes(sources.exactly(file.read, job.size))


def _put(job: Job) -> None:
    _fs(job).put_file(job.path, _at(job, job.key), **_parts(job))


def _put_new(job: Job) -> None:
    _fs(job).put_file(job.path, _at(job, job.key), mode="create")


def _put_breaking(job: Job) -> None:
    block = {} if job.part_bytes is None else {"block_size": job.part_bytes}
    with (
        sources.blocks(job.path, job.size) as stream,
        _fs(job).open(_at(job, job.key), "wb", **block) as file,
    ):
        while data := stream.read(sources.MIB):
            file.write(data)


def _copy(job: Job) -> None:
    _fs(job).copy(_at(job, job.key), _at(job, job.target))


def _move(job: Job) -> None:
    _fs(job).mv(_at(job, job.key), _at(job, job.target))


def _delete_many(job: Job) -> None:
    _fs(job).rm([_at(job, key) for key in job.keys])


def _list(job: Job) -> list[str]:
    found = _fs(job).find(_at(job, job.key))
    return [name.removeprefix(f"{job.bucket}/") for name in found]


VERBS: dict[str, Callable[[Job], list[str] | None]] = {
    "get": _get,
    "get_file": _get_file,
    "read_exact": _read_exact,
    "put": _put,
    "put_new": _put_new,
    "put_breaking": _put_breaking,
    "copy": _copy,
    "move": _move,
    "delete_many": _delete_many,
    "list": _list,
}
