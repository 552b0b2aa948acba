"""Sample Reward Soups: the door. The command line, and the few names that a notebook needs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.load import load_config
from pipeline.commands import app
from pipeline.reward_commands import rewards, score

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
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs; several are compared.", metavar="RUN...")],
    out: Annotated[Path | None, typer.Option(help="Where to write; by default report/ in the first run.")] = None,
) -> None:
    """Write the tables, the figures and one HTML page of one or more runs."""
    from evaluation.errors import ReportError
    from evaluation.report import write_report

    try:
        page = write_report(runs, out or runs[0] / "report")
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    print(f"report: {page}")


def main() -> None:
    """Entry point of the console script `srsoup`."""
    app(prog_name="srsoup")


if __name__ == "__main__":
    main()
