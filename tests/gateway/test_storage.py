"""The store behind the gateway: what storage.yaml may say, and how it is refused."""

from __future__ import annotations

import logging
import textwrap
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ObjectClerkConfigurationException
from object_clerk.gateway import storage
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.storage import NOT_OFFERED, TYPES, open_store
from object_clerk.store import (
    FilesystemConnectionConfiguration,
    Framework,
    ObjectStore,
    ObjectStoreConnectionConfiguration,
)
from object_clerk.store import adapters as adapters_package
from object_clerk.store.adapters import frameworks, register
from object_clerk.store.adapters.memory import MemoryFactory
from tests.servers.common import free_ports

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "h0kusp0kus-s3cret"

S3 = """
stores:
  s3:
    type: AsyncBucketStore
    config:
      bucket_name: ${S3_BUCKET}
      endpoint_url: ${S3_ENDPOINT}
      s3_access_key: ${S3_ACCESS_KEY}
      s3_secret_key: ${S3_SECRET_KEY}
main: s3
"""
VARIABLES = {
    "S3_BUCKET": "raw",
    "S3_ENDPOINT": "http://localhost:9000",
    "S3_ACCESS_KEY": "me",
    "S3_SECRET_KEY": SECRET,
}
MEMORY = "stores: {m: {type: DictStore}}\nmain: m\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the YAML will be, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "storage.yaml"


def opened(
    file: Path, text: str, variables: dict[str, str | None] | None = None, /, **settings: Any
) -> ObjectStore:
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    given = GatewaySettings(storage_config=file.relative_to(file.parent), **settings)
    return open_store(given, {} if variables is None else variables)


def refused(
    file: Path, text: str, variables: dict[str, str | None] | None = None, /, **settings: Any
) -> str:
    """What is said of a file that is wrong."""
    with pytest.raises(ObjectClerkConfigurationException) as caught:
        opened(file, text, variables, **settings)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def one(sort: str, config: str = "{}") -> str:
    return f"stores: {{here: {{type: {sort}, config: {config}}}}}\nmain: here\n"


class TestTypes:
    @pytest.mark.parametrize("sort", ["memory", "DictStore", "MemoryStore"])
    def test_memory(self, file: Path, sort: str) -> None:
        with opened(file, one(sort)) as store:
            assert store.config.framework is Framework.MEMORY
            store.put_object_v2(b"data", "key")
            with store.get_object("key") as found:
                assert found.body.read() == b"data"

    @pytest.mark.parametrize(
        "sort",
        [
            "filesystem",
            "FilesystemStore",
            "AsyncFilesystemStore",
            "SafeFilesystemStore",
            "AsyncSafeFilesystemStore",
        ],
    )
    @pytest.mark.parametrize("field", ["root", "root_path"])
    def test_filesystem(self, file: Path, sort: str, field: str) -> None:
        with opened(file, one(sort, f"{{{field}: data, durable: no}}")) as store:
            connection = store.config.connection
            assert isinstance(connection, FilesystemConnectionConfiguration)
            assert connection.root == file.parent / "data"
            assert not connection.durable
            assert not connection.root.exists()
            store.put_object_v2(b"", "a/b")
            assert [each.key for each in store.list_objects()] == ["a/b"]

    @pytest.mark.parametrize("sort", ["s3", "BucketStore", "AsyncBucketStore"])
    def test_s3(self, file: Path, sort: str) -> None:
        with opened(file, S3.replace("AsyncBucketStore", sort), {**VARIABLES}) as store:
            connection = store.config.connection
            assert store.config.framework is Framework.BOTO3
            assert store.root_bucket == "raw"
            assert isinstance(connection, ObjectStoreConnectionConfiguration)
            assert connection.url == "http://localhost:9000"
            assert connection.access_key == "me"
            assert connection.secret_key.get_secret_value() == SECRET

    def test_s3_in_full(self, file: Path) -> None:
        more = """
              region: here
              session_token: ${TOKEN:-t0ken}
              ca_bundle: ca.pem
              options: {retry_deadline: 60, client_config: {read_timeout: 5}}
        """
        lines = textwrap.indent(textwrap.dedent(more), "      ")
        with opened(file, S3.replace("\nmain:", f"{lines}\nmain:"), {**VARIABLES}) as store:
            connection = store.config.connection
            assert isinstance(connection, ObjectStoreConnectionConfiguration)
            assert connection.region == "here"
            assert connection.session_token is not None
            assert connection.session_token.get_secret_value() == "t0ken"
            assert connection.ca_bundle == file.parent / "ca.pem"
            assert store.config.options == {
                "retry_deadline": 60,
                "client_config": {"read_timeout": 5},
            }

    def test_nothing_is_asked_of_s3(self, file: Path) -> None:
        nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
        with opened(file, S3, {**VARIABLES, "S3_ENDPOINT": nobody}) as store:
            assert store.client.root_bucket == "raw"

    def test_the_fields_of_a_framework(self, file: Path) -> None:
        connection = f"{{endpoint: 'h:1', access_key: me, secret_key: {SECRET}, secure: true}}"
        text = one("minio", f"{{root_bucket: raw, connection: {connection}}}")
        with opened(file, text) as store:
            assert store.config.framework is Framework.MINIO
            assert isinstance(store.config.connection, ObjectStoreConnectionConfiguration)
            assert store.config.connection.url == "https://h:1"

    def test_a_registered_adapter(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adapters_package, "_registered", {})

        class Tape(MemoryFactory):
            pass

        register("tape", Tape)
        with opened(file, one("tape", "{root_bucket: reel, connection: {}}")) as store:
            assert store.config.framework == "tape"
            assert store.root_bucket == "reel"
        said = refused(file, one("tape", "{root_bucket: reel, framework: s3}"))
        assert said == "storage.yaml: stores.here.config.framework: is what type says"

    def test_every_framework_may_be_named(self) -> None:
        assert set(frameworks()) >= set(map(str, Framework))
        assert not NOT_OFFERED & {*TYPES, *frameworks()}


