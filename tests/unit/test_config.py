"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

import inspect
import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3.s3.transfer
import pytest

import object_clerk.config
from object_clerk import ClerkConfig, ObjectClerk, ObjectClerkConfigurationException, RetryPolicy
from object_clerk.config import TRANSFER_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
SECRET = "h0kusp0kus-s3cret"
FOUR = {"HOST": "four.example", "PORT": "9000", "ACCESS_KEY": "four", "SECRET_KEY": "four-secret"}
OWN = {
    "OBJECT_STORE_HOST": "own.example",
    "OBJECT_STORE_ACCESS_KEY": "own",
    "OBJECT_STORE_SECRET_KEY": "own-secret",
}
AWS = {
    "AWS_ENDPOINT_URL": "https://aws.example",
    "AWS_ACCESS_KEY_ID": "aws",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
}

JSON_VARIABLES = (
    "S3_CLIENT_CONFIG",
    "S3_UPLOAD_CONFIG",
    "S3_DOWNLOAD_CONFIG",
    "CHECKSUM_RETRY_CONFIG",
    "CONNECTION_RETRY_CONFIG",
)


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(environ: dict[str, str] | None = None, **arguments: Any) -> ClerkConfig:
    return ClerkConfig.load(environ or {}, **arguments)


def origin_of(config: ClerkConfig, name: str) -> str:
    (found,) = [setting.origin for setting in config.explain() if setting.name == name]
    return found


class TestDefaults:
    def test_all(self) -> None:
        config = load()

        assert config.endpoint_url is config.region_name is config.access_key is None
        assert (config.upload.threshold_bytes, config.upload.part_size_bytes) == (500 * MIB,) * 2
        assert (config.download.threshold_bytes, config.download.part_size_bytes) == (8 * MIB,) * 2
        assert config.upload.workers == config.download.workers == 10
        assert config.patience.connection == RetryPolicy(1, 2, (0, 1), 20, -1)
        assert config.patience.checksum == RetryPolicy(1, 1, (1, 3), 5, 3)
        assert config.patience.deadline_s is None
        assert config.list_objects_page_size == 1000
        assert config.client_config == {
            "connect_timeout": 60, "read_timeout": 60, "retries": {"max_attempts": 0}
        }  # fmt: skip

    def test_is_frozen_and_can_be_pickled(self) -> None:
        config = load(FOUR)

        assert pickle.loads(pickle.dumps(config)) == config
        with pytest.raises(AttributeError):
            config.access_key = "other"  # type: ignore[misc]


