"""``object-clerk token``: who may use the gateway."""

from __future__ import annotations

import click

from object_clerk.gateway.tokens.commands import (
    FILE_HELP,
    JSON_HELP,
    PREFIX_HELP,
    SCOPE_HELP,
    TTL_HELP,
    Commands,
)

_FILE = "object_clerk.tokens_file"


def _remember_file(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[_FILE] = value  # whether it is given before the command or behind it


_file = click.option(
    "--file",
    "-f",
    metavar="PATH",
    type=click.Path(),
    expose_value=False,
    callback=_remember_file,
    help=FILE_HELP,
)
_json = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
_ttl = click.option("--ttl", "ttl_days", type=float, required=True, metavar="DAYS", help=TTL_HELP)
_scopes = click.option("--scope", "scopes", multiple=True, metavar="S", help=SCOPE_HELP)
_prefix = click.option("--prefix", metavar="P", help=PREFIX_HELP)
_name = click.argument("name")


def _commands(ctx: click.Context, as_json: bool) -> Commands:
    return Commands(ctx.meta.get(_FILE), as_json)


@click.group("token")
@_file
def command() -> None:
    """Make, list, replace and remove the tokens of the gateway.

    Only hashes of them are kept. A gateway that runs sees changes at the next request.
    """


@command.command("add")
@_name
@_ttl
@_scopes
@_prefix
@_file
@_json
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    ttl_days: float,
    scopes: tuple[str, ...],
    prefix: str | None,
    as_json: bool,
) -> None:
    """Make a token for NAME and print it, as the last line."""
    click.echo(_commands(ctx, as_json).add(name, ttl_days, scopes, prefix))


@command.command("list")
@_file
@_json
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show all tokens: whose they are, what they allow, until when."""
    click.echo(_commands(ctx, as_json).list())


@command.command("delete")
@_name
@_file
@_json
@click.pass_context
def delete(ctx: click.Context, name: str, as_json: bool) -> None:
    """Remove the token of NAME, which is refused from now on."""
    click.echo(_commands(ctx, as_json).delete(name))


@command.command("refresh")
@_name
@_ttl
@_scopes
@_prefix
@_file
@_json
@click.pass_context
def refresh(
    ctx: click.Context,
    name: str,
    ttl_days: float,
    scopes: tuple[str, ...],
    prefix: str | None,
    as_json: bool,
) -> None:
    """Replace the token of NAME by a new one and print it, as the last line.

    Scopes and prefix stay if they are not given.
    """
    click.echo(_commands(ctx, as_json).refresh(name, ttl_days, scopes, prefix))
