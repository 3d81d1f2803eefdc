"""Adapters of others, and what a store does whatever its adapter."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkConfigurationException,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectNotFoundException,
    UnsupportedError,
)
from object_clerk.exceptions import ObjectClerkTypeException
from object_clerk.store import (
    Bucket,
    Capability,
    Framework,
    Object,
    ObjectInfo,
    ObjectMetadata,
    ObjectStore,
    ObjectStoreClient,
    ObjectStoreComponentFactory,
    ObjectStoreConfiguration,
    ObjectVersion,
    OpenedObject,
    adapters,
)
from object_clerk.testing.store import StoreContract
from tests.store.tape import MADE, TapeClient, TapeFactory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG: dict[str, Any] = {
    "framework": "tape",
    "root_bucket": "first",
    "connection": {"library": "/dev/nst0"},
}


@pytest.fixture(autouse=True)
def _no_tapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test registers its own."""
    monkeypatch.setattr(adapters, "_registered", {})
    monkeypatch.setattr(TapeFactory, "made", [])


@pytest.fixture
def tape() -> Iterator[ObjectStore]:
    adapters.register("tape", TapeFactory)
    with ObjectStore(CONFIG) as store:
        yield store


def client_of(store: ObjectStore) -> TapeClient:
    assert isinstance(store.client, TapeClient)
    return store.client


class TestTape(StoreContract):
    """An adapter without capabilities keeps the contract too: what it lacks is refused."""

    @pytest.fixture
    def config(self) -> dict[str, Any]:
        adapters.register("tape", TapeFactory)
        return CONFIG

    @pytest.fixture
    def other_bucket(self, store: ObjectStore) -> str:
        return "second"


class TestRegistered:
    """Check 22: subclass, register, use."""

    def test_is_used(self, tape: ObjectStore, tmp_path: Path) -> None:
        receipt = tape.put_object_v2(b"content", "a/key")
        assert (receipt.bucket, receipt.key, receipt.size) == ("first", "a/key", 7)
        with tape.get_file("a/key") as opened:
            assert opened.body.read() == b"content"
        tape.copy_object("a/key", "copy", dst_bucket="second")
        tape.download_file("copy", tmp_path / "new" / "file", "second")
        assert (tmp_path / "new" / "file").read_bytes() == b"content"
        tape.upload_file(tmp_path / "new" / "file", "b")
        tape.delete_file("a/key")
        assert [each.key for each in tape.list_files()] == ["b"]
        assert tape.list_buckets().__next__() == Bucket("first", MADE)
        assert client_of(tape).config.connection == {"library": "/dev/nst0"}

    def test_is_listed(self, tape: ObjectStore) -> None:
        assert adapters.frameworks() == ["boto3", "filesystem", "memory", "minio", "tape"]

    def test_capabilities_it_lacks_are_refused(self, tape: ObjectStore) -> None:
        """What an adapter does not declare never reaches it, so it need not know of it."""
        client = tape.client
        assert client.capabilities == frozenset()
        for call in (
            lambda: tape.put_object_v2(b"", "key", if_absent=True),
            lambda: tape.put_object_v2(b"", "key", if_match="etag"),
            lambda: tape.put_object_v2(b"", "key", content_type="a/b"),
            lambda: tape.put_object_v2(b"", "key", metadata={"a": "b"}),
            lambda: tape.copy_object("a", "b", if_absent=True),
            lambda: tape.get_object("key", version="1"),
            lambda: tape.delete_file("key", "1"),
            lambda: list(tape.list_versions()),
            lambda: client.create_bucket("third"),
            lambda: client.delete_bucket("second"),
            lambda: tape.get_presigned_url("key"),
        ):
            with pytest.raises(UnsupportedError):
                call()
        assert client_of(tape).objects == {}

    def test_name_is_taken(self) -> None:
        class Other(TapeFactory):
            pass

        adapters.register("tape", TapeFactory)
        with pytest.raises(ObjectClerkConfigurationException, match="'tape' already"):
            adapters.register("tape", Other)
        assert isinstance(adapters.factory_of(ObjectStoreConfiguration.of(CONFIG)), TapeFactory)
        adapters.register("tape", Other, replace=True)
        assert isinstance(adapters.factory_of(ObjectStoreConfiguration.of(CONFIG)), Other)

    @pytest.mark.parametrize("name", list(Framework))
    def test_ours_are_not_replaced(self, name: str) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match="already"):
            adapters.register(name, TapeFactory, replace=True)

    @pytest.mark.parametrize("wrong", [TapeClient, object, "tape:TapeFactory", None, TapeFactory])
    def test_factory_is_one(self, wrong: Any) -> None:
        if wrong is TapeFactory:
            wrong = TapeFactory(ObjectStoreConfiguration.of(CONFIG))
        with pytest.raises(
            ObjectClerkConfigurationException, match="no ObjectStoreComponentFactory"
        ):
            adapters.register("tape", wrong)

    def test_unknown_framework_tells_the_near_one(self) -> None:
        adapters.register("tape", TapeFactory)
        for name, meant in (("tapes", "tape"), ("file_system", "filesystem"), ("Minio", "minio")):
            with pytest.raises(ObjectClerkConfigurationException, match=rf"{name}.*{meant}"):
                ObjectStore({**CONFIG, "framework": name})
        with pytest.raises(ValueError, match="boto3, filesystem, memory, minio, tape"):
            ObjectStore({**CONFIG, "framework": "xyz"})