class TestVariables:
    def test_of_the_environment_and_below_it_of_the_file(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("S3_BUCKET", "from-environment")
        file.with_name(".env").write_text(
            "S3_BUCKET=from-file\nS3_ENDPOINT=http://h\nS3_ACCESS_KEY=me\nS3_SECRET_KEY=no\n",
            encoding="utf-8",
        )
        file.write_text(S3, encoding="utf-8")
        with open_store(GatewaySettings(storage_config=file)) as store:
            assert store.root_bucket == "from-environment"
            assert isinstance(store.config.connection, ObjectStoreConnectionConfiguration)
            assert store.config.connection.url == "http://h"

    def test_inside_of_a_string(self, file: Path) -> None:
        text = one("filesystem", "{root_path: '${DISK:-disk}/$$x'}")
        with opened(file, text) as store:
            assert isinstance(store.config.connection, FilesystemConnectionConfiguration)
            assert store.config.connection.root == file.parent / "disk" / "$x"

    @pytest.mark.parametrize("value", [None, ""])
    def test_one_that_is_missing(self, file: Path, value: str | None) -> None:
        said = refused(file, S3, {**VARIABLES, "S3_BUCKET": value})
        assert said == (
            "storage.yaml: stores.s3.config.bucket_name: the variable S3_BUCKET is not set"
        )

    def test_those_of_other_stores_are_not_needed(self, file: Path) -> None:
        text = S3.replace("main: s3", "  m: {type: DictStore}\nmain: ${MAIN:-m}")
        with opened(file, text) as store:
            assert store.config.framework is Framework.MEMORY
        assert "S3_BUCKET is not set" in refused(file, text, {"MAIN": "s3"})


class TestChoice:
    def test_storage_name_beats_main(self, file: Path) -> None:
        text = S3.replace("main: s3", "  m: {type: DictStore}\nmain: s3")
        with opened(file, text, storage_name="m") as store:
            assert store.config.framework is Framework.MEMORY

    def test_storage_name_needs_no_main(self, file: Path) -> None:
        with opened(file, "stores: {m: {type: DictStore}}", storage_name="m") as store:
            assert store.config.framework is Framework.MEMORY

    def test_an_unknown_one(self, file: Path) -> None:
        assert refused(file, MEMORY, storage_name="n") == (
            "storage.yaml: STORAGE_NAME: there is no store 'n' in stores; there are m"
        )

    def test_without_a_file(self) -> None:
        with pytest.raises(
            ObjectClerkConfigurationException, match=r"^STORAGE_NAME: names a store"
        ):
            open_store(GatewaySettings(storage_name="m"))

    def test_no_file_is_memory_with_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, storage.__name__):
            store = open_store(GatewaySettings())
        store.close()
        assert store.config.framework is Framework.MEMORY
        assert "STORAGE_CONFIG is not set" in caplog.text

    def test_memory_is_not_for_several_workers(self, file: Path) -> None:
        assert refused(file, MEMORY, workers=2).startswith(
            "storage.yaml: stores.m.type: each of the 2 WORKERS would have a store in memory"
        )
        with pytest.raises(
            ObjectClerkConfigurationException, match=r"^STORAGE_CONFIG: each of the"
        ):
            open_store(GatewaySettings(workers=2))


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("stores: {m: {type: DictStore}}", "main: is missing"),
            ("stores: {m: {type: DictStore}}\nmain:", "main: is missing"),
            ("main: m", "stores: is missing"),
            ("", "stores: is missing"),
            ("stores: [m]\nmain: m", "stores: is missing, or no mapping"),
            ("stores: {m: DictStore}\nmain: m", "stores.m: is no mapping"),
            ("stores: {m: {config: {}}}\nmain: m", "stores.m.type: is missing"),
            ("stores: {m: {type: [a]}}\nmain: m", "stores.m.type: is missing"),
            ("stores: {m: {type: DictStore}}\nman: m", "man: is not known; did you mean 'main'?"),
            (
                "stores: {night: {type: DictStore}}\nmain: nigth",
                "main: there is no store 'nigth' in stores; did you mean 'night'?",
            ),
            (
                "stores: {m: {type: DictStore, confg: {}}}\nmain: m",
                "stores.m.confg: is not known; did you mean 'config'?",
            ),
            (
                "stores: {m: {type: AsyncGzipStore, base: x}}\nmain: m",
                "stores.m.base: is not offered",
            ),
            (one("DictStore", "[a]"), "stores.here.config: is no mapping"),
            (one("DictStore", "{root: a}"), "stores.here.config.root: is not known"),
            (
                one("AsyncFilesystemStor"),
                "stores.here.type: 'AsyncFilesystemStor' is not known; "
                "did you mean 'AsyncFilesystemStore'?",
            ),
            (one("AsyncFilesystemStore"), "stores.here.config.root_path: is missing"),
            (one("filesystem", "{root_path: ''}"), "stores.here.config.root_path: is missing"),
            (one("filesystem", "{root_path: [a]}"), "stores.here.config.root_path: input is not"),
            (
                one("filesystem", "{root_path: a, durable: perhaps}"),
                "stores.here.config.durable: input should be a valid boolean",
            ),
            (one("filesystem", "{root_path: a, root: b}"), "stores.here.config.root: is given"),
            (one("minio"), "stores.here.config.root_bucket: is missing"),
        ],
    )
    def test_the_field_is_named(self, file: Path, text: str, said: str) -> None:
        assert refused(file, text).startswith(f"storage.yaml: {said}")

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("bucket_name:", "#", "bucket_name: is missing"),
            ("s3_secret_key:", "#", "s3_secret_key: is missing"),
            ("endpoint_url:", "endpoint:", "endpoint: is not known; did you mean 'endpoint_url'?"),
            ("s3_secret_key:", "botocore_config: {}\n      #", "botocore_config: is not offered"),
            ("s3_secret_key: ", "s3_secret_key: [x]\n      #", "s3_secret_key: input should be"),
            ("main:", "      region: 3\nmain:", "region: input should be a valid string"),
            (
                "main:",
                "      options: {retry_dedline: 3}\nmain:",
                "options.retry_dedline: is not known; did you mean 'retry_deadline'?",
            ),
        ],
    )
    def test_the_field_of_s3_is_named(self, file: Path, old: str, new: str, said: str) -> None:
        found = refused(file, S3.replace(old, new), {**VARIABLES})
        assert found.startswith(f"storage.yaml: stores.s3.config.{said}")

    def test_several_at_once(self, file: Path) -> None:
        found = refused(file, S3, {**VARIABLES, "S3_ENDPOINT": SECRET + "://x", "S3_BUCKET": "B/"})
        assert "stores.s3.config.endpoint_url: it must be a URL" in found
        assert "stores.s3.config.bucket_name: " in found

    def test_a_bad_option_of_s3(self, file: Path) -> None:
        found = refused(
            file,
            S3.replace("main:", f"      options: {{retry_delay: {SECRET}}}\nmain:"),
            {**VARIABLES},
        )
        assert found == (
            "storage.yaml: stores.s3.config: argument retry_delay must be a number, at least 0"
        )

    @pytest.mark.parametrize("sort", sorted(NOT_OFFERED))
    def test_other_types_of_the_original(self, file: Path, sort: str) -> None:
        found = refused(file, one(sort))
        assert found.startswith(f"storage.yaml: stores.here.type: {sort} is not offered here; ")
        assert all(name in found for name in TYPES)

    def test_bad_yaml(self, file: Path) -> None:
        found = refused(file, f"stores:\n  a: [\nsecret: {{{SECRET}")
        assert found.startswith("STORAGE_CONFIG: storage.yaml, line ")
        assert found.endswith("is not YAML in UTF-8")

    def test_a_missing_file(self, file: Path) -> None:
        with pytest.raises(ObjectClerkConfigurationException) as caught:
            open_store(GatewaySettings(storage_config=file))
        assert str(caught.value) == f"STORAGE_CONFIG: {file} leads to no file"

    def test_a_directory(self, file: Path) -> None:
        file.mkdir()
        with pytest.raises(ObjectClerkConfigurationException, match="leads to no file"):
            open_store(GatewaySettings(storage_config=file))
