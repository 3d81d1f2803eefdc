"""The fault proxy over TLS, on either side, with real certificates and boto3 as the client."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import ClientError, FlexibleChecksumError, SSLError

from object_clerk import testing as t
from object_clerk.testing import link
from tests.unit.upstream import BODY, MIB, Upstream, ask, connect, flipped, names, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    S3 = Callable[..., Any]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def embedded() -> Iterator[t.EmbeddedServer]:
    with t.EmbeddedServer() as embedded:
        embedded.create_bucket("bucket")
        yield embedded


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[t.FaultProxy]:
    with t.FaultProxy(upstream.url, tls=True, upstream_timeout=20) as proxy:
        yield proxy


@pytest.fixture
def store(embedded: t.EmbeddedServer) -> Iterator[t.FaultProxy]:
    """A proxy that looks like a store with https."""
    with t.FaultProxy(embedded.endpoint_url, tls=True) as proxy:
        yield proxy


@pytest.fixture
def s3() -> Iterator[S3]:
    """Makes clients of proxies or servers, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(
            where: t.FaultProxy | t.EmbeddedServer, verify: str | None = None, **config: Any
        ) -> Any:
            client = boto3.client(
                "s3",
                endpoint_url=where.endpoint_url,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
                region_name="us-east-1",
                verify=verify or getattr(where, "ca_bundle", None),
                config=Config(
                    retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config
                ),
            )
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def files_for(authority: trustme.CA, directory: Path, *hosts: str) -> tuple[Path, Path, str]:
    """A certificate, its key, and what to trust."""
    leaf = authority.issue_cert(*hosts)
    cert, key, trust = (directory / name for name in ("cert.pem", "key.pem", "trust.pem"))
    leaf.cert_chain_pems[0].write_to_path(cert)
    leaf.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trust)
    return cert, key, str(trust)


def handshakes(proxy: t.FaultProxy) -> list[t.Exchange]:
    return [exchange for exchange in proxy.log if exchange.method == t.HANDSHAKE]


