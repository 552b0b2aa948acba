"""The commands `report` and `demo`. What writes a report is given, because `pipeline` does not import `evaluation`."""

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

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


class PageOptions(NamedTuple):
    """Options of the page: its heading, and whether the saved images lie beside it."""

    title: str | None = None
    full: bool = False


@dataclass(frozen=True)
class Reports:
    """What `srsoup report` calls. It is given, because `pipeline` does not import `evaluation`.

    Each takes the runs first, and raises a ValueError that says what is wrong.

    Attributes:
        write: writes the page into this folder or the usual one, and returns the page.
        watch: does so again and again while the runs go on, and serves the page on a port, until the event is set.
        table: returns the text of a table by its name and its format.
        figures: draws the figure of this number, or "all", into this folder or the usual one, with these prompts, and
            returns the lines to print.
    """

    write: Callable[[Sequence[Location], Path | None, PageOptions], Path]
    watch: Callable[[Sequence[Location], Path | None, PageOptions, int, threading.Event], None]
    table: Callable[[Sequence[Location], str, str], str]
    figures: Callable[[Sequence[Location], str, Path | None, Sequence[str]], Sequence[str]]


Runs = Annotated[
    list[str],
    typer.Argument(help="The folder of a run or of a sweep, or a URI. Can be given several times.", metavar="RUN"),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="The folder to write to. By default it is report/ in the first run's folder, or report-NAME in the "
        "current folder if the run is on an object store.",
        metavar="FOLDER",
    ),
]
Title = Annotated[str | None, typer.Option(help="The heading of the page. By default it names the guided rewards.")]
Full = Annotated[bool, typer.Option("--full", help="Also write the saved images into a folder beside the page.")]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Serve the page to browsers of this machine, and make it again while the runs go on. Ctrl-C ends this "
        "with exit status 130, SIGTERM with 0.",
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port of --watch. By default any that is free.")]
Table = Annotated[
    str | None,
    typer.Option(
        help="Print this table instead: 1 to 6 as in the paper, or hypervolume, methods, cost_ratios, "
        "over_optimisation or quality.",
        metavar="TABLE",
    ),
]
Form = Annotated[
    str | None,
    typer.Option(
        "--format", help="The format of the table: screen (the default), markdown, latex, csv or json.",
        metavar="FORMAT",
    ),
]  # fmt: skip


Figure = Annotated[
    str | None,
    typer.Option(
        help="Draw this figure of the paper instead, as PNG, PDF, SVG and CSV: 1, 3, 4, 5, 7, 8, 10, 16, 18 or 22, or "
        "all that these runs can give.",
        metavar="NUMBER",
    ),
]
ShownPrompts = Annotated[
    list[str] | None,
    typer.Option(help="A prompt that figure 4, 16, 18 or 22 shows. Can be given several times."),
]


def report_commands(reports: Reports) -> tuple[Command, Command]:
    """The two commands, `demo` and `report`."""

    def report(
        runs: Runs,
        out: Out = None,
        title: Title = None,
        full: Full = False,
        watch: Watch = False,
        port: Port = 0,
        table: Table = None,
        form: Form = None,
        figure: Figure = None,
        prompt: ShownPrompts = None,
    ) -> None:
        """Write tables, figures and one HTML page of some runs.

        Several runs are compared. The page needs no network to be viewed. With --table one table is
        printed, and nothing is written; its runs may have different guided rewards. With --figure
        a figure of the paper is drawn, one column wide.

        Exit status: 2 if a folder holds no run or no finished prompt, if the runs are guided by
        different rewards, or if they cannot give the table or the figure.
        """
        page = PageOptions(title, full)
        try:
            places = [location_of(run) for run in runs]
            if form and table is None:
                raise ValueError("--format is the format of a table; fix: give --table too, or leave --format out")
            if prompt and figure is None:
                raise ValueError("--prompt chooses what a figure shows; fix: give --figure too, or leave --prompt out")
            if table is not None:
                print(reports.table(places, table, form or "screen"), end="")
            elif figure is not None:
                print(*reports.figures(places, figure, out, prompt or ()), sep="\n")
            elif watch:
                reports.watch(places, out, page, port, _set_by_sigterm())
            else:
                print(f"report: {reports.write(places, out, page)}")
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
                page = reports.write([plan.folder], None, PageOptions()).absolute()
                print(f"report: {page}\nOpen this page in a browser.")
            except ValueError as error:
                raise fail(error) from error
        raise typer.Exit(exit_status)

    return (
        Command(demo, "srsoup demo prompts.limit=1"),
        Command(report, "srsoup report runs/demo runs/seed1 --out comparison"),
    )


def _set_by_sigterm() -> threading.Event:
    """Return an event that SIGTERM sets from now on."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop
