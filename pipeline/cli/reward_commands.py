"""The commands `rewards` and `score`: declarations and contract tests of rewards, and scores of image files."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from configs.errors import COMMAND_LINE, RequestError
from pipeline.cli.app import Command
from pipeline.cli.errors import request_errors
from pipeline.cli.options import Plugins
from pipeline.cli.serve_command import serve_reward

Accepted = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-sha256",
        help="Accept a weight file with this SHA-256 instead of the pinned one; Can be given several times.",
        metavar="FILE=SHA256",
    ),
]


def rewards(
    check: Annotated[
        list[str] | None,
        typer.Option(help="Test this reward against the contract of rewards. Can be given several times."),
    ] = None,
    fetch: Annotated[
        list[str] | None,
        typer.Option(help="Download and check the weight files of this reward. Can be given several times."),
    ] = None,
    parity: Annotated[
        list[str] | None,
        typer.Option(
            help="Score ten reference images with this reward and, if it is installed, with its authors' package. Can "
            "be given several times."
        ),
    ] = None,
    accept_sha256: Accepted = None,
    plugin: Plugins = None,
) -> None:
    """List the rewards, or fetch, test or compare some of them.

    The list shows what each reward declares: what a higher score means, the scale, and the weight files.

    Exit status: 1 if a tested reward breaks its contract or differs from its authors' package, 2 if the request is
    wrong.
    """
    with request_errors(), _accepting(accept_sha256):
        from pipeline.planning.plugins import plug_in, read_plugins

        plug_in(read_plugins(plugin or []))
        if not (check or fetch or parity):
            from pipeline.cli.reward_table import reward_table

            Console(markup=False, emoji=False).print(reward_table())
            return
        from pipeline.library.score_files import broken_checks, compared, fetched

        for name in fetch or []:
            for path in fetched(name):
                print(f"{name}: {path}")
        broken = {name: broken_checks(name) for name in check or []}
        different = [name for name in parity or [] if not compared(name, print)]
    for name, failures in broken.items():
        print(f"{name}: {'breaks its contract' if failures else 'keeps its contract'}")
        for failure in failures:
            print(f"  {failure}")
    raise typer.Exit(1 if any(broken.values()) or different else 0)


def score(
    images: Annotated[
        list[Path], typer.Argument(help="Files of 8-bit RGB or grey: PNG, JPEG, WebP and others.", metavar="IMAGE")
    ],
    rewards: Annotated[
        str, typer.Option(help="Names of rewards, separated by commas. `srsoup rewards` lists them.", metavar="NAMES")
    ],
    prompt: Annotated[
        str | None, typer.Option(help="The prompt of the images. Can be left out if no reward reads it.")
    ] = None,
    accept_sha256: Accepted = None,
    plugin: Plugins = None,
) -> None:
    """Score image files with some rewards.

    It prints a table with one row for each image and one column for each reward, separated by tabs.

    Exit status: 2 if the request is wrong.
    """
    with request_errors(), _accepting(accept_sha256):
        from pipeline.library.score_files import score_files
        from pipeline.planning.plugins import plug_in, read_plugins

        plug_in(read_plugins(plugin or []))
        names = [name.strip() for name in rewards.split(",")]
        rows = score_files(
            [(image, prompt) for image in images], names, lambda text: print(f"note: {text}", file=sys.stderr)
        )
        for index, (path, scores) in enumerate(rows):
            if not index:
                print("image", *names, sep="\t")
            print(path, *(f"{value:.6g}" for value in scores), sep="\t")
            sys.stdout.flush()


@contextmanager
def _accepting(texts: list[str] | None) -> Iterator[None]:
    """Accept the weight files that the texts FILE=SHA256 name.

    Raises:
        RequestError: a text is not FILE=SHA256.
    """
    from rewards.pinned_files import accepting

    digests = {}
    for text in texts or []:
        name, _, digest = text.partition("=")
        if not name or not re.fullmatch("[0-9a-f]{64}", digest):
            raise RequestError(
                file=COMMAND_LINE, key="--accept-sha256", value=text, problem="this is not FILE=SHA256",
                allowed="name of a weight file, or owner/repository/name, and 64 hexadecimal digits",
                fix="copy both from the message that shows them",
            )  # fmt: skip
        digests[name] = digest
    with accepting(digests):
        yield


REWARD_COMMANDS = (
    Command(rewards, "srsoup rewards --plugin my_rewards.py --check redness"),
    Command(score, 'srsoup score a.png --rewards mini_clip,sharpness --prompt "an owl"'),
    Command(serve_reward, "srsoup serve-reward sharpness --port 8100", "serve-reward"),
)
