"""Figure 7: mean fronts by the number of soup steps, by the number of candidates, and without the soup."""

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes

from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.mean_fronts import mean_front_table, with_unit
from evaluation.figures.paper_style import marker, new_figure, shades
from evaluation.figures.settings import check_same_settings, settings
from evaluation.reading.comparison import Comparison

_PANELS = ("left (K)", "middle (N)", "right (with and without the soup)")
_NEEDS = {
    "left (K)": "runs of srsoup with two or more soup.steps at the same queries (fig7_soup_steps)",
    "middle (N)": "runs of srsoup with two or more queries at the same soup.steps (fig7_queries)",
    "right (with and without the soup)": "runs of both srsoup and unguided_first (fig7_unguided_first)",
}


def draw_ablations(comparison: Comparison) -> list[Drawn]:
    """Draws Figure 7: one panel for each of its three sweeps that these runs hold, one below the other.

    Left, srsoup (and the weighted sum, which is K = 0) with different K at the N that most runs have. Middle, srsoup
    with different N at the K that most runs have. Right, soup steps (solid) and unguided steps (dashed) before the
    weighted sum. A panel that the runs cannot give is named in the notes.

    Raises:
        CannotDraw: the runs give none of the panels, do not have two guided rewards, or differ in more than K and N.
    """
    if len(comparison.guided) != 2:
        raise CannotDraw(f"Figure 7 needs two guided rewards, and these runs have {len(comparison.guided)}.")
    table = settings(comparison)
    chosen = dict(zip(_PANELS, (by_steps(table), by_candidates(table), with_and_without(table)), strict=True))
    found = {panel: rows for panel, rows in chosen.items() if len(rows)}
    lacking = [f"The panel {panel} is missing: it needs {_NEEDS[panel]}." for panel in _PANELS if panel not in found]
    if not found:
        needs = "; or ".join(_NEEDS.values())
        raise CannotDraw(
            f"Figure 7 needs {needs}. fix: run `srsoup sweep` with one of configs/experiments/fig7_*.yaml."
        )
    for rows in found.values():
        check_same_settings(comparison, rows["label"], "Figure 7", ("K", "N"))
    means = mean_front_table(comparison)
    parts = [rows.assign(panel=panel).merge(means, on="label") for panel, rows in found.items()]
    figure, axes = new_figure(len(found), 1, height=1.95 * len(found) + 0.1)
    names: dict[str, Callable[[pd.Series], str]] = {
        _PANELS[0]: lambda row: f"K = {row['K']}", _PANELS[1]: lambda row: f"N = {row['N']}",
        _PANELS[2]: lambda row: f"K = {row['K']}{'' if row['method'] == 'srsoup' else ', unguided'}",
    }  # fmt: skip
    for axis, (panel, rows) in zip(axes, found.items(), strict=True):
        _draw_panel(axis, rows, means, comparison.guided, names[panel])
        axis.set_ylabel(with_unit(comparison, comparison.guided[1]))
    axes[-1].set_xlabel(with_unit(comparison, comparison.guided[0]))
    return [Drawn("figure_7", figure, pd.concat(parts, ignore_index=True), tuple(lacking))]


def by_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with different K at one N: that with the most K; with the weighted sum, unless a soup has K = 0.

    Empty if no two rows of srsoup differ in K alone.
    """
    soups = table[table["method"] == "srsoup"]
    candidates = _most(soups, "N", "K")
    if candidates is None:
        return table.head(0)
    own = table[table["method"].isin(["srsoup", "weighted_sum"]) & (table["N"] == candidates)]
    return own.drop_duplicates("K").sort_values("K").reset_index(drop=True)


def by_candidates(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of srsoup with different N at one K: that with the most N. Empty if no two differ in N alone."""
    soups = table[table["method"] == "srsoup"]
    steps = _most(soups, "K", "N")
    own = soups.head(0) if steps is None else soups[soups["K"] == steps]
    return own.drop_duplicates("N").sort_values("N").reset_index(drop=True)


def with_and_without(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of srsoup and of unguided_first that have both, at each K and N."""
    both = table[table["method"].isin(["srsoup", "unguided_first"])].drop_duplicates(["method", "K", "N"])
    pairs = both.groupby(["K", "N"])["method"].transform("nunique") == 2
    return both[pairs].sort_values(["K", "N", "method"]).reset_index(drop=True)


def _most(rows: pd.DataFrame, fixed: str, varied: str) -> int | None:
    """Returns the value of `fixed` with the most values of `varied`, or None if none has two."""
    counts = {
        int(value): rows.loc[rows[fixed] == value, varied].nunique() for value in sorted(rows[fixed].dropna().unique())
    }
    most = max(counts.values(), default=0)
    return next(value for value, count in counts.items() if count == most) if most > 1 else None


def _draw_panel(
    axis: Axes, rows: pd.DataFrame, means: pd.DataFrame, guided: Sequence[str], name: Callable[[pd.Series], str]
) -> None:
    varied = "N" if rows["N"].nunique() > 1 and rows["K"].nunique() == 1 else "K"
    values = sorted(set(rows[varied]))
    colours = dict(zip(values, shades(len(values)), strict=True))
    for _, row in rows.iterrows():
        own = means[means["label"] == row["label"]].sort_values("w_1")
        axis.plot(
            own[guided[0]], own[guided[1]], "--" if row["method"] == "unguided_first" else "-",
            marker=marker(values.index(row[varied])), color=colours[row[varied]], markersize=3.5, label=name(row),
        )  # fmt: skip
    axis.margins(0.06)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=2.2)
