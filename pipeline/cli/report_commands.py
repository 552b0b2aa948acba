"""The commands `report` and `demo`. What writes a report is given, because `pipeline` does not import `evaluation`."""

import signal
import threading
from collections.abc import Callable, Sequence
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


# Writes one page of these runs, into this folder or the usual one; returns the page, or raises a ValueError that says
# what is wrong.
WriteReport = Callable[[Sequence[Location], Path | None, PageOptions], Path]
# Does so again and again while the runs go on, and serves the page on a port, until the event is set.
WatchReport = Callable[[Sequence[Location], Path | None, PageOptions, int, threading.Event], None]

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


def report_commands(write_report: WriteReport, watch_report: WatchReport) -> tuple[Command, Command]:
    """The two commands, which write their page by `write_report` and keep it up to date by `watch_report`."""

    def report(
        runs: Runs,
        out: Out = None,
        title: Title = None,
        full: Full = False,
        watch: Watch = False,
        port: Port = 0,
    ) -> None:
        """Write tables, figures and one HTML page of some runs.

        Several runs are compared. The page needs no network to be viewed.

        Exit status: 2 if a folder holds no run or no finished prompt, or if the runs are
        guided by different rewards.
        """
        page = PageOptions(title, full)
        try:
            places = [location_of(run) for run in runs]
            if watch:
                watch_report(places, out, page, port, _set_by_sigterm())
            else:
                print(f"report: {write_report(places, out, page)}")
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
                page = write_report([plan.folder], None, PageOptions()).absolute()
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
