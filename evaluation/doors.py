"""What the commands `report` and `export` call. Each raises a ReportError, a ValueError that says what is wrong.

The imports are inside the functions, so that the command line starts without pandas and matplotlib.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Protocol

from pipeline.records import Location


class Page(Protocol):
    """The options of a page: its heading, and whether the saved images lie beside it."""

    @property
    def title(self) -> str | None: ...

    @property
    def full(self) -> bool: ...


def write(runs: Sequence[Location], out: Path | None, page: Page) -> Path:
    """Write the page of some runs into a folder, by default the usual one, and return the page."""
    from evaluation.report import report_folder, write_report

    return write_report(runs, out or report_folder(runs[0]), title=page.title, full=page.full)


def watch(runs: Sequence[Location], out: Path | None, page: Page, port: int, stop: Event) -> None:
    """Serve the page of some runs, made again while they go on, until `stop` is set."""
    from evaluation.report import report_folder
    from evaluation.watch import watch_report

    watch_report(runs, out or report_folder(runs[0]), title=page.title, full=page.full, port=port, stop=stop)


def table(runs: Sequence[Location], name: str, form: str) -> str:
    """Return the text of a table of some runs, for the terminal if there is one."""
    from shutil import get_terminal_size

    from evaluation.tables.formats import WIDTH
    from evaluation.tables.kinds import print_tables

    shown = sys.stdout.isatty()
    return print_tables(runs, name, form, get_terminal_size().columns if shown else WIDTH, shown)


def figures(runs: Sequence[Location], number: str, out: Path | None, prompts: Sequence[str]) -> list[str]:
    """Draw a figure of the paper, or all that the runs can give, and return the lines to print."""
    from evaluation.figures.paper import write_figures
    from evaluation.report import report_folder

    written = write_figures(runs, number, out or report_folder(runs[0]), prompts)
    return [*(f"figure: {file}" for file in written.files), *(f"note: {note}" for note in written.notes)]


def export(run: Location, to: str, layout: str | None) -> str:
    """Export a run, and return the line to print."""
    from evaluation.exports.export import export_run

    return export_run(run, to, layout)
