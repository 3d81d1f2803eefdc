"""obstore: the Rust crate object_store. It writes no files, so there is no get_file."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.job import Job


def version() -> str:
    """The release."""
    return str(obstore.__version__)


def _store(job: Job) -> Any:
    options: dict[str, Any] = {"allow_http": True}
    retries: dict[str, Any] | None = None
    if job.deadline_s is not None:
        options["timeout"] = f"{job.deadline_s:.0f}s"
        retries = {"retry_timeout": datetime.timedelta(seconds=job.deadline_s)}
    return S3Store(
        job.bucket,
        endpoint=job.endpoint_url,
        access_key_id=job.access_key,
        secret_access_key=job.secret_key,
        region=sources.REGION,
        virtual_hosted_style_request=False,
        client_options=options,
        retry_config=retries,
    )


def _parts(job: Job) -> dict[str, Any]:
    if job.part_bytes is None:
        return {}
    in_parts = Path(job.path).stat().st_size > job.part_bytes
    return {"chunk_size": job.part_bytes, "use_multipart": in_parts}


def _get(job: Job) -> None:
    Path(job.path).write_bytes(bytes(obstore.get(_store(job), job.key).bytes()))


def _read_exact(job: Job) -> None:
    reader = obstore.open_reader(_store(job), job.key)
    Path(job.path).write_bytes(sources.exactly(lambda size: bytes(reader.read(size)), job.size))


def _put(job: Job) -> None:
    obstore.put(_store(job), job.key, Path(job.path), **_parts(job))


def _put_new(job: Job) -> None:
    obstore.put(_store(job), job.key, Path(job.path), mode="create")


def _put_breaking(job: Job) -> None:
    size = {} if job.part_bytes is None else {"buffer_size": job.part_bytes}
    with (
        sources.blocks(job.path, job.size) as stream,
        obstore.open_writer(_store(job), job.key, **size) as writer,
    ):
        while data := stream.read(sources.MIB):
            writer.write(data)


def _copy(job: Job) -> None:
    obstore.copy(_store(job), job.key, job.target)


def _move(job: Job) -> None:
    obstore.rename(_store(job), job.key, job.target)


def _delete_many(job: Job) -> None:
    obstore.delete(_store(job), list(job.keys))


def _list(job: Job) -> list[str]:
    pages = obstore.list(_store(job), prefix=job.key)
    return [str(entry["path"]) for page in pages for entry in page]


VERBS: dict[str, Callable[[Job], list[str] | None]] = {
    "get": _get,
    "read_exact": _read_exact,
    "put": _put,
    "put_new": _put_new,
    "put_breaking": _put_breaking,
    "copy": _copy,
    "move": _move,
    "delete_many": _delete_many,
    "list": _list,
}
