"""Sends the tables and images of a report to a tracker."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pandas as pd

from evaluation.errors import ReportError
from evaluation.exports.fronts import fronts_of, read_fronts
from evaluation.run import Run
from pipeline.records import Location

# A tracker is for watching a few images; the report has them all.
MOST_FRONTS, MOST_ROWS = 12, 10_000


class Tracker(Protocol):
    """What a report needs of a tracker."""

    def add_table(self, name: str, table: pd.DataFrame) -> None: ...

    def add_image(self, name: str, png: bytes) -> None: ...

    def close(self) -> None: ...


# Opens the record of a run in a tracker: the tracker's name, the run's name and its folder.
OpenTracker = Callable[[str, str, Location], Tracker]


def send_to_tracker(folder: Location, out: Path, open_tracker: OpenTracker) -> None:
    """Sends the report of a run to the tracker in its configuration, if there is one.

    Args:
        out: the folder of the report.

    Raises:
        ReportError: the tracker did not take it.
    """
    try:
        run = Run.open(folder)
    except FileNotFoundError:
        # The folder of a sweep holds several runs, which have records of their own.
        return
    name = (run.config.get("report") or {}).get("tracker")
    if name is None:
        return
    try:
        tracker = open_tracker(name, run.config["name"], run.folder)
        try:
            send_report(tracker, run, out)
        finally:
            tracker.close()
    # The packages of trackers raise errors of many kinds.
    except Exception as error:
        raise ReportError(
            f"the tracker {name} did not take the report ({type(error).__name__}: {error!s:.300}). fix: run `pip "
            f"install 'srsoup[{name}]'` if it is not installed, or log in; the report is in {out}"
        ) from error


def send_report(tracker: Tracker, run: Run, out: Path) -> None:
    """Sends every CSV table of a report, its figures of means, and the images of the first fronts.

    Args:
        out: the folder of the report.
    """
    for file in sorted(out.glob("*.csv")):
        tracker.add_table(f"report/{file.stem}", pd.read_csv(file, nrows=MOST_ROWS))
    for pattern in ("front_mean*.png", "held_out_*.png", "overlap_*.png"):
        for file in sorted(out.glob(pattern)):
            tracker.add_image(f"report/{file.stem}", file.read_bytes())
    for front, images in read_fronts(run, fronts_of(run)[:MOST_FRONTS]):
        for image in images:
            tracker.add_image(f"images/{front.method}/{front.prompt_id}/{image.weight_index}", image.png)
