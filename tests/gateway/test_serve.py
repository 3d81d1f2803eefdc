"""``object-clerk serve``: what it refuses, how it serves, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from object_clerk.cli import main
from object_clerk.gateway import server
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An upper limit, only for what hangs.
PATIENCE_S = 120

FILES = "stores: {f: {type: AsyncFilesystemStore, config: {root_path: data}}}\nmain: f\n"

#: S3 that takes an hour to answer.
AWAY = """
stores:
  away:
    type: AsyncBucketStore
    config:
      bucket_name: a
      endpoint_url: {}
      s3_access_key: a
      s3_secret_key: b
      options: {{retry_deadline: 3600, client_config: {{read_timeout: 3600}}}}
main: away
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; what a command sets in the environment is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for field in GatewaySettings.load({}, False).explain():
        os.environ.pop(field.name.upper(), None)
    return tmp_path


@pytest.fixture
def not_served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Nothing is served; instead it is remembered what would have been, and how."""
    seen: list[dict[str, Any]] = []

    def run(settings: GatewaySettings, listener: socket.socket) -> signal.Signals:
        figures = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        seen.append(
            {
                "settings": settings,
                "url": server.url_of(listener),
                "figures": None if figures is None else Path(figures).is_dir(),
                "environ": dict(os.environ),
            }
        )
        return signal.SIGTERM

    monkeypatch.setattr(server, "run", run)
    return seen


@dataclasses.dataclass
class Process:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    client: httpx2.Client

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Its exit code after this signal, and what it wrote to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors


#: ``object-clerk`` with another grace.
_WITH_GRACE = """
import sys
from object_clerk.cli import main
from object_clerk.gateway import server
if __name__ == "__main__":
    server.GRACE_S = {}
    sys.exit(main())
