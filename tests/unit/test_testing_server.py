"""The embedded server: its life and death, and boto3 against it through the proxy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ResponseStreamingError

from object_clerk import testing as t
from object_clerk.testing import server as server_module

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = bytes(range(256)) * 1000
ROOT = Path(__file__).parents[2]


def gone(pid: int, within: float = 10.0) -> bool:
    """Wait until no process has this id, or only an unreaped one."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def embedded() -> Iterator[t.EmbeddedServer]:
    with t.EmbeddedServer() as embedded:
        embedded.create_bucket("bucket")
        yield embedded


@pytest.fixture
def proxy(embedded: t.EmbeddedServer) -> Iterator[t.FaultProxy]:
    with t.FaultProxy(embedded.endpoint_url) as proxy:
        yield proxy


def client_for(server: t.EmbeddedServer, endpoint_url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            # botocore's own checks stay out of what the proxy is to show.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@pytest.fixture
def s3(embedded: t.EmbeddedServer, proxy: t.FaultProxy) -> Any:
    return client_for(embedded, proxy.endpoint_url)


class TestLife:
    def test_attributes(self, embedded: t.EmbeddedServer) -> None:
        assert embedded.endpoint_url == f"http://127.0.0.1:{embedded.port}"
        assert (embedded.access_key, embedded.secret_key) == ("testing", "testing")
        os.kill(embedded.pid, 0)
        assert "GET /" in embedded.log_tail

    def test_buckets(self, embedded: t.EmbeddedServer) -> None:
        assert embedded.create_bucket("another") == "another"
        names = [
            b["Name"] for b in client_for(embedded, embedded.endpoint_url).list_buckets()["Buckets"]
        ]
        assert "another" in names
        with pytest.raises(t.EmbeddedServerError, match="InvalidBucketName"):
            embedded.create_bucket("A")

    def test_stops_and_leaves_nothing(self) -> None:
        with t.EmbeddedServer() as server:
            pid, port, scratch = server.pid, server.port, server._scratch
            assert scratch is not None
            with pytest.raises(RuntimeError, match="already"):
                server.start()
        assert gone(pid)
        assert not scratch.exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        server.stop()
        assert server.log_tail == ""
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.pid

    def test_starts_again_empty(self) -> None:
        server = t.EmbeddedServer()
        with pytest.raises(RuntimeError, match="not been started"):
            _ = server.port
        for _ in range(2):
            with server:
                server.create_bucket("bucket")
                client_for(server, server.endpoint_url).put_object(Bucket="bucket", Key="k")
        with server:
            assert client_for(server, server.endpoint_url).list_buckets()["Buckets"] == []

    def test_killed_if_it_does_not_want_to_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server_module, "_STOP_S", 0.2)
        with t.EmbeddedServer() as server:
            pid = server.pid
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)  # until it has really stopped
        assert gone(pid)

    @pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "sys.exit(0)"])
    def test_does_not_outlive_its_parent(self, end: str, tmp_path: Path) -> None:
        script = (
            "import os, sys\n"
            "from object_clerk.testing import EmbeddedServer\n"
            "server = EmbeddedServer().start()\n"
            "print(server.pid, flush=True)\n" + end
        )
        parent = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            check=False,
            timeout=60,
        )
        assert gone(int(parent.stdout))
        assert list(tmp_path.iterdir()) == []

    def test_fork_does_not_stop_it(self, embedded: t.EmbeddedServer, monkeypatch: Any) -> None:
        # What a forked child's exit handlers would do.
        owner = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: owner + 1)
        embedded.stop()
        monkeypatch.undo()
        os.kill(embedded.pid, 0)

    def test_taken_port(self, embedded: t.EmbeddedServer) -> None:
        with pytest.raises(t.EmbeddedServerError, match=r"ended with code 1(.|\n)*in use"):
            t.EmbeddedServer(port=embedded.port).start()

    def test_chosen_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with t.EmbeddedServer(port=port) as server:
            assert server.port == port

    def test_too_slow(self) -> None:
        with pytest.raises(t.EmbeddedServerError, match=r"did not answer within 0\.01 s"):
            t.EmbeddedServer(timeout=0.01).start()

    def test_failure_shows_the_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server_module, "_LAUNCHER", "raise SystemExit('no luck today')")
        server = t.EmbeddedServer()
        with pytest.raises(t.EmbeddedServerError, match="no luck today"):
            server.start()
        assert server._scratch is None

    def test_missing_moto(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"pip install 'object-clerk\[testing\]'") as caught:
            t.EmbeddedServer().start()
        assert isinstance(caught.value, t.MissingServerError)
        assert caught.value.name == "moto"

    def test_environment(self) -> None:
        with t.EmbeddedServer(env={"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}) as server:
            environ = Path(f"/proc/{server.pid}/environ")
            if not environ.exists():
                pytest.skip("needs /proc")
            variables = environ.read_bytes().split(b"\0")
        assert b"S3_IGNORE_SUBDOMAIN_BUCKETNAME=true" in variables
        assert b"MOTO_S3_DEFAULT_KEY_BUFFER_SIZE=16777216" in variables

    def test_proxy_of_the_environment_is_not_asked(
        self, embedded: t.EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert urllib.request.getproxies()["http"] == "http://127.0.0.1:9"
        embedded.create_bucket("direct")

    def test_import_does_not_load_moto(self) -> None:
        script = "import sys, object_clerk.testing.server; assert 'moto' not in sys.modules"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)


class TestThroughTheProxy:
    def test_put_and_get(self, s3: Any, proxy: t.FaultProxy) -> None:
        s3.put_object(Bucket="bucket", Key="a key/+ü", Body=BODY, Metadata={"a": "b"})
        answer = s3.get_object(Bucket="bucket", Key="a key/+ü")
        assert answer["Body"].read() == BODY
        assert answer["Metadata"] == {"a": "b"}
        assert [exchange.method for exchange in proxy.log] == ["PUT", "GET"]
        assert proxy.log[0].request_bytes == proxy.log[1].response_bytes == len(BODY)
        assert proxy.fired == []

    def test_flip_is_seen(self, s3: Any, proxy: t.FaultProxy) -> None:
        s3.put_object(Bucket="bucket", Key="flip", Body=BODY, ChecksumAlgorithm="CRC32")
        proxy.add(t.flip_response_bit(offset=1000, bit=3, method="GET", path="/bucket/flip"))
        head = s3.head_object(Bucket="bucket", Key="flip")
        body = s3.get_object(Bucket="bucket", Key="flip")["Body"].read()
        assert body[1000] == BODY[1000] ^ 8
        assert body[:1000] + body[1001:] == BODY[:1000] + BODY[1001:]
        assert head["ContentLength"] == len(BODY)
        assert [(e.method, e.fault) for e in proxy.fired] == [("GET", "flip_response_bit")]
        assert s3.get_object(Bucket="bucket", Key="flip")["Body"].read() == BODY

    def test_flipped_upload_is_stored(self, s3: Any, proxy: t.FaultProxy) -> None:
        proxy.add(t.flip_request_bit(offset=0))
        s3.put_object(Bucket="bucket", Key="up", Body=b"\x00abc")
        assert proxy.fired[0].fault == "flip_request_bit"
        assert s3.get_object(Bucket="bucket", Key="up")["Body"].read() == b"\x01abc"

    def test_multipart_and_error(self, s3: Any, proxy: t.FaultProxy) -> None:
        upload = s3.create_multipart_upload(Bucket="bucket", Key="m")["UploadId"]
        where = {"Bucket": "bucket", "Key": "m", "UploadId": upload}
        proxy.add(t.status_before(503, "SlowDown", method="PUT", query="partNumber=1"))
        with pytest.raises(ClientError, match="SlowDown"):
            s3.upload_part(**where, PartNumber=1, Body=BODY)
        etag = s3.upload_part(**where, PartNumber=1, Body=BODY)["ETag"]
        proxy.add(t.drop_after(method="POST", query="uploadId="))
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        with pytest.raises(ConnectionClosedError):
            s3.complete_multipart_upload(**where, MultipartUpload=parts)
        assert s3.head_object(Bucket="bucket", Key="m")["ContentLength"] == len(BODY)
        assert [exchange.fault for exchange in proxy.fired] == ["status_before", "drop_after"]

    def test_cut_is_noticed(self, s3: Any, proxy: t.FaultProxy) -> None:
        s3.put_object(Bucket="bucket", Key="cut", Body=BODY)
        proxy.add(t.cut_response(100, method="GET"))
        with pytest.raises(ResponseStreamingError):
            s3.get_object(Bucket="bucket", Key="cut")["Body"].read()
        assert proxy.fired[0].response_bytes == 100

    def test_changed_behind_the_clients_back(
        self, s3: Any, proxy: t.FaultProxy, embedded: t.EmbeddedServer
    ) -> None:
        direct = client_for(embedded, embedded.endpoint_url)
        etag = s3.put_object(Bucket="bucket", Key="c", Body=b"one")["ETag"]
        proxy.add(t.callback(lambda: direct.put_object(Bucket="bucket", Key="c", Body=b"two")))
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.get_object(Bucket="bucket", Key="c", IfMatch=etag)
        assert proxy.fired[0].fault == "callback"

    def test_ranges(self, s3: Any, proxy: t.FaultProxy) -> None:
        s3.put_object(Bucket="bucket", Key="r", Body=BODY)
        proxy.add(t.wrong_range(3), t.ignore_range())
        answers = [s3.get_object(Bucket="bucket", Key="r", Range="bytes=10-19") for _ in range(3)]
        bodies = [answer["Body"].read() for answer in answers]
        assert bodies == [BODY[13:23], BODY, BODY[10:20]]
        assert answers[0]["ContentRange"] == f"bytes 10-19/{len(BODY)}"
        assert [exchange.fault for exchange in proxy.fired] == ["wrong_range", "ignore_range"]
