"""Figures of fronts with matplotlib, as PNG and SVG files and as SVG text for the page."""

import io
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.fronts import non_dominated, weight_name

# Readable on white and on near-black; guided methods take these in turn, the unguided model is grey.
_COLOURS = ("#2f7de1", "#e0731d", "#1f9e77", "#b65fcf", "#d1495b", "#8a8d1a")
_GREY = "#8b929c"
_GREYS = (_GREY, "#a8896a", "#7a9a8a")
# Ink of the SVG in the page: replaced by the page's own text colour, so that it follows the colour scheme.
_INK = "#1b2733"
_MARKERS = "osD^vP"


def palette(labels: Sequence[str], unguided: Sequence[str]) -> dict[str, str]:
    """A colour for every label, stable in the order of the labels."""
    guided = [label for label in labels if label not in unguided]
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(guided)}
    return colours | {label: _GREYS[i % len(_GREYS)] for i, label in enumerate(unguided)}


def pairs(rewards: Sequence[str]) -> list[tuple[str, ...]]:
    """What is drawn against what: all pairs of rewards, or the one reward alone."""
    return list(combinations(rewards, 2)) if len(rewards) > 1 else [tuple(rewards)]


def draw(
    points: pd.DataFrame,
    axes: tuple[str, ...],
    colours: Mapping[str, str],
    unguided: Sequence[str],
    names: Mapping[str, str],
    small: bool,
) -> Figure:
    """One figure of points (label, weight_index, weights, rewards): two rewards as a plane, one by method.

    `names` are the rewards' names with their units.
    """
    with plt.rc_context(style(9 if small else 10)):
        figure, axis = plt.subplots(figsize=(3.6, 2.9) if small else (5.8, 4.0), layout="constrained")
        if len(axes) == 1:
            _draw_one(axis, points, axes[0], colours)
            axis.set_ylabel(_better(names[axes[0]], small))
        else:
            _draw_plane(axis, points, axes, colours, unguided, small)
            axis.set_xlabel(_better(names[axes[0]], small))
            axis.set_ylabel(_better(names[axes[1]], small))
        finish(axis)
    return figure


def draw_by_weight(
    points: pd.DataFrame,
    reward: str,
    name: str,
    weighted: str,
    colours: Mapping[str, str],
    unguided: Sequence[str],
) -> Figure:
    """Mean of one reward over prompts by weight, with the standard error; the unguided mean as a level.

    With two guided rewards the axis is the weight of the first (`weighted`), else the weights in order.
    """
    with plt.rc_context(style(10)):
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
            mean, error = groups[reward].mean(), groups[reward].sem(ddof=0)
            axis.fill_between(x, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
            axis.plot(x, mean, "-", marker=_MARKERS[number % len(_MARKERS)], color=colour, label=label)
            axis.set_xticks(x, [tag(w, int(i)) for i, w in zip(weights.index, weights, strict=True)])
        axis.set_xlabel(weighted)
        axis.set_ylabel(_better(name, True))
        axis.margins(y=0.15)
        axis.legend(frameon=False, labelcolor=_INK)
        finish(axis)
    return figure


def tag(weights: Sequence[float], index: int) -> str:
    """What stands beside a point: w_1 of two weights, else the number of the weight (from 1), which is short."""
    return weight_name(weights, index) if len(weights) == 2 else str(index + 1)


def _better(name: str, small: bool) -> str:
    return f"{name} →" if small else f"{name}, higher is better →"


def finish(axis: Axes) -> None:
    """What all figures of the page have: a faint grid, no frame at the top and the right."""
    axis.grid(True, color=_GREY, alpha=0.22, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def style(size: float) -> Any:
    """Settings of matplotlib: text stays text in the SVG, and nothing in a name is read as mathematics."""
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {"svg.fonttype": "none", "font.size": size, "text.parse_math": False} | dict.fromkeys(inked, _INK)


def _draw_plane(
    axis: Axes,
    points: pd.DataFrame,
    axes: tuple[str, ...],
    colours: Mapping[str, str],
    unguided: Sequence[str],
    small: bool,
) -> None:
    # A projection of three rewards has no order of weights and no front of its own: points without lines.
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
        marker = _MARKERS[number % len(_MARKERS)]
        axis.plot(
            x,
            y,
            linestyle="-" if planar else "none",
            marker=marker,
            color=colour,
            markersize=4 if small else 6,
            label=label,
        )
        for i, weights, index in zip(range(len(x)), rows["weights"], rows["weight_index"], strict=True):
            axis.annotate(
                tag(weights, int(index)),
                (x[i], y[i]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=6.5 if small else 9,
            )
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
    """Write `stem`.png and `stem`.svg, close the figure, and give the SVG for inlining in a page."""
    figure.savefig(stem.with_suffix(".png"), dpi=160, facecolor="white")
    buffer = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        figure.savefig(stem.with_suffix(".svg"), facecolor="white", metadata={"Date": None})
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    return inline(buffer.getvalue(), stem.name)


def inline(svg: str, name: str) -> str:
    """SVG for a page: no prologue or metadata, the page's ink and font, ids that no other figure of the page has."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    return body.replace(_INK, "currentColor")
