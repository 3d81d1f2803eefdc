"""Gateways in processes of their own, as users run them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import psutil

from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An upper limit, only for what hangs.
PATIENCE_S = 120

ALL = ("read", "write", "delete")


@dataclasses.dataclass
class Service:
    """A gateway that runs, with a token for everything.

    Attributes:
        process: the one that was started; with several workers their parent.
        url: where it listens.
        token: the token.
        client: uses the token.
        log: what it writes to stderr.
    """

    process: subprocess.Popen[bytes]
    url: str
    token: str
    client: httpx2.Client
    log: Path

    @property
    def workers(self) -> list[psutil.Process]:
        """The worker processes that live."""
        found = []
        for each in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "spawn_main" in " ".join(each.cmdline()):
                    found.append(each)
        return found


def environment(**variables: str) -> dict[str, str]:
    """The environment of this process without settings, and with these."""
    ours = {setting.name.upper() for setting in GatewaySettings.load({}, False).explain()}
    kept = {name: text for name, text in os.environ.items() if name not in ours}
    return {**kept, **variables}


@contextlib.contextmanager
def service(directory: Path, *arguments: str, port: int = 0, **variables: str) -> Iterator[Service]:
    """``object-clerk serve`` in a directory; ended by SIGTERM, or killed if that does not help.

    Args:
        directory: where ``tokens.json`` is made, and other files are looked for.
        *arguments: of the command.
        port: 0 for a free one.
        **variables: of its environment.
    """
    tokens = TokenFile(directory / "tokens.json")
    token = tokens.add(f"all-{len(tokens.records())}", 1, ALL).text
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".log", delete=False) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "object_clerk.cli", "serve", "--json", *arguments],
            cwd=directory,
            env=environment(
                PORT=str(port), RATE_LIMIT=variables.pop("RATE_LIMIT", "off"), **variables
            ),
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process, contextlib.ExitStack() as stack:
        stack.callback(_end, process)
        line = process.stdout.readline()
        assert line, Path(log.name).read_text()
        url = json.loads(line)["url"]
        headers = {"authorization": f"Bearer {token}"}
        client = stack.enter_context(
            httpx2.Client(base_url=url, headers=headers, timeout=PATIENCE_S)
        )
        assert client.get("/health").status_code == 200
        yield Service(process, url, token, client, Path(log.name))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
