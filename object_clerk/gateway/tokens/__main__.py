"""``python -m object_clerk.gateway.tokens``: manage tokens without any extra installed."""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkException, ObjectClerkParameterException
from object_clerk.gateway.tokens import commands

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A command failed; the arguments make no sense, which is also argparse's own code for that.
FAILED, USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name, ``sys.argv`` if None.

    Returns:
        the exit code: 0, 1 if it failed, 2 if the arguments make no sense.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names need not suit the terminal
    given = _parser().parse_args(arguments)
    try:
        print(_run(given))
    except ObjectClerkException as error:
        print(f"tokens: {error}", file=sys.stderr)
        return USAGE if isinstance(error, ObjectClerkParameterException) else FAILED
    return 0


def _run(given: argparse.Namespace) -> str:
    run = commands.Commands(given.file, given.json)
    if given.command == "list":
        return run.list()
    if given.command == "delete":
        return run.delete(given.name)
    if given.command == "add":
        return run.add(given.name, given.ttl, given.scope, given.prefix)
    return run.refresh(given.name, given.ttl, given.scope, given.prefix)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m object_clerk.gateway.tokens",
        description="Manage the tokens of the gateway. It sees changes at the next request.",
    )
    parser.add_argument("--file", "-f", metavar="PATH", help=commands.FILE_HELP)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("add", "make a token and print it"),
        ("list", "show all tokens, but not their texts"),
        ("delete", "remove a token"),
        ("refresh", "replace a token by a new one and print it"),
    ):
        command = subparsers.add_parser(name, help=what, description=what)
        command.add_argument("--json", action="store_true", help=commands.JSON_HELP)
        # Before the command or behind it: what is not given here must not hide what was there.
        command.add_argument(
            "--file", "-f", metavar="PATH", default=argparse.SUPPRESS, help=commands.FILE_HELP
        )
        if name != "list":
            command.add_argument("name")
        if name in ("add", "refresh"):
            command.add_argument(
                "--ttl", type=float, required=True, metavar="DAYS", help=commands.TTL_HELP
            )
            command.add_argument(
                "--scope", action="append", default=[], metavar="S", help=commands.SCOPE_HELP
            )
            command.add_argument("--prefix", metavar="P", help=commands.PREFIX_HELP)
    return parser


if __name__ == "__main__":
    sys.exit(main())
