"""How the made-up store behaves: like one of the servers in `tests.servers`, or like AWS.

What those servers do is in `Traits`, which is measured on them; the same probes are run on the
made-up store by `test_store.py`. Only what no trait tells is added here.
"""

from __future__ import annotations

import dataclasses

from tests.servers import TRAITS, Traits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """What kind of server the store is.

    Attributes:
        name: what it is called in the account of a run.
        traits: what was measured on the server.
        carries_etag: CopyObject gives the copy the ETag of its source.
        put_if_match: what it makes of If-Match of PutObject: "honoured", "ignored", "refused", or
            "unquoted" if it only works without the quotes.
        complete_if_match: the same of CompleteMultipartUpload.
        complete_etag_empty: the answer to Complete has an ETag of no characters.
        copy_target_conditions: CopyObject honours If-Match and If-None-Match for its target.
        etag: "md5" as usual; "kms" for one that looks like an MD5 and is none, as the answer
            says; "impostor" for the same without a word; "opaque" for one of another form.
        no_version_id: requests whose answers lack the version that they made.
    """

    name: str
    traits: Traits = dataclasses.field(default_factory=Traits)
    carries_etag: bool = False
    put_if_match: str = "honoured"
    complete_if_match: str = "ignored"
    complete_etag_empty: bool = False
    copy_target_conditions: bool = False
    etag: str = "md5"
    no_version_id: frozenset[str] = frozenset()

    @property
    def versions(self) -> bool:
        """Whether its buckets can have versions."""
        return self.traits.versioning


_AWS = Profile(name="aws", complete_if_match="honoured", copy_target_conditions=True)

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        _AWS,
        dataclasses.replace(_AWS, name="kms", etag="kms"),
        Profile(
            name="impostor",
            traits=Traits(returns_checksum=False, get_object_attributes=False),
            etag="impostor",
        ),
        Profile(
            name="opaque",
            traits=Traits(
                returns_checksum=False,
                verifies_checksum_header=False,
                delete_if_match=False,
                get_object_attributes=False,
            ),
            etag="opaque",
        ),
        Profile(name="moto", traits=TRAITS["moto"]),
        Profile(
            name="ministack",
            traits=TRAITS["ministack"],
            carries_etag=True,
            complete_if_match="honoured",
        ),
        Profile(name="rclone", traits=TRAITS["rclone"], put_if_match="ignored"),
        Profile(
            name="swift",
            traits=TRAITS["swift"],
            carries_etag=True,
            put_if_match="refused",
            complete_if_match="refused",
            copy_target_conditions=True,
            no_version_id=frozenset({"complete_multipart_upload"}),
        ),
        Profile(
            name="ceph",
            traits=TRAITS["ceph"],
            carries_etag=True,
            put_if_match="unquoted",
            complete_etag_empty=True,
            no_version_id=frozenset({"copy_object"}),
        ),
        Profile(name="minio", traits=TRAITS["minio"], complete_if_match="honoured"),
    )
}
