"""Where the configuration of a store comes from, and what is said if it is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from object_clerk import ClerkConfig, ObjectClerkTypeException, config
from object_clerk.store import ObjectStore, ObjectStoreConfiguration, StoreConfigurationError
from object_clerk.store import sources as sources_module
from object_clerk.store.documents import filled_in, read_directory
from object_clerk.store.sources import CLERK_VARIABLES, FIELDS, find_configuration

SECRET = "h0kusp0kus-s3cret"

MINIO = """
    data_store:
      framework: minio
      root_bucket: raw
      connection:
        endpoint: localhost:9000
        access_key: file
        secret_key: from-the-file
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings of the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIG_PATH", raising=False)
    nowhere = (".configs", str(tmp_path / "etc-config"))
    monkeypatch.setattr(sources_module, "DEFAULT_DIRECTORIES", nowhere)
    return tmp_path


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


def find(name: str | None = None, **environ: str) -> dict[str, Any]:
    return find_configuration(name, environ)


class TestFiles:
    def test_section_is_returned_as_it_stands(self) -> None:
        write(".configs/store.yaml", MINIO)

        found = find()

        assert found == {
            "framework": "minio",
            "root_bucket": "raw",
            "connection": {
                "endpoint": "localhost:9000",
                "access_key": "file",
                "secret_key": "from-the-file",
            },
        }
        assert ObjectStoreConfiguration.of(found).root_bucket == "raw"

    def test_config_path_beats_the_directories_that_are_tried(self) -> None:
        write(".configs/store.yaml", MINIO)
        write("other/store.yml", "data_store: {framework: memory, root_bucket: other}")

        assert find(CONFIG_PATH="other")["root_bucket"] == "other"

    def test_second_directory_counts_if_the_first_is_not_there(self) -> None:
        write("etc-config/store.yaml", MINIO)
        assert find()["root_bucket"] == "raw"
        Path(".configs").mkdir()
        with pytest.raises(StoreConfigurationError, match=r"Configuration not found.*configs"):
            find()

    def test_files_are_merged_deeply_and_the_later_path_wins(self) -> None:
        write("c/a/1.yaml", "data_store: {root_bucket: first, connection: {root: here}}")
        write("c/a/2.yml", "data_store: {root_bucket: second, connection: {durable: false}}")
        write("c/b.yaml", "data_store: {framework: filesystem}\nother: [1]")
        write("c/c.txt", "data_store: {root_bucket: no-yaml}")
        write("c/d.yaml", "")

        assert find(CONFIG_PATH="c") == {
            "framework": "filesystem",
            "root_bucket": "second",
            "connection": {"root": "here", "durable": False},
        }

    def test_values_that_are_no_mappings_replace_each_other(self) -> None:
        write("c/1.yaml", "a: {list: [1, 2], gone: {x: 1}}")
        write("c/2.yaml", "a: {list: [3], gone: null}")

        assert read_directory(Path("c")) == {"a": {"list": [3], "gone": None}}

    def test_volume_of_kubernetes_is_read_once(self) -> None:
        """There the files are links into ``..data``, a link to the directory of one version."""
        write("c/..2026_11_21/store.yaml", "data_store: {root_bucket: new, framework: memory}")
        write("c/..2026_11_20/old.yaml", "data_store: {options: {a: 1}}")
        Path("c/..data").symlink_to("..2026_11_21")
        Path("c/store.yaml").symlink_to("..data/store.yaml")
        write("c/.#store.yaml", "not: [yaml")

        assert find(CONFIG_PATH="c") == {"root_bucket": "new", "framework": "memory"}

    def test_loops_of_links_end(self) -> None:
        write("c/deep/1.yaml", "data_store: {root_bucket: b}")
        Path("c/deep/up").symlink_to("..")
        Path("c/self").symlink_to(".")

        assert find(CONFIG_PATH="c") == {"root_bucket": "b"}

    def test_links_to_directories_elsewhere_are_followed(self) -> None:
        write("elsewhere/1.yaml", "data_store: {root_bucket: b}")
        Path("c").mkdir()
        Path("c/link").symlink_to("../elsewhere")

        assert find(CONFIG_PATH="c") == {"root_bucket": "b"}

    def test_files_are_read_afresh(self) -> None:
        write("c/1.yaml", "data_store: {root_bucket: before}")
        assert find(CONFIG_PATH="c")["root_bucket"] == "before"
        write("c/1.yaml", "data_store: {root_bucket: after}")
        assert find(CONFIG_PATH="c")["root_bucket"] == "after"

    def test_config_path_that_is_no_directory_is_an_error(self) -> None:
        write("file.yaml", MINIO)
        for path in ("missing", "file.yaml"):
            with pytest.raises(StoreConfigurationError, match=rf"CONFIG_PATH is '{path}'"):
                find(CONFIG_PATH=path, OBJECT_STORE_ROOT_BUCKET="b")

    def test_numbers_as_names_become_text(self) -> None:
        write("c/1.yaml", "data_stores: {2026: {root_bucket: b, connection: {1: 2}}}")

        assert find("2026", CONFIG_PATH="c") == {"root_bucket": "b", "connection": {"1": 2}}


