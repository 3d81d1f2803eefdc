"""How the made-up store behaves: like one of the servers in `tests.servers`, or like AWS.

What those servers do is in `Traits`, which is measured on them; the same probes are run on the
made-up store by `test_store.py`. Only what no trait tells is added here.
"""

from __future__ import annotations

import dataclasses

from object_clerk.endpoint import Support
from tests.servers import TRAITS, Traits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """What kind of server the store is.

    Attributes:
        name: what it is called in the account of a run.
        traits: what was measured on the server.
        put_if_match: what it makes of If-Match of PutObject where the traits say that it does not
            work: "ignored", "refused" (501), or "unquoted" if it does without the quotes.
        complete_if_match: the same of CompleteMultipartUpload.
        copy_if_match: the same of CopyObject.
        complete_etag_empty: the answer to Complete has an ETag of no characters.
        refuses_full_object: any checksum of the whole is refused at Complete, right ones too.
        default_checksum: what it keeps of an object that was sent without a checksum.
        etag: "md5" as usual; "kms" for one that looks like an MD5 and is none, as the answer
            says; "impostor" for the same without a word; "opaque" for one of another form.
        no_version_id: requests whose answers lack the version that they made.
    """

    name: str
    traits: Traits = dataclasses.field(default_factory=Traits)
    put_if_match: str = "ignored"
    complete_if_match: str = "ignored"
    copy_if_match: str = "ignored"
    complete_etag_empty: bool = False
    refuses_full_object: bool = False
    default_checksum: str | None = None
    etag: str = "md5"
    no_version_id: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in ("put_if_match", "complete_if_match", "copy_if_match"):
            if getattr(self.traits, name):
                object.__setattr__(self, name, "honoured")

    @property
    def copy_etag(self) -> Support:
        """What an examination finds of the ETag of a copy, in a bucket without encryption."""
        if not self.traits.multipart_etag_kept or self.etag not in ("md5", "kms"):
            return Support.UNKNOWN
        return Support.HONOURED if self.traits.copy_etag_computed else Support.IGNORED

    def delete_if_match(self, versioned: bool) -> Support:
        """What a clerk finds out of the condition of a deletion, in such a bucket."""
        traits = self.traits
        heeded = traits.delete_if_match_of_versions if versioned else traits.delete_if_match
        return Support.HONOURED if heeded else Support.IGNORED

    @property
    def versions(self) -> bool:
        """Whether its buckets can have versions."""
        return self.traits.versioning


#: A server that nobody has measured, and that gives little to go by.
_POOR = Traits(
    returns_checksum=False,
    complete_if_match=False,
    copy_if_none_match=False,
    copy_if_match=False,
    full_object_checksum=False,
    object_size_compared=False,
    get_object_attributes=False,
)

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(name="aws", default_checksum="CRC64NVME"),
        Profile(name="kms", default_checksum="CRC64NVME", etag="kms"),
        Profile(name="impostor", traits=_POOR, etag="impostor"),
        Profile(
            name="opaque",
            traits=dataclasses.replace(
                _POOR,
                verifies_checksum_header=False,
                delete_if_match=False,
                delete_if_match_of_versions=False,
            ),
            etag="opaque",
        ),
        Profile(name="moto", traits=TRAITS["moto"]),
        Profile(name="ministack", traits=TRAITS["ministack"], refuses_full_object=True),
        Profile(name="rclone", traits=TRAITS["rclone"]),
        Profile(
            name="swift",
            traits=TRAITS["swift"],
            put_if_match="refused",
            complete_if_match="refused",
            copy_if_match="refused",
            no_version_id=frozenset({"complete_multipart_upload"}),
        ),
        Profile(
            name="ceph",
            traits=TRAITS["ceph"],
            put_if_match="unquoted",
            complete_etag_empty=True,
            no_version_id=frozenset({"copy_object"}),
        ),
        Profile(name="minio", traits=TRAITS["minio"]),
    )
}