class TestAbstract:
    """Check 22: what has to be there is asked for when the client is made."""

    HOOKS = (
        "_copy_object", "_delete_object", "_download_object", "_get_object",
        "_get_presigned_upload_url", "_get_presigned_url", "_list_buckets", "_list_objects",
        "_put_object_v2", "_upload_object",
    )  # fmt: skip

    def test_all_hooks_are_named(self) -> None:
        assert sorted(ObjectStoreClient.__abstractmethods__) == sorted(self.HOOKS)
        with pytest.raises(TypeError, match="abstract"):
            ObjectStoreClient(CONFIG)  # type: ignore[abstract]
        with pytest.raises(TypeError, match="_create_client"):
            ObjectStoreComponentFactory(ObjectStoreConfiguration.of(CONFIG))  # type: ignore[abstract]

    @pytest.mark.parametrize("missing", HOOKS)
    def test_one_is_missing(self, missing: str) -> None:
        hooks = {name: getattr(TapeClient, name) for name in self.HOOKS if name != missing}
        incomplete = type("Incomplete", (ObjectStoreClient,), hooks)
        with pytest.raises(TypeError, match=missing):
            incomplete(CONFIG)

    def test_config_may_be_a_dict(self) -> None:
        client = TapeClient(CONFIG)
        assert client.root_bucket == "first"
        assert client.config == ObjectStoreConfiguration.of(CONFIG)

    def test_head_and_bucket_verbs_need_not_be_there(self) -> None:
        client = TapeClient(ObjectStoreConfiguration.of(CONFIG))
        client.put_object_v2(b"content", "key")
        assert client.head_object("key").size == 7

    def test_declared_and_not_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A capability that is only claimed is the adapter's bug, and looks like one."""
        monkeypatch.setattr(TapeClient, "capabilities", frozenset(Capability))
        client = TapeClient(ObjectStoreConfiguration.of(CONFIG))
        for call in (
            lambda: client.create_bucket("third"),
            lambda: client.delete_bucket("second"),
            lambda: list(client.list_versions()),
        ):
            with pytest.raises(NotImplementedError):
                call()