class TestBadFiles:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (f"data_store:\n  secret_key: '{SECRET}\n", 2),
            (f"a: 1\n{SECRET}: [1\nb: 2", 3),
            (f"a: !!python/object:{SECRET} {{}}", 1),
            (f"\n\na: *{SECRET}", 3),
            (f"a: 1\n{SECRET}: \x07", 2),
            (f"--- {{a: {SECRET}}}\n--- {{b: 2}}", 2),
        ],
        ids=["quote", "bracket", "tag", "alias", "control", "two documents"],
    )
    def test_error_names_file_and_line_but_not_the_text(self, text: str, line: int) -> None:
        write("c/sub/bad.yaml", text)

        with pytest.raises(StoreConfigurationError) as caught:
            find(CONFIG_PATH="c")

        found = re.search(r"c/sub/bad\.yaml, line (\d+), is not YAML", str(caught.value))
        assert found is not None
        assert abs(int(found[1]) - line) <= 1  # an open quote is noticed on the next line
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize(
        "content",
        [b"a: \xff", b"a: 2026-99-99", b"a: &a [*a]", b"[" * 5000],
        ids=["bytes", "date", "endless", "deep"],
    )
    def test_what_yaml_cannot_make_values_of_is_an_error(self, content: bytes) -> None:
        write("c/bad.yaml", "").write_bytes(content)
        with pytest.raises(StoreConfigurationError, match=r"c/bad\.yaml.* is not YAML"):
            find(CONFIG_PATH="c")

    def test_list_is_no_mapping(self) -> None:
        write("c/bad.yaml", f"- {SECRET}")
        with pytest.raises(StoreConfigurationError, match=r"bad\.yaml is no mapping") as caught:
            find(CONFIG_PATH="c")
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "name"),
        [("data_store: text", None), ("data_stores: [1]", "a"), ("data_stores: {a: 1}", "a")],
    )
    def test_section_must_be_a_mapping(self, text: str, name: str | None) -> None:
        write("c/1.yaml", text)
        with pytest.raises(StoreConfigurationError, match=r"data_store.*: is no mapping"):
            find(name, CONFIG_PATH="c")

    def test_link_that_leads_nowhere_is_an_error(self) -> None:
        Path("c").mkdir()
        Path("c/gone.yaml").symlink_to("nowhere")
        with pytest.raises(StoreConfigurationError, match=r"c/gone\.yaml leads to no file"):
            find(CONFIG_PATH="c")

    def test_pipe_does_not_hold_us_up(self) -> None:
        Path("c").mkdir()
        os.mkfifo("c/pipe.yaml")
        with pytest.raises(StoreConfigurationError, match=r"c/pipe\.yaml leads to no file"):
            find(CONFIG_PATH="c")

    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_what_cannot_be_read_is_an_error(
        self, what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("c/sub/1.yaml", "a: 1")
        real_scandir, real_text = os.scandir, Path.read_text

        def scandir(path: Any) -> Any:
            if what == "directory" and str(path).endswith("sub"):
                raise PermissionError(13, "Permission denied", str(path))
            return real_scandir(path)

        def read_text(path: Path, *args: Any, **options: Any) -> str:
            if what == "file":
                raise PermissionError(13, "Permission denied", str(path))
            return real_text(path, *args, **options)

        monkeypatch.setattr(os, "scandir", scandir)
        monkeypatch.setattr(Path, "read_text", read_text)
        with pytest.raises(StoreConfigurationError, match=r"c/sub.* cannot be read: Permission"):
            find(CONFIG_PATH="c")


class TestPlaceholders:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("${HERE}", "here"),
            ("a-${HERE}-${HERE}", "a-here-here"),
            ("${GONE:-other}", "other"),
            ("${GONE:-}", ""),
            ("${EMPTY:-other}", "other"),
            ("${HERE:-other}", "here"),
            ("$${HERE}", "${HERE}"),
            ("$$$$", "$$"),
            ("$HERE costs 5$", "$HERE costs 5$"),
            ("${ODD}", "${HERE} $$ #: {["),
        ],
    )
    def test_strings(self, text: str, expected: str) -> None:
        variables = {"HERE": "here", "EMPTY": "", "ODD": "${HERE} $$ #: {["}
        assert filled_in(text, "x", variables) == expected

    def test_all_strings_of_a_section_and_nothing_else(self) -> None:
        write(
            "c/1.yaml",
            """
            ${GONE}: elsewhere
            others: ${GONE}
            data_stores: {other: {root_bucket: "${GONE}"}}
            data_store:
              root_bucket: b-${HERE}
              options: {list: [1, "${HERE}", {deep: "${HERE}"}], none: null, "${GONE}": true}
            """,
        )

        assert find(CONFIG_PATH="c", HERE="here") == {
            "root_bucket": "b-here",
            "options": {"list": [1, "here", {"deep": "here"}], "none": None, "${GONE}": True},
        }

    def test_value_of_a_variable_is_no_syntax(self) -> None:
        write("c/1.yaml", "data_store: {root_bucket: b, connection: {secret_key: '${KEY}'}}")
        hostile = "x\nroot_bucket: other, }: ['"

        found = find(CONFIG_PATH="c", KEY=hostile)

        assert found == {"root_bucket": "b", "connection": {"secret_key": hostile}}

    @pytest.mark.parametrize("value", [None, ""])
    def test_variable_that_is_not_set_is_named_with_its_field(self, value: str | None) -> None:
        write("c/1.yaml", f"data_store: {{connection: {{secret_key: '{SECRET}${{MY_KEY}}'}}}}")
        environ = {"CONFIG_PATH": "c"} | ({} if value is None else {"MY_KEY": value})

        with pytest.raises(StoreConfigurationError) as caught:
            find_configuration(None, environ)

        expected = "data_store.connection.secret_key: the variable MY_KEY is not set"
        assert expected in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("text", ["${", "${A", "${A-b}", "${1}", "${}", "${A:b}"])
    def test_what_only_looks_like_one_is_an_error(self, text: str) -> None:
        with pytest.raises(StoreConfigurationError, match=r"^x\.0: has a '\$\{' that is no"):
            filled_in([text], "x", {"A": "a"})

    def test_dotenv_may_hold_the_variable(self) -> None:
        write(".env", "BUCKET_OF_FILE=from-dotenv\n")
        write("c/1.yaml", "data_store: {root_bucket: '${BUCKET_OF_FILE}'}")

        assert find(CONFIG_PATH="c") == {"root_bucket": "from-dotenv"}


