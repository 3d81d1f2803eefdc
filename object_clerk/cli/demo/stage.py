"""What the demo plays on: a server, a proxy that can damage answers, and a clerk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from object_clerk import ClerkConfig
from object_clerk.cli import signals
from object_clerk.cli.exit_codes import CommandError, ExitCode
from object_clerk.testing import (
    EmbeddedServer,
    EmbeddedServerError,
    FaultProxy,
    MissingServerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "object-clerk-demo"
PART_BYTES = 5 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is taken down when the demo ends."""

    proxy: FaultProxy
    config: ClerkConfig
    scratch: Path
    bucket: str = BUCKET


@contextlib.contextmanager
def raised_stage() -> Iterator[Stage]:
    """Start all that the demo needs, and remove it however the demo ends.

    Raises:
        CommandError: the server cannot be started.
    """
    with signals.deferrable() as ignore_signals, contextlib.ExitStack() as stack:
        stack.enter_context(_environment_of_a_fresh_machine())
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="object-clerk-demo-", ignore_cleanup_errors=True)
        )
        server = stack.enter_context(_started_server())
        proxy = stack.enter_context(FaultProxy(server.endpoint_url))
        stack.callback(ignore_signals)
        server.create_bucket(BUCKET)
        yield Stage(proxy, _config(server, proxy), Path(scratch))


def _config(server: EmbeddedServer, proxy: FaultProxy) -> ClerkConfig:
    """Settings that owe nothing to the user's, and do not wait long for a loopback server."""
    return ClerkConfig.load(
        {
            "MULTIPART_THRESHOLD": str(PART_BYTES),
            "CHECKSUM_RETRY_CONFIG": '{"retry_delay": 0.1, "retry_jitter": 0}',
        },
        dotenv=False,
        endpoint_url=proxy.endpoint_url,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region_name=server.region,
        retry_delay=0.1,
        retry_max_delay=1,
        retry_tries=5,
    )


@contextlib.contextmanager
def _started_server() -> Iterator[EmbeddedServer]:
    try:
        server = EmbeddedServer().start()
    except MissingServerError as error:
        raise CommandError(
            f"the demo needs a server: {error.name} cannot be found; install it with: "
            "pip install 'object-clerk[demo]'",
            ExitCode.CONFIGURATION,
        ) from error
    except EmbeddedServerError as error:
        said, _, log = str(error).partition("\n")
        last = log.strip().rpartition("\n")[2]
        raise CommandError(f"{said} {last} (--debug shows more)", ExitCode.FAILED) from error
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _environment_of_a_fresh_machine() -> Iterator[None]:
    """Without AWS profiles and HTTP proxies, which have no business with a loopback server."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
