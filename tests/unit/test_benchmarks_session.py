"""The benchmark of sessions, but for the servers: contents, checks, and the table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import IO

import pytest

from benchmarks.session import __main__ as command
from benchmarks.session import ways
from benchmarks.session.ways import DIRECT, WAYS, Failed, Job, Taken, contents, measure
from object_clerk.session.zstd import compressed

SIZE = 3 << 20


@pytest.mark.parametrize("kind", command.PLAN)
def test_contents_are_as_many_bytes_and_the_same_ones(kind: str) -> None:
    for size in (1, 16 << 10, SIZE + 7):
        made = b"".join(contents(kind, size))
        assert len(made) == size
        assert made == b"".join(contents(kind, size))


def test_only_one_kind_of_contents_can_be_made_smaller() -> None:
    packed = {kind: sum(map(len, compressed(contents(kind, SIZE)))) for kind in command.PLAN}
    assert packed["random"] > SIZE
    assert 1 < SIZE / packed["text"] < 20  # no more than those of anybody


class Keeper:
    """A way to put and get that spoils what it gives."""

    def __init__(self, spoils: bytes) -> None:
        self._kept: dict[str, bytes] = {}
        self._spoils = spoils

    def put(self, given: bytes | IO[bytes], key: str) -> None:
        self._kept[key] = given if isinstance(given, bytes) else given.read()

    def read(self, key: str) -> bytes:
        return self._kept.get(key, b"what it is") + self._spoils

    def save(self, key: str, file: IO[bytes]) -> None:
        file.write(self.read(key))

    def close(self) -> None:
        pass


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "source").write_bytes(b"what it is")
    return Job("kept", "get", "", "", "", "", "", (), str(tmp_path / "source"), str(tmp_path), 3)


def test_what_comes_back_is_compared(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAYS, "kept", lambda _: Keeper(b""))
    taken = measure(job)
    assert taken.wall_s > 0
    assert taken.gateway_mib is None
    monkeypatch.setitem(WAYS, "kept", lambda _: Keeper(b"!"))
    with pytest.raises(Failed, match="other bytes"):
        measure(job)


def test_a_large_get_leaves_the_file(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "SMALL_BYTES", 1)
    monkeypatch.setitem(WAYS, "kept", lambda _: Keeper(b""))
    measure(dataclasses.replace(job, count=1))
    assert Path(job.place, ways.GOT).read_bytes() == b"what it is"


def test_ratios_are_those_of_the_same_round() -> None:
    """Of the medians it would be 1: both were slow in the same round."""

    def rows(way: str, *times_s: float, mib: float | None = None) -> list[command.Row]:
        return [
            command.Row(2 << 20, "put", "random", way, number, Taken(s, s / 2, 3.0, mib))
            for number, s in enumerate(times_s)
        ]

    given = rows(DIRECT, 1.0, 2.0, 3.0) + rows("none", 2.0, 8.0, 1.5, mib=7.0)
    header, _, line = command.table(given).splitlines()[1:4]
    assert header.split()[:3] == ["work", "contents", "compression"]
    found = [cell for cell in line.split("  ") if cell]
    assert [cell.strip() for cell in found] == [
        "put 2 MiB", "random", "none", "2000.0", "2000.0",
        "2.00 (0.50-4.00)", "2.00 (0.50-4.00)", "3", "3", "7",
    ]  # fmt: skip


def test_memory_of_small_objects_is_not_told() -> None:
    taken = Taken(1.0, 1.0, 3.0, None)
    given = [command.Row(1 << 14, "get", "text", way, 0, taken) for way in (DIRECT, "zstd")]
    assert command.table(given).splitlines()[3].split()[-1] == "1.00"