class TestVariables:
    def test_all_of_an_s3_store(self) -> None:
        found = find(
            OBJECT_STORE_FRAMEWORK="boto3",
            OBJECT_STORE_ROOT_BUCKET="raw",
            OBJECT_STORE_ENDPOINT="s3.example.org:9000",
            OBJECT_STORE_ACCESS_KEY="a",
            OBJECT_STORE_SECRET_KEY="s",
            OBJECT_STORE_SESSION_TOKEN="t",
            OBJECT_STORE_SECURE="Yes",
            OBJECT_STORE_REGION="r",
            OBJECT_STORE_CA_BUNDLE="ca.pem",
        )

        assert found == {
            "framework": "boto3",
            "root_bucket": "raw",
            "connection": {
                "endpoint": "s3.example.org:9000",
                "access_key": "a",
                "secret_key": "s",
                "session_token": "t",
                "secure": True,
                "region": "r",
                "ca_bundle": "ca.pem",
            },
        }
        assert ObjectStoreConfiguration.of(found).framework == "boto3"

    def test_all_of_a_directory(self) -> None:
        found = find(
            OBJECT_STORE_FRAMEWORK="filesystem",
            OBJECT_STORE_ROOT_BUCKET="raw",
            OBJECT_STORE_ROOT="objects",
            OBJECT_STORE_DURABLE="0",
            # What an ObjectClerk in the same process needs.
            OBJECT_STORE_ACCESS_KEY="a",
            OBJECT_STORE_SECRET_KEY="s",
            OBJECT_STORE_HOST="h",
        )

        assert found["connection"] == {"root": "objects", "durable": False}
        assert ObjectStoreConfiguration.of(found).framework == "filesystem"

    def test_memory_has_no_connection(self) -> None:
        found = find(
            OBJECT_STORE_FRAMEWORK="memory", OBJECT_STORE_ROOT_BUCKET="b", OBJECT_STORE_REGION="r"
        )
        assert found == {"framework": "memory", "root_bucket": "b"}

    def test_adapter_of_others_gets_all_that_there_is(self) -> None:
        found = find(
            OBJECT_STORE_FRAMEWORK="tape", OBJECT_STORE_ROOT_BUCKET="b", OBJECT_STORE_ROOT="r",
            OBJECT_STORE_REGION="x",
        )  # fmt: skip
        assert found["connection"] == {"root": "r", "region": "x"}

    def test_beat_the_files_field_by_field(self) -> None:
        write(".configs/store.yaml", MINIO)

        found = find(OBJECT_STORE_SECRET_KEY="new", OBJECT_STORE_ROOT_BUCKET="other")

        assert found["root_bucket"] == "other"
        assert found["connection"] == {
            "endpoint": "localhost:9000",
            "access_key": "file",
            "secret_key": "new",
        }

    def test_beat_dotenv_which_beats_the_files(self) -> None:
        write(".configs/store.yaml", MINIO)
        write(".env", "OBJECT_STORE_ROOT_BUCKET=dotenv\nOBJECT_STORE_REGION=dotenv\n")

        found = find(OBJECT_STORE_REGION="real")

        assert found["root_bucket"] == "dotenv"
        assert found["connection"]["region"] == "real"

    def test_dotenv_is_read_as_a_clerk_reads_it(self) -> None:
        """Quotes are taken away, and a dollar in a password stays one."""
        write(".env", "OBJECT_STORE_ROOT_BUCKET=b\nOBJECT_STORE_SECRET_KEY='pa${HOME}ss'\n")

        found = find(HOME="/nowhere")

        assert found["connection"]["secret_key"] == "pa${HOME}ss"
        clerk = ClerkConfig.load({"OBJECT_STORE_ACCESS_KEY": "a"})
        assert clerk.secret_key == found["connection"]["secret_key"]

    def test_config_path_may_stand_in_dotenv(self) -> None:
        write(".env", "CONFIG_PATH=c\n")
        write("c/1.yaml", "data_store: {root_bucket: b}")
        assert find() == {"root_bucket": "b"}

    def test_empty_ones_are_not_set(self) -> None:
        write(".env", "OBJECT_STORE_ROOT_BUCKET=dotenv\n")
        found = find(OBJECT_STORE_ROOT_BUCKET="", OBJECT_STORE_SECURE="", CONFIG_PATH="")
        assert found == {"root_bucket": "dotenv"}

    def test_framework_of_another_kind_takes_nothing_of_the_file(self) -> None:
        write(".configs/store.yaml", MINIO + "      options: {retry_deadline: 5}\n")
        environ = {"OBJECT_STORE_FRAMEWORK": "filesystem", "OBJECT_STORE_ROOT": "r"}

        assert find(**environ) == {
            "framework": "filesystem",
            "root_bucket": "raw",
            "connection": {"root": "r"},
        }
        kept = find(OBJECT_STORE_FRAMEWORK="boto3")
        assert kept["connection"]["endpoint"] == "localhost:9000"

    def test_token_of_the_file_stays_with_its_key(self) -> None:
        write("c/1.yaml", "data_store: {connection: {access_key: a, session_token: t, region: r}}")

        found = find(CONFIG_PATH="c", OBJECT_STORE_ACCESS_KEY="x", OBJECT_STORE_SECRET_KEY="y")

        assert found["connection"] == {"access_key": "x", "secret_key": "y", "region": "r"}

    @pytest.mark.parametrize("name", ["SECURE", "DURABLE", "USE_SSL"])
    def test_switch_is_true_or_false(self, name: str) -> None:
        with pytest.raises(ValueError, match=rf"OBJECT_STORE_{name} must be true or false"):
            find(**{f"OBJECT_STORE_{name}": "perhaps"})

    def test_connection_that_is_no_mapping_is_left_to_the_model(self) -> None:
        write("c/1.yaml", "data_store: {root_bucket: b, connection: text}")
        found = find(CONFIG_PATH="c", OBJECT_STORE_REGION="r")
        with pytest.raises(StoreConfigurationError, match=r"connection"):
            ObjectStoreConfiguration.of(found)


