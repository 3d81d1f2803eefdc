"""``object-clerk doctor``: what a server honours, what that means, and which settings help."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from object_clerk.endpoint import Endpoint, Finding


@click.command("doctor")
@click.argument("bucket")
@click.option(
    "--prefix",
    metavar="P",
    help="What the keys of the scratch objects begin with; by default the setting PROBE_PREFIX.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per finding.")
@click.pass_context
def command(ctx: click.Context, bucket: str, prefix: str | None, as_json: bool) -> None:
    """Find out what the server really does, on scratch objects in BUCKET.

    Sends wrong digests and conditions that do not hold, and looks which of them are refused.
    About fifty small requests. The objects have a few bytes each and a random name, and are
    removed again; no other object is touched.

    Exits with 0 whatever is found, with 1 if a scratch object could not be removed.
    """
    from object_clerk import ObjectClerk

    with ObjectClerk.from_env() as clerk:
        clerk.examine_endpoint(bucket, prefix)
        if as_json:
            _print_json(clerk.endpoint, clerk.endpoint_url)
        else:
            _print_table(clerk.endpoint.findings())
        ctx.exit(_tell_leftovers(clerk.endpoint))


def _tell_leftovers(endpoint: Endpoint) -> int:
    from object_clerk.cli.consoles import messages
    from object_clerk.cli.exit_codes import ExitCode
    from object_clerk.cli.text import printable

    for key in endpoint.left_behind:
        messages().print(f"object-clerk: could not be removed, please do: {printable(key)}")
    return ExitCode.FAILED if endpoint.left_behind else ExitCode.OK


def _print_json(endpoint: Endpoint, url: str | None) -> None:
    for each in endpoint.findings():
        fields = dataclasses.asdict(each) | {"support": each.support.name}
        click.echo(json.dumps({"type": "finding", **fields}))
    summary = {"endpoint_url": url, "left_behind": endpoint.left_behind}
    click.echo(json.dumps({"type": "summary", **summary}))


def _print_table(findings: Sequence[Finding]) -> None:
    from rich.text import Text

    from object_clerk.cli.consoles import new_table, output
    from object_clerk.cli.text import printable

    table = new_table()
    table.add_column("feature", no_wrap=True)
    table.add_column("what the server does", overflow="fold", min_width=16)
    table.add_column("what that means", overflow="fold", min_width=20)
    styles = {"HONOURED": "green", "UNKNOWN": "dim"}
    for each in findings:
        style = styles.get(each.support.name, "yellow")
        table.add_row(each.feature, Text(printable(each.text), style=style), each.meaning)
    console = output()
    console.print(table)
    helping: dict[str, list[str]] = {}
    for each in findings:
        if each.settings:
            helping.setdefault(each.settings, []).append(each.feature)
    console.print()
    console.print("What helps:" if helping else "No setting is needed.")
    for settings, features in helping.items():
        console.print(f"- {', '.join(features)}: {settings}")