class TestPrecedence:
    """The table in the documentation, line by line."""

    def test_1_arguments_beat_everything(self) -> None:
        config = load(
            {**FOUR, **OWN, **AWS, "CONNECTION_RETRY_CONFIG": '{"retry_tries": 5}'},
            host="argument.example",
            port=1,
            access_key="argument",
            secret_key="argument-secret",
            retry_tries=9,
        )

        assert config.endpoint_url == "http://argument.example:1"
        assert (config.access_key, config.secret_key) == ("argument", "argument-secret")
        assert config.patience.connection.tries == 9

    def test_2_json_variables_beat_defaults_as_a_whole(self) -> None:
        config = load({"S3_CLIENT_CONFIG": '{"read_timeout": 5}'})

        assert config.client_config == {"read_timeout": 5}

    def test_2_retry_variables_change_only_what_they_name(self) -> None:
        config = load({"CONNECTION_RETRY_CONFIG": '{"retry_delay": 3}'}, retry_tries=2)

        assert config.patience.connection == RetryPolicy(3, 2, (0, 1), 20, 2)
        assert origin_of(config, "connection_retry.delay_s").startswith(
            "variable CONNECTION_RETRY_CONFIG"
        )
        assert origin_of(config, "connection_retry.tries").startswith("argument")
        assert origin_of(config, "connection_retry.backoff") == "default"

    def test_2_threshold_variable_beats_the_json(self) -> None:
        config = load(
            {
                "MULTIPART_THRESHOLD": str(6 * MIB),
                "S3_UPLOAD_CONFIG": json.dumps(
                    {"multipart_threshold": MIB, "multipart_chunksize": MIB, "max_concurrency": 3}
                ),
            }
        )

        assert (config.upload.threshold_bytes, config.upload.part_size_bytes) == (6 * MIB,) * 2
        assert config.upload.workers == 3

    def test_2_sizes_in_the_json_are_discarded_even_alone(self) -> None:
        config = load({"S3_UPLOAD_CONFIG": json.dumps({"multipart_threshold": 6 * MIB})})

        assert config.upload.threshold_bytes == 500 * MIB
        assert "discarded" in origin_of(config, "upload.threshold_bytes")

    def test_2_transfer_config_beats_the_threshold(self) -> None:
        config = load(
            {"MULTIPART_THRESHOLD": str(6 * MIB), "S3_UPLOAD_CONFIG": '{"max_concurrency": 3}'},
            transfer_config={"multipart_threshold": 7 * MIB},
        )

        assert (config.upload.threshold_bytes, config.upload.part_size_bytes) == (7 * MIB,) * 2
        assert config.upload.workers == 10

    def test_3_own_variables_beat_the_four(self) -> None:
        config = load({**FOUR, **OWN})

        assert config.endpoint_url == "http://own.example"
        assert config.access_key == "own"

    def test_3_url_beats_host(self) -> None:
        config = load({**OWN, "OBJECT_STORE_ENDPOINT_URL": "https://url.example"})

        assert config.endpoint_url == "https://url.example"

    def test_3_the_four_beat_aws(self) -> None:
        config = load({**FOUR, **AWS})

        assert config.endpoint_url == "http://four.example:9000"
        assert (config.access_key, config.secret_key) == ("four", "four-secret")

    @pytest.mark.parametrize("missing", FOUR)
    def test_3_the_four_count_only_together(self, missing: str) -> None:
        environ = {name: value for name, value in FOUR.items() if name != missing}
        config = load({**environ, **AWS})

        assert config.endpoint_url == "https://aws.example"
        assert config.access_key == "aws"

    def test_3_host_that_a_shell_sets_is_ignored(self) -> None:
        assert load({"HOST": "my-machine"}).endpoint_url is None

    def test_3_aws_is_last(self) -> None:
        config = load({**AWS, "AWS_ENDPOINT_URL_S3": "https://s3.example"})

        assert config.endpoint_url == "https://s3.example"
        assert origin_of(config, "endpoint_url") == "variable AWS_ENDPOINT_URL_S3"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("OBJECT_STORE_REGION", "a"), ("AWS_REGION", "b"), ("AWS_DEFAULT_REGION", "c")],
    )
    def test_3_region(self, name: str, expected: str) -> None:
        order = {"OBJECT_STORE_REGION": "a", "AWS_REGION": "b", "AWS_DEFAULT_REGION": "c"}
        environ = dict(list(order.items())[list(order).index(name) :])

        assert load(environ).region_name == expected

    def test_3_deadline(self) -> None:
        assert load({"RETRY_DEADLINE": "12.5"}).patience.deadline_s == 12.5
        assert load({"RETRY_DEADLINE": "12.5"}, retry_deadline=3).patience.deadline_s == 3

    def test_3_token_comes_from_where_the_keys_come_from(self) -> None:
        token = {"AWS_SESSION_TOKEN": "aws-token"}

        assert load({**OWN, **AWS, **token}).session_token is None
        assert load({**AWS, **token}).session_token == "aws-token"

    @pytest.mark.parametrize("missing", ["OBJECT_STORE_ACCESS_KEY", "OBJECT_STORE_SECRET_KEY"])
    def test_3_keys_belong_together(self, missing: str) -> None:
        environ = {name: value for name, value in OWN.items() if name != missing}
        with pytest.raises(ObjectClerkConfigurationException, match="belong together") as caught:
            load({**environ, **AWS})

        assert "own-secret" not in str(caught.value)

    def test_3_empty_variable_is_not_set(self) -> None:
        assert load({**OWN, "OBJECT_STORE_HOST": "", **AWS}).endpoint_url == "https://aws.example"

    def test_4_dotenv_fills_in(self) -> None:
        Path(".env").write_text("OBJECT_STORE_REGION=from-file\nRETRY_DEADLINE=9\n")
        config = load({"RETRY_DEADLINE": "5"})

        assert config.region_name == "from-file"
        assert origin_of(config, "region_name") == ".env OBJECT_STORE_REGION"

    def test_4_dotenv_never_overrides(self) -> None:
        Path(".env").write_text(
            "RETRY_DEADLINE=9\nMULTIPART_THRESHOLD=10000000\nHOST=file.example\n"
        )
        config = load({"RETRY_DEADLINE": "5", "MULTIPART_THRESHOLD": "20000000", **FOUR})

        assert config.patience.deadline_s == 5
        assert config.upload.threshold_bytes == 20_000_000
        assert config.endpoint_url == "http://four.example:9000"

    def test_4_dotenv_does_not_touch_the_environment(self) -> None:
        Path(".env").write_text("RETRY_DEADLINE=9\n")
        load()

        assert "RETRY_DEADLINE" not in os.environ

    def test_4_four_may_be_spread_over_both(self) -> None:
        Path(".env").write_text(f"SECRET_KEY={SECRET}\n")
        environ = {name: value for name, value in FOUR.items() if name != "SECRET_KEY"}

        assert load(environ).secret_key == SECRET

    def test_4_dotenv_can_be_left_out_or_named(self, tmp_path: Path) -> None:
        Path(".env").write_text("RETRY_DEADLINE=9\n")
        other = tmp_path / "other"
        other.write_text("RETRY_DEADLINE=8\n")

        assert load(dotenv=False).patience.deadline_s is None
        assert load(dotenv=other).patience.deadline_s == 8
        with pytest.raises(ObjectClerkConfigurationException, match="cannot be read"):
            load(dotenv=tmp_path / "missing")

    def test_5_without_anything_botocore_decides(self) -> None:
        for name in ("endpoint_url", "access_key", "region_name"):
            assert origin_of(load(), name) == "botocore's chain"

    def test_constructor_reads_no_connection_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {**OWN, **FOUR}.items():
            monkeypatch.setenv(name, value)
        config = ClerkConfig.load(connection=False, host="argument.example")

        assert config.endpoint_url == "http://argument.example"
        assert config.access_key is None

    def test_from_env_reads_os_environ(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OBJECT_STORE_ENDPOINT_URL", "https://env.example")

        assert ClerkConfig.from_env().endpoint_url == "https://env.example"
        assert ObjectClerk.from_env().endpoint_url == "https://env.example"


class TestEndpoint:
    @pytest.mark.parametrize(
        ("arguments", "url"),
        [
            ({"host": "h"}, "http://h"),
            ({"host": "h", "port": 9000}, "http://h:9000"),
            ({"host": "h", "port": "9000", "use_ssl": True}, "https://h:9000"),
            ({"host": "::1", "port": 9000}, "http://[::1]:9000"),
            ({"host": "[::1]", "port": 9000}, "http://[::1]:9000"),
            ({"endpoint_url": "https://h/"}, "https://h"),
        ],
    )
    def test_of_arguments(self, arguments: dict[str, Any], url: str) -> None:
        assert load(**arguments).endpoint_url == url

    @pytest.mark.parametrize(
        ("text", "scheme"), [("true", "https"), ("0", "http"), ("ON", "https")]
    )
    def test_use_ssl(self, text: str, scheme: str) -> None:
        assert load({**FOUR, "USE_SSL": text}).endpoint_url == f"{scheme}://four.example:9000"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"host": "http://h"},
            {"host": "h", "port": 0},
            {"host": "h", "port": 65536},
            {"host": "h", "port": "many"},
            {"host": ""},
            {"host": "user@h"},
            {"host": "h", "endpoint_url": "http://h"},
            {"endpoint_url": "h:9000"},
            {"endpoint_url": "ftp://h"},
            {"endpoint_url": f"http://user:{SECRET}@h"},
            {"endpoint_url": f"http://h?token={SECRET}"},
            {"endpoint_url": "http://h:port"},
            {"endpoint_url": "http://a b"},
            {"access_key": "only"},
            {"secret_key": SECRET},
            {"session_token": SECRET},
        ],
    )
    def test_impossible(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ObjectClerkConfigurationException) as caught:
            load(**arguments)

        assert SECRET not in str(caught.value)

    def test_wrong_use_ssl(self) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match="USE_SSL"):
            load({**FOUR, "USE_SSL": "perhaps"})


