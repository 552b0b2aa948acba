"""Writes the report of one or several runs: figures, CSV tables, and one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from evaluation.errors import ReportError
from evaluation.measures.by_tag import by_tag, by_tag_and_weight
from evaluation.measures.costs import CostTable, cost_table
from evaluation.measures.extremes import extremes
from evaluation.measures.fronts import mark_fronts
from evaluation.measures.hypervolume import HypervolumeTable, derived_point, hypervolume_table, reference_point
from evaluation.measures.overlap import overlap_table
from evaluation.page.draw import draw_plots
from evaluation.page.render import render_page
from evaluation.reading.comparison import Comparison, load_runs
from evaluation.tables.csv_files import write_csv
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


def write_report(runs: Sequence[Location], out: Path) -> Path:
    """Writes `index.html`, the figures (PNG and SVG) and the CSV tables of these runs into `out`.

    Returns:
        The path of `index.html`, which contains everything it shows, so that it opens without network.

    Raises:
        ReportError: a folder has no run or no finished prompt, the guided rewards differ, or `out` cannot be written.
    """
    comparison = load_runs(runs)
    tables = Tables(
        mark_fronts(comparison.all_points, comparison.guided),
        hypervolume_table(comparison, reference_point(comparison)),
        hypervolume_table(comparison, derived_point(comparison)),
        cost_table(comparison),
        extremes(comparison),
        overlap_table(comparison),
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_tables(out, comparison, tables)
        plots = draw_plots(out, comparison, tables.overlap)
        page = render_page(comparison, tables.volumes, tables.below_all, tables.costs, tables.extremes, plots)
        (out / "index.html").write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReportError(
            f"{out}: the report cannot be written ({error}). Choose another folder with --out."
        ) from error
    return out / "index.html"


def _write_tables(out: Path, comparison: Comparison, tables: Tables) -> None:
    names = ("label", "run", "method", "prompt_id", "prompt", "seed", "weight_index", "weights")
    write_csv(tables.points[[*names, *comparison.rewards, "on_front", "compared"]], out / "front.csv")
    for name, volumes in (("hypervolume", tables.volumes), ("hypervolume_below_all", tables.below_all)):
        reference = {f"reference_{reward}": value for reward, value in volumes.reference.values.items()}
        write_csv(volumes.by_prompt.assign(**reference), out / f"{name}.csv")
    write_csv(tables.costs.rows, out / "costs.csv")
    write_csv(tables.extremes, out / "ends.csv")
    write_csv(tables.overlap, out / "overlap.csv")
    tags = by_tag(comparison, tables.volumes)
    if len(tags):
        write_csv(tags, out / "by_tag.csv")
        write_csv(by_tag_and_weight(comparison), out / "by_tag_and_weight.csv")
