"""Writes the report of one or several runs: figures, CSV tables, and one self-contained HTML page."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import pandas as pd

from evaluation.errors import ReportError
from evaluation.figures.overlap import draw_conflict
from evaluation.figures.plots import save
from evaluation.measures.by_tag import by_tag, by_tag_and_weight
from evaluation.measures.conflict import conflict_table
from evaluation.measures.costs import CostTable, cost_table
from evaluation.measures.efficiency import hypervolume_by_cost
from evaluation.measures.extremes import extremes
from evaluation.measures.fronts import mark_fronts
from evaluation.measures.hypervolume import HypervolumeTable, derived_point, hypervolume_table, reference_point
from evaluation.measures.overlap import overlap_table
from evaluation.page.draw import draw_plots
from evaluation.page.page import write_page
from evaluation.page.pictures import PictureStore, display_side
from evaluation.page.sections import Shown
from evaluation.reading.comparison import Comparison, load_runs
from evaluation.reading.sweeps import runs_of_sweeps
from evaluation.tables.csv_files import write_csv
from evaluation.tables.kinds import write_tables
from evaluation.tables.volumes import BELOW_ALL, STATED
from pipeline.records import Location


@dataclass(frozen=True)
class Tables:
    """The tables of the report, which are also written as CSV files.

    A hypervolume depends on its reference point, and a configuration may set a favourable one. So the report has two:
    `volumes` from the point in the configuration, and `below_all` from a point below every sample.
    """

    points: pd.DataFrame
    volumes: HypervolumeTable
    below_all: HypervolumeTable
    costs: CostTable
    extremes: pd.DataFrame
    overlap: pd.DataFrame


def report_folder(run: Location) -> Path:
    """Returns the default folder of a report: `report` in the run folder, or `report-NAME` here for a remote run."""
    return run / "report" if isinstance(run, Path) else Path(f"report-{run.name}")


def write_report(
    runs: Sequence[Location],
    out: Path,
    *,
    title: str | None = None,
    full: bool = False,
    pictures: PictureStore | None = None,
) -> Path:
    """Writes `index.html`, the figures (PNG and SVG), the CSV tables and the printed tables of these runs into `out`.

    Args:
        runs: the folders of runs; the folder of a sweep stands for all of its runs.
        title: the heading of the page; by default it names the guided rewards.
        full: whether to write the saved images into the folder `images` beside the page too.
        pictures: a store of the folder `out`, which keeps the images of the page for the next report of the same runs;
            it decides about `full`. By default each report reads every image.

    Returns:
        The path of `index.html`, which contains everything it shows, so that it opens without network.

    Raises:
        ReportError: a folder has no run or no finished prompt, the guided rewards differ, or `out` cannot be written.
    """
    comparison = load_runs(runs_of_sweeps(runs))
    tables = _tables(comparison)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_tables(out, comparison, tables)
        plots = draw_plots(out, comparison, tables.overlap)
        shown = Shown(tables.volumes, tables.below_all, tables.costs, tables.extremes, plots)
        with nullcontext(pictures) if pictures else PictureStore(out, full) as store:
            _add_images(store, comparison, tables.points)
            _write_page(out / "index.html", partial(write_page, comparison, shown, store, title))
    except OSError as error:
        raise ReportError(
            f"{out}: the report cannot be written ({error}). Choose another folder with --out."
        ) from error
    return out / "index.html"


def _tables(comparison: Comparison) -> Tables:
    return Tables(
        mark_fronts(comparison.all_points, comparison.guided),
        hypervolume_table(comparison, reference_point(comparison)),
        hypervolume_table(comparison, derived_point(comparison)),
        cost_table(comparison),
        extremes(comparison),
        overlap_table(comparison),
    )


def _add_images(store: PictureStore, comparison: Comparison, points: pd.DataFrame) -> None:
    store.use(display_side(len(points)))
    for run in comparison.runs:
        store.add(run.path, points.loc[points["run"] == run.name, "key"].unique().tolist())


def _write_page(file: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Writes a file beside its place, and then moves it there, so that a browser never reads half of it."""
    half = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with half.open("wb") as opened:
            write(opened)
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def _write_tables(out: Path, comparison: Comparison, tables: Tables) -> None:
    names = ("label", "run", "method", "prompt_id", "prompt", "seed", "weight_index", "weights")
    write_csv(tables.points[[*names, *comparison.rewards, "on_front", "compared"]], out / "front.csv")
    for name, volumes in (("hypervolume", tables.volumes), ("hypervolume_below_all", tables.below_all)):
        reference = {f"reference_{reward}": value for reward, value in volumes.reference.values.items()}
        write_csv(volumes.by_prompt.assign(**reference), out / f"{name}.csv")
    write_csv(tables.costs.rows, out / "costs.csv")
    write_csv(tables.extremes, out / "ends.csv")
    write_csv(tables.overlap, out / "overlap.csv")
    both = {STATED: tables.volumes, BELOW_ALL: tables.below_all}
    write_csv(hypervolume_by_cost(comparison, both), out / "hypervolume_by_cost.csv")
    _write_conflict(out, comparison)
    write_tables(comparison, out / "tables")
    tags = by_tag(comparison, tables.volumes)
    if len(tags):
        write_csv(tags, out / "by_tag.csv")
        write_csv(by_tag_and_weight(comparison), out / "by_tag_and_weight.csv")


def _write_conflict(out: Path, comparison: Comparison) -> None:
    """Writes how the rewards conflict as a CSV table, and as a figure of each label that has two guided rewards."""
    conflict = conflict_table(comparison)
    write_csv(conflict, out / "conflict.csv")
    for number, label in enumerate(comparison.labels, 1):
        rows, points = conflict[conflict["label"] == label], comparison.points_of(label).drop_duplicates("weight_index")
        if not rows.empty:
            weights = dict(zip(points["weight_index"], points["weights"], strict=True))
            save(draw_conflict(rows, weights, comparison.run_of(label).guided), out / f"conflict_{number}")
