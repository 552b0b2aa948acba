"""The commands `rewards` and `score`: what the rewards declare, whether one keeps its contract, and scores of files."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from configs.errors import COMMAND_LINE, RequestError
from pipeline.cli.commands import Plugins, request_errors

Accepted = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-sha256",
        help="Accept a weight file with this SHA-256 instead of the pinned one; may be given again.",
        metavar="FILE=SHA256",
    ),
]


def rewards(
    check: Annotated[
        list[str] | None, typer.Option(help="Test this reward by its contract instead; may be given again.")
    ] = None,
    fetch: Annotated[
        list[str] | None, typer.Option(help="Get this reward's weight files now, and check them; may be given again.")
    ] = None,
    accept_sha256: Accepted = None,
    plugin: Plugins = None,
) -> None:
    """List all rewards with what they declare, or fetch or test some. Exit status 1 if one breaks its contract."""
    with request_errors(), _accepting(accept_sha256):
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
    accept_sha256: Accepted = None,
    plugin: Plugins = None,
) -> None:
    """Score image files: one line a file, one column a reward, with tabs between."""
    with request_errors(), _accepting(accept_sha256):
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


@contextmanager
def _accepting(texts: list[str] | None) -> Iterator[None]:
    """Have weight files accepted as FILE=SHA256 says.

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
