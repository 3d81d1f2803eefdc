"""The configuration of a store: what it accepts, what it refuses, and what it never shows."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
import types
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from object_clerk import ObjectClerkConfigurationException
from object_clerk.store import (
    FilesystemConnectionConfiguration,
    Framework,
    ObjectStore,
    ObjectStoreClient,
    ObjectStoreComponentFactory,
    ObjectStoreConfiguration,
    ObjectStoreConnectionConfiguration,
    StoreConfigurationError,
)
from object_clerk.store import adapters as adapters_package
from object_clerk.store.configurations import near_miss

SECRET = "h0kusp0kus-s3cret"
TOKEN = "t0ken-of-an-hour"
S3: dict[str, Any] = {"endpoint": "localhost:9000", "access_key": "me", "secret_key": SECRET}


def config(**changes: Any) -> dict[str, Any]:
    return {"root_bucket": "raw", "connection": S3, **changes}


def refused(**changes: Any) -> str:
    """What is said of a configuration that is wrong."""
    with pytest.raises(StoreConfigurationError) as caught:
        ObjectStoreConfiguration.of(config(**changes))
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert TOKEN not in shown
    return str(caught.value)


class TestFramework:
    @pytest.mark.parametrize(
        "given",
        [{}, {"framework": None}, {"framework": "minio"}, {"framework": Framework.MINIO}],
        ids=["missing", "None", "str", "enum"],
    )
    def test_minio_is_meant_in_each_way(self, given: dict[str, Any]) -> None:
        found = ObjectStoreConfiguration.of(config(**given))

        assert found.framework is Framework.MINIO
        assert isinstance(found.connection, ObjectStoreConnectionConfiguration)

    @pytest.mark.parametrize("name", ["boto3", Framework.BOTO3])
    def test_boto3_has_the_same_connection(self, name: str) -> None:
        found = ObjectStoreConfiguration.of(config(framework=name))

        assert found.framework is Framework.BOTO3
        assert isinstance(found.connection, ObjectStoreConnectionConfiguration)

    def test_filesystem_has_its_own(self, tmp_path: Path) -> None:
        found = ObjectStoreConfiguration.of(
            config(framework="filesystem", connection={"root": str(tmp_path)})
        )

        assert found.connection == FilesystemConnectionConfiguration(root=tmp_path, durable=True)

    def test_memory_needs_none(self) -> None:
        found = ObjectStoreConfiguration.of({"framework": "memory", "root_bucket": "b"})

        assert (found.framework, found.connection) == (Framework.MEMORY, {})

    def test_others_check_theirs_themselves(self) -> None:
        found = ObjectStoreConfiguration.of(config(framework="tape", connection={"drive": 7}))

        assert (found.framework, found.connection) == ("tape", {"drive": 7})

    def test_unknown_one_is_refused_with_the_near_miss(self) -> None:
        with pytest.raises(StoreConfigurationError, match=r"did you mean 'minio'"):
            ObjectStore(config(framework="mino"))
        with pytest.raises(StoreConfigurationError, match=r"there are boto3, filesystem, memory"):
            ObjectStore(config(framework="qqq"))

    @pytest.mark.parametrize("name", [1, [], {"a": 1}])
    def test_name_is_text(self, name: Any) -> None:
        assert refused(framework=name).startswith("framework: ")


class TestModelsAndDicts:
    def test_are_the_same(self) -> None:
        model = ObjectStoreConfiguration(
            framework=Framework.MINIO,
            root_bucket="raw",
            connection=ObjectStoreConnectionConfiguration(**S3),
        )

        assert model == ObjectStoreConfiguration.of(config())
        assert ObjectStoreConfiguration.of(model) is model

    def test_may_be_mixed(self) -> None:
        model = ObjectStoreConnectionConfiguration(**S3)
        assert ObjectStoreConfiguration.of(config(connection=model)).connection == model

    def test_connection_may_be_a_model_of_somebody_else(self) -> None:
        class Theirs(BaseModel):
            endpoint: str = "localhost:9000"
            access_key: str = "me"
            secret_key: str = SECRET

        found = ObjectStoreConfiguration.of(config(connection=Theirs()))

        assert found == ObjectStoreConfiguration.of(config())

    @pytest.mark.parametrize("given", [None, "text", 1, [("root_bucket", "b")]])
    def test_nothing_else_is_one(self, given: Any) -> None:
        with pytest.raises(StoreConfigurationError, match=r"dict or an ObjectStoreConfiguration"):
            ObjectStoreConfiguration.of(given)

    @pytest.mark.parametrize(
        ("endpoint", "secure", "url"),
        [
            ("h:9000", False, "http://h:9000"),
            ("h", True, "https://h"),
            ("https://h", False, "https://h"),
            ("http://h", False, "http://h"),
            ("[::1]:9000", False, "http://[::1]:9000"),
        ],
    )
    def test_scheme_of_an_endpoint_decides(self, endpoint: str, secure: bool, url: str) -> None:
        connection = ObjectStoreConnectionConfiguration(
            endpoint=endpoint, secure=secure, access_key="a", secret_key=SecretStr("s")
        )
        assert connection.url == url

    def test_are_no_keys_of_a_dict(self) -> None:
        with pytest.raises(TypeError, match=r"unhashable type: 'ObjectStoreConfiguration'"):
            hash(ObjectStoreConfiguration.of(config()))

    def test_any_mapping_is_one(self) -> None:
        given = types.MappingProxyType(config(connection=types.MappingProxyType(S3)))

        assert ObjectStoreConfiguration.of(given) == ObjectStoreConfiguration.of(config())

    def test_are_frozen(self) -> None:
        found = ObjectStoreConfiguration.of(config())
        for model, field in ((found, "root_bucket"), (found.connection, "endpoint")):
            with pytest.raises(ValidationError, match=r"frozen"):
                setattr(model, field, "other")

    def test_dict_of_the_caller_is_left_alone(self) -> None:
        given = config(framework=None)
        before = copy.deepcopy(given)
        ObjectStoreConfiguration.of(given)
        assert given == before


class TestOtherFrameworks:
    @pytest.mark.parametrize("connection", [{"root": "/tape", "durable": True}, S3, {}])
    def test_have_the_dict_that_was_given(self, connection: dict[str, Any]) -> None:
        found = ObjectStoreConfiguration.of(config(framework="tape", connection=connection))

        assert type(found.connection) is dict
        assert found.connection == connection
        again = pickle.loads(pickle.dumps(found))
        assert type(again.connection) is dict
        assert again == found
        assert found.model_dump()["connection"] == connection

    def test_have_the_model_that_was_given(self) -> None:
        model = FilesystemConnectionConfiguration(root=Path("/tape"))
        found = ObjectStoreConfiguration.of(config(framework="tape", connection=model))

        assert found.connection is model

    def test_have_a_dict_of_their_own(self) -> None:
        given = {"drive": 7}
        found = ObjectStoreConfiguration.of(config(framework="tape", connection=given))
        given["drive"] = 8

        assert found.connection == {"drive": 7}

    def test_have_nothing_else(self) -> None:
        said = refused(framework="tape", connection=SECRET)
        assert said == "connection: is a dict"


class TestPaths:
    @pytest.mark.parametrize("field", ["root", "ca_bundle"])
    def test_are_meant_from_where_they_are_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        more: dict[str, Any] = {"framework": "filesystem"} if field == "root" else {}
        connection = {} if more else S3

        def found(given: object) -> object:
            changes = {"connection": {**connection, field: given}, **more}
            return getattr(ObjectStoreConfiguration.of(config(**changes)).connection, field)

        assert found("deep/down") == found(Path("deep/down")) == tmp_path / "deep/down"
        assert found("~/mine") == found(Path("~/mine")) == tmp_path / "home/mine"
        assert found("/away") == Path("/away")

    def test_store_stays_where_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        store = ObjectStore(config(framework="filesystem", connection={"root": "mine"}))
        monkeypatch.chdir("elsewhere")
        with store:
            store.put_object_v2(b"content", "key")
        with pickle.loads(pickle.dumps(store)) as again:
            assert again.head_object("key").size == 7

        assert (tmp_path / "mine").is_dir()
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_working_directory_that_is_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tmp_path.rmdir()
        try:
            said = refused(framework="filesystem", connection={"root": "mine"})
        finally:
            tmp_path.mkdir()
        assert said.startswith("connection.root: ")


class TestErrors:
    @pytest.mark.parametrize("field", ["endpoint", "access_key", "secret_key"])
    def test_missing_field_of_the_connection_is_named(self, field: str) -> None:
        connection = {name: value for name, value in S3.items() if name != field}
        assert f"connection.{field}: is missing" in refused(connection=connection)

    def test_missing_bucket_is_named(self) -> None:
        with pytest.raises(StoreConfigurationError, match=r"^root_bucket: is missing$"):
            ObjectStoreConfiguration.of({"connection": S3})

    def test_all_problems_are_named_at_once(self) -> None:
        with pytest.raises(StoreConfigurationError) as caught:
            ObjectStoreConfiguration.of({"connection": {}, "secert": SECRET})
        assert {field for field, _ in caught.value.problems} == {
            "root_bucket", "connection.endpoint", "connection.access_key",
            "connection.secret_key", "secert",
        }  # fmt: skip

    def test_unknown_fields_are_refused_with_the_near_miss(self) -> None:
        assert "root_buket: is not known; did you mean 'root_bucket'?" in refused(root_buket="b")
        said = refused(connection=S3 | {"secret_kye": SECRET})
        assert "connection.secret_kye: is not known; did you mean 'secret_key'?" in said
        assert "there are access_key, ca_bundle" in refused(connection=S3 | {"qqq": 1})

    def test_field_of_another_framework_is_refused(self) -> None:
        said = refused(framework="filesystem", connection={"root": "r", "secret_key": SECRET})
        assert said.startswith("connection.secret_key: is not known")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"root_bucket": ""}, "root_bucket"),
            ({"root_bucket": 7}, "root_bucket"),
            ({"options": SECRET}, "options"),
            ({"connection": SECRET}, "connection"),
            ({"connection": [SECRET]}, "connection"),
            ({"connection": S3 | {"secret_key": [SECRET]}}, "connection.secret_key"),
            ({"connection": S3 | {"secret_key": ""}}, "connection.secret_key"),
            ({"connection": S3 | {"session_token": {TOKEN: 1}}}, "connection.session_token"),
            ({"connection": S3 | {"secure": SECRET}}, "connection.secure"),
            ({"connection": S3 | {"endpoint": ""}}, "connection.endpoint"),
            ({"connection": {"root": ["x"]}, "framework": "filesystem"}, "connection.root"),
            ({"connection": {"root": ""}, "framework": "filesystem"}, "connection.root"),
            ({"connection": {"root": " "}, "framework": "filesystem"}, "connection.root"),
            ({"connection": {"root": "a\0b"}, "framework": "filesystem"}, "connection.root"),
            (
                {"connection": {"root": "~nobody-here/x"}, "framework": "filesystem"},
                "connection.root",
            ),
            ({"connection": S3 | {"ca_bundle": ""}}, "connection.ca_bundle"),
            ({"connection": S3 | {"endpoint": f"http://me:{SECRET}@host"}}, "connection.endpoint"),
            ({"connection": S3 | {"endpoint": f"me:{SECRET}@host"}}, "connection.endpoint"),
            ({"connection": S3 | {"endpoint": f"http://host?key={SECRET}"}}, "connection.endpoint"),
            ({"connection": S3 | {"endpoint": "ftp://host"}}, "connection.endpoint"),
            ({"connection": S3 | {"endpoint": "a host"}}, "connection.endpoint"),
            ({"connection": S3 | {"endpoint": "host:99999"}}, "connection.endpoint"),
            ({"connection": S3 | {"endpoint": "::1"}}, "connection.endpoint"),
            ({"connection": S3 | {"endpoint": "http://"}}, "connection.endpoint"),
            ({"connection": S3 | {7: SECRET}}, "connection"),
            ({"connection": {7: SECRET}, "framework": "tape"}, "connection"),
            ({"root_bucket": "a/b"}, "root_bucket"),
            ({"root_bucket": "a b"}, "root_bucket"),
        ],
    )
    def test_wrong_value_is_named_by_its_field_and_not_shown(
        self, changes: dict[str, Any], field: str
    ) -> None:
        assert refused(**changes).partition(":")[0] == field

    def test_text_says_what_to_give(self) -> None:
        said = refused(connection=S3 | {"endpoint": "me@host"})
        assert said == (
            "connection.endpoint: it must be a URL such as https://s3.example.org:9000, "
            "without credentials or a query"
        )
        assert "root_bucket: 'a/b' cannot be a bucket: letters" in refused(root_bucket="a/b")
        assert refused(connection={1: SECRET}) == "connection: the name of a field is text, not int"
        with pytest.raises(StoreConfigurationError, match=r"^the name of a field is text, not int"):
            ObjectStoreConfiguration.of({1: 2})

    @pytest.mark.parametrize("endpoint", ["http://h", "HTTP://h:9000"])
    @pytest.mark.parametrize("secure", [True, "true"])
    def test_http_is_not_secure(self, endpoint: str, secure: object) -> None:
        said = refused(connection={"secure": secure, **S3, "endpoint": endpoint})
        assert said.startswith("connection.secure: is true, but the endpoint says http: ")

    def test_is_an_error_of_ours_and_a_value_error(self) -> None:
        assert issubclass(StoreConfigurationError, (ObjectClerkConfigurationException,))
        assert issubclass(StoreConfigurationError, ValueError)

    def test_travels_between_processes(self) -> None:
        with pytest.raises(StoreConfigurationError) as caught:
            ObjectStoreConfiguration.of({})
        again = pickle.loads(pickle.dumps(caught.value))
        assert str(again) == str(caught.value)
        assert again.problems == caught.value.problems

    def test_near_miss(self) -> None:
        assert near_miss("minoi", ["minio", "boto3"]) == "did you mean 'minio'?"
        assert near_miss("x", ["minio", "boto3"]) == "there are boto3, minio"


class TestSecrets:
    @pytest.fixture
    def model(self) -> ObjectStoreConfiguration:
        connection = S3 | {"session_token": TOKEN}
        return ObjectStoreConfiguration.of(config(connection=connection))

    def test_are_not_shown(self, model: ObjectStoreConfiguration) -> None:
        connection = model.connection
        assert isinstance(connection, ObjectStoreConnectionConfiguration)
        store = ObjectStore(model)
        shown = [
            text
            for each in (model, connection, store, store.config)
            for text in (repr(each), str(each), f"{each}")
        ]
        shown += [str(each.model_dump()) for each in (model, connection)]
        shown += [each.model_dump_json() for each in (model, connection)]
        shown += [repr(pickle.loads(pickle.dumps(model))), repr(copy.deepcopy(model))]
        for text in shown:
            assert SECRET not in text
            assert TOKEN not in text

    def test_of_other_adapters_are_not_shown_either(self) -> None:
        model = ObjectStoreConfiguration.of(
            config(framework="tape", connection={"password": SECRET}, options={"token": TOKEN})
        )
        for text in (repr(model), str(model)):
            assert SECRET not in text
            assert TOKEN not in text

    def test_are_there_for_those_who_need_them(self, model: ObjectStoreConfiguration) -> None:
        connection = model.connection
        assert isinstance(connection, ObjectStoreConnectionConfiguration)
        assert connection.secret_key.get_secret_value() == SECRET
        assert connection.session_token is not None
        assert connection.session_token.get_secret_value() == TOKEN

    def test_survive_pickling(self, model: ObjectStoreConfiguration) -> None:
        again = pickle.loads(pickle.dumps(model))
        assert again == model
        assert again.connection.secret_key.get_secret_value() == SECRET

    def test_are_stars_in_json(self, model: ObjectStoreConfiguration) -> None:
        assert json.loads(model.model_dump_json())["connection"]["secret_key"] == "**********"


class NoClient(ObjectStoreComponentFactory):
    def _create_client(self) -> ObjectStoreClient:
        raise NotImplementedError


class TestSeveralStores:
    @pytest.fixture(autouse=True)
    def _adapter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adapters_package, "_registered", {"tape": NoClient})

    def test_do_not_know_of_each_other(self) -> None:
        first = ObjectStore(config(framework="tape", root_bucket="first", connection={"n": 1}))
        second = ObjectStore(config(framework="tape", root_bucket="second", connection={"n": 2}))

        assert (first.root_bucket, first.config.connection) == ("first", {"n": 1})
        assert (second.root_bucket, second.config.connection) == ("second", {"n": 2})

    def test_may_be_made_of_one_dict_that_is_changed(self) -> None:
        given = config(framework="tape")
        first = ObjectStore(given)
        given["root_bucket"] = "second"
        second = ObjectStore(given)

        assert (first.root_bucket, second.root_bucket) == ("raw", "second")

    def test_make_no_client_before_it_is_needed(self) -> None:
        store = ObjectStore(config(framework="tape"))
        with pytest.raises(NotImplementedError):
            _ = store.client