class TestTogetherWithAClerk:
    """The default store and an ObjectClerk of the same process mean the same by a variable."""

    def test_every_variable_of_the_clerk_is_known(self) -> None:
        text = Path(config.__file__).read_text()
        known = {field.upper() for field in FIELDS} | set(CLERK_VARIABLES)
        names = set(re.findall(r"OBJECT_STORE_([A-Z_]*[A-Z])", text))
        assert {"ENDPOINT_URL", "HOST", "REGION"} <= names <= known

    @pytest.mark.parametrize(
        "environ",
        [
            {"OBJECT_STORE_ENDPOINT_URL": "https://s3.example.org"},
            {"OBJECT_STORE_HOST": "s3.example.org"},
            {"OBJECT_STORE_HOST": "s3.example.org", "OBJECT_STORE_PORT": "9000"},
            {"OBJECT_STORE_HOST": "s3.example.org", "OBJECT_STORE_USE_SSL": "true"},
            {"OBJECT_STORE_HOST": "::1", "OBJECT_STORE_PORT": "9000"},
            {"OBJECT_STORE_HOST": "lost", "OBJECT_STORE_ENDPOINT_URL": "http://s3.example.org"},
        ],
    )
    def test_endpoint_is_the_same(self, environ: dict[str, str]) -> None:
        keys = {"OBJECT_STORE_ACCESS_KEY": "a", "OBJECT_STORE_SECRET_KEY": "s"}
        found = find(OBJECT_STORE_ROOT_BUCKET="b", **environ, **keys)

        connection = ObjectStoreConfiguration.of(found).connection

        assert getattr(connection, "url", None) == ClerkConfig.load(environ).endpoint_url

    def test_names_of_the_store_come_first(self) -> None:
        found = find(
            OBJECT_STORE_ENDPOINT="store", OBJECT_STORE_ENDPOINT_URL="http://clerk",
            OBJECT_STORE_SECURE="no", OBJECT_STORE_USE_SSL="yes",
        )  # fmt: skip
        assert found["connection"] == {"endpoint": "store", "secure": False}

    def test_host_leaves_the_scheme_to_the_file(self) -> None:
        write("c/1.yaml", "data_store: {connection: {endpoint: old, secure: true}}")
        found = find(CONFIG_PATH="c", OBJECT_STORE_HOST="new")
        assert found["connection"] == {"endpoint": "new", "secure": True}

    @pytest.mark.parametrize(
        "environ",
        [{"ENDPOINT_URL": "s3.example.org"}, {"HOST": "a/b"}, {"HOST": "a", "PORT": "tcp://x:9"}],
    )
    def test_bad_endpoints_are_refused_as_there(self, environ: dict[str, str]) -> None:
        environ = {f"OBJECT_STORE_{name}": value for name, value in environ.items()}
        with pytest.raises(ValueError, match=r"must be") as here:
            find_configuration(None, environ)
        with pytest.raises(ValueError, match=r"must be") as there:
            ClerkConfig.load(environ)
        assert str(there.value).removeprefix("variable ") == str(here.value)

    def test_other_variables_of_the_clerk_mean_nothing(self) -> None:
        with pytest.raises(StoreConfigurationError, match=r"Configuration not found"):
            find(HOST="h", PORT="1", ACCESS_KEY="a", SECRET_KEY="s", AWS_ACCESS_KEY_ID="x")


