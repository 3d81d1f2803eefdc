"""The group of commands, and how each of them ends."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import sys
import traceback
from typing import TYPE_CHECKING

import click

from object_clerk._version import __version__
from object_clerk.cli import signals
from object_clerk.cli.exit_codes import NEXT_STEP, ExitCode, exit_code_for
from object_clerk.cli.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command -> what it does. Each is ``command`` in the module of its name, imported when needed,
#: so that the help does not have to wait for boto3.
COMMANDS = {
    "config": "Show every setting, its value, and where it comes from.",
    "demo": "Do the main job on real files, on an S3 server of its own.",
    "doctor": "Find out what a server really does, what that means, and what helps.",
    "serve": "Serve a store over HTTP, to clients with tokens.",
    "sweep": "Remove what crashed uploads have left in a bucket.",
    "sweep-expired": "Remove objects that have expired from the gateway's store.",
    "token": "Manage who may use the gateway, for what, and until when.",
    "url-keys": "Manage the keys that the gateway signs URLs with.",
}


@dataclasses.dataclass
class Settings:
    """What holds for every command."""

    debug: bool = False


class _LazyGroup(click.Group):
    """A group that knows its commands' names before it has imported them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command = importlib.import_module(f"object_clerk.cli.{module}").command
        assert isinstance(command, click.Command)
        _add_debug(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _add_debug(command: click.Command) -> None:
    """Let every command take ``--debug``, whether before or after its name."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _add_debug(each)
    if all(parameter.name != "debug" for parameter in command.params):
        command.params.append(_debug_option())


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show the traceback of an error.",
    )


def _remember_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).debug = True


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="object-clerk")
def group() -> None:
    """Verified, retried transfers to and from S3 object stores.

    \b
    Exit codes: 0 ok, 1 some items failed, 2 usage, 3 not found, 4 denied,
    5 temporary failure, 6 integrity failure, 7 configuration, 8 limit reached,
    130 interrupted.
    """  # noqa: D301


group.params.append(_debug_option())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and tell in one line of stderr what went wrong if something did."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not suit the terminal
    settings = Settings()
    try:
        with signals.raising():
            code = group.main(arguments, "object-clerk", standalone_mode=False, obj=settings)
            sys.stdout.flush()
            return int(code or ExitCode.OK)
    except BrokenPipeError:
        return _reader_gone()
    except signals.Stopped as stopped:
        click.echo(f"object-clerk: ended by {stopped}", err=True)
        return 128 + stopped.number
    except (KeyboardInterrupt, click.Abort):
        click.echo("object-clerk: interrupted", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # noqa: BLE001
        return _failed(error, debug=settings.debug)


def _reader_gone() -> int:
    """Nobody reads our output any more, as in ``| head``: no reason for words."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILED


def _failed(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    code = exit_code_for(error)
    click.echo(f"object-clerk: {sentence(error)}", err=True)
    return code


def sentence(error: Exception) -> str:
    """What went wrong, why, and what to do next, in one line."""
    from object_clerk.cli.exit_codes import CommandError
    from object_clerk.exceptions import ObjectClerkException

    if isinstance(error, CommandError):
        return one_line(str(error))
    said = one_line(str(error)) or type(error).__name__
    if isinstance(error, ObjectClerkException):
        step = error.hint or NEXT_STEP.get(exit_code_for(error), "")
        said = said.removesuffix(f". {error.hint}") if error.hint else said
    elif isinstance(error, OSError):
        step = NEXT_STEP.get(exit_code_for(error), "--debug shows where")
    else:
        said = f"unexpected {type(error).__name__}: {said}"
        step = "--debug shows where; please report it"
    return f"{said.rstrip('.')}. {step}".rstrip(". ") + "."
