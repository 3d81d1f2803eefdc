"""``object-clerk serve``: the gateway as a server."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.gateway.settings import GatewaySettings
    from object_clerk.store import ObjectStore

F = TypeVar("F", bound="Callable[..., Any]")

_NEEDED = (
    "cryptography", "fastapi", "jwt", "limits", "prometheus_client", "pydantic", "uvicorn", "yaml",
)  # fmt: skip

#: Where prometheus_client keeps what several processes count.
_FIGURES = "PROMETHEUS_MULTIPROC_DIR"


def _option(flag: str, field: str, metavar: str, what: str) -> Callable[[F], F]:
    text = f"{what} (the variable {field.upper()})."
    return click.option(flag, field, metavar=metavar, help=text)


@click.command("serve")
@_option("--host", "host", "ADDRESS", "The address to listen at")
@_option("--port", "port", "N", "The port to listen at; 0 for a free one")
@_option("--workers", "workers", "N", "How many processes serve")
@_option("--storage-config", "storage_config", "FILE", "The YAML file of the stores")
@_option("--tokens-file", "auth_tokens_file", "FILE", "The file of tokens")
@_option("--log-level", "log_level", "LEVEL", "debug, info, warning or error")
@_option("--log-format", "log_format", "FORMAT", "json or text")
@click.option("--check", is_flag=True, help="Check and show all settings, and serve nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def command(check: bool, as_json: bool, **chosen: Any) -> int:
    """Serve a store over HTTP, to clients with tokens.

    Settings come from these options, the environment, and .env in the working directory. They, the
    store and the file of tokens are looked at before anything listens.

    Ctrl-C and SIGTERM let requests that have begun end, for up to 30 seconds; Ctrl-C then exits
    with 130, SIGTERM with 0.
    """
    from object_clerk.cli.exit_codes import ExitCode

    _check_extra("gateway", *_NEEDED)
    from object_clerk.gateway import v1
    from object_clerk.gateway.settings import GatewaySettings
    from object_clerk.gateway.storage import open_store

    settings = GatewaySettings.load(**chosen)
    if settings.rate_limit_store is not None:
        _check_extra("redis", "redis")
    v1.check()
    with open_store(settings) as store:
        tokens = _tokens(settings)
        if check:
            _show(settings, store, tokens, as_json)
            return ExitCode.OK
        _prepare(store)
    for warning in _warnings(settings, tokens):
        click.echo(f"object-clerk: {warning}", err=True)
    # The application reads the settings, in this process or in workers.
    os.environ.update({name.upper(): text for name, text in chosen.items() if text})
    return _serve(settings, as_json)


def _check_extra(extra: str, *needed: str) -> None:
    from object_clerk.cli.exit_codes import CommandError, ExitCode

    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise CommandError(
            f"the gateway needs {' and '.join(missing)}, which cannot be found; "
            f"install it with: pip install 'object-clerk[{extra}]'",
            ExitCode.CONFIGURATION,
        )


def _serve(settings: GatewaySettings, as_json: bool) -> int:
    from object_clerk.cli.exit_codes import CommandError, ExitCode
    from object_clerk.gateway import server

    others = frozenset(threading.enumerate())
    with server.listen(settings.host, settings.port) as listener, _shared_figures(settings):
        url = server.url_of(listener)
        told = {"type": "listening", "url": url, "workers": settings.workers}
        click.echo(json.dumps(told) if as_json else f"object-clerk: serving at {url}")
        sys.stdout.flush()
        ended_by = server.run(settings, listener)
    if ended_by is None:
        raise CommandError("the gateway could not start; what it logged says why", ExitCode.FAILED)
    code = ExitCode.INTERRUPTED if ended_by == signal.SIGINT else ExitCode.OK
    server.leave(code, others)
    return code


@contextlib.contextmanager
def _shared_figures(settings: GatewaySettings) -> Iterator[None]:
    """A directory where workers tell each other what they have counted, if there are several."""
    if settings.workers == 1 or _FIGURES in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="object-clerk-") as directory:
        os.environ[_FIGURES] = directory
        yield


def _tokens(settings: GatewaySettings) -> int:
    """How many tokens there are; a file that is wrong is refused."""
    from object_clerk.gateway.tokens import TokenFile

    return len(TokenFile(settings.auth_tokens_file).records())


def _prepare(store: ObjectStore) -> None:
    """Open a directory, so that one which cannot be used is told at once.

    S3 may be away at the moment; that is for /ready to tell.
    """
    from object_clerk.store import Framework

    if store.config.framework == Framework.FILESYSTEM:
        for _ in store.list_objects(limit=1):
            pass


def _warnings(settings: GatewaySettings, tokens: int) -> Iterator[str]:
    if not tokens:
        yield (
            f"there are no tokens in {settings.auth_tokens_file}; make one with: object-clerk "
            f"token --file {settings.auth_tokens_file} add NAME --ttl 365 --scope read "
            "--scope write --scope delete"
        )
    if settings.workers > 1 and settings.rate_limit_store is None:
        yield (
            f"each of the {settings.workers} workers counts requests for itself, so limits are "
            "that many times higher: RATE_LIMIT_STORE=redis://... counts for all"
        )


def _show(settings: GatewaySettings, store: ObjectStore, tokens: int, as_json: bool) -> None:
    from object_clerk.cli.config import print_settings
    from object_clerk.cli.text import count

    print_settings(settings.explain(), as_json=as_json)
    warnings = list(_warnings(settings, tokens))
    framework, bucket = str(store.config.framework), store.root_bucket
    if as_json:
        summary = {"framework": framework, "bucket": bucket, "tokens": tokens}
        click.echo(json.dumps({"type": "summary", **summary, "warnings": warnings}))
        return
    click.echo(f"\nThe store is {framework}, bucket {bucket}; {count(tokens, 'token')}.")
    for warning in warnings:
        click.echo(f"Mind: {warning}.")
