"""A stand-in for awscrt, which is an extra, and ways to do with it and without."""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from object_clerk.checksum import algorithm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "awscrt.checksums"


def _stepper(polynomial: int, bits: int) -> Callable[[bytes | memoryview, int], int]:
    """A CRC that goes on from an earlier value, bit by bit and slow."""
    ones = (1 << bits) - 1

    def step(block: bytes | memoryview, previous: int = 0) -> int:
        value = previous ^ ones
        for byte in bytes(block):
            value ^= byte
            for _ in range(8):
                value = value >> 1 ^ (polynomial if value & 1 else 0)
        return value ^ ones

    return step


def stand_in(*names: str) -> ModuleType:
    """A module that has those of the functions of awscrt.checksums that are named."""
    module = ModuleType(NAME)
    steps = {
        "crc32c": _stepper(0x82F63B78, 32),
        "crc64nvme": _stepper(0x9A6C9329AC4BC9B5, 64),
    }
    for name in names:
        setattr(module, name, steps[name])
    return module


@contextlib.contextmanager
def installed(module: ModuleType | None) -> Iterator[None]:
    """Within the block this is what the package finds instead of awscrt; None for nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(sys.modules, NAME, module)
        algorithm._crc_step.cache_clear()
        try:
            yield
        finally:
            algorithm._crc_step.cache_clear()
