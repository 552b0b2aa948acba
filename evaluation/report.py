"""Writes the report of one or several runs: figures, CSV tables, and one self-contained HTML page."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from evaluation import figures
from evaluation.costs import CostTable, cost_table
from evaluation.errors import ReportError
from evaluation.extremes import extremes
from evaluation.fronts import mark_fronts, mean_over_prompts
from evaluation.hypervolume import HypervolumeTable, derived_point, hypervolume_table, reference_point
from evaluation.overlap import draw_overlap, overlap_table
from evaluation.page import SHOWN, Plot, Plots, render_page
from evaluation.run_data import UNGUIDED, Comparison, load_runs
from pipeline.records import Location

# The characters that begin a formula, also in full width.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20\u2212")
# Some spreadsheets skip these before a formula: blanks, quotes, and characters that are not seen.
_SKIPPED = " \u00a0\u3000\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb\0\ufeff\u200b\u200e\u200f"
# A spreadsheet that separates cells by semicolons or tabs finds the beginning of a cell after these too.
_SEPARATOR = re.compile(r"([;\t\r\n])")


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
        plots = _draw(out, comparison, tables.overlap)
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


def without_formula(text: str) -> str:
    """Returns the text with an apostrophe before everything that a spreadsheet would run as a formula."""
    pieces = [f"'{piece}" if _is_formula(piece) else piece for piece in _SEPARATOR.split(text)]
    return "'" * text.startswith(("\t", "\r", "\n")) + "".join(pieces)


def _is_formula(text: str) -> bool:
    return text.lstrip(_SKIPPED).startswith(_FORMULA)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame as CSV: every text in quotes and without formulas, every number as it is.

    Raises:
        OSError: the file cannot be written.
    """
    texts = frame.select_dtypes(exclude="number").columns
    safe = frame.copy()
    for name in texts:
        safe[name] = pd.Series([_safe(cell) for cell in frame[name]], index=frame.index, dtype=object)
    safe.columns = pd.Index([without_formula(str(name)) for name in frame.columns])
    safe.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, errors="replace")


def _safe(cell: object) -> object:
    return without_formula(cell) if isinstance(cell, str) else cell


def _draw(out: Path, comparison: Comparison, overlap: pd.DataFrame) -> Plots:
    unguided = [label for label in comparison.labels if comparison.method_of(label) == UNGUIDED]
    colours = figures.palette(comparison.labels, unguided)
    names = {reward: _with_unit(reward, comparison.unit_of(reward)) for reward in comparison.rewards}
    axes_list = figures.reward_pairs(comparison.guided)

    def front(rows: pd.DataFrame, axes: tuple[str, ...], stem: str, prompt: str) -> Plot:
        name = _file_name(stem if len(axes_list) == 1 else f"{stem}-{'-'.join(axes)}")
        figure = figures.draw_front(rows, axes, colours, unguided, names, small=stem != "front_mean")
        return Plot(figures.save(figure, out / name), prompt)

    def held_out(reward: str) -> Plot:
        two = len(comparison.guided) == 2
        weighted = f"weight of {comparison.guided[0]}" if two else "number of the weighting"
        figure = figures.draw_by_weight(comparison.points, reward, names[reward], weighted, colours, unguided)
        return Plot(figures.save(figure, out / _file_name(f"held_out_{reward}")), reward)

    means = mean_over_prompts(comparison.points, comparison.guided)
    by_prompt = dict(tuple(comparison.all_points.groupby("prompt_id")))
    shown = comparison.all_prompts.head(SHOWN).itertuples(index=False)
    return Plots(
        colours,
        [front(means, axes, "front_mean", "") for axes in axes_list],
        [front(by_prompt[key], axes, f"front_{key}", prompt) for key, prompt in shown for axes in axes_list],
        [held_out(reward) for reward in comparison.held_out],
        _draw_overlaps(out, comparison, overlap),
    )


def _draw_overlaps(out: Path, comparison: Comparison, overlap: pd.DataFrame) -> list[Plot]:
    """Draws a figure for each label that has the overlap of two different distributions."""
    plots = []
    for number, label in enumerate(comparison.labels, 1):
        rows, points = overlap[overlap["label"] == label], comparison.points_of(label).drop_duplicates("weight_index")
        # With one reward there is one exemplar, and no other weighting that could overlap it.
        if rows.empty or len(comparison.guided) == 1:
            continue
        weights = dict(zip(points["weight_index"], points["weights"], strict=True))
        stem = _file_name(f"overlap_{number}_{label.lower()}")
        plots.append(Plot(figures.save(draw_overlap(rows, weights, comparison.guided), out / stem[:80]), label))
    return plots


def _file_name(text: str) -> str:
    """Replaces all characters but letters, digits, _ and -, because names in a run's files may contain a path."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")


def _with_unit(reward: str, unit: str) -> str:
    return f"{reward} ({unit})" if unit else reward
