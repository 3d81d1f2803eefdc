"""An S3 server for tests: moto in a child process on a loopback port."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse

_HOST = "127.0.0.1"
_STOP_S = 5.0
_POLL_S = 0.05
_LOG_TAIL = 4000

# Runs in the child. The same application as `python -m moto.server`, but listening before
# the port is reported: a free port that is looked up first and passed on can be taken by
# someone else in between, who might even be another moto and answer the readiness check.
_LAUNCHER = """
import os, shutil, signal, sys, threading

def leave_with_parent():
    # The pipe ends when the parent dies, whatever it died of; nobody else tidies up then.
    # Not read through sys.stdin: its lock, held here for good, would crash an early exit.
    os.read(0, 1)
    shutil.rmtree(os.path.dirname(sys.argv[3]), ignore_errors=True)
    os._exit(0)

threading.Thread(target=leave_with_parent, daemon=True).start()
# An interrupt at the terminal reaches the whole process group; the parent decides.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import moto.server as moto_server
from werkzeug.serving import WSGIRequestHandler, make_server

class Handler(getattr(moto_server, "MotoRequestHandler", WSGIRequestHandler)):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

host, port, report = sys.argv[1], int(sys.argv[2]), sys.argv[3]
application = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
server = make_server(host, port, application, threaded=True, request_handler=Handler)
os.environ["MOTO_PORT"] = str(server.port)
with open(report + ".part", "w") as file:
    file.write(str(server.port))
os.replace(report + ".part", report)
server.serve_forever()
"""


class EmbeddedServerError(RuntimeError):
    """The embedded server could not be started; the message has the end of its log."""


class MissingServerError(ImportError):
    """The packages the embedded server needs are not installed."""


def _require_moto() -> None:
    # Looked up, not imported: the child is the one who needs them.
    missing = [
        name
        for name in ("moto", "werkzeug", "flask", "flask_cors")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise MissingServerError(
            f"EmbeddedServer needs {', '.join(missing)}: pip install 'object-clerk[testing]'",
            name=missing[0],
        )


class EmbeddedServer:
    """An S3 server (moto) in a child process, for the time of a ``with`` block.

    It starts empty and forgets everything when it stops. Signatures are not checked. The
    child also ends when the parent closes or dies without having stopped it.

    Attributes:
        host: The loopback address it listens on.
        access_key: An access key it accepts.
        secret_key: The secret that goes with it.
        region: The region buckets are created in.
    """

    host: str = _HOST
    access_key: str = "testing"
    secret_key: str = "testing"  # noqa: S105
    region: str = "us-east-1"

    def __init__(
        self,
        *,
        port: int = 0,
        timeout: float = 30.0,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Prepare a server; nothing is started before `start`.

        Args:
            port: The port to listen on; 0 picks a free one.
            timeout: How many seconds the server may take until it answers.
            env: Further environment variables for the child, such as moto's own options.
        """
        self._wanted_port = port
        self._timeout = timeout
        self._env = dict(env)
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._port: int | None = None
        self._scratch: Path | None = None

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            RuntimeError: The server was never started.
        """
        if self._port is None:
            raise RuntimeError("the server has not been started")
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the running child.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._child is None:
            raise RuntimeError("the server is not running")
        return self._child.pid

    @property
    def endpoint_url(self) -> str:
        """The URL clients are to use."""
        return f"http://{self.host}:{self.port}"

    @property
    def log_tail(self) -> str:
        """The end of what the running child has written."""
        if self._scratch is None:
            return ""
        try:
            text = (self._scratch / "server.log").read_text(errors="replace")
        except OSError:
            return ""
        return text[-_LOG_TAIL:]

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            MissingServerError: moto is not installed.
            EmbeddedServerError: The server ended or did not answer in time.
            RuntimeError: It is running already.
        """
        if self._child is not None:
            raise RuntimeError("the server is running already")
        _require_moto()
        self._scratch = Path(tempfile.mkdtemp(prefix="object-clerk-server-"))
        self._owner = os.getpid()
        # From here on there is something to clean up, however the process goes on.
        atexit.register(self.stop)
        try:
            self._launch(self._scratch)
            self._wait_until_ready(self._scratch)
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self, scratch: Path) -> None:
        environment = {
            **os.environ,
            # Keeps objects of the usual test sizes in memory instead of temporary files.
            "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": "16777216",
            "PYTHONUNBUFFERED": "1",
            **self._env,
        }
        report = str(scratch / "port")
        # -P: a module in the working directory must not stand in for one that moto needs.
        command = [sys.executable, "-P", "-c", _LAUNCHER, self.host, str(self._wanted_port), report]
        with (scratch / "server.log").open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def _wait_until_ready(self, scratch: Path) -> None:
        deadline = time.monotonic() + self._timeout
        report = scratch / "port"
        while not report.exists():
            self._check_alive(deadline)
            time.sleep(_POLL_S)
        self._port = int(report.read_text())
        while not self._answers(deadline):
            self._check_alive(deadline)
            time.sleep(_POLL_S)

    def _answers(self, deadline: float) -> bool:
        timeout = max(_POLL_S, deadline - time.monotonic())
        # An unsigned bucket listing: it also makes moto load its S3 part now instead of
        # during the first request of a test, which may have a short timeout of its own.
        request = urllib.request.Request(f"{self.endpoint_url}/")  # noqa: S310
        try:
            with _open_directly(request, timeout) as response:
                return response.status == 200
        except OSError:
            return False

    def _check_alive(self, deadline: float) -> None:
        assert self._child is not None
        code = self._child.poll()
        if code is not None:
            problem = f"ended with code {code}"
        elif time.monotonic() > deadline:
            problem = f"did not answer within {self._timeout:g} s"
        else:
            return
        raise EmbeddedServerError(f"the embedded server {problem}; its log ends:\n{self.log_tail}")

    def stop(self) -> None:
        """Stop the server and remove what it left; does nothing if it is not running."""
        if self._owner != os.getpid():
            # A fork of the process that started it: not ours to stop.
            return
        atexit.unregister(self.stop)
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(OSError):
                child.terminate()
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdin is not None:
                child.stdin.close()
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(self, *exc: object) -> None:
        """Stop the server."""
        self.stop()

    def create_bucket(self, name: str) -> str:
        """Create a bucket in `region` and return its name.

        Args:
            name: The name of the bucket.

        Raises:
            EmbeddedServerError: The server refused.
        """
        url = f"{self.endpoint_url}/{quote(name, safe='')}"
        request = urllib.request.Request(url, method="PUT", data=b"")  # noqa: S310
        try:
            with _open_directly(request, self._timeout):
                return name
        except urllib.error.HTTPError as exc:
            detail = exc.read().decode(errors="replace")
            raise EmbeddedServerError(f"cannot create bucket {name!r}: {detail}") from exc


def _open_directly(request: urllib.request.Request, timeout: float) -> HTTPResponse:
    # A proxy configured in the environment has no business with the loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    response: HTTPResponse = opener.open(request, timeout=timeout)
    return response
