"""``object-clerk config``: the settings in force, and where each comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from object_clerk.config import Setting


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per setting.")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="Read variables from this file rather than from .env in the working directory.",
)
def command(as_json: bool, env_file: str | None) -> None:
    """Show every setting, its value, and where it comes from.

    Secrets are masked. Variables of the environment beat those of the file.
    """
    from object_clerk.config import ClerkConfig

    settings = ClerkConfig.load(dotenv=True if env_file is None else env_file).explain()
    print_settings(settings, as_json=as_json)


def print_settings(settings: Iterable[Setting], *, as_json: bool) -> None:
    """Print settings to stdout, as a table or as one JSON object a line."""
    if as_json:
        _print_json(settings)
    else:
        _print_table(settings)


def _print_json(settings: Iterable[Setting]) -> None:
    for setting in settings:
        fields = {"name": setting.name, "value": setting.value, "origin": setting.origin}
        click.echo(json.dumps({"type": "setting", **fields}))


def _print_table(settings: Iterable[Setting]) -> None:
    from rich.text import Text

    from object_clerk.cli.consoles import new_table, output
    from object_clerk.cli.text import printable

    table = new_table()
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", min_width=12)
    table.add_column("where it came from", overflow="fold")
    for setting in settings:
        # What is left at its default recedes, so that one sees at once what somebody set.
        style = "dim" if setting.origin in ("default", "botocore's chain") else ""
        row = (setting.name, setting.value, setting.origin)
        table.add_row(*(Text(printable(value)) for value in row), style=style)
    output().print(table)