class TestStore:
    """boto3 over https, an embedded server behind the proxy."""

    def test_round_trip(self, store: t.FaultProxy, embedded: t.EmbeddedServer, s3: S3) -> None:
        assert store.endpoint_url == f"https://127.0.0.1:{store.port}"
        s3(store).put_object(Bucket="bucket", Key="there", Body=BODY)
        assert s3(embedded).get_object(Bucket="bucket", Key="there")["Body"].read() == BODY
        assert s3(store).get_object(Bucket="bucket", Key="there")["Body"].read() == BODY
        # The handshakes were nobody's business.
        assert [exchange.method for exchange in store.log] == ["PUT", "GET"]

    def test_multipart(self, store: t.FaultProxy, embedded: t.EmbeddedServer, s3: S3) -> None:
        client = s3(store)
        where = {"Bucket": "bucket", "Key": "parts"}
        upload = client.create_multipart_upload(**where)["UploadId"]
        data = (os.urandom(5 * MIB), os.urandom(MIB))
        parts = []
        for number, part in enumerate(data, 1):
            done = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)
            parts.append({"PartNumber": number, "ETag": done["ETag"]})
        client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
        stored = s3(embedded).get_object(**where)["Body"].read()
        assert hashlib.sha256(stored).digest() == hashlib.sha256(b"".join(data)).digest()

    def test_name_of_the_host(self, store: t.FaultProxy, s3: S3) -> None:
        context = ssl.create_default_context(cafile=store.ca_bundle)
        for name in ("127.0.0.1", "localhost"):
            with (
                socket.create_connection((store.host, store.port), timeout=20) as sock,
                context.wrap_socket(sock, server_hostname=name) as secured,
            ):
                assert secured.version() in ("TLSv1.2", "TLSv1.3")
        with (
            socket.create_connection((store.host, store.port), timeout=20) as sock,
            pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"),
        ):
            context.wrap_socket(sock, server_hostname="example.com")

    def test_bit_flipped_inside_tls_is_noticed(self, store: t.FaultProxy, s3: S3) -> None:
        client = s3(store)
        client.put_object(Bucket="bucket", Key="flip", Body=BODY)
        store.add(t.flip_response_bit(offset=100, bit=3, method="GET"))
        with pytest.raises(FlexibleChecksumError):
            client.get_object(Bucket="bucket", Key="flip")["Body"].read()
        assert names(store) == ["flip_response_bit"]
        assert client.get_object(Bucket="bucket", Key="flip")["Body"].read() == BODY

    def test_bit_flipped_inside_tls_arrives(
        self, store: t.FaultProxy, embedded: t.EmbeddedServer, s3: S3
    ) -> None:
        """TLS guards the way to the proxy alone: without checksums nobody notices."""
        client = s3(
            store,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client.put_object(Bucket="bucket", Key="flip", Body=BODY)
        store.add(t.flip_response_bit(offset=100, bit=3, method="GET"))
        answer = client.get_object(Bucket="bucket", Key="flip")["Body"].read()
        assert answer == flipped(BODY, 100, 3)
        store.add(t.flip_request_bit(offset=-1, method="PUT"))
        client.put_object(Bucket="bucket", Key="flip", Body=BODY)
        stored = s3(embedded).get_object(Bucket="bucket", Key="flip")["Body"].read()
        assert stored == flipped(BODY, len(BODY) - 1)
        assert names(store) == ["flip_response_bit", "flip_request_bit"]

    def test_trailing_checksum_passes_unchanged(
        self, proxy: t.FaultProxy, upstream: Upstream, s3: S3
    ) -> None:
        """What boto3 sends over https only: chunks within chunks, the checksum at the end."""
        with contextlib.suppress(ClientError):
            # The answer of this upstream is not S3's; what matters is what it was sent.
            s3(proxy).put_object(Bucket="bucket", Key="k", Body=BODY, ChecksumAlgorithm="CRC32")
        _, _, headers, body = upstream.seen[0]
        checksum = b64encode(zlib.crc32(BODY).to_bytes(4, "big"))
        assert body == (
            b"%x\r\n%b\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % (len(BODY), BODY, checksum)
        )
        sent = {name.lower(): value for name, value in headers}
        assert sent["transfer-encoding"] == "chunked"
        assert sent["content-encoding"] == "aws-chunked"
        assert sent["x-amz-trailer"] == "x-amz-checksum-crc32"
        assert sent["x-amz-decoded-content-length"] == str(len(BODY))
        assert "content-length" not in sent

    def test_client_that_does_not_trust(self, store: t.FaultProxy, s3: S3, tmp_path: Path) -> None:
        stranger = tmp_path / "stranger.pem"
        trustme.CA().cert_pem.write_to_path(stranger)
        with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            s3(store, verify=str(stranger)).list_buckets()
        wait_until(lambda: handshakes(store))
        [exchange] = store.log
        assert (exchange.method, exchange.path, exchange.status) == (t.HANDSHAKE, "", None)
        assert "ALERT_UNKNOWN_CA" in (exchange.error or "")
        assert store.fired == []
        # That one connection failed, and no other.
        s3(store).list_buckets()
        assert [each.method for each in store.log] == [t.HANDSHAKE, "GET"]


class TestCertificate:
    def test_file_is_there_while_it_is_needed(self, upstream: Upstream) -> None:
        proxy = t.FaultProxy(upstream.url, tls=True)
        before = proxy.ca_bundle
        assert before is None
        with proxy:
            assert proxy.ca_bundle is not None
            path = Path(proxy.ca_bundle)
            text = path.read_text()
            assert text.count("BEGIN CERTIFICATE") == 1
            assert "PRIVATE" not in text
        assert not path.exists()
        proxy.close()

    def test_two_proxies_do_not_trust_each_other(self, upstream: Upstream) -> None:
        with (
            t.FaultProxy(upstream.url, tls=True) as one,
            t.FaultProxy(upstream.url, tls=True) as other,
            contextlib.closing(connect(one)) as client,
        ):
            client.port = other.port
            with pytest.raises(ssl.SSLCertVerificationError):
                ask(client)

    def test_it_is_valid_for_days(self, proxy: t.FaultProxy) -> None:
        context = ssl.create_default_context(cafile=proxy.ca_bundle)
        with (
            socket.create_connection((proxy.host, proxy.port), timeout=20) as sock,
            context.wrap_socket(sock, server_hostname=proxy.host) as secured,
        ):
            shown = secured.getpeercert()
        assert shown is not None
        begin, end = (
            ssl.cert_time_to_seconds(str(shown[name])) for name in ("notBefore", "notAfter")
        )
        assert begin < time.time() - 3600
        assert time.time() + 86400 < end < time.time() + 30 * 86400

    def test_own_files(self, upstream: Upstream, authority: trustme.CA, tmp_path: Path) -> None:
        cert, key, trust = files_for(authority, tmp_path, "127.0.0.1")
        with t.FaultProxy(upstream.url, tls=(cert, str(key))) as proxy:
            assert proxy.endpoint_url.startswith("https://")
            assert proxy.ca_bundle is None
            context = ssl.create_default_context(cafile=trust)
            with (
                socket.create_connection((proxy.host, proxy.port), timeout=20) as sock,
                context.wrap_socket(sock, server_hostname=proxy.host) as secured,
            ):
                assert secured.getpeercert() is not None
        assert cert.exists()
        assert Path(trust).exists()

    def test_own_files_that_do_not_fit(
        self, upstream: Upstream, authority: trustme.CA, tmp_path: Path
    ) -> None:
        cert, key, trust = files_for(authority, tmp_path, "127.0.0.1")
        with pytest.raises(ssl.SSLError):
            t.FaultProxy(upstream.url, tls=(trust, key)).start()
        with pytest.raises(FileNotFoundError):
            t.FaultProxy(upstream.url, tls=(cert, tmp_path / "no-key.pem")).start()

    def test_without_trustme(self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "trustme", None)
        threads = threading.active_count()
        with pytest.raises(t.MissingTrustmeError, match=r"pip install 'object-clerk\[testing\]'"):
            t.FaultProxy(upstream.url, tls=True).start()
        assert threading.active_count() == threads
        # Nobody else needs it.
        with t.FaultProxy(upstream.url) as proxy, contextlib.closing(connect(proxy)) as client:
            assert ask(client)[1] == BODY

    def test_without_what_trustme_needs(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A broken installation is not taken for a missing one."""
        monkeypatch.delitem(sys.modules, "trustme")
        monkeypatch.setitem(sys.modules, "idna", None)
        with pytest.raises(ModuleNotFoundError, match="idna") as caught:
            t.FaultProxy(upstream.url, tls=True).start()
        assert not isinstance(caught.value, t.MissingTrustmeError)

    def test_port_that_is_taken_leaves_no_file(
        self, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            proxy = t.FaultProxy(upstream.url, tls=True, port=taken.getsockname()[1])
            with pytest.raises(OSError, match="in use"):
                proxy.start()
        assert list(tmp_path.iterdir()) == []
        # The port is free now, and the proxy may try again.
        with proxy, contextlib.closing(connect(proxy)) as client:
            assert ask(client)[1] == BODY
            assert len(list(tmp_path.iterdir())) == 1
        assert list(tmp_path.iterdir()) == []

    def test_child_leaves_the_file_to_its_parent(
        self, proxy: t.FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate = proxy._certificate
        assert certificate is not None
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: 1)
            certificate.discard()
        assert certificate.ca_bundle is not None
        assert certificate.ca_bundle.exists()


class TestUpstream:
    """A proxy with TLS stands in for the upstream."""

    @pytest.mark.parametrize("tls", [False, True])
    def test_trusted(self, proxy: t.FaultProxy, upstream: Upstream, tls: bool) -> None:
        with (
            t.FaultProxy(proxy.endpoint_url, tls=tls, upstream_ca_bundle=proxy.ca_bundle) as outer,
            contextlib.closing(connect(outer)) as client,
        ):
            for _ in range(3):
                assert ask(client)[1] == BODY
                assert ask(client, "PUT", body=BODY)[0] == 200
                assert ask(client, path="/chunked")[1] == BODY
            # One connection was enough for all of them.
            assert upstream.connections == 1
        assert [body for method, _, _, body in upstream.seen if method == "PUT"] == [BODY] * 3

    def test_unknown_certificate(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        with (
            t.FaultProxy(proxy.endpoint_url) as outer,
            contextlib.closing(connect(outer)) as client,
        ):
            status, body, _ = ask(client, "PUT", body=BODY)
            assert status == 502
            assert b"<Code>BadGateway</Code>" in body
            [exchange] = outer.log
            assert "CERTIFICATE_VERIFY_FAILED" in (exchange.error or "")
            assert exchange.upstream_status is None
            assert outer.fired == []
            # The connection to the client goes on.
            assert ask(client)[0] == 502
        assert upstream.seen == []

    def test_certificate_of_somebody_else(
        self, upstream: Upstream, authority: trustme.CA, tmp_path: Path
    ) -> None:
        cert, key, trust = files_for(authority, tmp_path, "example.org")
        with (
            t.FaultProxy(upstream.url, tls=(cert, key)) as inner,
            t.FaultProxy(inner.endpoint_url, upstream_ca_bundle=trust) as outer,
            contextlib.closing(connect(outer)) as client,
        ):
            assert ask(client)[0] == 502
            assert "IP address mismatch" in (outer.log[0].error or "")
        assert upstream.seen == []

    def test_not_verified(self, proxy: t.FaultProxy) -> None:
        with (
            t.FaultProxy(proxy.endpoint_url, upstream_verify=False) as outer,
            contextlib.closing(connect(outer)) as client,
        ):
            assert ask(client)[1] == BODY

    def test_that_speaks_no_tls(self, upstream: Upstream) -> None:
        url = upstream.url.replace("http:", "https:")
        with (
            t.FaultProxy(url, upstream_verify=False) as outer,
            contextlib.closing(connect(outer)) as client,
        ):
            assert ask(client)[0] == 502
            assert "cannot reach the upstream" in (outer.log[0].error or "")

    def test_bundle_that_is_not_there(self, proxy: t.FaultProxy, tmp_path: Path) -> None:
        outer = t.FaultProxy(proxy.endpoint_url, upstream_ca_bundle=tmp_path / "none.pem")
        with pytest.raises(FileNotFoundError):
            outer.start()

    def test_large_bodies(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        upstream.big = 16 * MIB
        data = os.urandom(16 * MIB)
        with (
            t.FaultProxy(proxy.endpoint_url, tls=True, upstream_ca_bundle=proxy.ca_bundle) as outer,
            contextlib.closing(connect(outer)) as client,
        ):
            assert ask(client, "PUT", body=data)[0] == 200
            assert ask(client, path="/big")[1] == bytes(upstream.big)
            # Much larger than the socket buffers, so that both run into the closed end.
            assert ask(client, "PUT", "/refuse", data)[0] == 403
        assert upstream.digests == [hashlib.sha256(data).hexdigest()]

    def test_that_answers_and_leaves_before_the_end(self) -> None:
        """Writing then ends in an error of TLS, at times. The answer is there all the same."""

        class Upstream:
            def sendall(self, data: bytes) -> None:
                raise ssl.SSLEOFError("EOF occurred in violation of protocol")

            def makefile(self, *_: Any) -> io.BufferedReader:
                return io.BufferedReader(
                    io.BytesIO(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
                )

        class Hub:
            def open_upstream(self) -> Upstream:
                return Upstream()

        hub: Any = Hub()
        upstream = link._Upstream(hub)
        upstream.connect()
        upstream.send(b"PUT / HTTP/1.1\r\n\r\n", iter([BODY]))
        assert upstream.receive("PUT").head.status == 403


class TestHandshake:
    def test_stall(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        proxy.add(t.stall_handshake(30))
        with pytest.raises(TimeoutError):
            connect(proxy, timeout=0.2).connect()
        wait_until(lambda: proxy.fired)
        [exchange] = proxy.fired
        assert (exchange.method, exchange.fault) == (t.HANDSHAKE, "stall_handshake")
        assert upstream.seen == []
        began = time.monotonic()
        proxy.close()
        assert time.monotonic() - began < 20

    def test_short_stall(self, proxy: t.FaultProxy) -> None:
        proxy.add(t.stall_handshake(0.2))
        began = time.monotonic()
        with contextlib.closing(connect(proxy)) as client:
            assert ask(client)[1] == BODY
            assert time.monotonic() - began >= 0.2
        assert names(proxy) == ["stall_handshake"]
        assert [(each.number, each.method) for each in proxy.log] == [(1, t.HANDSHAKE), (2, "GET")]
        assert proxy.fired[0].error is None

    def test_drop(self, proxy: t.FaultProxy) -> None:
        proxy.add(t.drop_handshake(skip=1, times=2, name="gone"))
        outcomes: list[int | None] = []
        for _ in range(4):
            with contextlib.closing(connect(proxy)) as client:
                try:
                    outcomes.append(ask(client)[0])
                except ssl.SSLEOFError:
                    outcomes.append(None)
        assert outcomes == [200, None, None, 200]
        assert names(proxy) == ["gone", "gone"]
        assert [exchange.error for exchange in proxy.fired] == [None, None]

    def test_drop_waits_for_the_client(self, proxy: t.FaultProxy) -> None:
        proxy.add(t.drop_handshake())
        with socket.create_connection((proxy.host, proxy.port), timeout=20) as sock:
            wait_until(lambda: proxy.fired)
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(20)
            sock.sendall(b"anything")
            assert sock.recv(1) == b""

    def test_other_faults_wait_for_a_request(self, proxy: t.FaultProxy) -> None:
        proxy.add(t.status_before(times=None), t.drop_handshake())
        with contextlib.closing(connect(proxy)) as client, pytest.raises(ssl.SSLEOFError):
            ask(client)
        with contextlib.closing(connect(proxy)) as client:
            assert ask(client)[0] == 503
        assert names(proxy) == ["drop_handshake", "status_before"]

    @pytest.mark.parametrize("fault", [t.drop_handshake(), t.stall_handshake(1)])
    def test_there_is_none_without_tls(self, upstream: Upstream, fault: t.Fault) -> None:
        proxy = t.FaultProxy(upstream.url)
        with pytest.raises(ValueError, match=rf"{fault.name} needs FaultProxy\(..., tls=True\)"):
            proxy.add(t.drop_before(), fault)
        assert proxy._armed == []

    def test_callback_that_raises(self, proxy: t.FaultProxy) -> None:
        def fail() -> None:
            raise KeyError("oops")

        proxy.add(t.callback(fail, method=t.HANDSHAKE))
        with contextlib.closing(connect(proxy)) as client:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(client)
            wait_until(lambda: proxy.log[0].error)
            assert proxy.fired[0].error == "KeyError: 'oops'"
            client.close()
            assert ask(client)[1] == BODY

    def test_client_without_tls(self, proxy: t.FaultProxy, upstream: Upstream) -> None:
        with socket.create_connection((proxy.host, proxy.port), timeout=20) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := sock.recv(1000):
                    answer += part
        assert b"HTTP/" not in answer
        wait_until(lambda: handshakes(proxy))
        assert "SSLError" in (proxy.log[0].error or "")
        assert upstream.seen == []


class TestEnd:
    def secured(self, proxy: t.FaultProxy) -> ssl.SSLSocket:
        """A client that tells TLS's own end from one that just happens."""
        context = ssl.create_default_context(cafile=proxy.ca_bundle)
        sock = socket.create_connection((proxy.host, proxy.port), timeout=20)
        return context.wrap_socket(sock, server_hostname=proxy.host, suppress_ragged_eofs=False)

    def test_cut_looks_like_the_regular_end(self, proxy: t.FaultProxy) -> None:
        proxy.add(t.cut_response(100, keep_length=False))
        with self.secured(proxy) as client:
            client.sendall(b"GET /k HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while part := client.recv(1000):
                answer += part
        assert answer.partition(b"\r\n\r\n")[2] == BODY[:100]
        assert names(proxy) == ["cut_response"]

    def test_close_ends_every_kind_of_connection(self, upstream: Upstream) -> None:
        threads = threading.active_count()
        with t.FaultProxy(upstream.url, tls=True) as proxy:
            silent = socket.create_connection((proxy.host, proxy.port), timeout=20)
            idle, waiting = self.secured(proxy), self.secured(proxy)
            idle.sendall(b"HEAD /k HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(1000)
            proxy.add(t.stall(300))
            waiting.sendall(b"GET /k HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: names(proxy) == ["stall"])
            began = time.monotonic()
        assert time.monotonic() - began < 20
        wait_until(lambda: threading.active_count() == threads)
        assert proxy._sockets == set()
        for sock in (silent, idle, waiting):
            with sock, contextlib.suppress(ssl.SSLEOFError, ConnectionError):
                assert sock.recv(1) == b""
        # That these ended is the proxy's own doing, not a failure of a handshake.
        assert handshakes(proxy) == []

    def test_interrupted_close_can_be_repeated(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = t.FaultProxy(upstream.url, tls=True).start()
        assert proxy.ca_bundle is not None
        bundle = Path(proxy.ca_bundle)

        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        # A connection that only `close` can wake, and that no thread ends before it gets there.
        ours, peers = socket.socketpair()
        with ours, peers:
            peers.settimeout(20)
            proxy._sockets.add(ours)
            with monkeypatch.context() as context:
                context.setattr("object_clerk.testing.proxy.shut_down", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    proxy.close()
            assert not bundle.exists()
            with monkeypatch.context() as context:
                # The port may be somebody else's by now.
                context.setattr(socket, "create_connection", pytest.fail)
                proxy.close()
            assert peers.recv(1) == b""
        wait_until(lambda: proxy._threads == set())

    @pytest.mark.parametrize("where", ["with", "start"])
    def test_ctrl_c(self, upstream: Upstream, tmp_path: Path, where: str) -> None:
        """Whether the proxy is closed by its block or by nobody: no file and no thread stays."""
        script = f"""
import signal, ssl, socket, sys
from object_clerk.testing import FaultProxy, stall_handshake
proxy = FaultProxy({upstream.url!r}, tls=True)
proxy.start()
proxy.add(stall_handshake(300))
sock = socket.create_connection((proxy.host, proxy.port))
sock.sendall(b"x")
while not proxy.fired:
    pass
print(proxy.ca_bundle, flush=True)
if {where!r} == "with":
    with __import__("contextlib").closing(proxy):
        signal.raise_signal(signal.SIGINT)
signal.raise_signal(signal.SIGINT)
"""
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "KeyboardInterrupt" in done.stderr
        assert Path(done.stdout.strip()).parent == tmp_path
        assert list(tmp_path.iterdir()) == []
