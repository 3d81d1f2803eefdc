"""``object-clerk url-keys``: the keys that presigned URLs of the gateway are signed with."""

from __future__ import annotations

import json

import click


@click.group("url-keys")
def command() -> None:
    """Manage the keys that presigned URLs of the gateway are signed with.

    Nothing has to be done as a rule: a key is replaced by itself when it is 7 days old.
    """


@command.command("rotate")
@click.option(
    "--file",
    "-f",
    type=click.Path(),
    metavar="PATH",
    help="The file of keys; else the one that the gateway's settings name.",
)
@click.option(
    "--drop-old",
    is_flag=True,
    help="Forget all other keys, because somebody else knows them: all URLs end at once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rotate(file: str | None, drop_old: bool, as_json: bool) -> None:
    """Make a new key, which signs from now on.

    URLs that were signed with the keys before stay good until they expire, unless --drop-old is
    given. A gateway that runs sees the change at the next request.
    """
    from object_clerk.cli.text import count
    from object_clerk.gateway.settings import GatewaySettings
    from object_clerk.gateway.url_keys import UrlKeys

    path = file or GatewaySettings.load().url_keys_file
    *kept, new = UrlKeys(path).rotate(drop_old=drop_old)
    if as_json:
        old = [each.kid for each in kept]
        click.echo(json.dumps({"type": "url_key", "kid": new.kid, "kept": old}))
        return
    fate = f"{count(len(kept), 'key')} kept to check what they signed" if kept else "none is kept"
    click.echo(f"The key {new.kid} signs from now on; of the old ones, {fate}.")
