"""``object-clerk sweep-expired``: give back the room of objects that have expired."""

from __future__ import annotations

import dataclasses
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
@click.option(
    "--unconditional",
    is_flag=True,
    help="Delete also where the store cannot delete on condition: what is written to the key of "
    "an expired object at that very moment is lost.",
)
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per batch.")
def command(
    batch: int,
    most: int | None,
    after: str | None,
    unconditional: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove objects that have expired from the gateway's store, and old unfinished uploads.

    It is the store of `object-clerk serve`, with the same settings. What has expired is not served
    any more, whether or not this runs; it only gives the room back.
    """
    from object_clerk.gateway.settings import GatewaySettings
    from object_clerk.gateway.storage import open_store
    from object_clerk.gateway.v1.config import SessionsConfig
    from object_clerk.gateway.v1.service import now_utc
    from object_clerk.gateway.v1.sweeper import Sweeper, Swept

    config = SessionsConfig.load().sweep
    config = config.model_copy(update={"unconditional": config.unconditional or unconditional})
    looked = removed = kept = 0
    with open_store(GatewaySettings.load()) as store:
        sweeper = Sweeper(store, now_utc, config, dry_run=dry_run)
        while most is None or looked < most:
            swept = sweeper.batch(batch if most is None else min(batch, most - looked), after)
            looked, removed = looked + swept.looked, removed + swept.removed
            kept, after = kept + swept.kept, swept.last
            if as_json:
                click.echo(json.dumps({"type": "batch", **dataclasses.asdict(swept)}))
            if after is None:
                break
    if as_json:
        totals = Swept(looked, removed, kept, after)
        told = {"type": "summary", **dataclasses.asdict(totals), "dry_run": dry_run}
        click.echo(json.dumps(told))
        return
    verb = "would be removed" if dry_run else "removed"
    more = "" if after is None else f" There are more, behind {after!r}."
    click.echo(f"{removed} of {looked} keys {verb}.{more}")
    if kept:
        click.echo(
            f"{kept} expired objects were kept: this store does not delete on condition, so what "
            "is written to their keys at the same moment would be lost. --unconditional removes "
            "them all the same."
        )
