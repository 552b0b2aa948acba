"""Figure 5: fronts of three rewards, in space and over the triangle of the weights."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.mean_fronts import mean_front_table, with_unit
from evaluation.figures.paper_style import COLUMN, GREY, colour, fitted, marker, short_labels
from evaluation.reading.comparison import UNGUIDED, Comparison

# The corners of the triangle, at which the first, the second and the third reward have all the weight.
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def draw_three_rewards(comparison: Comparison) -> list[Drawn]:
    """Draws Figure 5: the mean fronts in the space of three rewards, and the means over the triangle of the weights.

    The second picture has a row for each guided method and a triangle for each reward. A mark lies at the point of the
    triangle with the barycentric coordinates w, and its colour is the mean of that reward over the prompts.

    Raises:
        CannotDraw: the runs do not have three guided rewards.
    """
    if len(comparison.guided) != 3:
        raise CannotDraw(
            f"Figure 5 needs three guided rewards, and these runs have {len(comparison.guided)} "
            f"({', '.join(comparison.guided)}). fix: run configs/experiments/hpd_three_rewards.yaml or its _mini twin."
        )
    data = mean_front_table(comparison)
    drawn = [Drawn("figure_5", _in_space(comparison, data), data)]
    weighted = data[data["weight_index"].notna()]
    if len(weighted):
        drawn.append(Drawn("figure_5_ternary", _over_weights(comparison, weighted), weighted))
    return drawn


def _in_space(comparison: Comparison, data: pd.DataFrame) -> Figure:
    names = short_labels(comparison)
    figure = Figure(figsize=(COLUMN, 2.9))
    with matplotlib.rc_context({"grid.color": "#d8dadd", "grid.linewidth": 0.5}):
        axis: Any = figure.add_axes((-0.04, 0.12, 0.98, 0.9), projection="3d")
    number = 0
    for label in comparison.labels:
        own = data[data["label"] == label]
        x, y, z = (own[reward].to_numpy(dtype=float) for reward in comparison.guided)
        if comparison.method_of(label) == UNGUIDED:
            axis.scatter(x, y, z, marker="*", color=GREY, s=45, label=names[label])
            continue
        axis.scatter(x, y, z, marker=marker(number), color=colour(number), s=16, depthshade=False, label=names[label])
        # A stem to the floor shows where a mark stands, which a flat picture of space does not.
        floor = min(data[comparison.guided[2]].min(), z.min())
        for place in zip(x, y, z, strict=True):
            axis.plot(
                [place[0]] * 2, [place[1]] * 2, [floor, place[2]], color=colour(number), alpha=0.35, linewidth=0.6
            )
        number += 1
    labels = [fitted(with_unit(comparison, reward), 1.2, 6.5) for reward in comparison.guided]
    axis.set_xlabel(labels[0], labelpad=-5, fontsize=6.5)
    axis.set_ylabel(labels[1], labelpad=-5, fontsize=6.5)
    axis.set_zlabel(labels[2], labelpad=-4, fontsize=6.5)
    axis.tick_params(labelsize=5.5, pad=-3)
    for direction in (axis.xaxis, axis.yaxis, axis.zaxis):
        direction.set_major_locator(MaxNLocator(4))
    axis.set_box_aspect(None, zoom=0.88)
    handles, shown = axis.get_legend_handles_labels()
    figure.legend(handles, shown, loc="lower center", ncols=3 if max(map(len, shown)) < 16 else 1, frameon=False)
    return figure


def _over_weights(comparison: Comparison, data: pd.DataFrame) -> Figure:
    labels = list(dict.fromkeys(data["label"]))
    names = short_labels(comparison)
    figure = Figure(figsize=(COLUMN, 1.55 * len(labels)), layout="constrained")
    grid = figure.subplots(len(labels), 3, squeeze=False)
    for row, label in zip(grid, labels, strict=True):
        own = data[data["label"] == label]
        places = own[["w_1", "w_2", "w_3"]].to_numpy(dtype=float) @ CORNERS
        for m, (axis, reward) in enumerate(zip(row, comparison.guided, strict=True), 1):
            shared = data[reward].min(), data[reward].max()
            marks = axis.scatter(
                places[:, 0], places[:, 1], c=own[reward].astype(float), cmap="cividis", s=22, vmin=shared[0],
                vmax=shared[1], edgecolors="white", linewidths=0.4, zorder=3, clip_on=False,
            )  # fmt: skip
            _draw_triangle(axis)
            axis.set_title(fitted(f"{m}: {reward}", 1.0, 6.5), fontsize=6.5)
            bar = figure.colorbar(marks, ax=axis, orientation="horizontal", shrink=0.8, aspect=12, pad=0.04)
            bar.ax.tick_params(labelsize=5, width=0.4, length=2)
            bar.locator = MaxNLocator(2)
            bar.update_ticks()
        if len(labels) > 1:
            row[0].text(-0.2, 0.45, fitted(names[label], 1.2, 6.5), rotation=90, ha="right", va="center", fontsize=6.5)
    return figure


def _draw_triangle(axis: Axes) -> None:
    outline = np.vstack([CORNERS, CORNERS[:1]])
    axis.plot(outline[:, 0], outline[:, 1], color=GREY, linewidth=0.6, zorder=1)
    away = (CORNERS - CORNERS.mean(axis=0)) * 1.28 + CORNERS.mean(axis=0)
    for m, (x, y) in enumerate(away, 1):
        axis.text(x, y, f"w{chr(0x2080 + m)}", ha="center", va="center", fontsize=5.5)
    axis.set(aspect="equal", xlim=(-0.2, 1.2), ylim=(-0.22, 1.1))
    axis.axis("off")
