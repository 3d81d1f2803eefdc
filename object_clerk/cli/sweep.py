"""``object-clerk sweep``: remove what crashed uploads have left."""

from __future__ import annotations

import json
import re
from datetime import UTC
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from object_clerk import SweptUpload

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(r"(\d{1,9})([smhdw])")


def _seconds(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int:
    match = _AGE.fullmatch(value)
    if match is None:
        raise click.BadParameter(
            f"{value!r} is not a number with one of the units s, m, h, d, w, such as 24h or 7d"
        )
    return int(match[1]) * _UNITS[match[2]]


@click.command("sweep")
@click.argument("bucket")
@click.option("--prefix", metavar="P", help="Only keys that begin with this.")
@click.option(
    "--older-than",
    callback=_seconds,
    default="24h",
    show_default=True,
    metavar="AGE",
    help="Only what was begun longer ago than this, such as 90m, 24h or 7d.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per leftover.")
def command(bucket: str, prefix: str | None, older_than: int, dry_run: bool, as_json: bool) -> None:
    """Remove what crashed uploads have left in BUCKET.

    That is: multipart uploads that were begun and neither completed nor aborted, and temporary
    objects of uploads with stage=True and of the doctor. An upload that is still at work looks like
    one that crashed, so --older-than has to be longer than any upload takes. Ages are told by the
    clock of the server.
    """
    from object_clerk import DeleteIncomplete, ObjectClerk, SweptUpload

    show = _print_json if as_json else _print_table
    with ObjectClerk.from_env() as clerk:
        try:
            outcomes = clerk.sweep_uploads(bucket, prefix, older_than_s=older_than, dry_run=dry_run)
        except DeleteIncomplete as error:
            show([each for each in error.outcomes if isinstance(each, SweptUpload)], dry_run)
            raise
    show(outcomes, dry_run)


def _print_json(outcomes: Sequence[SweptUpload], dry_run: bool) -> None:
    for each in outcomes:
        fields = {
            "key": each.key,
            "upload_id": each.upload_id,
            "initiated": each.initiated.isoformat() if each.initiated else None,
            "removed": each.deleted,
            "code": each.code,
            "message": each.message,
        }
        click.echo(json.dumps({"type": "leftover", **fields}))
    removed = sum(each.deleted for each in outcomes)
    totals = {"found": len(outcomes), "removed": removed, "dry_run": dry_run}
    click.echo(json.dumps({"type": "summary", **totals}))


def _print_table(outcomes: Sequence[SweptUpload], dry_run: bool) -> None:
    from rich.text import Text

    from object_clerk.cli.consoles import new_table, output
    from object_clerk.cli.text import count, printable

    table = new_table()
    table.add_column("key", overflow="fold", min_width=12)
    table.add_column("what it is", no_wrap=True)
    table.add_column("begun", no_wrap=True)
    table.add_column("what became of it", overflow="fold")
    for each in outcomes:
        row = (
            each.key,
            "upload" if each.upload_id else "temporary object",
            each.initiated.astimezone(UTC).isoformat(" ", "seconds") if each.initiated else "",
            _fate(each, dry_run),
        )
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = output()
    if not outcomes:
        console.print("Nothing old enough is left behind.")
        return
    console.print(table)
    console.print()
    if dry_run:
        console.print(f"{count(len(outcomes), 'leftover')} would be removed.")
    else:
        removed = sum(each.deleted for each in outcomes)
        console.print(f"{removed} of {count(len(outcomes), 'leftover')} removed.")


def _fate(each: SweptUpload, dry_run: bool) -> str:
    if each.deleted:
        return "removed"
    return "would be removed" if dry_run else f"kept: {each.code} {each.message or ''}".strip()
