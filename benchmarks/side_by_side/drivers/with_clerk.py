"""object-clerk: its defaults, but short delays between attempts."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import object_clerk
from object_clerk import ObjectClerk

from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.job import Job

_QUICK: dict[str, Any] = {"retry_delay": 0.05, "retry_jitter": 0, "retry_max_delay": 0.5}


def version() -> str:
    """The release."""
    return object_clerk.__version__


def _clerk(job: Job) -> ObjectClerk:
    os.environ["CHECKSUM_RETRY_CONFIG"] = '{"retry_delay": 0.05, "retry_jitter": 0}'
    part = job.part_bytes
    parts = {"multipart_threshold": part, "multipart_chunksize": part} if part else None
    return ObjectClerk(
        endpoint_url=job.endpoint_url,
        access_key=job.access_key,
        secret_key=job.secret_key,
        transfer_config=parts,
        retry_deadline=job.deadline_s,
        **_QUICK,
    )


def _get(job: Job) -> None:
    Path(job.path).write_bytes(_clerk(job).get_object(job.bucket, job.key))


def _get_file(job: Job) -> None:
    _clerk(job).download_object(job.bucket, job.key, job.path)


def _read_exact(job: Job) -> None:
    with _clerk(job).open_object(job.bucket, job.key) as reader:
        Path(job.path).write_bytes(sources.exactly(reader.read, job.size))


def _put(job: Job) -> None:
    _clerk(job).upload_object(job.path, job.bucket, job.key)


def _put_new(job: Job) -> None:
    only_new: dict[str, Any] = {"if_absent": True}
    _clerk(job).upload_object(job.path, job.bucket, job.key, **only_new)


def _put_breaking(job: Job) -> None:
    with sources.blocks(job.path, job.size) as stream:
        _clerk(job).upload_object(stream, job.bucket, job.key)


def _copy(job: Job) -> None:
    _clerk(job).copy_object(job.bucket, job.key, job.bucket, job.target)


def _move(job: Job) -> None:
    _clerk(job).move_object(job.bucket, job.key, job.bucket, job.target)


def _move_guarded(job: Job) -> None:
    guard: dict[str, Any] = {"source_guard": "require"}
    _clerk(job).move_object(job.bucket, job.key, job.bucket, job.target, **guard)


def _delete_many(job: Job) -> None:
    _clerk(job).delete_objects(job.bucket, job.keys)


def _list(job: Job) -> list[str]:
    return [entry["Key"] for entry in _clerk(job).list_objects(job.bucket, job.key)]


VERBS: dict[str, Callable[[Job], list[str] | None]] = {
    "get": _get,
    "get_file": _get_file,
    "read_exact": _read_exact,
    "put": _put,
    "put_breaking": _put_breaking,
    "copy": _copy,
    "move": _move,
    "delete_many": _delete_many,
    "list": _list,
}
# Conditions came later than the rest.
if "if_absent" in inspect.signature(ObjectClerk.upload_object).parameters:
    VERBS["put_new"] = _put_new
if "source_guard" in inspect.signature(ObjectClerk.move_object).parameters:
    VERBS["move_guarded"] = _move_guarded