class TestEntryPoint:
    """Packages announce their adapters in their metadata."""

    @pytest.fixture
    def install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Make a distribution that announces an adapter called reel."""
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "reel_store", raising=False)

        def install(target: str, code: str = "") -> None:
            metadata = tmp_path / "reel_store-1.0.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text(
                "Metadata-Version: 2.1\nName: reel-store\nVersion: 1.0\n"
            )
            (metadata / "entry_points.txt").write_text(
                f"[object_clerk.adapters]\nreel = {target}\n"
            )
            (tmp_path / "reel_store.py").write_text(textwrap.dedent(code))

        return install

    CODE = """
        from tests.store.tape import TapeClient, TapeFactory

        class ReelClient(TapeClient):
            pass

        class ReelFactory(TapeFactory):
            def _create_client(self):
                return ReelClient(self.config)
    """

    def test_is_found(self, install: Any) -> None:
        install("reel_store:ReelFactory", self.CODE)
        assert "reel" in adapters.frameworks()
        with ObjectStore({**CONFIG, "framework": "reel"}) as store:
            assert type(store.client).__name__ == "ReelClient"
            store.put_object_v2(b"content", "key")
            assert [each.key for each in store.list_files()] == ["key"]

    def test_near_miss(self, install: Any) -> None:
        install("reel_store:ReelFactory", self.CODE)
        with pytest.raises(ValueError, match="did you mean 'reel'"):
            ObjectStore({**CONFIG, "framework": "real"})

    def test_a_registered_one_comes_first(self, install: Any) -> None:
        install("reel_store:ReelFactory", self.CODE)
        adapters.register("reel", TapeFactory)
        assert type(ObjectStore({**CONFIG, "framework": "reel"}).client) is TapeClient

    @pytest.mark.parametrize(
        ("target", "code"),
        [
            ("reel_store:ReelFactory", "import no_such_module"),
            ("reel_store:ReelFactory", "ReelFactory = 3"),
            ("reel_store:ReelFactory", ""),
            ("no_such_module:ReelFactory", ""),
        ],
        ids=["import", "no factory", "no name", "no module"],
    )
    def test_cannot_be_loaded(self, target: str, code: str, install: Any) -> None:
        install(target, code)
        with pytest.raises(ObjectClerkConfigurationException, match="'reel'"):
            ObjectStore({**CONFIG, "framework": "reel"})


class Foreign(Exception):
    """An error that nobody here knows."""


class TestForeignErrors:
    """Check 8: whatever an adapter raises, callers see what is documented."""

    @pytest.mark.parametrize("error", [Foreign("torn"), OSError(5, "torn"), KeyError("torn")])
    def test_is_an_operation_that_failed(
        self, error: Exception, tape: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def fail(self: TapeClient, **_: Any) -> Any:
            raise error

        for hook in TestAbstract.HOOKS:
            monkeypatch.setattr(TapeClient, hook, fail)
        (tmp_path / "file").touch()
        for call in (
            lambda: tape.get_object("some/key"),
            lambda: tape.head_object("some/key"),
            lambda: tape.put_object_v2(b"", "some/key"),
            lambda: tape.upload_file(tmp_path / "file", "some/key"),
            lambda: tape.download_file("some/key", tmp_path / "new"),
            lambda: tape.copy_object("other", "some/key"),
            lambda: tape.delete_object("some/key"),
            lambda: tape.get_presigned_url("some/key"),
        ):
            with pytest.raises(ObjectClerkOperationException, match="torn") as caught:
                call()
            assert isinstance(caught.value, RuntimeError)
            assert (caught.value.bucket, caught.value.key) == ("first", "some/key")
            assert caught.value.__cause__ is error
            assert "first/some/key" in str(caught.value)
        for listing in (tape.list_files(), tape.list_buckets()):
            with pytest.raises(ObjectClerkOperationException, match="torn"):
                list(listing)

    def test_in_the_middle_of_a_listing(
        self, tape: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: TapeClient, **_: Any) -> Iterator[ObjectInfo]:
            yield ObjectInfo("a", MADE, 1)
            raise Foreign("torn")

        monkeypatch.setattr(TapeClient, "_list_objects", broken)
        listing = tape.list_files()
        assert next(listing).key == "a"
        with pytest.raises(ObjectClerkOperationException, match="torn"):
            next(listing)

    def test_ours_get_to_know_where(self, tape: ObjectStore) -> None:
        with pytest.raises(ObjectNotFoundException) as caught:
            tape.get_object("some/key")
        assert str(caught.value).startswith("get_object first/some/key: it is not on the tape")

    def test_client_that_cannot_be_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: TapeFactory) -> TapeClient:
            raise Foreign("no tape")

        monkeypatch.setattr(TapeFactory, "_create_client", fail)
        adapters.register("tape", TapeFactory)
        store = ObjectStore(CONFIG)
        with pytest.raises(ObjectClerkException, match="no tape"):
            store.list_files()


class TestStore:
    """What a store is, whatever its adapter."""

    def test_client_is_made_when_it_is_needed(self) -> None:
        """Check 5."""
        adapters.register("tape", TapeFactory)
        store = ObjectStore(CONFIG)
        assert TapeFactory.made == []
        store.put_object_v2(b"content", "key")
        assert list(store.list_files())
        assert TapeFactory.made == [store.client]

    def test_client_is_made_once_by_many_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Check 25."""
        threads = 16
        together = threading.Barrier(threads)
        make = TapeFactory._create_client

        def slowly(self: TapeFactory) -> TapeClient:
            threading.Event().wait(0.05)  # time for the others to come in too, if they can
            return make(self)

        monkeypatch.setattr(TapeFactory, "_create_client", slowly)
        adapters.register("tape", TapeFactory)
        store = ObjectStore(CONFIG)

        def use(_: int) -> ObjectStoreClient:
            together.wait(30)
            return store.client

        with ThreadPoolExecutor(threads) as pool:
            clients = set(pool.map(use, range(threads)))
        assert clients == {TapeFactory.made[0]}
        assert len(TapeFactory.made) == 1

    def test_closed_and_used_again(self, tape: ObjectStore) -> None:
        first = client_of(tape)
        tape.close()
        tape.close()
        assert first.closed == 1
        second = client_of(tape)
        assert second is not first
        tape.put_object_v2(b"content", "key")
        assert list(second.objects) == [("first", "key")]

    def test_context_manager_closes(self) -> None:
        adapters.register("tape", TapeFactory)
        with ObjectStore(CONFIG) as store:
            client = client_of(store)
        assert client.closed == 1
        with client as entered:
            assert entered is client
        assert client.closed == 2

    def test_closed_before_it_was_used(self) -> None:
        adapters.register("tape", TapeFactory)
        with ObjectStore(CONFIG):
            pass
        assert TapeFactory.made == []

    def test_pickle(self, tape: ObjectStore) -> None:
        """A store travels as its configuration; at the other end it makes its own client."""
        client = client_of(tape)
        again = pickle.loads(pickle.dumps(tape))
        assert isinstance(again, ObjectStore)
        assert again.config == tape.config
        assert again.root_bucket == "first"
        assert again.client is not client
        again.close()
        assert client.closed == 0

    def test_pickle_of_files_and_s3(self, tmp_path: Path) -> None:
        connection = {"endpoint": "localhost:1", "access_key": "me", "secret_key": "h0kusp0kus"}
        on_disk = {"framework": "filesystem", "root_bucket": "b", "connection": {"root": tmp_path}}
        for config in (on_disk, {"root_bucket": "b", "connection": connection}):
            store = ObjectStore(config)
            again = pickle.loads(pickle.dumps(store))
            assert again.config == store.config
            assert copy.copy(store).config == store.config
            assert "h0kusp0kus" not in repr(again)

    def test_memory_does_not_travel(self) -> None:
        with pytest.raises(ObjectClerkTypeException, match="memory"):
            pickle.dumps(ObjectStore({"framework": "memory", "root_bucket": "b"}))

    def test_text(self, tape: ObjectStore) -> None:
        assert repr(tape) == "ObjectStore(tape, root_bucket='first')"
        assert repr(tape.client) == "TapeClient(root_bucket='first')"


