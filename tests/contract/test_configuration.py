"""Construction, settings, life and end of a clerk."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import object_clerk
from object_clerk import (
    ClerkConfig,
    ObjectClerk,
    ObjectClerkConfigurationException,
    ObjectClerkException,
    ObjectClerkServerAuthException,
    ObjectNotFoundException,
    ObjectVerificationException,
    Verdict,
    events,
)
from object_clerk.testing import flip_response_bit, status_before
from tests.contract.support import (
    LARGE,
    MIB,
    SMALL,
    THRESHOLD,
    Wire,
    blob,
    etag_of_parts,
    md5,
    stored,
    stored_etag,
)

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk import Receipt
    from object_clerk.testing import FaultProxy
    from tests.contract.conftest import MakeClerk
    from tests.servers import Server, Traits


def parts(wire: Wire) -> int:
    """Return how many parts were uploaded, without that which asks what the server checks."""
    return len(
        wire.where(lambda e: "partNumber=" in e.query and e.headers["content-length"] != "5")
    )


# -- construction --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [int, str])
def test_arguments_of_the_brief(kind: type, server: Server, s3: S3Client, bucket: str) -> None:
    """Check 1: the brief's arguments work, by position; endpoint http/https by use_ssl."""
    url = urlsplit(server.endpoint_url)
    assert url.hostname is not None
    port = kind(url.port or (443 if url.scheme == "https" else 80))
    secure = url.scheme == "https"
    keys = (server.access_key, server.secret_key)
    with ObjectClerk(url.hostname, port, *keys, 1, 2, (0, 1), 5, 3, secure, 500) as clerk:
        clerk.upload_object(b"content", bucket, "key")
        assert clerk.get_object(bucket, "key") == b"content"
        assert urlsplit(clerk.endpoint_url or "").netloc == url.netloc
        assert (clerk.host, clerk.port, clerk.use_ssl) == (url.hostname, port, secure)
        assert (clerk.access_key, clerk.secret_key) == keys
        assert (clerk.retry_delay, clerk.retry_backoff) == (1, 2)
        assert (clerk.retry_max_delay, clerk.retry_tries) == (5, 3)
        assert clerk.list_objects_page_size == 500


@pytest.mark.parametrize(("use_ssl", "scheme"), [(False, "http"), (True, "https")])
def test_scheme(use_ssl: bool, scheme: str) -> None:
    """Check 1: use_ssl decides between http and https."""
    keys = ("AKIAEXAMPLE", "not-to-be-shown")
    with ObjectClerk("store.example", 9000, *keys, 1, 2, 0, 5, use_ssl=use_ssl) as clerk:
        assert clerk.endpoint_url == f"{scheme}://store.example:9000"
        assert clerk.client.meta.endpoint_url == f"{scheme}://store.example:9000"
        assert "AKIAEXAMPLE" in repr(clerk)
        shown = [repr(clerk), repr(clerk.config), *map(str, clerk.config.explain())]
        assert "not-to-be-shown" not in " ".join(shown)


