"""Keeps the report of runs up to date while they go on, and serves it to browsers of this machine."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.errors import ReportError
from evaluation.page.pictures import PictureStore
from evaluation.page.server import PageServer
from evaluation.reading.record import read_record
from evaluation.reading.sweeps import runs_of_sweeps
from evaluation.report import write_report
from pipeline.records import Location, failed_keys, finished_keys

# Seconds between two looks at the run. A page is made again if there are new fronts, but at most this share of the
# time is spent on it: the run needs the processor too.
LOOK = 1.0
SHARE = 0.25


class Counts(NamedTuple):
    """The numbers of fronts of all runs: finished, failed, and wanted in the end (None if that is not known)."""

    finished: int
    failed: int
    wanted: int | None

    def __str__(self) -> str:
        of = "" if self.wanted is None else f" of {self.wanted:,}"
        end = "; the run is finished" if self.wanted is not None and self.finished >= self.wanted else ""
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.finished:,}{of} fronts finished{failed}{end}"


def count_fronts(runs: Sequence[Location]) -> Counts:
    """Counts the fronts of these runs.

    Raises:
        ReportError: a folder has no run.
    """
    records = [read_record(run) for run in runs_of_sweeps(runs)]
    found = [(finished_keys(run), failed_keys(run)) for run in runs_of_sweeps(runs)]
    wanted = [record.fronts for record in records]
    known = [number for number in wanted if number is not None]
    return Counts(
        sum(len(done) for done, _ in found),
        sum(len(failed - done) for done, failed in found),
        sum(known) if len(known) == len(wanted) else None,
    )


@dataclass
class _Watched:
    """What the page around the report shows: how often the report was made, and how far the runs are."""

    counts: Counts
    version: int = 0
    problem: str = ""

    def state(self) -> dict[str, Any]:
        counts = self.counts
        text = f"{counts}. {self.problem}" if self.problem else str(counts)
        return {"version": self.version, "text": text, "finished": counts.finished, "wanted": counts.wanted}


def watch_report(
    runs: Sequence[Location],
    out: Path,
    *,
    title: str | None = None,
    full: bool = False,
    port: int = 0,
    tell: Callable[[str], None] = print,
    stop: threading.Event | None = None,
) -> None:
    """Serves the report of these runs on 127.0.0.1, and makes it again whenever they have new fronts.

    The report is that of `write_report`, in the same folder, and stays there. Images of fronts that were read before
    are not read again.

    Args:
        port: the port, or 0 for any that is free.
        tell: is given the address of the page.
        stop: is set to end; without it, only an exception such as KeyboardInterrupt ends this function.

    Raises:
        ReportError: a folder has no run, the folder `out` cannot be written, or the port is taken.
    """
    stop = stop or threading.Event()
    watched = _Watched(count_fronts(runs))
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictures = PictureStore(out, full)
        server = PageServer(out, watched.state, port)
    except OSError as error:
        raise ReportError(f"{out}: cannot be served ({error}). Choose another folder or another --port.") from error
    with pictures, server:
        tell(f"watching: {server.url}\nOpen this address in a browser on this machine. Ctrl-C ends it.")
        _follow(runs, watched, stop, partial(write_report, runs, out, title=title, pictures=pictures))


def _follow(runs: Sequence[Location], watched: _Watched, stop: threading.Event, write: Callable[[], object]) -> None:
    """Writes the report whenever the runs have new fronts, or sets the reason why there is none yet."""
    seen, due = None, 0.0
    while not stop.is_set():
        watched.counts = count_fronts(runs)
        if watched.counts != seen and time.monotonic() >= due:
            seen, began = watched.counts, time.monotonic()
            try:
                write()
                watched.version, watched.problem = watched.version + 1, ""
            except ReportError as error:
                watched.problem = str(error)
            due = time.monotonic() + (time.monotonic() - began) * (1 / SHARE - 1)
        stop.wait(LOOK)
