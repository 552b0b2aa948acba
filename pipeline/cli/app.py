"""How a command line is put together from commands."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer

from pipeline.cli.guard import guarded
from pipeline.cli.version import srsoup_version


class Command(NamedTuple):
    """A command: its function, whose docstring is the help text, and one line that shows how it is used."""

    function: Callable[..., Any]
    example: str
    name: str | None = None


def new_app(*commands: Command, completion: bool = False) -> typer.Typer:
    """A command line of these commands, in this order.

    Args:
        completion: whether it can install its completion into the shell, which takes a program with a name of its own.
    """
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=completion,
        # One error is one message: a traceback of ours would bury it.
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="COMMAND -h explains a command. Start with: srsoup demo" if completion else None,
    )
    app.callback()(_whole)
    for function, example, name in commands:
        app.command(name=name, epilog=f"Example: {example}")(guarded(function))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"srsoup {srsoup_version()}")
        raise typer.Exit


def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Sample Reward Soups: guide text-to-image sampling by several black-box rewards at once.

    For each prompt SRSoup makes a whole front of images, one image for each weighting of the rewards.
    """