"""


@contextlib.contextmanager
def served(*arguments: str, grace_s: float = server.GRACE_S, **variables: str) -> Iterator[Process]:
    made = TokenFile("tokens.json").add("me", 1, ("read", "write", "delete"))
    Path("with_grace.py").write_text(_WITH_GRACE.format(grace_s), encoding="utf-8")
    command = [sys.executable, "with_grace.py", "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("object-clerk: serving at http://127.0.0.1:"), said
            with httpx2.Client(
                base_url=said.split()[-1],
                headers={"authorization": f"Bearer {made.text}"},
                timeout=PATIENCE_S,
            ) as client:
                yield Process(process, client)
        finally:
            process.kill()


class TestCheck:
    def test_settings_and_store(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (place / "storage.yaml").write_text(FILES, encoding="utf-8")
        TokenFile("tokens.json").add("me", 1, ("read",))

        assert main(["serve", "--check", "--port", "7", "--storage-config", "storage.yaml"]) == 0

        shown = capsys.readouterr().out
        assert "argument port" in shown
        assert "The store is filesystem, bucket objects; 1 token." in shown
        assert "Mind" not in shown
        assert not (place / "data").exists()

    def test_json(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        os.environ["RATE_LIMIT_STORE"] = "redis://:h0kusp0kus@localhost"

        assert main(["serve", "--check", "--json"]) == 0

        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        shown = {line["name"]: line["value"] for line in lines[:-1]}
        assert shown["rate_limit_store"] == "redis://********@localhost"
        assert lines[-1]["framework"] == "memory"
        assert lines[-1]["tokens"] == 0
        assert "there are no tokens in tokens.json; make one with: " in lines[-1]["warnings"][0]


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--port", "many"], "argument port must be a whole number"),
            (["--workers", "2"], "STORAGE_CONFIG: each of the 2 WORKERS"),
            (["--storage-config", "none.yaml"], "STORAGE_CONFIG: none.yaml leads to no file"),
            (["--storage-config", "bad.yaml"], "bad.yaml: stores.f.type: 'Shelf' is not known"),
            (["--tokens-file", "bad.yaml"], "bad.yaml: line 1 is not JSON"),
        ],
    )
    @pytest.mark.parametrize("check", [["--check"], []], ids=["check", "serve"])
    def test_nothing_listens(
        self,
        place: Path,
        capsys: pytest.CaptureFixture[str],
        not_served: list[dict[str, Any]],
        arguments: list[str],
        said: str,
        check: list[str],
    ) -> None:
        (place / "bad.yaml").write_text("stores: {f: {type: Shelf}}\nmain: f\n", encoding="utf-8")

        code = main(["serve", *arguments, *check])

        assert code == 7
        assert capsys.readouterr().err.startswith(f"object-clerk: {said}")
        assert not not_served

    def test_a_variable_is_named(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (place / ".env").write_text("IDLE_TIMEOUT_S=soon\n", encoding="utf-8")
        assert main(["serve"]) == 7
        assert ".env IDLE_TIMEOUT_S must be a number of seconds" in capsys.readouterr().err

    def test_a_directory_that_cannot_be_used(
        self, place: Path, capsys: pytest.CaptureFixture[str], not_served: list[dict[str, Any]]
    ) -> None:
        (place / "storage.yaml").write_text(FILES, encoding="utf-8")
        (place / "data").write_text("a file", encoding="utf-8")

        assert main(["serve", "--storage-config", "storage.yaml", "--port", "0"]) != 0

        assert f"{place / 'data'}" in capsys.readouterr().err
        assert not not_served

    def test_a_port_in_use(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = busy.getsockname()[1]
            assert main(["serve", "--port", str(port)]) == 7
        (said,) = [line for line in capsys.readouterr().err.splitlines() if "HOST" in line]
        assert said == (
            f"object-clerk: HOST and PORT: cannot listen at port {port} of 127.0.0.1: Address "
            "already in use. Correct the setting and run the command again."
        )

    def test_a_host_that_is_not_there(
        self, place: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["serve", "--host", "no.such.host.invalid", "--port", "0"]) == 7
        assert "of no.such.host.invalid: " in capsys.readouterr().err

    @pytest.mark.parametrize(("missing", "extra"), [("uvicorn", "gateway"), ("redis", "redis")])
    def test_a_missing_extra(
        self,
        place: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        missing: str,
        extra: str,
    ) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == missing else find(name)
        )
        os.environ["RATE_LIMIT_STORE"] = "redis://localhost"

        assert main(["serve", "--check"]) == 7

        said = capsys.readouterr().err
        assert f"the gateway needs {missing}, which cannot be found" in said
        assert f"pip install 'object-clerk[{extra}]'" in said

    def test_an_application_that_cannot_start(
        self,
        place: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(server, "run", lambda *_: None)
        assert main(["serve", "--port", "0"]) == 1
        assert "the gateway could not start" in capsys.readouterr().err


class TestStart:
    def test_options_beat_variables_for_the_application_too(
        self, place: Path, not_served: list[dict[str, Any]]
    ) -> None:
        os.environ.update(LOG_LEVEL="error", LOG_FORMAT="text", PORT="99999")

        assert main(["serve", "--port", "0", "--log-level", "debug", "--tokens-file", "t"]) == 0

        (seen,) = not_served
        assert seen["settings"].log_level == "debug"
        again = GatewaySettings.load(seen["environ"], False)
        assert again == seen["settings"]
        assert again.auth_tokens_file == Path("t")

    @pytest.mark.parametrize("as_json", [True, False])
    def test_one_line_with_the_real_port(
        self,
        place: Path,
        not_served: list[dict[str, Any]],
        capsys: pytest.CaptureFixture[str],
        as_json: bool,
    ) -> None:
        main(["serve", "--port", "0", *(["--json"] if as_json else [])])

        (line,) = capsys.readouterr().out.splitlines()
        url = not_served[0]["url"]
        assert not url.endswith(":0")
        if as_json:
            assert json.loads(line) == {"type": "listening", "url": url, "workers": 1}
        else:
            assert line == f"object-clerk: serving at {url}"

    def test_no_tokens_is_told_with_the_command_that_helps(
        self, place: Path, not_served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["serve", "--port", "0"])
        said = capsys.readouterr().err.splitlines()[-1]
        _, _, command = said.partition("make one with: object-clerk ")

        assert main([name if name != "NAME" else "me" for name in command.split()]) == 0
        capsys.readouterr()
        main(["serve", "--port", "0"])

        assert "make one with" not in capsys.readouterr().err
        assert len(not_served) == 2

    def test_several_workers(
        self, place: Path, not_served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (place / "storage.yaml").write_text(FILES, encoding="utf-8")
        arguments = ["serve", "--port", "0", "--storage-config", "storage.yaml", "--workers"]
        main([*arguments, "1"])
        main([*arguments, "3"])

        assert [each["figures"] for each in not_served] == [None, True]
        assert not Path(not_served[1]["environ"]["PROMETHEUS_MULTIPROC_DIR"]).exists()
        assert "each of the 3 workers counts requests for itself" in capsys.readouterr().err

    def test_a_directory_for_figures_that_is_given_is_kept(
        self, place: Path, not_served: list[dict[str, Any]]
    ) -> None:
        (place / "storage.yaml").write_text(FILES, encoding="utf-8")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(place)
        main(["serve", "--port", "0", "--storage-config", "storage.yaml", "--workers", "3"])
        assert not_served[0]["figures"] is True
        assert place.exists()

    def test_small_answers_do_not_wait(self) -> None:
        with (
            server.listen("127.0.0.1", 0) as listener,
            socket.create_connection(listener.getsockname()),
        ):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    def test_ipv6(self) -> None:
        try:
            listener = server.listen("::1", 0)
        except ValueError as error:
            pytest.skip(f"there is no IPv6 here: {error}")
        with listener:
            assert server.url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


class TestServing:
    def test_memory_until_sigterm(self, place: Path) -> None:
        with served("--log-format", "json") as running:
            assert running.client.get("/health").json()["status"] == "healthy"
            assert running.client.put("/objects/a%20b", content=b"data").status_code == 200
            answer = running.client.get("/objects/a%20b")
            assert answer.content == b"data"
            assert "server" not in answer.headers
            code, errors = running.end(signal.SIGTERM)

        assert code == 0
        lines = [json.loads(line) for line in errors.splitlines()]
        assert {"object_clerk.gateway.access"} <= {line["logger"] for line in lines}
        assert any("kept in memory" in line["message"] for line in lines)

    def test_ctrl_c_is_quiet(self, place: Path) -> None:
        with served("--log-level", "error") as running:
            running.client.get("/health")
            assert running.end(signal.SIGINT) == (130, "")

    @pytest.mark.parametrize("proxy", ["127.0.0.1", ""])
    def test_a_proxy_is_believed_only_if_it_is_named(self, place: Path, proxy: str) -> None:
        with served(FORWARDED_ALLOW_IPS=proxy) as running:
            running.client.get("/health", headers={"x-forwarded-for": "203.0.113.9"})
            _, errors = running.end(signal.SIGTERM)
        (line,) = [json.loads(line) for line in errors.splitlines() if "GET /health" in line]
        assert line["client"] == ("203.0.113.9" if proxy else "127.0.0.1")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_two_workers_over_one_directory(self, place: Path, number: signal.Signals) -> None:
        (place / "storage.yaml").write_text(FILES, encoding="utf-8")
        with served(
            "--workers", "2", "--log-level", "error", STORAGE_CONFIG="storage.yaml"
        ) as running:
            for i in range(20):
                # Each request has a connection of its own, so that both workers get some.
                headers = {"connection": "close"}
                url = f"/objects/n/{i}"
                put = running.client.put(url, content=b"%d" % i, headers=headers)
                assert put.status_code == 200
                assert running.client.get(url, headers=headers).content == b"%d" % i
            listed = running.client.get("/objects", params={"prefix": "n/"}).json()["keys"]
            figures = running.client.get("/metrics").text
            code, errors = running.end(number)

        (puts,) = re.findall(r'requests_total\{method="PUT",.*\} (\S+)', figures)
        assert float(puts) == 20
        assert sorted(listed) == sorted(f"n/{i}" for i in range(20))
        assert code == (130 if number == signal.SIGINT else 0)
        assert "Traceback" not in errors

    def test_what_has_begun_is_finished(self, place: Path) -> None:
        with served() as running:
            url = running.client.base_url
            token = running.client.headers["authorization"]
            head = (
                f"PUT /objects/late HTTP/1.1\r\nhost: {url.host}\r\nauthorization: {token}\r\n"
                "expect: 100-continue\r\ncontent-length: 8\r\n\r\n"
            )
            address = (url.host, int(url.port or 0))
            with socket.create_connection(address, timeout=PATIENCE_S) as connection:
                connection.sendall(head.encode())
                assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
                running.process.send_signal(signal.SIGTERM)
                assert running.process.stderr is not None
                assert any("Waiting for connections" in line for line in running.process.stderr)
                connection.sendall(b"8 bytes.")
                answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            running.process.communicate(timeout=PATIENCE_S)
            assert running.process.returncode == 0


def head_of(running: Process, request: str, *headers: str) -> bytes:
    """The head of a request with the token."""
    token = running.client.headers["authorization"]
    lines = [f"{request} HTTP/1.1", "host: h", f"authorization: {token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def address_of(running: Process) -> tuple[str, int]:
    url = running.client.base_url
    return url.host, int(url.port or 0)


@contextlib.contextmanager
def upload(running: Process) -> Iterator[socket.socket]:
    """An upload of 8 bytes that has begun; none of them is sent."""
    with socket.create_connection(address_of(running), timeout=PATIENCE_S) as connection:
        expects = ("expect: 100-continue", "content-length: 8")
        connection.sendall(head_of(running, "PUT /objects/late", *expects))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        yield connection


class TestTheEnd:
    def test_an_upload_that_outlives_the_grace_is_told_to_come_again(self, place: Path) -> None:
        with served(grace_s=0.5) as running, upload(running) as connection:
            code, errors = running.end(signal.SIGTERM)
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1" in head
        assert json.loads(body)["error"]["code"] == "503"
        assert code == 0
        assert "Traceback" not in errors
        assert "exception" not in errors

    def test_nobody_waits_for_workers_that_take_no_more(self, place: Path) -> None:
        (place / "storage.yaml").write_text(FILES, encoding="utf-8")
        arguments = ("--workers", "2", "--storage-config", "storage.yaml")
        with served(*arguments) as running, upload(running) as connection:
            running.process.send_signal(signal.SIGTERM)
            end = time.monotonic() + PATIENCE_S
            with pytest.raises(ConnectionRefusedError):  # noqa: PT012 - at some time
                while time.monotonic() < end:
                    socket.create_connection(address_of(running), timeout=PATIENCE_S).close()
                    time.sleep(0.05)
            assert running.process.poll() is None
            connection.sendall(b"8 bytes.")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            running.process.communicate(timeout=PATIENCE_S)
            assert running.process.returncode == 0

    @pytest.mark.parametrize("workers", ["1", "2"])
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    def test_a_store_that_does_not_answer_is_not_waited_for(
        self, place: Path, workers: str, number: signal.Signals, code: int
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            (place / "storage.yaml").write_text(AWAY.format(url), encoding="utf-8")
            arguments = ("--workers", workers, "--storage-config", "storage.yaml")
            with (
                served(*arguments, grace_s=0.5) as running,
                socket.create_connection(address_of(running), timeout=PATIENCE_S) as reading,
                socket.create_connection(address_of(running), timeout=PATIENCE_S) as writing,
            ):
                reading.sendall(head_of(running, "GET /objects/a"))
                length = f"content-length: {2 << 20}"
                writing.sendall(head_of(running, "PUT /objects/b", length) + bytes(2 << 20))
                silent.settimeout(PATIENCE_S)
                with silent.accept()[0], silent.accept()[0]:
                    ended, errors = running.end(number)
        assert ended == code
        assert "Traceback" not in errors
        assert ("what was asked of it is given up" in errors) == (workers == "1")


def test_answers_are_not_held_back() -> None:
    """A body does not wait for the client to acknowledge the headers before it."""
    with (
        server.listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
