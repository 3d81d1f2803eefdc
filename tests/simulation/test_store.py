"""The made-up store behaves like the servers it stands for: the same probes measure it.

`tests/contract/test_server_traits.py` holds the table of traits against the real servers; this
holds it against the made-up ones, so that a simulation on "ceph" says something about Ceph.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.servers import Server, Traits, probes
from tests.servers.probes import PROBES, Subject
from tests.simulation.api import ACCEPTS
from tests.simulation.digests import checksum
from tests.simulation.errors import Unsupported
from tests.simulation.faults import Replay
from tests.simulation.multipart import S3
from tests.simulation.profiles import PROFILES
from tests.simulation.stagecraft import Clock
from tests.simulation.store import Store
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.profiles import Profile

#: What the made-up store leaves out: who is asking, the form of keys, and races of threads.
NOT_MADE_UP = {
    *("verifies_signatures", "unknown_access_key_rejected", "presigned_expiry"),
    *("verifies_signed_sha256", "unsupported_keys", "key_length_enforced", "create_again"),
    "put_if_none_match_atomic",
}


#: The smallest part, here and there: sums in plain Python take their time.
PART = 100


def made_up_client(profile: Profile) -> Any:
    clock = Clock()
    wire = Wire(S3(Store(profile, clock, PART)), clock, Replay({}), print, "clerk")
    cast("Any", wire).create_bucket(Bucket="bucket")
    return wire


def _probes() -> list[tuple[Profile, str]]:
    made_up = {"multipart_etag_kept", "copy_etag_computed"}  # where ETags are, on purpose
    return [
        (profile, name)
        for profile in PROFILES.values()
        for name in sorted(PROBES.keys() - NOT_MADE_UP)
        if profile.etag == "md5" or name not in made_up
    ]


@pytest.mark.parametrize(
    ("profile", "name"), _probes(), ids=lambda each: getattr(each, "name", each)
)
def test_it_is_like_the_server(
    profile: Profile, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "MINIMUM_PART", PART)
    subject = Subject(cast("Server", None), made_up_client(profile), "bucket")
    assert PROBES[name](subject) == getattr(profile.traits, name)


def test_every_trait_is_probed_or_left_out_for_a_reason() -> None:
    assert {field.name for field in dataclasses.fields(Traits)} == PROBES.keys()
    assert PROBES.keys() >= NOT_MADE_UP


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("CRC32", "cbf43926"),
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("SHA1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
    ],
)
def test_its_checksums_are_the_published_ones(algorithm: str, value: str) -> None:
    assert base64.b64decode(checksum(algorithm, b"123456789")).hex() == value


def test_what_it_does_not_know_is_no_failure_of_the_server() -> None:
    client = made_up_client(PROFILES["aws"])
    with pytest.raises(Unsupported, match="no rename_object"):
        client.rename_object(Bucket="bucket", Key="k", RenameSource="x")
    with pytest.raises(Unsupported, match="ACL"):
        client.put_object(Bucket="bucket", Key="k", Body=b"", ACL="private")
    assert "put_object" in ACCEPTS
