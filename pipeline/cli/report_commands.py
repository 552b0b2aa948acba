"""The commands `report` and `demo`. What writes a report is given, because `pipeline` does not import `evaluation`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from configs.location import Location, location_of
from configs.packaged import config_file
from pipeline.checked_request import check_workers_import_srsoup, plan_of
from pipeline.cli.app import Command
from pipeline.cli.commands import execute_plans
from pipeline.cli.errors import fail, request_errors
from pipeline.cli.guard import INTERRUPTED
from pipeline.cli.options import Local, Overrides
from pipeline.records import finished_keys

# Writes one page of these runs, into this folder or the usual one; returns the page, or raises a ValueError that says
# what is wrong.
WriteReport = Callable[[Sequence[Location], Path | None], Path]
# Draws the figure of this number, or "all", from these runs into this folder or the usual one, with these prompts;
# returns what to print, or raises a ValueError that says what is missing.
DrawFigures = Callable[[Sequence[Location], str, Path | None, Sequence[str]], Sequence[str]]


def report_commands(write_report: WriteReport, draw_figures: DrawFigures) -> tuple[Command, Command]:
    """The two commands, which write their page by `write_report` and the figures of the paper by `draw_figures`."""

    def report(
        runs: Annotated[
            list[str],
            typer.Argument(help="The folder of a run, or its URI. Can be given several times.", metavar="RUN"),
        ],
        out: Annotated[
            Path | None,
            typer.Option(
                help="The folder to write to. By default it is report/ in the first run's folder, or report-NAME in "
                "the current folder if the run is on an object store.",
                metavar="FOLDER",
            ),
        ] = None,
        figure: Annotated[
            str | None,
            typer.Option(
                help="Draw this figure of the paper instead, as PNG, PDF, SVG and CSV: 1, 3, 4, 5, 7, 8, 10, 16, 18 "
                "or 22, or all that these runs can give.",
                metavar="NUMBER",
            ),
        ] = None,
        prompt: Annotated[
            list[str] | None,
            typer.Option(help="A prompt that figure 4, 16, 18 or 22 shows. Can be given several times."),
        ] = None,
    ) -> None:
        """Write tables, figures and one HTML page of some runs.

        Several runs are compared. The page needs no network to be viewed. With --figure, a figure of the paper is drawn
        instead, one column wide.

        Exit status: 2 if a folder holds no run or no finished prompt, if the runs are
        guided by different rewards, or if they cannot give the figure.
        """
        try:
            places = [location_of(run) for run in runs]
            if figure is not None:
                print(*draw_figures(places, figure, out, prompt or ()), sep="\n")
                return
            if prompt:
                raise ValueError("--prompt chooses what a figure shows; fix: give --figure too, or leave --prompt out")
            print(f"report: {write_report(places, out)}")
        except ValueError as error:
            raise fail(error) from error

    def demo(overrides: Overrides = None, local: Local = False) -> None:
        """Run a small example, and write its report.

        It makes the fronts of six prompts with the model that comes with SRSoup, and needs no GPU and no network. It
        takes some minutes and writes to runs/demo in the current folder. The same command again continues a demo that
        stopped.

        Exit status: the same as for `run`.
        """
        with request_errors():
            if not local:
                check_workers_import_srsoup()
            plan = plan_of(config_file("demo"), overrides or [], [], fetch=True)
            exit_status = execute_plans([plan], local)
        if exit_status != INTERRUPTED and finished_keys(plan.folder):
            try:
                print(f"report: {write_report([plan.folder], None).absolute()}\nOpen this page in a browser.")
            except ValueError as error:
                raise fail(error) from error
        raise typer.Exit(exit_status)

    return (
        Command(demo, "srsoup demo prompts.limit=1"),
        Command(report, "srsoup report runs/demo runs/seed1 --out comparison"),
    )
