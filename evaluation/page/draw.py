"""Draws the figures of the page and writes them as files."""

import re
from pathlib import Path

import pandas as pd

from evaluation.figures import plots
from evaluation.figures.overlap import draw_overlap
from evaluation.measures.fronts import mean_over_prompts
from evaluation.page.sections import Plot, Plots
from evaluation.reading.comparison import UNGUIDED, Comparison


def draw_plots(out: Path, comparison: Comparison, overlap: pd.DataFrame) -> Plots:
    """Draws the figures of the page, and writes each into `out` as PNG and SVG.

    Raises:
        OSError: a file cannot be written.
    """
    unguided = [label for label in comparison.labels if comparison.method_of(label) == UNGUIDED]
    colours = plots.palette(comparison.labels, unguided)
    names = {reward: _with_unit(reward, comparison.unit_of(reward)) for reward in comparison.rewards}
    axes_list = plots.reward_pairs(comparison.guided)

    means = mean_over_prompts(comparison.points, comparison.guided)

    def front(axes: tuple[str, ...]) -> Plot:
        name = _file_name("front_mean" if len(axes_list) == 1 else f"front_mean-{'-'.join(axes)}")
        figure = plots.draw_front(means, axes, colours, unguided, names, small=False)
        return Plot(plots.save(figure, out / name), "")

    def held_out(reward: str) -> Plot:
        two = len(comparison.guided) == 2
        weighted = f"weight of {comparison.guided[0]}" if two else "number of the weighting"
        figure = plots.draw_by_weight(comparison.points, reward, names[reward], weighted, colours, unguided)
        return Plot(plots.save(figure, out / _file_name(f"held_out_{reward}")), reward)

    return Plots(
        colours,
        [front(axes) for axes in axes_list],
        [held_out(reward) for reward in comparison.held_out],
        _draw_overlaps(out, comparison, overlap),
    )


def _draw_overlaps(out: Path, comparison: Comparison, overlap: pd.DataFrame) -> list[Plot]:
    """Draws a figure for each label that has the overlap of two different distributions."""
    drawn = []
    for number, label in enumerate(comparison.labels, 1):
        rows, points = overlap[overlap["label"] == label], comparison.points_of(label).drop_duplicates("weight_index")
        # With one reward there is one exemplar, and no other weighting that could overlap it.
        if rows.empty or len(comparison.guided) == 1:
            continue
        weights = dict(zip(points["weight_index"], points["weights"], strict=True))
        stem = _file_name(f"overlap_{number}_{label.lower()}")
        drawn.append(Plot(plots.save(draw_overlap(rows, weights, comparison.guided), out / stem[:80]), label))
    return drawn


def _file_name(text: str) -> str:
    """Replaces all characters but letters, digits, _ and -, because names in a run's files may contain a path."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")


def _with_unit(reward: str, unit: str) -> str:
    return f"{reward} ({unit})" if unit else reward