class TestModels:
    """Check 23: what is handed out is frozen, and has the fields that were documented."""

    def test_fields(self) -> None:
        def names(model: type) -> list[str]:
            return [field.name for field in dataclasses.fields(model)]

        assert names(Bucket) == ["name", "created_time"]
        assert names(ObjectMetadata) == ["key", "updated_time", "size"]
        assert names(Object) == ["body", "updated_time"]
        for model, base in (
            (ObjectInfo, ObjectMetadata),
            (ObjectVersion, ObjectInfo),
            (OpenedObject, Object),
        ):
            assert issubclass(model, base)
            assert names(model)[: len(names(base))] == names(base)

    def test_are_frozen(self) -> None:
        info = ObjectInfo("key", MADE, 7)
        for value in (
            Bucket("name", MADE),
            ObjectMetadata("key", MADE, 7),
            info,
            ObjectVersion("key", MADE, 7),
            Object(io.BytesIO(), MADE),
            OpenedObject(io.BytesIO(), MADE, info),
        ):
            for field in dataclasses.fields(value):
                with pytest.raises(dataclasses.FrozenInstanceError):
                    setattr(value, field.name, None)

    def test_are_values(self) -> None:
        assert Bucket("name", MADE) == Bucket("name", MADE)
        assert ObjectMetadata("key", MADE, 7) == ObjectMetadata("key", MADE, 7)
        assert len({Bucket("name", MADE), Bucket("name", MADE)}) == 1
        assert pickle.loads(pickle.dumps(ObjectInfo("key", MADE, 7))) == ObjectInfo("key", MADE, 7)

    def test_opened_object_closes_its_body(self) -> None:
        with OpenedObject(io.BytesIO(b"content"), MADE, ObjectInfo("key", MADE, 7)) as opened:
            assert opened.body.read() == b"content"
        assert opened.body.closed