class TestJson:
    @pytest.mark.parametrize("name", JSON_VARIABLES)
    def test_bad_json_is_told_by_its_place(self, name: str) -> None:
        """Check 23: the variable, the line and the column, but never the text."""
        with pytest.raises(ObjectClerkConfigurationException) as caught:
            load({name: f'{{"read_timeout": 5,\n "password": "{SECRET}" oops}}'})

        text = str(caught.value)
        assert f"variable {name}" in text
        assert "line 2, column 34" in text
        assert SECRET not in text
        assert "oops" not in text
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("name", JSON_VARIABLES)
    @pytest.mark.parametrize("text", ["[]", "5", "null", f'"{SECRET}"', "{"])
    def test_other_things_than_an_object(self, name: str, text: str) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match=name) as caught:
            load({name: text})

        assert "JSON object" in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("name", JSON_VARIABLES)
    def test_duplicates(self, name: str) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match=f"{name}.*once"):
            load({name: f'{{"read_timeout": 1, "read_timeout": "{SECRET}"}}'})

    @pytest.mark.parametrize(
        ("name", "key", "near"),
        [
            ("S3_UPLOAD_CONFIG", "max_concurency", "max_concurrency"),
            ("S3_DOWNLOAD_CONFIG", "multipart_treshold", "multipart_threshold"),
            ("CHECKSUM_RETRY_CONFIG", "retry_trys", "retry_tries"),
            ("CONNECTION_RETRY_CONFIG", "retry_jiter", "retry_jitter"),
        ],
    )
    def test_unknown_key_and_the_one_meant(self, name: str, key: str, near: str) -> None:
        with pytest.raises(ObjectClerkConfigurationException) as caught:
            load({name: json.dumps({key: SECRET})})

        assert f"variable {name}" in str(caught.value)
        assert repr(key) in str(caught.value)
        assert f"did you mean {near!r}?" in str(caught.value)
        assert SECRET not in str(caught.value)

    def test_unknown_key_like_no_other(self) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match="known are multipart_thr"):
            load({"S3_UPLOAD_CONFIG": '{"xyz": 1}'})

    def test_unknown_key_of_the_client(self) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match="client_config"):
            ObjectClerk("h", client_config={"read_timeou": 5})

    @pytest.mark.parametrize("value", [0, -1, 1.5, "1.5", "ten", True, [1], {"a": 1}, SECRET])
    @pytest.mark.parametrize("key", ["max_concurrency", "io_chunksize", "max_bandwidth"])
    def test_impossible_sizes(self, key: str, value: object) -> None:
        with pytest.raises(ObjectClerkConfigurationException) as caught:
            load({"S3_UPLOAD_CONFIG": json.dumps({key: value})})

        assert f"variable S3_UPLOAD_CONFIG, {key}" in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("retry_delay", -1),
            ("retry_delay", "1"),
            ("retry_delay", True),
            ("retry_delay", float("nan")),
            ("retry_delay", float("inf")),
            pytest.param("retry_delay", 10**400, id="retry_delay-beyond floats"),
            ("retry_delay", SECRET),
            ("retry_backoff", 0.5),
            ("retry_max_delay", -0.1),
            ("retry_tries", -2),
            ("retry_tries", 1.5),
            ("retry_tries", True),
            ("retry_jitter", -1),
            ("retry_jitter", [3, 1]),
            ("retry_jitter", [1]),
            ("retry_jitter", [1, 2, 3]),
            ("retry_jitter", [1, SECRET]),
            ("retry_jitter", "12"),
        ],
    )
    @pytest.mark.parametrize("name", ["CHECKSUM_RETRY_CONFIG", "CONNECTION_RETRY_CONFIG"])
    def test_impossible_numbers(self, name: str, key: str, value: object) -> None:
        with pytest.raises(ObjectClerkConfigurationException) as caught:
            load({name: json.dumps({key: value})})

        assert name in str(caught.value)
        assert key in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        ['{"max_concurrency": ' + "1" * 5000 + "}", "[" * 100_000],
        ids=["too many digits", "too deep"],
    )
    def test_json_that_python_cannot_read(self, text: str) -> None:
        with pytest.raises(ObjectClerkConfigurationException, match="S3_UPLOAD_CONFIG"):
            load({"S3_UPLOAD_CONFIG": text})

    @pytest.mark.parametrize(
        ("environ", "arguments"),
        [
            ({"MULTIPART_THRESHOLD": "many"}, {}),
            ({"MULTIPART_THRESHOLD": "0"}, {}),
            ({"MULTIPART_THRESHOLD": "-5"}, {}),
            ({"MULTIPART_THRESHOLD": "5.5"}, {}),
            ({"MULTIPART_THRESHOLD": str(5 * 1024 * MIB + 1)}, {}),
            ({"RETRY_DEADLINE": "soon"}, {}),
            ({"RETRY_DEADLINE": "0"}, {}),
            ({"RETRY_DEADLINE": "nan"}, {}),
            ({"RETRY_DEADLINE": "inf"}, {}),
            ({}, {"retry_deadline": -1}),
            ({}, {"list_objects_page_size": 0}),
            ({}, {"list_objects_page_size": 1001}),
            ({}, {"list_objects_page_size": 1.5}),
            ({}, {"retry_delay": -1}),
            ({}, {"retry_tries": -2}),
            ({}, {"retry_jitter": (3, 1)}),
            ({}, {"retry_backoff": 0}),
            ({}, {"client_config": "text"}),
            ({}, {"transfer_config": [1]}),
            ({}, {"transfer_config": {"use_threads": "yes"}}),
            ({}, {"transfer_config": {"preferred_transfer_client": "crt"}}),
            ({}, {"transfer_config": {"multipart_threshold": 0}}),
        ],
    )
    def test_impossible_values_elsewhere(
        self, environ: dict[str, str], arguments: dict[str, Any]
    ) -> None:
        """Check 23: each is refused, naming what is wrong."""
        with pytest.raises(ObjectClerkConfigurationException) as caught:
            load(environ, **arguments)

        (name,) = [*environ, *arguments]
        assert name in str(caught.value)


