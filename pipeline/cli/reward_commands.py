"""The commands `rewards` and `score`: what the rewards declare, whether one keeps its contract, and scores of files."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.commands import Plugins, request_errors


def rewards(
    check: Annotated[
        list[str] | None, typer.Option(help="Test this reward by its contract instead; may be given again.")
    ] = None,
    fetch: Annotated[
        list[str] | None, typer.Option(help="Get this reward's weight files now, and check them; may be given again.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List all rewards with what they declare, or fetch or test some. Exit status 1 if one breaks its contract."""
    with request_errors():
        from pipeline.planning.plugins import plug_in, read_plugins

        plug_in(read_plugins(plugin or []))
        if not (check or fetch):
            from pipeline.cli.reward_table import reward_table

            Console().print(reward_table())
            return
        from pipeline.cli.score_files import broken_checks, fetched

        for name in fetch or []:
            for path in fetched(name):
                print(f"{name}: {path}")
        broken = {name: broken_checks(name) for name in check or []}
    for name, failures in broken.items():
        print(f"{name}: {'breaks its contract' if failures else 'keeps its contract'}")
        for failure in failures:
            print(f"  {failure}")
    raise typer.Exit(1 if any(broken.values()) else 0)


def score(
    images: Annotated[
        list[Path], typer.Argument(help="Files of 8-bit RGB or grey: PNG, JPEG, WebP and others.", metavar="IMAGE...")
    ],
    rewards: Annotated[str, typer.Option(help="Names, with commas between; see `srsoup rewards`.")],
    prompt: Annotated[str | None, typer.Option(help="The text; may be left out if no reward reads it.")] = None,
    plugin: Plugins = None,
) -> None:
    """Score image files: one line a file, one column a reward, with tabs between."""
    with request_errors():
        from pipeline.cli.score_files import score_files
        from pipeline.planning.plugins import plug_in, read_plugins

        plug_in(read_plugins(plugin or []))
        names = [name.strip() for name in rewards.split(",")]
        rows = score_files(images, names, prompt, lambda text: print(f"note: {text}", file=sys.stderr))
        for index, (path, scores) in enumerate(rows):
            if not index:
                print("image", *names, sep="\t")
            print(path, *(f"{value:.6g}" for value in scores), sep="\t")
            sys.stdout.flush()
