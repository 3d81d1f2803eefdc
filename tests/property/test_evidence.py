"""Evidence against the made-up store's own sums: right bytes are proved, changed ones never are.

`tests.simulation.digests` computes every sum apart from the package, so one checks the other.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk import ObjectVerificationException, Verdict
from object_clerk.checksum.evidence import choose, evidence_of, judge_read
from object_clerk.checksum.hasher import Hasher, Layout
from object_clerk.exceptions import ObjectUnverifiable
from object_clerk.transfer.stream import Pin
from tests.simulation.digests import ALGORITHMS
from tests.simulation.multipart import S3
from tests.simulation.profiles import PROFILES
from tests.simulation.stagecraft import Clock
from tests.simulation.store import Bucket, Store, flipped

if TYPE_CHECKING:
    from object_clerk.receipt import Finding
    from tests.simulation.profiles import Profile

_profiles = st.sampled_from(list(PROFILES.values()))
_data = st.binary(min_size=1, max_size=200)
_part_sizes = st.one_of(st.none(), st.integers(1, 70))
_algorithms = st.one_of(st.none(), st.sampled_from(sorted(ALGORITHMS)))
_kinds = st.sampled_from(("COMPOSITE", "FULL_OBJECT"))


def _described(
    profile: Profile, data: bytes, part_size: int | None, algorithm: str | None, kind: str
) -> Pin:
    """What the store says of an object that was made this way."""
    store = Store(profile, Clock(), 1)
    store.buckets["bucket"] = Bucket()
    whole = part_size is None
    step = part_size or len(data)
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    version = store.version(parts, whole, {"ChecksumAlgorithm": algorithm} if algorithm else {})
    if algorithm:
        store.add_checksum(version, algorithm, None, "FULL_OBJECT" if whole else kind, parts)
    store.insert("bucket", "key", version)
    given: dict[str, Any] = {"Bucket": "bucket", "Key": "key", "ChecksumMode": "ENABLED"}
    return Pin.of(S3(store).call("head_object", given))


def _judged(pin: Pin, known: Layout | None, data: bytes) -> Finding:
    evidence = list(evidence_of(pin, 64, known))
    if not evidence:
        raise ObjectUnverifiable("there is nothing to compare with")
    hasher = Hasher(each.way for each in choose(evidence, suspicious=True))
    hasher.update(data)
    return judge_read(evidence, pin.size, hasher)


@given(_profiles, _data, _part_sizes, _algorithms, _kinds)
def test_right_bytes_are_proved_where_anything_can_be_compared(
    profile: Profile, data: bytes, part_size: int | None, algorithm: str | None, kind: str
) -> None:
    pin = _described(profile, data, part_size, algorithm, kind)
    known = Layout(part_size) if part_size else None
    if profile.etag == "md5":
        assert _judged(pin, known, data).verdict is Verdict.CONTENT
        return
    # An ETag that only looks like an MD5 is told from damage where the answer says so.
    impostor = profile.etag == "impostor"
    with contextlib.suppress(ObjectVerificationException if impostor else ObjectUnverifiable):
        assert _judged(pin, known, data).verdict is Verdict.CONTENT


@given(_profiles, _data, _part_sizes, _algorithms, _kinds, st.integers(0), st.booleans())
def test_changed_bytes_are_never_proved(
    profile: Profile,
    data: bytes,
    part_size: int | None,
    algorithm: str | None,
    kind: str,
    bit: int,
    cut: bool,
) -> None:
    pin = _described(profile, data, part_size, algorithm, kind)
    known = Layout(part_size) if part_size else None
    wrong = data[: bit % len(data)] if cut else flipped(data, bit)
    with pytest.raises(ObjectVerificationException):
        _judged(pin, known, wrong)
