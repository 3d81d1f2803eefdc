"""The contract of an adapter, as tests: what each backend of an ObjectStore has to do.

Derive a class from :class:`StoreContract`, and tell where objects may be kept::

    import pytest
    from object_clerk.testing.store import StoreContract

    class TestTape(StoreContract):
        @pytest.fixture
        def config(self, tmp_path):
            return {"framework": "tape", "root_bucket": "contract",
                    "connection": {"library": str(tmp_path)}}

pytest then runs all of it. What the client's ``capabilities`` declare is tested; of what they leave
out the tests make sure that it raises UnsupportedError and changes nothing. Importing this needs
pytest and the extra ``store``.
"""

import pytest

# Before the import, or failed assertions would not show what was compared.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "ground", "buckets", "copying", "deleting", "keys", "listing", "reading", "saving",
            "sharing", "urls", "versions", "writing",
        )
    )
)  # fmt: skip

from object_clerk.testing.store.buckets import Buckets  # noqa: E402 - see above
from object_clerk.testing.store.copying import Copying  # noqa: E402
from object_clerk.testing.store.deleting import Deleting  # noqa: E402
from object_clerk.testing.store.ground import Gap  # noqa: E402
from object_clerk.testing.store.keys import ODD_KEYS, Keys  # noqa: E402
from object_clerk.testing.store.listing import Listing  # noqa: E402
from object_clerk.testing.store.reading import Reading  # noqa: E402
from object_clerk.testing.store.saving import Saving  # noqa: E402
from object_clerk.testing.store.sharing import Sharing  # noqa: E402
from object_clerk.testing.store.urls import Urls  # noqa: E402
from object_clerk.testing.store.versions import Versions  # noqa: E402
from object_clerk.testing.store.writing import Writing  # noqa: E402

__all__ = ["ODD_KEYS", "Gap", "StoreContract"]


class StoreContract(
    Reading, Saving, Writing, Copying, Deleting, Listing, Buckets, Urls, Versions, Keys, Sharing
):
    """All tests of the contract. Override ``config``, and what else differs.

    Fixtures to override:
        config: the configuration of an empty store, a new one for each test. If the backend can
            create buckets, the root bucket is created; else it has to be there. Needed.
        other_bucket: a second, empty bucket. Needed if the backend cannot create buckets.
        versioned: turn versions on for the root bucket, if they are not on from the start.
        corrupt: a function of bucket and key that changes a byte of the stored content behind the
            backend's back; None (as it is) if that cannot be done.
        unreachable: a configuration whose backend does not answer, None if there is no such thing.
        denied: a configuration with wrong credentials, None if there is no such thing.
        unsupported_keys: those of ``ODD_KEYS`` that the backend cannot hold.
        gaps: what it does not do although its adapter tries; see :class:`Gap`.

    Attributes to override:
        large: so many bytes are more than the adapter moves at once.
        proof: the weakest verdict that a write may have.
        tick_s: seconds after which another write of the same bytes has another ``updated_time``.
    """
