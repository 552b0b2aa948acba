"""Sample Reward Soups: the door. The command line, and the few names that a notebook needs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.load import load_config
from configs.location import location_of
from pipeline.cli.commands import app
from pipeline.cli.reward_commands import rewards, score

if TYPE_CHECKING:
    from pipeline.library import Front, sample_front

__all__ = ["Front", "app", "load_config", "main", "sample_front"]


def __getattr__(name: str) -> Any:
    """The library's names, imported when asked for: the command line's help needs no torch."""
    if name in ("Front", "sample_front"):
        from pipeline import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


app.command()(rewards)
app.command()(score)


@app.command()
def report(
    runs: Annotated[
        list[str], typer.Argument(help="Folders of runs, or their URIs; several are compared.", metavar="RUN...")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; by default report/ in the first run, or report-NAME here if that is a URI."),
    ] = None,
) -> None:
    """Write the tables, the figures and one HTML page of one or more runs."""
    from evaluation.errors import ReportError
    from evaluation.report import report_folder, write_report

    try:
        places = [location_of(run) for run in runs]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    try:
        page = write_report(places, out or report_folder(places[0]))
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    print(f"report: {page}")


def main() -> None:
    """Entry point of the console script `srsoup`."""
    app(prog_name="srsoup")


if __name__ == "__main__":
    main()