def test_from_env(server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 1: OBJECT_STORE_* variables name the store."""
    url = urlsplit(server.endpoint_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    monkeypatch.setenv("OBJECT_STORE_HOST", url.hostname or "")
    monkeypatch.setenv("OBJECT_STORE_PORT", str(port))
    monkeypatch.setenv("OBJECT_STORE_USE_SSL", str(url.scheme == "https").lower())
    monkeypatch.setenv("OBJECT_STORE_ACCESS_KEY", server.access_key)
    monkeypatch.setenv("OBJECT_STORE_SECRET_KEY", server.secret_key)
    monkeypatch.setenv("HOST", "this-is-the-name-of-the-shell's-machine")
    with ObjectClerk.from_env() as clerk:
        clerk.upload_object(b"content", bucket, "key")
        assert clerk.get_object(bucket, "key") == b"content"


def test_from_env_with_a_url(server: Server, bucket: str) -> None:
    """Check 1: a URL will do, from any mapping; an argument is stronger."""
    environ = {
        "OBJECT_STORE_ENDPOINT_URL": server.endpoint_url,
        "OBJECT_STORE_ACCESS_KEY": server.access_key,
        "OBJECT_STORE_SECRET_KEY": server.secret_key,
    }
    with ObjectClerk.from_env(environ, retry_tries=2) as clerk:
        assert clerk.exists(bucket, "missing") is False
        assert clerk.retry_tries == 2
    with ObjectClerk.from_env(
        {**environ, "OBJECT_STORE_ENDPOINT_URL": "http://other.example"},
        endpoint_url=server.endpoint_url,
    ) as clerk:
        assert clerk.exists(bucket, "missing") is False


def test_bare_names(server: Server, bucket: str) -> None:
    """Check 1: HOST, PORT, ACCESS_KEY and SECRET_KEY count only when all four are set."""
    url = urlsplit(server.endpoint_url)
    four = {
        "HOST": url.hostname or "",
        "PORT": str(url.port or 80),
        "ACCESS_KEY": server.access_key,
        "SECRET_KEY": server.secret_key,
        "USE_SSL": str(url.scheme == "https").lower(),
    }
    with ObjectClerk.from_env(four) as clerk:
        assert clerk.exists(bucket, "missing") is False
    for missing in ("HOST", "PORT", "ACCESS_KEY", "SECRET_KEY"):
        three = {name: value for name, value in four.items() if name != missing}
        config = ClerkConfig.from_env(three)
        assert (config.endpoint_url, config.access_key, config.secret_key) == (None, None, None)


def test_wrong_credentials(server: Server, make_clerk: MakeClerk, bucket: str) -> None:
    """Check 19, 29: refused credentials are told as such, and not tried again."""
    if not server.traits.verifies_signatures:
        pytest.skip("trait verifies_signatures: this server takes any signature")
    clerk = make_clerk(secret_key="not-the-secret-key")
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkServerAuthException) as caught:
        clerk.get_object(bucket, "key")

    assert len(wire.sent) == 1
    assert isinstance(caught.value, PermissionError)
    assert "not-the-secret-key" not in str(caught.value)


# -- thresholds ----------------------------------------------------------------------------


def test_multipart_threshold_variable(
    make_clerk: MakeClerk,
    s3: S3Client,
    traits: Traits,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check 23: MULTIPART_THRESHOLD decides from when on, and in what parts."""
    size = 6 * MIB
    for threshold, count in ((size + 1, 0), (size, 1), (5 * MIB, 2)):
        monkeypatch.setenv("MULTIPART_THRESHOLD", str(threshold))
        clerk = make_clerk(transfer_config=None)
        wire = Wire(clerk)
        receipt = clerk.upload_object(blob(size), bucket, "key")

        assert parts(wire) == count
        if count == 0:
            assert receipt.etag == md5(blob(size))
        elif traits.multipart_etag_kept:
            assert receipt.etag == etag_of_parts(blob(size), threshold)
    assert object_clerk.config.MULTIPART_THRESHOLD == 5 * MIB


def test_upload_config_variable(
    make_clerk: MakeClerk,
    s3: S3Client,
    traits: Traits,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check 23: S3_UPLOAD_CONFIG has an effect, but its sizes are those of MULTIPART_THRESHOLD."""
    sizes = {"multipart_threshold": 64 * MIB, "multipart_chunksize": 64 * MIB}
    monkeypatch.setenv("MULTIPART_THRESHOLD", str(THRESHOLD))
    monkeypatch.setenv("S3_UPLOAD_CONFIG", json.dumps({**sizes, "use_threads": False}))
    clerk = make_clerk(transfer_config=None)
    wire = Wire(clerk)
    clerk.upload_object(blob(3 * THRESHOLD), bucket, "key")

    assert parts(wire) == 3
    assert len({each.thread for each in wire.sent}) == 1
    assert stored(s3, bucket, "key") == blob(3 * THRESHOLD)
    if traits.multipart_etag_kept:
        assert stored_etag(s3, bucket, "key") == etag_of_parts(blob(3 * THRESHOLD), THRESHOLD)

    monkeypatch.setenv("S3_UPLOAD_CONFIG", '{"max_concurrency": 3}')
    clerk = make_clerk(transfer_config=None)
    wire = Wire(clerk)
    clerk.upload_object(blob(3 * THRESHOLD), bucket, "key")
    assert parts(wire) == 3
    assert len({each.thread for each in wire.sent if "partNumber" in each.query}) > 1


def test_client_config_variable(
    make_clerk: MakeClerk, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check 23: S3_CLIENT_CONFIG has an effect; the argument replaces it entirely."""
    monkeypatch.setenv(
        "S3_CLIENT_CONFIG", '{"user_agent_extra": "from-variable", "read_timeout": 61}'
    )
    clerk, other = make_clerk(), make_clerk(client_config={"user_agent_extra": "from-argument"})
    for each, name in ((clerk, "from-variable"), (other, "from-argument")):
        wire = Wire(each)
        each.exists(bucket, "missing")
        assert all(sent.headers["user-agent"].endswith(name) for sent in wire.sent)
    configs: list[Any] = [each.client.meta.config for each in (clerk, other)]
    assert [each.read_timeout for each in configs] == [61, 60]


def test_checksum_retry_variable(
    make_clerk: MakeClerk, proxy: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check 6: the configured attempts, under old and new names."""
    clerk = make_clerk()
    clerk.upload_object(b"content", bucket, "key")
    proxy.add(flip_response_bit(0, method="GET", times=None))
    for text, attempts in (
        ('{"tries": 2, "delay": 0}', 2),
        ('{"retry_tries": 4, "retry_delay": 0, "retry_jitter": 0}', 4),
        ('{"retry_tries": 1}', 1),
    ):
        given = json.loads(text) | ({"retry_jitter": 0} if attempts == 2 else {})
        monkeypatch.setenv("CHECKSUM_RETRY_CONFIG", json.dumps(given))
        clerk = make_clerk(endpoint_url=proxy.endpoint_url)
        proxy.clear_log()
        with pytest.raises(ObjectVerificationException) as caught:
            clerk.get_object(bucket, "key")
        assert caught.value.attempts == len(proxy.fired) == attempts


@pytest.mark.parametrize(
    "name",
    [
        "S3_CLIENT_CONFIG",
        "S3_UPLOAD_CONFIG",
        "S3_DOWNLOAD_CONFIG",
        "MULTIPART_THRESHOLD",
        "CHECKSUM_RETRY_CONFIG",
        "CONNECTION_RETRY_CONFIG",
        "RETRY_DEADLINE",
    ],
)
@pytest.mark.parametrize("text", ['{"secret": ', "[1]", '{"no_such_setting": 1}', "-1"])
def test_bad_variable(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 23: bad JSON or value fails clearly: when the clerk is made, and by its name."""
    monkeypatch.setenv(name, text)
    with pytest.raises(ObjectClerkConfigurationException) as caught:
        ObjectClerk("store.example", 9000, "key", "secret", 1, 2, 0, 5)

    if not (name == "S3_CLIENT_CONFIG" and "no_such" in text):  # botocore's own judgement
        assert name in str(caught.value)
    assert isinstance(caught.value, ValueError)


TRANSFERS: dict[str, tuple[dict[str, Any], int, int]] = {
    "threshold": ({"multipart_threshold": 8 * MIB}, 8 * MIB, 8 * MIB),
    "threshold and part size": (
        {"multipart_threshold": 8 * MIB, "multipart_chunksize": 6 * MIB},
        8 * MIB,
        6 * MIB,
    ),
    "neither": ({"max_concurrency": 2}, 500 * MIB, 500 * MIB),
    "less than S3 takes": ({"multipart_threshold": 1 * MIB}, 1 * MIB, 5 * MIB),
    "part size alone": ({"multipart_chunksize": 6 * MIB}, 500 * MIB, 6 * MIB),
}


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, 9 * MIB) for name in TRANSFERS), ("threshold", 20 * MIB)],
    ids=lambda value: f"{value // MIB} MiB" if isinstance(value, int) else value,
)
def test_transfer_config(
    name: str, size: int, make_clerk: MakeClerk, traits: Traits, bucket: str
) -> None:
    """Check 24: transfer_config with its own threshold still verifies 9 MiB and 20 MiB uploads."""
    config, threshold, part = TRANSFERS[name]
    clerk = make_clerk(transfer_config=dict(config))
    receipt = clerk.upload_object(blob(size), bucket, "key")

    if size < threshold:
        assert (receipt.etag, receipt.verdict) == (md5(blob(size)), Verdict.CONTENT)
    elif traits.multipart_etag_kept:
        assert receipt.etag == etag_of_parts(blob(size), part)
        assert receipt.verdict is Verdict.CONTENT
    assert receipt.attempts == 1
    assert clerk.get_object(bucket, "key") == blob(size)


