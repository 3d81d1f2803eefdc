"""A state machine: whatever is done in whatever order, and whatever fails, nothing is lost.

The model knows for each key the versions that were written. Operations of a real clerk, faults,
crashes and other writers come in any order that Hypothesis can think of; it prints the shortest
one that breaks a rule, and the blob that reproduces it.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from object_clerk import ObjectClerkException, Verdict
from object_clerk.exceptions import ObjectNotFoundException, ObjectUnverifiable
from object_clerk.receipt import Finding
from object_clerk.transfer import download
from object_clerk.transfer.multipart import MultipartUpload
from tests.property.backends import Backend, MadeUp, Real
from tests.simulation.profiles import PROFILES
from tests.simulation.wire import Crash
from tests.simulation.world import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from types_boto3_s3 import S3Client

    from tests.servers import Server

T = TypeVar("T")

#: How many examples are tried, if not as many as a test says by itself.
EXAMPLES = "OBJECT_CLERK_MACHINE_EXAMPLES"

KEYS = ("a", "b", "50% c", "d/e")
_key = st.sampled_from(KEYS)
_number = st.integers(0, 1 << 12)


class Machine(RuleBasedStateMachine):
    """The model: key -> the versions that were written, and what a reader gets."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.current: dict[str, bytes | None] = dict.fromkeys(KEYS)
        self.versions: dict[str, list[bytes]] = {key: [] for key in KEYS}
        self.trouble = ""
        self._written = 0
        self._orphans = 0
        self._directory = tempfile.TemporaryDirectory()
        self.path = Path(self._directory.name) / "file"

    def teardown(self) -> None:
        self._directory.cleanup()
        self.backend.close()

    # -- trouble ---------------------------------------------------------------------------

    @precondition(lambda self: not self.trouble)
    @rule(which=_number, skip=st.sampled_from((0, 0, 0, 1, 2, 4)), number=_number)
    def fault(self, which: int, skip: int, number: int) -> None:
        self.trouble = self.backend.troubles[which % len(self.backend.troubles)]
        self.backend.arm(self.trouble, skip, number)

    @precondition(lambda self: not self.trouble)
    @rule(skip=st.integers(0, 12), after=st.booleans())
    def crash(self, skip: int, after: bool) -> None:
        self.trouble = "crash"
        self.backend.arm_crash(skip, after)

    @rule(key=_key, size=st.sampled_from((1, 40)))
    def other_put(self, key: str, size: int) -> None:
        data = self._fresh(size)
        self.backend.put(key, data)
        self._became(key, data)

    @rule(key=_key)
    def other_delete(self, key: str) -> None:
        self.backend.delete(key)
        self._became(key, None)

    # -- writing ---------------------------------------------------------------------------

    @rule(key=_key, which=_number, form=st.sampled_from(("bytes", "stream", "pipe")))
    def put(self, key: str, which: int, form: str) -> None:
        content = self._fresh(self.backend.sizes[which % len(self.backend.sizes)])
        source: Any = {"bytes": bytes, "stream": io.BytesIO, "pipe": Pipe}[form](content)
        put = self.backend.clerk.upload_object
        self._change(
            {key: content},
            lambda: put(source, self.backend.bucket, key, allow_empty=True),
        )

    @rule(source=_key, goal=_key)
    def copy(self, source: str, goal: str) -> None:
        if source != goal:
            bucket, copy = self.backend.bucket, self.backend.clerk.copy_object
            self._transfer(
                source,
                {goal: self.current[source]},
                lambda: copy(bucket, source, bucket, goal),
            )

    @rule(source=_key, goal=_key)
    def move(self, source: str, goal: str) -> None:
        if source != goal:
            bucket, move = self.backend.bucket, self.backend.clerk.move_object
            content = self.current[source]
            self._transfer(
                source,
                {goal: content, source: None},
                lambda: move(bucket, source, bucket, goal),
            )
            assert content in (None, self.current[source], self.current[goal]), "it is lost"

    @rule(key=_key)
    def delete(self, key: str) -> None:
        delete = self.backend.clerk.delete_object
        self._change({key: None}, lambda: delete(self.backend.bucket, key))

    @rule(keys=st.lists(_key, min_size=1, max_size=3, unique=True))
    def delete_many(self, keys: list[str]) -> None:
        delete = self.backend.clerk.delete_objects
        self._change(dict.fromkeys(keys), lambda: delete(self.backend.bucket, keys))

    # -- reading ---------------------------------------------------------------------------

    @rule(key=_key)
    def get(self, key: str) -> None:
        self._read(key, lambda: self.backend.clerk.get_object(self.backend.bucket, key))

    @rule(key=_key, block=st.sampled_from((1, 17, 1 << 16)))
    def stream(self, key: str, block: int) -> None:
        def read() -> bytes:
            with self.backend.clerk.open_object(self.backend.bucket, key) as reader:
                return b"".join(iter(lambda: reader.read(block) or b"", b""))

        size = len(self.current[key] or b"")
        if size // block < 10_000:  # a byte at a time is for small objects
            self._read(key, read)

    @rule(key=_key)
    def download(self, key: str) -> None:
        before = self.path.read_bytes() if self.path.exists() else None

        def read() -> bytes:
            self.backend.clerk.download_object(self.backend.bucket, key, self.path)
            return self.path.read_bytes()

        got = self._read(key, read)
        now = self.path.read_bytes() if self.path.exists() else None
        assert now in (before, self.current[key]), "a file with bytes that were not verified"
        assert got is None or now == self.current[key]
        assert {each.name for each in self.path.parent.iterdir()} <= {"file"}

    @rule()
    def list_all(self) -> None:
        listing = self.backend.clerk.list_objects
        found = self._attempt(lambda: [e["Key"] for e in listing(self.backend.bucket, page_size=2)])
        assert found is None or found == sorted(k for k, v in self.current.items() if v is not None)

    # -- what always holds -----------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        for key in KEYS:
            assert self.backend.current(key) == self.current[key]
            if self.backend.versioned:
                assert self.backend.history(key) == self.versions[key]

    @invariant()
    def no_upload_is_open(self) -> None:
        assert self.backend.uploads() <= self._orphans

    # -- steps -----------------------------------------------------------------------------

    def _fresh(self, size: int) -> bytes:
        """Bytes that were never written before."""
        self._written += 1
        return hashlib.shake_128(b"%d" % self._written).digest(size)

    def _became(self, key: str, data: bytes | None) -> None:
        self.current[key] = data
        if data is not None:
            self.versions[key].append(data)

    def _attempt(self, action: Callable[[], T]) -> T | None:
        """Do something; None if it failed, as it may when there is trouble."""
        trouble, self.trouble = self.trouble, ""
        open_before = self.backend.uploads()
        try:
            return action()
        except Crash:
            return None
        except ObjectNotFoundException:
            raise
        except ObjectClerkException:
            assert trouble, "it failed, and nothing was wrong"
            return None
        finally:
            self.backend.disarm()
            # A crash, or a lost answer to the question for an upload, leaves one that is open.
            if trouble:
                self._orphans += max(0, min(2, self.backend.uploads() - open_before))

    def _read(self, key: str, read: Callable[[], bytes]) -> bytes | None:
        try:
            found = self._attempt(read)
        except ObjectNotFoundException:
            assert self.current[key] is None, "it was not found, but it is there"
            return None
        assert found in (None, self.current[key]), "other bytes were read than are stored"
        return found

    def _transfer(
        self, source: str, effects: Mapping[str, bytes | None], action: Callable[[], Any]
    ) -> None:
        if self.current[source] is not None:
            self._change(effects, action)
            return
        try:
            done = self._attempt(action)
        except ObjectNotFoundException:
            return
        assert done is None, "it copied what is not there"

    def _change(self, effects: Mapping[str, bytes | None], action: Callable[[], Any]) -> None:
        """Do something that changes keys, and learn what came of it if it failed."""
        marker = object()
        done = self._attempt(lambda: (action(), marker)[1]) is marker
        for key, wanted in effects.items():
            found = self.backend.current(key)
            if done:
                assert found == wanted, "success, but it is not so"
            else:
                assert found in (wanted, self.current[key]), "neither old nor new"
            self._remember(key, found, wanted)

    def _remember(self, key: str, found: bytes | None, wanted: bytes | None) -> None:
        known, history = self.versions[key], self.backend.history(key)
        if self.backend.versioned:
            assert history[: len(known)] == known, "a version is gone"
            assert set(history[len(known) :]) <= {wanted}, "a version of something else"
        self.versions[key] = history
        self.current[key] = found


