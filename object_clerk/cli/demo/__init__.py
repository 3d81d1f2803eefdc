"""``object-clerk demo``: the main job on real files, on a fresh machine."""

from __future__ import annotations

import logging
from pathlib import Path

import click


@click.command("demo")
@click.argument(
    "directory",
    required=False,
    type=click.Path(exists=True, file_okay=False, readable=True, path_type=Path),
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per receipt, and a summary."
)
@click.pass_context
def command(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Do the main job on the files of DIRECTORY, on an S3 server of its own.

    Starts an S3 server (moto) that forgets everything afterwards, uploads every regular file
    below DIRECTORY (by default the installed object_clerk package) and a generated object in
    several parts, downloads all of it and compares it byte for byte, lets a proxy flip a bit,
    copies, moves, lists, and reads everything once more. DIRECTORY is only read.

    Exits with 0 only if everything was proved and every comparison was equal, else with 6, or
    with 1 if a file could not be read.
    """
    ctx.exit(_play(directory, as_json=as_json))


def _play(directory: Path | None, *, as_json: bool) -> int:
    from object_clerk.cli.demo.files import find_files, own_files
    from object_clerk.cli.demo.screens import JsonScreen, TableScreen
    from object_clerk.cli.demo.stage import raised_stage
    from object_clerk.cli.demo.story import Story

    # Whatever the library warns of becomes part of the story.
    logging.getLogger("object_clerk").addHandler(logging.NullHandler())
    screen = JsonScreen() if as_json else TableScreen()
    found = own_files() if directory is None else find_files(directory)
    with raised_stage() as stage:
        outcome = Story(stage, found, screen).play()
    screen.end(outcome)
    return outcome.exit_code
