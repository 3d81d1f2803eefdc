"""boto3: the client's managed transfers, and its plain calls where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig

from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client

    from benchmarks.side_by_side.job import Job


def version() -> str:
    """The release."""
    return boto3.__version__


def _client(job: Job) -> S3Client:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=job.endpoint_url,
        region_name=sources.REGION,
        aws_access_key_id=job.access_key,
        aws_secret_access_key=job.secret_key,
    )


def _parts(job: Job) -> TransferConfig:
    if job.part_bytes is None:
        return TransferConfig()
    return TransferConfig(multipart_threshold=job.part_bytes, multipart_chunksize=job.part_bytes)


def _body(job: Job) -> Any:
    return _client(job).get_object(Bucket=job.bucket, Key=job.key)["Body"]


def _get(job: Job) -> None:
    Path(job.path).write_bytes(_body(job).read())


def _get_file(job: Job) -> None:
    _client(job).download_file(job.bucket, job.key, job.path, Config=_parts(job))


def _read_exact(job: Job) -> None:
    Path(job.path).write_bytes(sources.exactly(_body(job).read, job.size))


def _put(job: Job) -> None:
    _client(job).upload_file(job.path, job.bucket, job.key, Config=_parts(job))


def _put_new(job: Job) -> None:
    with Path(job.path).open("rb") as file:
        _client(job).put_object(Bucket=job.bucket, Key=job.key, Body=file, IfNoneMatch="*")


def _put_breaking(job: Job) -> None:
    with sources.blocks(job.path, job.size) as stream:
        _client(job).upload_fileobj(stream, job.bucket, job.key, Config=_parts(job))


def _copy(job: Job) -> None:
    source = {"Bucket": job.bucket, "Key": job.key}
    _client(job).copy(source, job.bucket, job.target, Config=_parts(job))  # type: ignore[arg-type]


def _delete_many(job: Job) -> None:
    found = _client(job).delete_objects(
        Bucket=job.bucket, Delete={"Objects": [{"Key": key} for key in job.keys]}
    )
    if errors := found.get("Errors"):
        raise sources.Refused(", ".join(f"{error['Key']}: {error['Code']}" for error in errors))


def _list(job: Job) -> list[str]:
    pages = (
        _client(job).get_paginator("list_objects_v2").paginate(Bucket=job.bucket, Prefix=job.key)
    )
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


VERBS: dict[str, Callable[[Job], list[str] | None]] = {
    "get": _get,
    "get_file": _get_file,
    "read_exact": _read_exact,
    "put": _put,
    "put_new": _put_new,
    "put_breaking": _put_breaking,
    "copy": _copy,
    "delete_many": _delete_many,
    "list": _list,
}
