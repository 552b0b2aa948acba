"""Draws by step the overlap of the denoising distributions (Figure 8), and the conflict of the rewards."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.figures.plots import matplotlib_settings, style_axis
from evaluation.measures.fronts import one_hot_reward, weight_name
from evaluation.measures.overlap import QUARTILES


def draw_overlap(rows: pd.DataFrame, weights: Mapping[int, Sequence[float]], guided: Sequence[str]) -> Figure:
    """Draws the overlap of one label: one panel for each exemplar, one line for each weighting.

    The line is the median, and the band around it is between the quartiles. Dashed vertical lines mark where soup
    steps begin and end. The overlap of an exemplar with itself, which is always 1, is not drawn.

    Args:
        rows: the rows of one label in `overlap_table`.
        weights: weight_index -> the M weights.
        guided: the guided rewards, in the order of the weights.
    """
    exemplars = [reward for reward in guided if reward in set(rows["exemplar"])]
    shades = _shades(weights)
    with plt.rc_context(matplotlib_settings(9)):
        figure, axes = _panels(len(exemplars))
        for axis, exemplar in zip(axes, exemplars, strict=True):
            own = rows[rows["exemplar"] == exemplar]
            for index, w in weights.items():
                if one_hot_reward(w) != guided.index(exemplar):
                    _draw_line(axis, own[own["weight_index"] == index], weight_name(w, index), shades[index])
            _mark_soup(axis, own)
            axis.set(title=f"exemplar of {exemplar}", xlabel="step", ylim=(-0.02, 1.02))
            style_axis(axis)
        axes[0].set_ylabel("Bhattacharyya coefficient")
        _add_legend(figure, axes, guided)
    return figure


def draw_conflict(rows: pd.DataFrame, weights: Mapping[int, Sequence[float]], guided: Sequence[str]) -> Figure:
    """Draws the conflict of one label: one panel for each two rewards, one line for each weighting that has both.

    A line is the mean over fronts of the cosine of the two search gradients: below 0 the rewards pull apart. Dashed
    vertical lines mark where soup steps begin and end.

    Args:
        rows: the rows of one label in `conflict_table`.
        weights: weight_index -> the M weights.
        guided: the guided rewards, in the order of the weights.
    """
    pairs = list(rows.groupby(["reward", "other"], sort=False))
    shades = _shades(weights)
    with plt.rc_context(matplotlib_settings(9)):
        figure, axes = _panels(len(pairs))
        for axis, ((reward, other), own) in zip(axes, pairs, strict=True):
            for index, w in weights.items():
                line = own[own["weight_index"] == index]
                if not line.empty:
                    axis.plot(line["step"], line["cosine"], color=shades[index], label=weight_name(w, index))
            axis.axhline(0, color="#8b929c", linewidth=1)
            _mark_soup(axis, own)
            axis.set(title=f"{reward} and {other}", xlabel="step", ylim=(-1.02, 1.02))
            style_axis(axis)
        axes[0].set_ylabel("cosine of the search gradients")
        _add_legend(figure, axes, guided)
    return figure


def _shades(weights: Mapping[int, Sequence[float]]) -> dict[int, np.ndarray]:
    # The darkest and the lightest colours of the map cannot be seen on near-black or on white.
    return dict(zip(weights, plt.get_cmap("viridis")(np.linspace(0.3, 0.9, len(weights))), strict=True))


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    size = (3.4 * number + 1.2, 3.0)
    figure, axes = plt.subplots(1, number, figsize=size, sharey=True, squeeze=False, layout="constrained")
    return figure, list(axes[0])


def _add_legend(figure: Figure, axes: Sequence[Axes], guided: Sequence[str]) -> None:
    entries = {text: line for axis in axes for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    title = f"weight of {guided[0]}" if len(guided) == 2 else "weights"
    figure.legend(
        list(entries.values()), list(entries), title=title, loc="outside right center", frameon=False,
        labelcolor=plt.rcParams["text.color"],
    )  # fmt: skip


def _draw_line(axis: Axes, line: pd.DataFrame, name: str, colour: np.ndarray) -> None:
    line = line.sort_values("step")
    low, median, high = (line[quartile].to_numpy(dtype=float) for quartile in QUARTILES)
    axis.fill_between(line["step"], low, high, color=colour, alpha=0.1, linewidth=0)
    axis.plot(line["step"], median, color=colour, label=name)


def _mark_soup(axis: Axes, rows: pd.DataFrame) -> None:
    soup, others = (rows[(rows["phase"] == "soup") == shared]["step"] for shared in (True, False))
    for edge, beyond in ((soup.min() - 0.5, others < soup.min()), (soup.max() + 0.5, others > soup.max())):
        if beyond.any():
            axis.axvline(edge, color="#8b929c", linestyle="--", linewidth=1)
