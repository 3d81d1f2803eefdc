"""``object-clerk sweep-expired``: give back the room of objects that have expired."""

from __future__ import annotations

import json

import click


@click.command("sweep-expired")
@click.option(
    "--batch",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many keys are looked at before it is told what was found.",
)
@click.option(
    "--most", type=click.IntRange(1), metavar="N", help="How many keys are looked at in all."
)
@click.option("--after", metavar="KEY", help="Begin behind this key of the store.")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per batch.")
def command(batch: int, most: int | None, after: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove objects that have expired from the gateway's store, and old unfinished uploads.

    It is the store of `object-clerk serve`, with the same settings. What has expired is not served
    any more, whether or not this runs; it only gives the room back.
    """
    from object_clerk.gateway.settings import GatewaySettings
    from object_clerk.gateway.storage import open_store
    from object_clerk.gateway.v1.config import SessionsConfig
    from object_clerk.gateway.v1.service import now_utc
    from object_clerk.gateway.v1.sweeper import Sweeper

    config = SessionsConfig.load()
    looked = removed = 0
    with open_store(GatewaySettings.load()) as store:
        sweeper = Sweeper(store, now_utc, config.sweep.uploads, dry_run=dry_run)
        while most is None or looked < most:
            swept = sweeper.batch(batch if most is None else min(batch, most - looked), after)
            looked, removed, after = looked + swept.looked, removed + swept.removed, swept.last
            if as_json:
                told = {"looked": swept.looked, "removed": swept.removed, "last": swept.last}
                click.echo(json.dumps({"type": "batch", **told}))
            if after is None:
                break
    if as_json:
        totals = {"looked": looked, "removed": removed, "last": after, "dry_run": dry_run}
        click.echo(json.dumps({"type": "summary", **totals}))
        return
    verb = "would be removed" if dry_run else "removed"
    more = "" if after is None else f" There are more, behind {after!r}."
    click.echo(f"{removed} of {looked} keys {verb}.{more}")
