"""What the tests of the contract stand on: stores, buckets, and helpers."""

from __future__ import annotations

import contextlib
import enum
import functools
import random
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from object_clerk.exceptions import UnsupportedError
from object_clerk.receipt import Receipt, Verdict
from object_clerk.store import Capability, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.exceptions import ObjectClerkException
    from object_clerk.store import ObjectStoreConfiguration

    Config = ObjectStoreConfiguration | dict[str, Any]
    Corrupt = Callable[[str, str], object]


class Gap(enum.Enum):
    """What a backend may be known not to do, although its adapter declares the capability."""

    IF_ABSENT = "it does not honour if_absent, so UnsupportedError is raised"
    IF_MATCH = "it does not honour if_match, so UnsupportedError is raised"
    COPY_IF_ABSENT = "the same of if_absent for copies"
    COPY_IF_MATCH = "the same of if_match for copies"
    IF_UNCHANGED = "it does not honour if_unchanged, so UnsupportedError is raised"
    IF_UNCHANGED_VERSIONS = "the same where it keeps versions"
    EXPIRY = "it takes an expired URL"
    SIGNATURES = "it takes a URL for another key, and another method"
    VERSIONS = "it keeps no versions"
    FOLDERS = "an object called like a folder of others is an error"
    LAST_PREFIX = "a prefix that ends with the last character of Unicode is an error"
    ATOMIC = "who reads an object that is being replaced may get an error"


class Ground:
    """The fixtures that the tests share."""

    large: ClassVar[int] = 3_000_001
    proof: ClassVar[Verdict] = Verdict.TRANSPORT
    tick_s: ClassVar[float] = 0.0

    @pytest.fixture
    def config(self) -> Config:
        """The configuration of an empty store."""
        pytest.fail(f"{type(self).__name__} needs a fixture 'config'")

    @pytest.fixture
    def store(self, config: Config) -> Iterator[ObjectStore]:
        """The store that is tested."""
        with ObjectStore(config) as store:
            if Capability.BUCKETS in store.client.capabilities:
                store.client.create_bucket(store.root_bucket, exist_ok=True)
            yield store

    @pytest.fixture
    def other_bucket(self, store: ObjectStore) -> Iterator[str]:
        """A second bucket, which is empty."""
        if Capability.BUCKETS not in store.client.capabilities:
            pytest.fail(f"{type(self).__name__} needs a fixture 'other_bucket'")
        name = new_bucket()
        store.client.create_bucket(name)
        yield name
        for each in store.list_files(bucket=name):
            store.delete_object(each.key, name)
        store.client.delete_bucket(name)

    @pytest.fixture
    def versioned(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Versions are kept in the root bucket."""

    @pytest.fixture
    def corrupt(self) -> Corrupt | None:
        """Changes a byte of a stored object."""
        return None

    @pytest.fixture
    def unreachable(self) -> Config | None:
        """The configuration of a backend that does not answer."""
        return None

    @pytest.fixture
    def denied(self) -> Config | None:
        """A configuration with wrong credentials."""
        return None

    @pytest.fixture
    def unsupported_keys(self) -> frozenset[str]:
        """The odd keys that the backend cannot hold."""
        return frozenset()

    @pytest.fixture
    def gaps(self) -> frozenset[Gap]:
        """What the backend does not do."""
        return frozenset()

    def proved(self, receipt: object, size: int, key: str, bucket: str) -> None:
        """Make sure that this is the receipt of a write that was verified."""
        assert isinstance(receipt, Receipt)
        assert (receipt.bucket, receipt.key, receipt.size) == (bucket, key, size)
        assert receipt.verdict.strength >= self.proof.strength, receipt.basis
        assert receipt.basis


def new_bucket() -> str:
    """A name that no bucket has."""
    return f"contract-{uuid.uuid4().hex[:20]}"


@functools.cache
def blob(size: int) -> bytes:
    """Bytes without a pattern, the same ones every time."""
    return random.Random(size).randbytes(size)  # noqa: S311 - content, not a secret


def content(
    store: ObjectStore, key: str, bucket: str | None = None, version: str | None = None
) -> bytes:
    """What is stored under a key."""
    with store.get_object(key, bucket, version) as opened:
        return opened.body.read()


def keys(store: ObjectStore, bucket: str | None = None, prefix: str = "", **how: Any) -> list[str]:
    """The keys of a bucket."""
    return [each.key for each in store.list_files(prefix, bucket, **how)]


def everything(store: ObjectStore) -> list[tuple[str, str | None]]:
    """What is in the root bucket, to compare it with later."""
    return [(each.key, each.etag) for each in store.list_files()]


@contextlib.contextmanager
def failing(kind: type[ObjectClerkException], *words: str) -> Iterator[None]:
    """The block has to raise an error of this kind, whose text has the words in it."""
    with pytest.raises(kind) as caught:
        yield
    said = str(caught.value)
    assert [word for word in words if word not in said] == [], said


def refused(store: ObjectStore, *calls: Callable[[], object]) -> None:
    """Make sure that each call raises UnsupportedError, and that nothing has changed."""
    before = everything(store)
    for call in calls:
        with pytest.raises(UnsupportedError):
            call()
    assert everything(store) == before


def lacks(store: ObjectStore, capability: Capability, *calls: Callable[[], object]) -> bool:
    """Whether the backend lacks the capability; it then refuses all calls."""
    if capability in store.client.capabilities:
        return False
    refused(store, *calls)
    return True
