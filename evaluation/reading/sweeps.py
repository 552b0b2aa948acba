"""Finds the runs of a sweep, whose folder holds a folder for each of its points."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.records import Location

RECORD = "config.yaml"


def runs_of_sweeps(folders: Sequence[Location]) -> list[Location]:
    """Replaces each folder of a sweep by the folders of its runs, in alphabetical order; all others stay.

    A folder of a sweep is a folder on a disk that is not a run itself, but holds folders that are.
    """
    return [run for folder in folders for run in _runs_of(folder)]


def _runs_of(folder: Location) -> Sequence[Location]:
    if not isinstance(folder, Path) or (folder / RECORD).exists():
        return [folder]
    return sorted(record.parent for record in folder.glob(f"*/{RECORD}")) or [folder]