class TestRetry:
    def test_old_names(self) -> None:
        """CHECKSUM_RETRY_CONFIG was {"tries": 3, "delay": 1} in the first releases."""
        config = load({"CHECKSUM_RETRY_CONFIG": '{"tries": 5, "delay": 2}'})

        assert config.patience.checksum == RetryPolicy(2, 1, (1, 3), 5, 5)

    @pytest.mark.parametrize(
        ("given", "pair"), [(2, (0, 2)), (0.5, (0, 0.5)), ((1, 3), (1, 3)), ([1, 3], (1, 3))]
    )
    def test_jitter_is_a_number_or_a_pair(self, given: Any, pair: tuple[float, float]) -> None:
        assert load(retry_jitter=given).patience.connection.jitter_s == pair

    def test_arguments_are_for_requests_alone(self) -> None:
        config = load(retry_delay=9, retry_tries=9)

        assert config.patience.checksum == RetryPolicy(1, 1, (1, 3), 5, 3)


class TestTransfer:
    def test_names_are_those_of_boto3(self) -> None:
        """A dict written for boto3's TransferConfig keeps working."""
        signature = inspect.signature(boto3.s3.transfer.TransferConfig.__init__)

        assert set(TRANSFER_NAMES) == set(signature.parameters) - {"self"}

    def test_all_names_are_taken(self) -> None:
        config = load(
            transfer_config={
                "multipart_threshold": 10 * MIB,
                "max_concurrency": 4,
                "multipart_chunksize": 6 * MIB,
                "num_download_attempts": 7,
                "max_io_queue": 100,
                "io_chunksize": 4096,
                "use_threads": True,
                "max_bandwidth": 1000,
                "preferred_transfer_client": "auto",
            }
        )

        for settings in (config.upload, config.download):
            assert settings.threshold_bytes == 10 * MIB
            assert settings.part_size_bytes == 6 * MIB
            assert (settings.workers, settings.block_bytes) == (4, 4096)
            assert (settings.bandwidth_bytes_per_s, settings.attempts) == (1000, 7)
        assert config.patience.body_tries == 7

    def test_without_threads_there_is_one_worker(self) -> None:
        config = load(transfer_config={"use_threads": False, "max_concurrency": 8})

        assert config.upload.workers == config.download.workers == 1

    def test_download_has_a_variable_of_its_own(self) -> None:
        """Check 23: S3_DOWNLOAD_CONFIG has an effect, and none on uploads."""
        sizes = {"multipart_threshold": 6 * MIB, "multipart_chunksize": 7 * MIB}
        config = load({"S3_DOWNLOAD_CONFIG": json.dumps({**sizes, "max_concurrency": 3})})

        assert config.download.threshold_bytes == 6 * MIB
        assert config.download.part_size_bytes == 7 * MIB
        assert (config.download.workers, config.upload.workers) == (3, 10)
        assert config.upload.threshold_bytes == 500 * MIB

    def test_given_dict_is_not_altered(self) -> None:
        given = {"multipart_threshold": 6 * MIB}
        load(transfer_config=given)

        assert given == {"multipart_threshold": 6 * MIB}


