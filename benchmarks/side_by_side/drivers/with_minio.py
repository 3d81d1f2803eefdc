"""minio-py. It has no move, and no condition on uploads."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject

from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.job import Job

#: What put_object asks for when the length of a stream is not known; the smallest that S3 takes.
_SMALLEST_PART = 5 * sources.MIB


def version() -> str:
    """The release."""
    return importlib.metadata.version("minio")


def _client(job: Job) -> Any:
    url = urlsplit(job.endpoint_url)
    return Minio(
        url.netloc,
        access_key=job.access_key,
        secret_key=job.secret_key,
        secure=url.scheme == "https",
        region=sources.REGION,
    )


def _get(job: Job) -> None:
    with _client(job).get_object(job.bucket, job.key) as answer:
        Path(job.path).write_bytes(answer.read())


def _get_file(job: Job) -> None:
    _client(job).fget_object(job.bucket, job.key, job.path)


def _read_exact(job: Job) -> None:
    with _client(job).get_object(job.bucket, job.key) as answer:
        Path(job.path).write_bytes(sources.exactly(answer.read, job.size))


def _put(job: Job) -> None:
    _client(job).fput_object(job.bucket, job.key, job.path, part_size=job.part_bytes or 0)


def _put_breaking(job: Job) -> None:
    part = job.part_bytes or _SMALLEST_PART
    with sources.blocks(job.path, job.size) as stream:
        _client(job).put_object(job.bucket, job.key, stream, length=-1, part_size=part)


def _copy(job: Job) -> None:
    _client(job).copy_object(job.bucket, job.target, CopySource(job.bucket, job.key))


def _delete_many(job: Job) -> None:
    wanted = [DeleteObject(key) for key in job.keys]
    if errors := list(_client(job).remove_objects(job.bucket, wanted)):
        raise sources.Refused(", ".join(f"{error.name}: {error.code}" for error in errors))


def _list(job: Job) -> list[str]:
    found = _client(job).list_objects(job.bucket, prefix=job.key, recursive=True)
    return [entry.object_name for entry in found]


VERBS: dict[str, Callable[[Job], list[str] | None]] = {
    "get": _get,
    "get_file": _get_file,
    "read_exact": _read_exact,
    "put": _put,
    "put_breaking": _put_breaking,
    "copy": _copy,
    "delete_many": _delete_many,
    "list": _list,
}
