"""Downloads of bytes that change, bodies that break off, and objects that are replaced."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from benchmarks.side_by_side import faults, verdicts
from benchmarks.side_by_side.scene import MIB, PART, Cases, content
from object_clerk.testing import Reply, cut_response, trim_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.side_by_side.scene import Judge, Scene
    from object_clerk.testing import Request

CASES = Cases()

_SIZE = 12 * MIB
_OLD = b"what was there before"


def _object(scene: Scene, seed: str = "") -> bytes:
    return scene.put(scene.key, content(MIB, seed))


def _object_of_parts(scene: Scene, seed: str = "") -> bytes:
    scene.job["part_bytes"] = PART
    return scene.put_parts(scene.key, content(_SIZE, seed), PART, PART)


def _judge(scene: Scene, *wanted: bytes, before: bytes | None = None) -> Judge:
    return lambda outcome: verdicts.data(outcome, scene.local(), wanted, before)


@CASES.add("E1", "get_file", "get")
def flip_once(scene: Scene) -> Judge:
    """One bit of a download flips, once."""
    data = _object(scene)
    scene.arm("flip", faults.FlipAt(1000), when=scene.reads, times=None)
    return _judge(scene, data)


@CASES.add("E1", "get_file", "get")
def flip_with_crc32(scene: Scene) -> Judge:
    """One bit flips, once, of an object that was stored with a CRC32."""
    data = scene.put(scene.key, content(MIB), ChecksumAlgorithm="CRC32")
    scene.arm("flip", faults.FlipAt(1000), when=scene.reads, times=None)
    return _judge(scene, data)


@CASES.add("E1", "get")
def flip_in_memory(scene: Scene) -> Judge:
    """One bit of a read into memory flips, once."""
    return flip_once(scene)


@CASES.add("E1", "get_file")
def flip_always(scene: Scene) -> Judge:
    """One bit flips every time; the target is a good older file."""
    data = _object(scene)
    scene.write(_OLD)
    scene.arm("flip", faults.FlipAt(1000, times=None), when=scene.reads, times=None)
    return _judge(scene, data, before=_OLD)


@CASES.add("E2", "get_file", "get")
def flip_in_range(scene: Scene) -> Judge:
    """One bit of one range of a parallel download flips."""
    data = _object_of_parts(scene)
    scene.arm("flip", faults.FlipAt(9 * MIB), when=scene.reads, times=None)
    return _judge(scene, data)


@CASES.add("E3", "get_file", "get")
def cut(scene: Scene) -> Judge:
    """The connection breaks in the middle of the body."""
    data = _object(scene)
    scene.add(cut_response(600_000, when=scene.reads))
    return _judge(scene, data)


@CASES.add("E4", "get_file", "get")
def cut_without_length(scene: Scene) -> Judge:
    """The connection breaks in the middle, and no header tells the length."""
    data = _object(scene)
    scene.add(cut_response(600_000, keep_length=False, when=scene.reads))
    return _judge(scene, data)


@CASES.add("E4", "get_file", "get")
def trimmed(scene: Scene) -> Judge:
    """The body is short, and the header agrees with it."""
    data = _object(scene)
    scene.add(trim_response(600_000, when=scene.reads))
    return _judge(scene, data)


@CASES.add("E5", "get_file", "get")
def replaced_while_read(scene: Scene) -> Judge:
    """The object is replaced while it is read."""
    new = content(_SIZE, "new")
    old = _object_of_parts(scene)
    action = faults.ReplaceMeanwhile(_SIZE, lambda: scene.put_parts(scene.key, new, PART, PART))
    scene.arm("replace", action, when=scene.reads, times=None)
    return _judge(scene, old, new)


@CASES.add("E5", "get_file", "get")
def replaced_after_cut(scene: Scene) -> Judge:
    """The connection breaks, and then the object is replaced."""
    new = content(MIB, "new")
    old = _object(scene)
    action = faults.CutThen(600_000, lambda: scene.put(scene.key, new))
    scene.arm("cut", action, when=scene.reads)
    return _judge(scene, old, new)


@CASES.add("E6", "get_file")
def ranges_ignored(scene: Scene) -> Judge:
    """Ranges are ignored: all comes, with status 200."""
    data = _object_of_parts(scene)

    def everything(request: Request) -> Reply | None:
        del request
        head = scene.theatre.s3.head_object(Bucket=scene.bucket, Key=scene.key)
        return Reply(200, data, (("ETag", head["ETag"]), ("Last-Modified", _date(scene))))

    scene.arm("whole", faults.Answer(everything), when=_asks_for_range(scene), times=None)
    return _judge(scene, data)


@CASES.add("E6", "get_file")
def wrong_range(scene: Scene) -> Judge:
    """A range holds the bytes of another, under the right header."""
    data = _object_of_parts(scene)

    def another(request: Request) -> Reply | None:
        start = faults.first_byte(request)
        if not start:
            return None
        etag = scene.theatre.s3.head_object(Bucket=scene.bucket, Key=scene.key)["ETag"]
        last = faults.last_byte(request, len(data))
        served = data[start - MIB : last + 1 - MIB]
        headers = (
            ("Content-Range", f"bytes {start}-{last}/{len(data)}"),
            ("ETag", etag),
            ("Last-Modified", _date(scene)),
        )
        return Reply(206, served, headers)

    def later_range(request: Request) -> bool:
        return scene.reads(request) and faults.first_byte(request) >= MIB

    scene.arm("other bytes", faults.Answer(another), when=later_range)
    return _judge(scene, data)


@CASES.add("E7", "read_exact")
def read_exactly(scene: Scene) -> Judge:
    """The last bytes flip, and the caller reads just as many as there are."""
    data = _object(scene)
    scene.job["size"] = len(data)
    scene.arm("flip", faults.FlipAt(len(data) - 10), when=scene.reads, times=None)
    return _judge(scene, data)


@CASES.add("E20", "get_file", "get", faultless=True)
def foreign_parts(scene: Scene) -> Judge:
    """The object has parts of 8 million bytes."""
    return _foreign(scene, content(20_000_000), 8_000_000, 8_000_000)


@CASES.add("E20", "get_file", "get", faultless=True)
def unequal_parts(scene: Scene) -> Judge:
    """The object has parts of odd and unequal sizes."""
    return _foreign(scene, content(_SIZE), PART + 11, PART + 7777)


def _foreign(scene: Scene, data: bytes, *sizes: int) -> Judge:
    if scene.armed:
        scene.put_parts(scene.key, data, *sizes)
    else:
        scene.put(scene.key, data)
    return _judge(scene, data)


@CASES.add("E21", "get_file")
def killed(scene: Scene) -> Judge:
    """Killed in the middle; the target is a good older file."""
    data = _object_of_parts(scene)
    scene.write(_OLD)
    reached = threading.Event()
    scene.arm("stall", faults.StallInside(MIB, reached), when=scene.reads, times=None)
    if not scene.armed:
        return _judge(scene, data)
    scene.kill_at = reached
    return lambda _: verdicts.stopped(scene.local(), _OLD)


@CASES.add("E23", "get_file", faultless=True)
def disk_full(scene: Scene) -> Judge:
    """The disk is full; the target is a good older file."""
    data = scene.put(scene.key, content(6 * MIB))
    if scene.armed:
        scene.small_disk(4 * MIB)
    scene.write(_OLD)
    return _judge(scene, data, before=_OLD)


def _asks_for_range(scene: Scene) -> Callable[[Request], bool]:
    return lambda request: scene.reads(request) and request.header("Range") is not None


def _date(scene: Scene) -> str:
    head = scene.theatre.s3.head_object(Bucket=scene.bucket, Key=scene.key)
    return head["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
