"""Copies whose answers or bytes are wrong, and moves on top of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.side_by_side import faults, verdicts
from benchmarks.side_by_side.scene import MIB, PART, Cases, content
from object_clerk.testing import Reply, callback

if TYPE_CHECKING:
    from benchmarks.side_by_side.job import Outcome
    from benchmarks.side_by_side.scene import Judge, Scene
    from object_clerk.testing import Request

CASES = Cases()

_XML = (("Content-Type", "application/xml"),)
_HALF = b'<?xml version="1.0" encoding="UTF-8"?>\n<CopyObjectResult><LastMod'


def _object(scene: Scene) -> bytes:
    return scene.put(scene.key, content(MIB))


def _no_copy(scene: Scene, answer: Reply) -> bytes:
    """Nothing is copied, and this is the answer, once."""
    data = _object(scene)
    scene.arm("no copy", faults.Answer(lambda _: answer), when=scene.copies)
    return data


def _wrong_copy(scene: Scene) -> bytes:
    """One bit of every copy is wrong."""
    data = _object(scene)
    wrong = data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]

    def store(request: Request) -> None:
        del request
        scene.overwrite(scene.target, wrong)

    scene.arm("wrong copy", faults.AfterSuccess(store), when=scene.copies, times=None)
    return data


def _copy(scene: Scene, data: bytes) -> Judge:
    return lambda outcome: verdicts.data(outcome, scene.stored(scene.target), (data,))


def _move(scene: Scene, data: bytes, newer: bytes | None = None) -> Judge:
    def judge(outcome: Outcome) -> verdicts.Cell:
        written = newer if scene.fired else None
        source, target = scene.stored(scene.key), scene.stored(scene.target)
        return verdicts.move(outcome, source, target, data, written)

    return judge


@CASES.add("E13", "copy")
def copy_error_inside(scene: Scene) -> Judge:
    """A copy answers 200 with an error inside."""
    return _copy(scene, _no_copy(scene, faults.xml(200, "InternalError")))


@CASES.add("E14", "copy")
def copy_empty(scene: Scene) -> Judge:
    """A copy answers 200 with nothing inside."""
    return _copy(scene, _no_copy(scene, Reply(200, b"", _XML)))


@CASES.add("E14", "copy")
def copy_truncated(scene: Scene) -> Judge:
    """A copy answers 200 with half an answer."""
    return _copy(scene, _no_copy(scene, Reply(200, _HALF, _XML)))


@CASES.add("E15", "move")
def move_empty(scene: Scene) -> Judge:
    """The copy of a move answers 200 with nothing inside."""
    return _move(scene, _no_copy(scene, Reply(200, b"", _XML)))


@CASES.add("E15", "copy")
def copy_wrong(scene: Scene) -> Judge:
    """A copy stores wrong bytes."""
    return _copy(scene, _wrong_copy(scene))


@CASES.add("E15", "move")
def move_wrong(scene: Scene) -> Judge:
    """The copy of a move stores wrong bytes."""
    return _move(scene, _wrong_copy(scene))


@CASES.add("E16", "move")
def replaced_after_copy(scene: Scene) -> Judge:
    """A move: the source is replaced after it was copied."""
    data, newer = _object(scene), content(MIB, "newer")

    def replace(request: Request) -> None:
        del request
        scene.put(scene.key, newer)

    scene.arm("replace", faults.AfterSuccess(replace), when=scene.copies)
    return _move(scene, data, newer)


def _replaced_at_delete(scene: Scene) -> Judge:
    data, newer = _object(scene), content(MIB, "newer")
    scene.add(callback(lambda: scene.put(scene.key, newer), when=scene.deletes))
    return _move(scene, data, newer)


@CASES.add("E16", "move")
def replaced_at_delete(scene: Scene) -> Judge:
    """A move: the source is replaced in the instant of its deletion."""
    return _replaced_at_delete(scene)


@CASES.add("E16", "move_guarded")
def replaced_at_guarded_delete(scene: Scene) -> Judge:
    """The same move, by a tool that is told to take no chances."""
    return _replaced_at_delete(scene)


@CASES.add("E17", "move", faultless=True)
def self_move(scene: Scene) -> Judge:
    """A move onto itself."""
    return _self_move(scene, _object(scene))


@CASES.add("E17", "move", faultless=True)
def self_move_of_parts(scene: Scene) -> Judge:
    """A move of an object of parts onto itself."""
    scene.job["part_bytes"] = PART
    return _self_move(scene, scene.put_parts(scene.key, content(12 * MIB), PART, PART))


def _self_move(scene: Scene, data: bytes) -> Judge:
    if not scene.armed:
        return _move(scene, data)
    scene.target = scene.key
    return lambda outcome: verdicts.self_move(outcome, scene.stored(scene.key), data)
