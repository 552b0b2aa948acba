"""The look of the paper's figures: one column wide, small type, and colours that colour-blind readers tell apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import TextPath

from evaluation.figures.plots import MARKERS, matplotlib_settings, style_axis
from evaluation.reading.comparison import Comparison

# The width of one column of a two-column paper, in inches.
COLUMN = 3.25
SUFFIXES = (".png", ".pdf", ".svg")
# Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), without yellow, which is pale on white, and without black.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
GREY = "#6b6b6b"
_LONGEST_LABEL = 40


def paper_settings(size: float = 7) -> Any:
    """Returns settings of matplotlib for a figure of the paper; PDF files hold their fonts as TrueType."""
    own = {"pdf.fonttype": 42, "axes.linewidth": 0.6, "lines.linewidth": 1.1, "lines.markersize": 4}
    ticks = {"xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.fontsize": size - 0.5}
    return matplotlib_settings(size) | own | ticks


def new_figure(rows: int = 1, columns: int = 1, height: float = 2.3, **options: Any) -> tuple[Figure, list[Axes]]:
    """Returns a figure of one column's width, `height` inches high, and its axes row by row."""
    # Not by pyplot, which would keep the figure and show it a second time in a notebook.
    figure = Figure(figsize=(COLUMN, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    axes = list(grid.flat)
    for axis in axes:
        style_axis(axis)
    return figure, axes


def marker(number: int) -> str:
    """Returns the marker of the series of this number."""
    return MARKERS[number % len(MARKERS)]


def colour(number: int) -> str:
    """Returns the colour of the series of this number."""
    return COLOURS[number % len(COLOURS)]


def deepened(base: str, share: float) -> tuple[float, float, float]:
    """Returns a colour between a pale tint of `base`, at share 0, and `base` itself, at share 1."""
    red, green, blue = (1 - (0.2 + 0.8 * share) * (1 - part) for part in to_rgb(base))
    return red, green, blue


def shades(number: int) -> list[tuple[float, float, float]]:
    """Returns colours for ordered values, from dark to light; their brightness alone tells them apart."""
    map_ = matplotlib.colormaps["cividis"]
    red_green_blue = [map_(x)[:3] for x in np.linspace(0.0, 0.85, number)]
    return [(float(red), float(green), float(blue)) for red, green, blue in red_green_blue]


Side = Literal["outside lower center", "outside upper center"]


def legend_outside(figure: Figure, axis: Axes, columns: int = 2, side: Side = "outside lower center") -> None:
    """Puts the legend of an axis below or above the whole figure, so that it covers no mark."""
    handles, names = axis.get_legend_handles_labels()
    longest = max(map(len, names), default=0)
    columns = 1 if longest > 24 else min(columns, len(names))
    figure.legend(handles, names, loc=side, ncols=columns, frameon=False)


def short_labels(comparison: Comparison) -> dict[str, str]:
    """Returns a short name for each label: its method, or what of the run's name is not common to all runs."""
    methods = {label: comparison.method_of(label) for label in comparison.labels}
    if len(set(methods.values())) == len(methods):
        return {label: readable(method) for label, method in methods.items()}
    names = [run.name for run in comparison.runs]
    common = _common_words(names)
    own = {label: comparison.run_of(label).name[common:] for label in comparison.labels}
    return {label: _cut(readable(f"{own[label]} {methods[label]}".strip())) for label in comparison.labels}


def _common_words(names: Sequence[str]) -> int:
    """Returns the length of the beginning that all names share, to the end of a word."""
    if len(names) < 2:
        return 0
    common = 0
    for place in range(min(map(len, names))):
        if len({name[: place + 1] for name in names}) > 1:
            break
        # In the name of a point of a sweep, a key and its value are joined by hyphens: they stay together.
        if names[0][place] in "_ ":
            common = place + 1
    return common


def _cut(text: str) -> str:
    half = _LONGEST_LABEL // 2
    return text if len(text) <= _LONGEST_LABEL else f"{text[:half]}…{text[-half + 1 :]}"


def readable(text: str) -> str:
    """Returns the text on one line, with a question mark for each character that the font lacks."""
    font = get_font(findfont(FontProperties()))
    return "".join(c if font.get_char_index(ord(c)) else "?" for c in " ".join(text.split()))


def fitted(text: str, inches: float, size: float) -> str:
    """Returns the text on one line, cut so that it is not wider than `inches` in type of `size` points."""
    text = readable(text)[:400]
    if not text or _width(text, size) <= inches:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _width(text[:middle] + "…", size) <= inches else (low, middle - 1)
    return text[:low] + "…"


def _width(text: str, size: float) -> float:
    # TextPath reads the characters between two dollars as a formula unless they are escaped.
    return float(TextPath((0, 0), text.replace("$", r"\$"), size=size).get_extents().width) / 72


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Writes a figure as PNG (300 dpi), PDF and SVG, and returns the paths.

    Equal figures have equal files: no file holds the time when it was written.

    Raises:
        OSError: a file cannot be written.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    metadata: dict[str, dict[str, Any]] = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    with matplotlib.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": stem.name}):
        for path in paths:
            figure.savefig(path, dpi=300, facecolor="white", metadata=metadata[path.suffix])
    return paths