class TestExplain:
    def test_names_every_origin(self) -> None:
        Path(".env").write_text("RETRY_DEADLINE=9\n")
        config = load(
            {**OWN, "MULTIPART_THRESHOLD": str(6 * MIB), "S3_CLIENT_CONFIG": '{"read_timeout": 5}'},
            region_name="here",
        )

        assert origin_of(config, "region_name") == "argument"
        assert origin_of(config, "endpoint_url") == "variable OBJECT_STORE_HOST"
        assert origin_of(config, "access_key") == "variable OBJECT_STORE_ACCESS_KEY"
        assert origin_of(config, "upload.threshold_bytes") == "variable MULTIPART_THRESHOLD"
        assert origin_of(config, "client_config.read_timeout") == "variable S3_CLIENT_CONFIG"
        assert origin_of(config, "retry_deadline") == ".env RETRY_DEADLINE"
        assert origin_of(config, "download.threshold_bytes") == "default"

    def test_masks_secrets(self) -> None:
        config = load(
            access_key="visible",
            secret_key=SECRET,
            session_token=SECRET + "-token",
            client_config={"proxies": {"http": f"http://user:{SECRET}@proxy"}},
        )
        shown = {setting.name: setting.value for setting in config.explain()}

        assert SECRET not in str(config.explain())
        assert SECRET not in repr(config)
        assert shown["secret_key"] == shown["session_token"] == "********"
        assert shown["access_key"] == "visible"

    def test_says_what_is_in_force(self) -> None:
        shown = {setting.name: setting.value for setting in load(retry_tries=4).explain()}

        assert shown["connection_retry.tries"] == "4"
        assert shown["upload.part_size_bytes"] == str(500 * MIB)
        assert set(shown) >= {"checksum_retry.tries", "download.workers", "list_objects_page_size"}


