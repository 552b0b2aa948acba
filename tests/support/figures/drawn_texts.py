"""What is drawn in a matplotlib figure: the points of its lines, and texts that overprint each other or are cut."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def lines_of(axis: Axes) -> dict[str, np.ndarray]:
    """The points (n, 2) of each line that has a name."""
    named = [line for line in axis.get_lines() if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): np.asarray(line.get_xydata(), dtype=float) for line in named}


def marks_of(axis: Axes) -> np.ndarray:
    """The points (n, 2) of all lines, those without a name too."""
    return np.concatenate([np.asarray(line.get_xydata(), dtype=float) for line in axis.get_lines()])


def text_faults(figure: Figure) -> list[str]:
    """A line for each visible text that reaches out of the figure, or covers another one, by more than half a point."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    slack = figure.dpi / 144
    unseen = set(map(id, _unseen(figure)))
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and id(text) not in unseen]
    texts = [text for text in found if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    width, height = canvas.get_width_height()
    faults = [
        f"{name!r} is cut" for name, box in boxes
        if box.x0 < -slack or box.y0 < -slack or box.x1 > width + slack or box.y1 > height + slack
    ]  # fmt: skip
    for (one, a), (other, b) in combinations(boxes, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > slack and down > slack:
            faults.append(f"{one!r} covers {other!r}")
    return faults


def _unseen(figure: Figure) -> Iterator[Text]:
    """The texts of ticks that are not drawn: those beyond the limits, and of axes that are off.

    Those of axes in space are left out too, because they are turned with the space.
    """
    for axes in figure.axes:
        hidden = not axes.get_visible() or not axes.axison or axes.name == "3d"
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if hidden or not min(limits) <= tick.get_loc() <= max(limits):
                    yield from (tick.label1, tick.label2)
        if axes.name == "3d":
            yield from axes.zaxis.get_ticklabels()  # type: ignore[attr-defined]
        if not axes.get_visible():
            yield from (text for text in axes.findobj(Text) if isinstance(text, Text))
