"""Command line: `python -m tests.servers list | install NAME... | run NAME | measure NAME`."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import signal
import subprocess
import sys
import threading
import urllib.parse

from . import NAMES, TRAITS, Server, StartFailed, Unavailable, install, redis, running


def _exports(server: Server) -> str:
    parts = urllib.parse.urlsplit(server.endpoint_url)
    settings = {
        "HOST": parts.hostname or "",
        "PORT": str(parts.port),
        "ACCESS_KEY": server.access_key,
        "SECRET_KEY": server.secret_key,
    }
    return "export " + " ".join(f"{name}={shlex.quote(text)}" for name, text in settings.items())


def _run(name: str) -> None:
    # So that `kill` stops the server as properly as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running(name) as server:
        print(f"# {name} at {server.endpoint_url}; Ctrl-C stops it")
        print(_exports(server), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"# stopping {name}", flush=True)


def _measure(name: str) -> int:
    from .probes import measure

    with running(name) as server:
        measured = measure(server)
    expected = TRAITS.get(name, server.traits)
    wrong = 0
    for field in dataclasses.fields(measured):
        value = getattr(measured, field.name)
        note = ""
        if value != getattr(expected, field.name):
            note = f"  # the table says {getattr(expected, field.name)!r}"
            wrong = 1
        if note or value != field.default:
            print(f"{field.name}={value!r},{note}")
    return wrong


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the known names")
    commands.add_parser("install", help="download or build servers").add_argument(
        "names", nargs="+", choices=(*NAMES, "redis")
    )
    for command, text in (
        ("run", "start one and keep it running until Ctrl-C"),
        ("measure", "print where a server differs from S3 and from the table"),
    ):
        commands.add_parser(command, help=text).add_argument("name", choices=NAMES)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "list":
            print("\n".join(NAMES))
        elif chosen.command == "run":
            _run(chosen.name)
        elif chosen.command == "measure":
            return _measure(chosen.name)
        else:
            for name in chosen.names:
                if name == "redis":  # no server of S3, so none of the others' names
                    redis.install()
                else:
                    install(name)
                print(f"{name}: ready")
    except (Unavailable, StartFailed, subprocess.SubprocessError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