class TestConstantsOfTheFirstRelease:
    """`object_clerk.config.MULTIPART_THRESHOLD` and its like are still there."""

    def test_defaults(self) -> None:
        config = object_clerk.config

        assert config.MULTIPART_THRESHOLD == 500 * MIB
        assert config.CLIENT_CONFIG["connect_timeout"] == 60
        assert config.UPLOAD_CONFIG == config.DOWNLOAD_CONFIG == {}
        assert config.CHECKSUM_RETRY_CONFIG["retry_tries"] == 3

    def test_are_read_when_they_are_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MULTIPART_THRESHOLD", "7000000")
        monkeypatch.setenv("S3_UPLOAD_CONFIG", '{"max_concurrency": 3}')
        monkeypatch.setenv("S3_DOWNLOAD_CONFIG", '{"max_concurrency": 4}')
        monkeypatch.setenv("S3_CLIENT_CONFIG", '{"read_timeout": 5}')
        monkeypatch.setenv("CHECKSUM_RETRY_CONFIG", '{"retry_tries": 7}')
        config = object_clerk.config

        assert config.MULTIPART_THRESHOLD == 7_000_000
        assert config.UPLOAD_CONFIG == {"max_concurrency": 3}
        assert config.DOWNLOAD_CONFIG == {"max_concurrency": 4}
        assert config.CLIENT_CONFIG == {"read_timeout": 5}
        assert config.CHECKSUM_RETRY_CONFIG == {"retry_tries": 7}

    def test_no_others(self) -> None:
        with pytest.raises(AttributeError, match="NO_SUCH"):
            _ = object_clerk.config.NO_SUCH

    def test_bad_json_shows_when_it_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("S3_UPLOAD_CONFIG", "{")

        assert object_clerk.config.MULTIPART_THRESHOLD == 500 * MIB
        with pytest.raises(ObjectClerkConfigurationException):
            _ = object_clerk.config.UPLOAD_CONFIG


