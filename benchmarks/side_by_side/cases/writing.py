"""Uploads: bytes that change, servers that store others, answers that are lost or worthless."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.side_by_side import faults, verdicts
from benchmarks.side_by_side.scene import MIB, PART, Cases, content
from object_clerk.testing import (
    Reply,
    callback,
    drop_after,
    flip_request_bit,
    rewrite_response_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.scene import Judge, Scene
    from object_clerk.testing import Request

CASES = Cases()

_SIZE = 12 * MIB
_NO_MD5 = '"0c2a4e6f81b3d5f70a1c2e4f60718293"'
_XML = (("Content-Type", "application/xml"),)


def _flipped(data: bytes) -> bytes:
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


def _file(scene: Scene) -> bytes:
    return scene.write(content(MIB))


def _file_for_parts(scene: Scene, size: int = _SIZE) -> bytes:
    scene.job["part_bytes"] = PART
    return scene.write(content(size))


def _judge(scene: Scene, *wanted: bytes, before: bytes | None = None) -> Judge:
    return lambda outcome: verdicts.data(outcome, scene.stored(scene.key), wanted, before)


@CASES.add("E9", "put")
def flip(scene: Scene) -> Judge:
    """One bit of an upload flips."""
    data = _file(scene)
    scene.add(flip_request_bit(500_000, when=scene.writes))
    return _judge(scene, data)


@CASES.add("E9", "put")
def flip_in_part(scene: Scene) -> Judge:
    """One bit of a part flips."""
    data = _file_for_parts(scene)
    scene.add(flip_request_bit(500_000, when=_part(scene, 2)))
    return _judge(scene, data)


@CASES.add("E10", "put")
def stored_otherwise(scene: Scene) -> Judge:
    """The server stores other bytes than it received, once."""
    data = _file(scene)
    action = faults.AfterSuccess(lambda _: scene.overwrite(scene.key, _flipped(data)))
    scene.arm("other bytes", action, when=scene.writes)
    return _judge(scene, data)


@CASES.add("E10", "put")
def part_stored_otherwise(scene: Scene) -> Judge:
    """The server stores other bytes than it received of a part, once."""
    data = _file_for_parts(scene)
    scene.arm("other bytes", _other_first_part(scene, data), when=_part(scene, 1))
    return _judge(scene, data)


@CASES.add("E11", "put_new")
def create_answer_lost(scene: Scene) -> Judge:
    """Create only if absent: stored, but the answer is lost."""
    data = _file(scene)
    scene.add(drop_after(when=scene.writes))
    return _judge(scene, data)


@CASES.add("E12", "put")
def completion_lost(scene: Scene) -> Judge:
    """Completed, but the answer is lost; then NoSuchUpload."""
    data = _file_for_parts(scene)
    scene.add(drop_after(when=scene.completes))
    scene.arm("gone", _always(faults.xml(404, "NoSuchUpload")), when=scene.completes, times=None)
    return _judge(scene, data)


@CASES.add("E12", "put")
def upload_aborted(scene: Scene) -> Judge:
    """Somebody aborted the upload: NoSuchUpload; an older object is there."""
    old = scene.put(scene.key, content(_SIZE, "old"))
    data = _file_for_parts(scene)

    def abort(request: Request) -> Reply:
        scene.theatre.s3.abort_multipart_upload(
            Bucket=scene.bucket, Key=scene.key, UploadId=faults.upload_id(request)
        )
        return faults.xml(404, "NoSuchUpload")

    scene.arm("aborted", faults.Answer(abort), when=scene.completes)
    return _judge(scene, data, before=old)


@CASES.add("E13", "put")
def completion_error_inside(scene: Scene) -> Judge:
    """Completion answers 200 with an error inside."""
    return _completion(scene, faults.xml(200, "InternalError"))


@CASES.add("E14", "put")
def completion_empty(scene: Scene) -> Judge:
    """Completion answers 200 with nothing inside."""
    return _completion(scene, Reply(200, b"", _XML))


@CASES.add("E14", "put")
def completion_truncated(scene: Scene) -> Judge:
    """Completion answers 200 with half an answer."""
    half = b'<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUploadResult><Buck'
    return _completion(scene, Reply(200, half, _XML))


@CASES.add("E18", "put")
def fails_over_older(scene: Scene) -> Judge:
    """A part is stored wrong every time; an older object is there."""
    old = scene.put(scene.key, content(MIB, "old"))
    data = _file_for_parts(scene)
    scene.arm("other bytes", _other_first_part(scene, data), when=_part(scene, 1), times=None)
    return _judge(scene, data, before=old)


@CASES.add("E19", "put")
def no_md5(scene: Scene) -> Judge:
    """The ETag is no MD5; an older object is there."""
    old = scene.put(scene.key, content(MIB, "old"))
    data = _file(scene)
    scene.add(
        rewrite_response_header(
            "ETag",
            _NO_MD5,
            when=lambda request: faults.is_about(request, scene.bucket, scene.key),
            times=None,
        )
    )
    return _judge(scene, data, before=old)


@CASES.add("E28", "put")
def source_rewritten(scene: Scene) -> Judge:
    """The file is rewritten while it is uploaded."""
    size = 64 * MIB
    old = _file_for_parts(scene, size)
    new = content(size, "new")

    def rewrite() -> None:
        with scene.path.open("r+b") as file:
            file.write(new)

    scene.add(callback(rewrite, when=_part(scene, 1)))
    return _judge(scene, old, new)


@CASES.add("E28", "put_breaking", faultless=True)
def producer_raises(scene: Scene) -> Judge:
    """The producer raises in the middle."""
    data = _file_for_parts(scene)
    scene.job["size"] = 8 * MIB if scene.armed else len(data)
    return _judge(scene, data)


def _part(scene: Scene, number: int) -> Callable[[Request], bool]:
    return lambda request: scene.writes(request) and faults.part_number(request) == number


def _always(reply: Reply) -> faults.Answer:
    return faults.Answer(lambda _: reply)


def _completion(scene: Scene, answer: Reply) -> Judge:
    """Nothing is completed, and this is the answer, once."""
    data = _file_for_parts(scene)
    scene.arm("no completion", _always(answer), when=scene.completes)
    return _judge(scene, data)


def _other_first_part(scene: Scene, data: bytes) -> faults.AfterSuccess:
    def store(request: Request) -> str:
        answer = scene.theatre.s3.upload_part(
            Bucket=scene.bucket,
            Key=scene.key,
            UploadId=faults.upload_id(request),
            PartNumber=1,
            Body=_flipped(data[: faults.body_length(request)]),
        )
        return answer["ETag"]

    return faults.AfterSuccess(store)
