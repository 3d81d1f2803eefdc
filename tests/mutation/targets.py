"""What is changed, and the tests that have to notice."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Target:
    """A module, the functions of it that are changed (empty: all of it), and its tests."""

    module: str
    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return self.module.replace(".", "/") + ".py"


def _unit(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/unit/test_{name}.py" for name in names)


_EVIDENCE = _unit("judge", "evidence", "evidence_checksums")


def _schedules(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/mutation/schedules.py::test_{name}" for name in names)


TARGETS = {
    "evidence": Target("object_clerk.checksum.evidence", _EVIDENCE),
    "etag": Target("object_clerk.checksum.etag", _unit("etag")),
    "layout": Target("object_clerk.checksum.layout", _unit("layout")),
    "record": Target("object_clerk.checksum.record", _unit("record")),
    "hasher": Target("object_clerk.checksum.hasher", _unit("hasher")),
    "algorithm": Target("object_clerk.checksum.algorithm", _unit("algorithm")),
    "exceptions": Target("object_clerk.exceptions", _unit("exceptions")),
    "retry": Target("object_clerk.retry", _unit("retry", "receipt")),
    "move": Target(
        "object_clerk.transfer.move",
        (
            *_schedules("moves_in_fine_weather", "moves"),
            *("tests/contract/test_move_guard.py", "--servers=moto"),
        ),
        (
            *("_delete_source", "_delete_if_unchanged", "_check_marker"),
            *("_looks_like_the_copy", "_refuse_same_object"),
        ),
    ),
    "delete": Target(
        "object_clerk.transfer.delete",
        _schedules("deletes", "stores"),
        ("take_back", "_delete_batch"),
    ),
    "multipart": Target(
        "object_clerk.transfer.multipart",
        _schedules("in_parts"),
        tuple(f"MultipartUpload.{name}" for name in ("publish", "_is_ours", "check_parts")),
    ),
}