class TestClerks:
    """What the constructor makes of it."""

    def test_brief_example(self) -> None:
        """Check 1: positional arguments as ever; no secret in the repr."""
        clerk = ObjectClerk("h", 9000, "access", SECRET, 1, 2, 3, 4)

        assert clerk.endpoint_url == "http://h:9000"
        assert clerk.config.patience.connection == RetryPolicy(1, 2, (0, 3), 4, -1)
        assert SECRET not in repr(clerk)
        assert "access" in repr(clerk)

    @pytest.mark.parametrize(("use_ssl", "scheme"), [(False, "http"), (True, "https")])
    def test_scheme(self, use_ssl: bool, scheme: str) -> None:
        """Check 1: https by use_ssl."""
        clerk = ObjectClerk("h", 9000, "a", "s", 1, 2, 3, 4, use_ssl=use_ssl)

        assert clerk.endpoint_url == f"{scheme}://h:9000"
        assert clerk.use_ssl is use_ssl

    def test_keys_and_ports_may_be_numbers_or_text(self) -> None:
        clerk = ObjectClerk("h", "9000", 123, 456, 1, 2, 3, 4)

        assert (clerk.access_key, clerk.secret_key) == ("123", "456")
        assert clerk.endpoint_url == "http://h:9000"

    def test_two_with_different_settings(self) -> None:
        """Check 25: they do not interfere."""
        one = ObjectClerk("one", transfer_config={"multipart_threshold": 6 * MIB}, retry_tries=1)
        two = ObjectClerk("two", transfer_config={"multipart_threshold": 7 * MIB}, retry_tries=2)

        assert one.config.upload.threshold_bytes == 6 * MIB
        assert two.config.upload.threshold_bytes == 7 * MIB
        assert (one.retry_tries, two.retry_tries) == (1, 2)
        assert one.client.meta.endpoint_url != two.client.meta.endpoint_url

    def test_survive_pickling(self) -> None:
        clerk = ObjectClerk("h", 9000, "a", SECRET, retry_tries=4)
        back: ObjectClerk = pickle.loads(pickle.dumps(clerk))

        assert back.config == clerk.config
        assert back.client.meta.endpoint_url == "http://h:9000"

    def test_botocore_does_not_retry(self) -> None:
        """One layer of retries, whatever S3_CLIENT_CONFIG says."""
        clerk = ObjectClerk("h", client_config={"retries": {"max_attempts": 9}, "read_timeout": 5})

        config: Any = clerk.client.meta.config
        assert config.retries["total_max_attempts"] == 1
        assert config.read_timeout == 5

    @pytest.mark.parametrize(
        "make",
        [
            lambda config: ObjectClerk("h", config=config),
            lambda config: ObjectClerk(config=config, retry_tries=3),
        ],
    )
    def test_config_stands_alone(self, make: Callable[[ClerkConfig], ObjectClerk]) -> None:
        with pytest.raises(ValueError, match="either config or single settings"):
            make(load())