def test_two_clerks(make_clerk: MakeClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    """Check 25: two clerks with different settings in one process do not interfere."""
    one = make_clerk(transfer_config={"multipart_threshold": 5 * MIB}, list_objects_page_size=1)
    two = make_clerk(transfer_config={"multipart_threshold": 6 * MIB}, client_config={})
    data = blob(6 * MIB)
    for _ in range(2):
        first = one.upload_object(data, bucket, "one")
        second = two.upload_object(data, bucket, "two")
        if traits.multipart_etag_kept:
            assert first.etag == etag_of_parts(data, 5 * MIB)
            assert second.etag == etag_of_parts(data, 6 * MIB)
        assert one.get_object(bucket, "two") == two.get_object(bucket, "one") == data
    s3.put_object(Bucket=bucket, Key="three", Body=b"content")
    wires = Wire(one), Wire(two)
    assert len(list(one.list_objects(bucket))) == len(list(two.list_objects(bucket))) == 3
    assert len(wires[0].sent) >= 2
    assert len(wires[1].sent) == 1


# -- memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["in one piece", "in parts"])
def test_memory_is_bounded(kind: str, make_clerk: MakeClerk, bucket: str, tmp_path: Path) -> None:
    """Check 26: an object larger than the memory allowed goes up and comes down."""
    size = 48 * MIB
    config = {"max_concurrency": 2}
    if kind == "in parts":
        config["multipart_threshold"] = 5 * MIB
    clerk = make_clerk(transfer_config=config)
    clerk.exists(bucket, "missing")  # what boto3 loads once is not what is measured
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for number in range(12):
            file.write(blob(4 * MIB, number % 2))
    tracemalloc.start()
    try:
        clerk.upload_object(source, bucket, "key")
        clerk.download_object(bucket, "key", target)
        with clerk.open_object(bucket, "key") as reader:
            assert sum(len(block) for block in iter(lambda: reader.read(MIB), b"")) == size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < size // 2
    assert target.read_bytes() == source.read_bytes()


# -- the end -------------------------------------------------------------------------------


def test_use_after_close(make_clerk: MakeClerk, bucket: str) -> None:
    """Check 1: a closed clerk says that it was closed, whatever it is asked for."""
    with make_clerk() as clerk:
        clerk.upload_object(b"content", bucket, "key")
    clerk.close()
    for use in (
        lambda: clerk.get_object(bucket, "key"),
        lambda: clerk.upload_object(b"content", bucket, "key"),
        lambda: clerk.list_objects(bucket),
        lambda: clerk.delete_object(bucket, "key"),
        lambda: clerk.copy_object(bucket, "key", bucket, "other"),
        lambda: clerk.presign_get(bucket, "key"),
        lambda: clerk.open_object(bucket, "key"),
        lambda: clerk.client,
    ):
        with pytest.raises(ObjectClerkConfigurationException, match="closed"):
            use()
    assert "endpoint" in repr(clerk)


def test_closed_clerk_reads_nothing(make_clerk: MakeClerk, bucket: str) -> None:
    """Check 1: a stream that is given to a closed clerk can still be given to another."""
    read, write = os.pipe()
    os.write(write, b"content")
    os.close(write)
    clerk = make_clerk()
    clerk.close()
    with open(read, "rb", buffering=0) as stream:  # noqa: PTH123 - there is no path
        with pytest.raises(ObjectClerkConfigurationException, match="closed"):
            clerk.upload_object(stream, bucket, "key")
        assert stream.read() == b"content"


def test_with_block_passes_errors_on(make_clerk: MakeClerk, bucket: str) -> None:
    """Check 1: an error ends the block, closes the clerk, and stays what it is."""
    with pytest.raises(ObjectNotFoundException), make_clerk() as clerk:
        clerk.get_object(bucket, "missing")
    with pytest.raises(ObjectClerkConfigurationException, match="closed"):
        clerk.exists(bucket, "missing")


SEEN: list[Receipt] = []


def see(receipt: Receipt) -> None:
    """Take note of a receipt; a function of a module, as pickling wants it."""
    SEEN.append(receipt)


def test_pickling(make_clerk: MakeClerk, s3: S3Client, traits: Traits, bucket: str) -> None:
    """Check 25: a pickled clerk is the same clerk, with its settings and listeners."""
    clerk = make_clerk(on_receipt=see)
    clerk.upload_object(blob(LARGE), bucket, "key")  # there are connections, which stay behind
    with pickle.loads(pickle.dumps(clerk)) as copy:
        SEEN.clear()
        assert copy.get_object(bucket, "key") == blob(LARGE)
        assert [each.operation for each in SEEN] == ["get_object"]
        receipt = copy.upload_object(blob(LARGE), bucket, "key")
        if traits.multipart_etag_kept:
            assert receipt.etag == etag_of_parts(blob(LARGE), THRESHOLD)
        assert (copy.endpoint_url, copy.retry_tries) == (clerk.endpoint_url, 3)
        assert pickle.loads(pickle.dumps(receipt)) == receipt
    assert clerk.get_object(bucket, "key") == blob(LARGE), "the copy's end is its own"


def test_errors_can_be_pickled(clerk: ObjectClerk, bucket: str) -> None:
    """Check 29: an error that crosses a process boundary keeps what it knows."""
    with pytest.raises(ObjectNotFoundException) as caught:
        clerk.get_object(bucket, "missing")
    copy = pickle.loads(pickle.dumps(caught.value))

    assert type(copy) is type(caught.value)
    assert str(copy) == str(caught.value)
    assert (copy.bucket, copy.key, copy.status) == (bucket, "missing", 404)
    assert copy.operation == "get_object"


def test_all_errors_have_one_root() -> None:
    """Check 29: exceptions all derive from ObjectClerkException."""
    public = [getattr(object_clerk, name) for name in object_clerk.__all__]
    errors = [each for each in public if isinstance(each, type) and issubclass(each, Exception)]

    assert len(errors) > 10
    assert all(issubclass(each, ObjectClerkException) for each in errors)


# -- events --------------------------------------------------------------------------------


def test_events(make_clerk: MakeClerk, bucket: str, tmp_path: Path) -> None:
    """Check 26: every operation begins once, ends once, and tells of every byte between."""
    seen: list[events.Event] = []
    clerk = make_clerk(on_event=seen.append)
    for size in (SMALL, LARGE):
        for moves in (
            lambda size=size: clerk.upload_object(blob(size), bucket, "key"),
            lambda: clerk.get_object(bucket, "key"),
            lambda: clerk.download_object(bucket, "key", tmp_path / "file"),
            lambda: clerk.open_object(bucket, "key").readall(),
        ):
            seen.clear()
            moves()
            assert isinstance(seen[0], events.Started)
            assert isinstance(seen[-1], events.Finished)
            moved = [each for each in seen[1:-1] if isinstance(each, events.Transferred)]
            assert len(moved) == len(seen) - 2
            assert sum(each.delta_bytes for each in moved) == size
            assert {each.total_bytes for each in moved} <= {size, None}
            assert {each.key for each in seen} == {"key"}
            assert seen[-1].receipt is not None
            assert seen[-1].receipt.size == size


def test_events_of_verbs_without_bytes(make_clerk: MakeClerk, bucket: str) -> None:
    """Check 26: what moves no bytes begins and ends as well; what fails, fails once."""
    seen: list[events.Event] = []
    clerk = make_clerk(on_event=seen.append)
    clerk.upload_object(b"content", bucket, "key")
    for does in (
        lambda: clerk.exists(bucket, "key"),
        lambda: clerk.get_object_info(bucket, "key"),
        lambda: clerk.copy_object(bucket, "key", bucket, "copy"),
        lambda: clerk.move_object(bucket, "copy", bucket, "moved"),
        lambda: clerk.delete_object(bucket, "moved"),
        lambda: clerk.delete_objects(bucket, ["key"]),
    ):
        seen.clear()
        does()
        kinds = [type(each) for each in seen if not isinstance(each, events.Transferred)]
        assert kinds == [events.Started, events.Finished]
    seen.clear()
    with pytest.raises(ObjectNotFoundException) as caught:
        clerk.get_object(bucket, "missing")
    assert [type(each) for each in seen] == [events.Started, events.Failed]
    assert isinstance(seen[-1], events.Failed)
    assert seen[-1].error is caught.value


def test_event_of_a_retry(make_clerk: MakeClerk, proxy: FaultProxy, bucket: str) -> None:
    """Check 20: a retry is announced with its cause and its wait."""
    seen: list[events.Event] = []
    clerk = make_clerk(endpoint_url=proxy.endpoint_url, on_event=seen.append)
    clerk.upload_object(b"content", bucket, "key")
    seen.clear()
    proxy.add(status_before(503, "SlowDown", method="GET", times=2))
    assert clerk.get_object(bucket, "key") == b"content"

    retries = [each for each in seen if isinstance(each, events.Retrying)]
    assert [each.attempt for each in retries] == [1, 2]
    assert all(0 <= each.wait_s <= 0.06 for each in retries)
    assert all(each.cause.status == 503 for each in retries)


def test_failing_listener_disturbs_nothing(make_clerk: MakeClerk, bucket: str) -> None:
    """Check 26: what a listener raises does not reach the transfer."""

    def fail(_: object) -> None:
        raise RuntimeError("a progress bar is not worth an object")

    clerk = make_clerk(on_event=fail, on_receipt=fail)
    clerk.upload_object(blob(LARGE), bucket, "key")

    assert clerk.get_object(bucket, "key") == blob(LARGE)


def test_receipt_as_json(clerk: ObjectClerk, bucket: str) -> None:
    """Check 26: a receipt can be kept: as JSON, as text."""
    receipt = clerk.upload_object(b"content", bucket, "key")
    kept = json.loads(receipt.to_json())

    assert kept["verdict"] == "CONTENT"
    assert (kept["bucket"], kept["key"], kept["size"]) == (bucket, "key", 7)
    assert kept["etag"] == md5(b"content")
    assert kept["digests"] == {"md5": md5(b"content")}
    assert f"{bucket}/key: 7 bytes, CONTENT" in str(receipt)
