"""Draws the overlap of the denoising distributions by step (Figure 8)."""

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
    # The darkest and the lightest colours of the map cannot be seen on near-black or on white.
    shades = dict(zip(weights, plt.get_cmap("viridis")(np.linspace(0.3, 0.9, len(weights))), strict=True))
    with plt.rc_context(matplotlib_settings(9)):
        figure, axes = plt.subplots(
            1,
            len(exemplars),
            figsize=(3.4 * len(exemplars) + 1.2, 3.0),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, exemplar in zip(axes[0], exemplars, strict=True):
            own = rows[rows["exemplar"] == exemplar]
            for index, w in weights.items():
                if one_hot_reward(w) != guided.index(exemplar):
                    _draw_line(axis, own[own["weight_index"] == index], weight_name(w, index), shades[index])
            _mark_soup(axis, own)
            axis.set(title=f"exemplar of {exemplar}", xlabel="step", ylim=(-0.02, 1.02))
            style_axis(axis)
        axes[0][0].set_ylabel("Bhattacharyya coefficient")
        entries = {text: line for axis in axes[0] for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
        title = f"weight of {guided[0]}" if len(guided) == 2 else "weights"
        figure.legend(
            list(entries.values()), list(entries), title=title, loc="outside right center", frameon=False,
            labelcolor=plt.rcParams["text.color"],
        )  # fmt: skip
    return figure


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