class TestNames:
    STORES = """
        data_store: {framework: memory, root_bucket: default}
        data_stores:
          raw: {framework: memory, root_bucket: raw}
          raw-2026: {framework: filesystem, root_bucket: new, connection: {root: here}}
    """

    def test_each_has_its_section(self) -> None:
        write(".configs/1.yaml", self.STORES)

        assert find()["root_bucket"] == "default"
        assert find("raw")["root_bucket"] == "raw"
        assert find("raw-2026")["root_bucket"] == "new"

    def test_and_its_variables(self) -> None:
        write(".configs/1.yaml", self.STORES)
        environ = {
            "OBJECT_STORE_RAW_2026_ROOT": "there",
            "OBJECT_STORE_RAW_ROOT_BUCKET": "other",
            "OBJECT_STORE_ROOT_BUCKET": "default-by-variable",
        }

        assert find("raw-2026", **environ)["connection"] == {"root": "there"}
        assert find("raw", **environ) == {"framework": "memory", "root_bucket": "other"}
        assert find(**environ)["root_bucket"] == "default-by-variable"

    def test_variables_alone_are_enough(self) -> None:
        found = find("späte.daten", OBJECT_STORE_SP_TE_DATEN_ROOT_BUCKET="b")
        assert found == {"root_bucket": "b"}

    def test_variables_of_a_clerk_are_those_of_the_default_store(self) -> None:
        with pytest.raises(StoreConfigurationError, match=r"Configuration not found"):
            find("raw", OBJECT_STORE_HOST="h", OBJECT_STORE_ACCESS_KEY="a")

    def test_unknown_name_tells_the_near_one_and_all(self) -> None:
        write(".configs/1.yaml", self.STORES)
        with pytest.raises(StoreConfigurationError) as caught:
            find("rwa")
        assert "did you mean 'raw'?" in str(caught.value)
        assert "raw, raw-2026" in str(caught.value)
        with pytest.raises(StoreConfigurationError) as caught:
            find("something else")
        assert "did you mean" not in str(caught.value)
        assert "raw, raw-2026" in str(caught.value)

    @pytest.mark.parametrize("name", ["", 1, b"raw"])
    def test_name_is_text(self, name: Any) -> None:
        with pytest.raises(ObjectClerkTypeException, match=r"name of a store"):
            find_configuration(name, {})


