"""Draws fronts with matplotlib, as PNG and SVG files and as SVG text for the page."""

import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib

# In a notebook, the backend that shows the user's own figures stays.
if "MPLBACKEND" not in os.environ and "matplotlib.pyplot" not in sys.modules:
    matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.measures.fronts import non_dominated, weight_name
from evaluation.statistics.bootstrap import standard_error

# Guided methods take these colours in turn; the unguided model is grey. All are readable on white and on near-black.
_COLOURS = ("#2f7de1", "#e0731d", "#1f9e77", "#b65fcf", "#d1495b", "#8a8d1a")
_GREY = "#8b929c"
_GREYS = (_GREY, "#a8896a", "#7a9a8a")
# The colour of all text. In the page's SVG the page's own text colour replaces it and follows the colour scheme.
_INK = "#1b2733"
MARKERS = "osD^vP"


def palette(labels: Sequence[str], unguided: Sequence[str]) -> dict[str, str]:
    """Returns a colour for every label, which depends only on the order of the labels."""
    guided = [label for label in labels if label not in unguided]
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(guided)}
    return colours | {label: _GREYS[i % len(_GREYS)] for i, label in enumerate(unguided)}


def reward_pairs(rewards: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the axes of each figure of a front: every pair of rewards, or the only reward."""
    return list(combinations(rewards, 2)) if len(rewards) > 1 else [tuple(rewards)]


def draw_front(
    points: pd.DataFrame,
    axes: tuple[str, ...],
    colours: Mapping[str, str],
    unguided: Sequence[str],
    names: Mapping[str, str],
    small: bool,
) -> Figure:
    """Draws the points of a front: two rewards against each other, or one reward by label.

    Args:
        points: label, weight_index, weights, and a column for each reward.
        axes: the one or two rewards to draw.
        colours: the colour of each label.
        unguided: the labels of the unguided model.
        names: the text on the axis of each reward: its name and its unit.
        small: true for a small figure without a legend.
    """
    with plt.rc_context(matplotlib_settings(9 if small else 10)):
        figure, axis = plt.subplots(figsize=(3.6, 2.9) if small else (5.8, 4.0), layout="constrained")
        if len(axes) == 1:
            _draw_one(axis, points, axes[0], colours)
            axis.set_ylabel(_axis_label(names[axes[0]], small))
        else:
            _draw_plane(axis, points, axes, colours, unguided, small)
            axis.set_xlabel(_axis_label(names[axes[0]], small))
            axis.set_ylabel(_axis_label(names[axes[1]], small))
        style_axis(axis)
    return figure


def draw_by_weight(
    points: pd.DataFrame,
    reward: str,
    name: str,
    weighted: str,
    colours: Mapping[str, str],
    unguided: Sequence[str],
) -> Figure:
    """Draws the mean of one reward over prompts, by weighting, with its standard error as a band.

    The mean of the unguided model is a horizontal line. With two guided rewards the x axis is the weight of the first,
    otherwise it is the number of the weighting.

    Args:
        name: the text of the y axis: the name and the unit of the reward.
        weighted: the text of the x axis.
    """
    with plt.rc_context(matplotlib_settings(10)):
        figure, axis = plt.subplots(figsize=(5.8, 2.9), layout="constrained")
        for number, (label, colour) in enumerate(colours.items()):
            own = points[points["label"] == label]
            if label in unguided:
                axis.axhline(own[reward].mean(), color=colour, linestyle="--", linewidth=1.4, label=label)
                continue
            groups = own.groupby("weight_index")
            weights = groups["weights"].agg(lambda column: column.iloc[0])
            plane = len(weights.iloc[0]) == 2
            x = np.array([w[0] for w in weights]) if plane else weights.index.to_numpy(dtype=float)
            mean = groups[reward].mean()
            error = np.array(
                [standard_error(g[reward].to_numpy(), g["text_id"].to_numpy(dtype=str)) for _, g in groups]
            )
            axis.fill_between(x, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
            axis.plot(x, mean, "-", marker=MARKERS[number % len(MARKERS)], color=colour, label=label)
            axis.set_xticks(x, [point_label(w, int(i)) for i, w in zip(weights.index, weights, strict=True)])
        axis.set_xlabel(weighted)
        axis.set_ylabel(_axis_label(name, True))
        axis.margins(y=0.15)
        axis.legend(frameon=False, labelcolor=_INK)
        style_axis(axis)
    return figure


def point_label(weights: Sequence[float], index: int) -> str:
    """Returns the text beside a point: the first of two weights, or else the number of the weighting, from 1."""
    return weight_name(weights, index) if len(weights) == 2 else str(index + 1)


def _axis_label(name: str, small: bool) -> str:
    return f"{name} →" if small else f"{name}, higher is better →"


def style_axis(axis: Axes) -> None:
    """Adds a faint grid and removes the frame at the top and at the right, as in all figures of the page."""
    axis.grid(True, color=_GREY, alpha=0.22, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def matplotlib_settings(size: float) -> Any:
    """Returns settings of matplotlib: SVG text stays text, and no name is read as a formula."""
    text_keys = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {"svg.fonttype": "none", "font.size": size, "text.parse_math": False} | dict.fromkeys(text_keys, _INK)


def _draw_plane(
    axis: Axes,
    points: pd.DataFrame,
    axes: tuple[str, ...],
    colours: Mapping[str, str],
    unguided: Sequence[str],
    small: bool,
) -> None:
    # With three rewards or more, a plane shows a projection, where the weightings have no order: no lines are drawn.
    planar = all(weights is None or len(weights) == 2 for weights in points["weights"])
    for number, (label, colour) in enumerate(colours.items()):
        rows = points[points["label"] == label].sort_values("weight_index")
        if rows.empty:
            continue
        x, y = rows[axes[0]].to_numpy(dtype=float), rows[axes[1]].to_numpy(dtype=float)
        if label in unguided:
            axis.scatter(x, y, s=22 if small else 40, facecolors="none", edgecolors=colour, label=label)
            if planar:
                front = non_dominated(np.column_stack([x, y]))
                order = np.argsort(x[front])
                axis.plot(x[front][order], y[front][order], "--", color=colour, linewidth=1)
            continue
        line, marker, size = "-" if planar else "none", MARKERS[number % len(MARKERS)], 4 if small else 6
        axis.plot(x, y, linestyle=line, marker=marker, color=colour, markersize=size, label=label)
        for place, weights, index in zip(zip(x, y, strict=True), rows["weights"], rows["weight_index"], strict=True):
            text, font = point_label(weights, int(index)), 6.5 if small else 9
            axis.annotate(text, place, xytext=(4, 4), textcoords="offset points", fontsize=font)
    axis.margins(0.1)
    if not small:
        axis.legend(frameon=False, labelcolor=_INK)


def _draw_one(axis: Axes, points: pd.DataFrame, reward: str, colours: Mapping[str, str]) -> None:
    for position, (label, colour) in enumerate(colours.items()):
        values = points.loc[points["label"] == label, reward].to_numpy(dtype=float)
        if not len(values):
            continue
        axis.scatter(np.full(len(values), position), values, color=colour, alpha=0.7, label=label)
        axis.hlines(values.mean(), position - 0.25, position + 0.25, color=colour, linewidth=2)
    axis.set_xticks(range(len(colours)), list(colours))
    axis.set_xlim(-0.6, len(colours) - 0.4)


def save(figure: Figure, stem: Path) -> str:
    """Writes `stem`.png and `stem`.svg, closes the figure, and returns the SVG to embed in a page."""
    figure.savefig(stem.with_suffix(".png"), dpi=160, facecolor="white")
    buffer = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        figure.savefig(stem.with_suffix(".svg"), facecolor="white", metadata={"Date": None})
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    return inline_svg(buffer.getvalue(), stem.name)


def inline_svg(svg: str, name: str) -> str:
    """Returns SVG to embed in a page: without prologue, metadata and size, in the page's text colour and font.

    The name of the figure is put before every id, so that no two figures of the page share an id.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    return body.replace(_INK, "currentColor")
