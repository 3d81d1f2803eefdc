"""Servers that are slow, busy, or out of order for a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.side_by_side import verdicts
from benchmarks.side_by_side.scene import MIB, Cases, content
from object_clerk.testing import drip, status_before

if TYPE_CHECKING:
    from benchmarks.side_by_side.scene import Judge, Scene

CASES = Cases()

#: For tools that can be told how long a transfer may take.
DEADLINE_S = 20.0


@CASES.add("E24", "get_file", "get")
def dripping(scene: Scene) -> Judge:
    """The body drips, 1 KiB every 2 seconds."""
    data = scene.put(scene.key, content(MIB))
    scene.job["deadline_s"] = DEADLINE_S
    scene.add(drip(1024, 2.0, when=scene.reads, times=None))
    return lambda outcome: verdicts.data(outcome, scene.local(), (data,))


def _get(scene: Scene, status: int, code: str, times: int = 1) -> Judge:
    data = scene.put(scene.key, content(MIB))
    scene.add(status_before(status, code, when=scene.reads, times=times))
    return lambda outcome: verdicts.data(outcome, scene.local(), (data,))


@CASES.add("E25", "get_file", "get")
def slow_down_get(scene: Scene) -> Judge:
    """503 SlowDown, three times, to a download."""
    return _get(scene, 503, "SlowDown", times=3)


@CASES.add("E25", "put")
def slow_down_put(scene: Scene) -> Judge:
    """503 SlowDown, three times, to an upload."""
    data = scene.write(content(MIB))
    scene.add(status_before(503, "SlowDown", when=scene.writes, times=3))
    return lambda outcome: verdicts.data(outcome, scene.stored(scene.key), (data,))


@CASES.add("E25", "get_file", "get")
def bad_gateway(scene: Scene) -> Judge:
    """502, once."""
    return _get(scene, 502, "BadGateway")


@CASES.add("E25", "get_file", "get")
def gateway_timeout(scene: Scene) -> Judge:
    """504, once."""
    return _get(scene, 504, "GatewayTimeout")


@CASES.add("E25", "get_file", "get")
def too_many_requests(scene: Scene) -> Judge:
    """429, once."""
    return _get(scene, 429, "TooManyRequests")


@CASES.add("E25", "get_file", "get")
def request_timeout(scene: Scene) -> Judge:
    """400 RequestTimeout, once."""
    return _get(scene, 400, "RequestTimeout")


@CASES.add("E25", "get_file", "get")
def operation_aborted(scene: Scene) -> Judge:
    """409 OperationAborted, once."""
    return _get(scene, 409, "OperationAborted")


@CASES.add("E25", "get_file", "get")
def unknown_code(scene: Scene) -> Judge:
    """503 with a code that nobody knows, once."""
    return _get(scene, 503, "XStoreServerNotInitialized")