def run(make: Callable[[], Backend], examples: int, steps: int) -> None:
    """Drive the machine."""
    factory: Any = lambda: Machine(make())  # noqa: E731 - a factory is as good as the class
    run_state_machine_as_test(
        factory,
        settings=settings(
            max_examples=int(os.environ.get(EXAMPLES, examples)),
            # The same examples every time, unless more are asked for.
            derandomize=EXAMPLES not in os.environ,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(7200)  # for as many examples as are asked for
@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
@pytest.mark.parametrize("name", [name for name, each in PROFILES.items() if each.etag == "md5"])
def test_on_the_made_up_store(name: str, versioned: bool) -> None:
    profile = PROFILES[name]
    if versioned and not profile.versions:
        versioned = False  # the plain bucket once more, with other examples
    run(lambda: MadeUp(profile, versioned), examples=25, steps=30)


@pytest.mark.timeout(7200)  # for as many examples as are asked for
@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
def test_on_a_server(server: Server, s3: S3Client, versioned: bool) -> None:
    if versioned and not server.traits.versioning:
        pytest.skip(f"{server.name} keeps no versions")
    run(lambda: Real(server, s3, versioned), examples=3, steps=12)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine on a made-up store, for steps that a test chooses."""
    made = Machine(MadeUp(PROFILES["aws"], versioned=True))
    yield made
    made.teardown()


def test_it_notices_wrong_bytes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    proved = Finding(Verdict.CONTENT, "nobody looked")
    monkeypatch.setattr(download, "judge_read", lambda *_: proved)
    machine.other_put(key="a", size=40)
    machine.get(key="a")
    machine.fault(which=machine.backend.troubles.index("flip-answer"), skip=0, number=3)
    with pytest.raises(AssertionError, match="other bytes were read than are stored"):
        machine.get(key="a")


def test_it_notices_a_loss(machine: Machine) -> None:
    machine.put(key="a", which=1, form="bytes")
    machine.nothing_is_lost()
    machine.backend.delete("a")  # and the model is not told
    with pytest.raises(AssertionError):
        machine.nothing_is_lost()


def test_it_notices_an_error_without_a_reason(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unverifiable(*_: object) -> None:
        raise ObjectUnverifiable("never")

    monkeypatch.setattr(download, "judge_read", unverifiable)
    machine.other_put(key="a", size=40)
    with pytest.raises(AssertionError, match="nothing was wrong"):
        machine.get(key="a")


def test_it_notices_an_upload_left_open(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise ObjectNotFoundException("made up", code="NoSuchKey")

    monkeypatch.setattr(MultipartUpload, "__exit__", lambda *_: None)
    monkeypatch.setattr(MultipartUpload, "check_parts", give_up)
    with pytest.raises(ObjectNotFoundException):
        machine.put(key="a", which=5, form="bytes")
    with pytest.raises(AssertionError):
        machine.no_upload_is_open()