class TestUnknownVariables:
    @pytest.mark.parametrize(
        ("variable", "name", "meant"),
        [
            ("ENPOINT", None, "ENDPOINT"),
            ("BUCKET", None, "ROOT_BUCKET"),
            ("ACCESSKEY", None, "ACCESS_KEY"),
            ("RAW_ENPOINT", "raw", "RAW_ENDPOINT"),
        ],
    )
    def test_near_one_is_named(self, variable: str, name: str | None, meant: str) -> None:
        environ = {f"OBJECT_STORE_{variable}": SECRET, "OBJECT_STORE_ROOT_BUCKET": "b"}
        with pytest.raises(StoreConfigurationError) as caught:
            find(name, **environ)
        expected = f"OBJECT_STORE_{variable} is not known; did you mean OBJECT_STORE_{meant}?"
        assert expected in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "variable",
        [
            "RAW_ENDPOINT",
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_9000_TCP",
            "PORT_9000_TCP_ADDR",
            "DEBUG",
        ],
    )
    def test_those_of_other_stores_and_programs_are_left_alone(self, variable: str) -> None:
        environ = {f"OBJECT_STORE_{variable}": "tcp://10.0.0.1:9000"}
        assert find(OBJECT_STORE_ROOT_BUCKET="b", **environ) == {"root_bucket": "b"}


class TestNothing:
    def test_error_says_where_was_looked(self) -> None:
        with pytest.raises(ValueError, match=r"^Configuration not found: ") as caught:
            ObjectStore()
        for place in (".configs", "etc-config", "OBJECT_STORE_ROOT_BUCKET", ".env"):
            assert place in str(caught.value)
        assert isinstance(caught.value, StoreConfigurationError)

    def test_error_names_the_directory_without_a_section(self) -> None:
        write("c/1.yaml", "data_store:\nother: 1")
        with pytest.raises(ValueError, match=r"Configuration not found: .*no data_store,.* c;"):
            find(CONFIG_PATH="c")
        with pytest.raises(ValueError, match=r"no 'raw' in data_stores,.*OBJECT_STORE_RAW_ROOT_B"):
            find("raw", CONFIG_PATH="c")

    def test_store_uses_what_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write(".configs/1.yaml", TestNames.STORES)
        assert ObjectStore().root_bucket == "default"
        assert ObjectStore.named("raw").root_bucket == "raw"
        monkeypatch.setenv("OBJECT_STORE_ROOT_BUCKET", "set")
        assert ObjectStore().root_bucket == "set"

    def test_nothing_is_read_at_import(self, tmp_path: Path) -> None:
        write(".env", "OBJECT_STORE_SECURE=neither")
        write(".configs/bad.yaml", "[")
        environ = {**os.environ, "CONFIG_PATH": "missing", "OBJECT_STORE_QQQ": "1"}
        environ["PYTHONPATH"] = str(Path(config.__file__).parents[1])
        script = "import object_clerk.store, object_clerk.store.sources"
        subprocess.run([sys.executable, "-c", script], check=True, env=environ)
