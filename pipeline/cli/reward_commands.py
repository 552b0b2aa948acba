"""The commands `rewards` and `score`: declarations and contract tests of rewards, and scores of image files."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.app import Command
from pipeline.cli.errors import request_errors
from pipeline.cli.options import Plugins


def rewards(
    check: Annotated[
        list[str] | None,
        typer.Option(help="Test this reward against the contract of rewards. Can be given several times."),
    ] = None,
    fetch: Annotated[
        list[str] | None,
        typer.Option(help="Download and check the weight files of this reward. Can be given several times."),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List the rewards, or fetch or test some of them.

    The list shows what each reward declares: what a higher score means, the scale, and the weight files.

    Exit status: 1 if a tested reward breaks its contract, 2 if the request is wrong.
    """
    with request_errors():
        from pipeline.planning.plugins import plug_in, read_plugins

        plug_in(read_plugins(plugin or []))
        if not (check or fetch):
            from pipeline.cli.reward_table import reward_table

            Console(markup=False, emoji=False).print(reward_table())
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
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files, RGB.", metavar="IMAGE")],
    rewards: Annotated[
        str, typer.Option(help="Names of rewards, separated by commas. `srsoup rewards` lists them.", metavar="NAMES")
    ],
    prompt: Annotated[
        str | None, typer.Option(help="The prompt of the images. Can be left out if no reward reads it.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Score image files with some rewards.

    It prints a table with one row for each image and one column for each reward, separated by tabs.

    Exit status: 2 if the request is wrong.
    """
    with request_errors():
        from pipeline.cli.score_files import score_files
        from pipeline.planning.plugins import plug_in, read_plugins

        plug_in(read_plugins(plugin or []))
        names = [name.strip() for name in rewards.split(",")]
        rows = score_files(images, names, prompt)
        print("image", *names, sep="\t")
        for path, scores in rows:
            print(path, *(f"{value:.6g}" for value in scores), sep="\t")
            sys.stdout.flush()


REWARD_COMMANDS = (
    Command(rewards, "srsoup rewards --plugin my_rewards.py --check redness"),
    Command(score, 'srsoup score a.png --rewards mini_clip,sharpness --prompt "an owl"'),
)
