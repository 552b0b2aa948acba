"""Sends the tables and images of a report to a tracker."""

from pathlib import Path
from typing import Protocol

import pandas as pd

from evaluation.exports.fronts import fronts_of, read_fronts
from evaluation.run import Run

# A tracker is for watching a few images; the report has them all.
MOST_FRONTS, MOST_ROWS = 12, 10_000


class Tracker(Protocol):
    """What a report needs of a tracker."""

    def add_table(self, name: str, table: pd.DataFrame) -> None: ...

    def add_image(self, name: str, png: bytes) -> None: ...


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
