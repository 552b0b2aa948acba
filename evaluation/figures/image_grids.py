"""Figures 4, 18 and 22: images by weighting, of one prompt under several methods, or of several prompts."""

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.paper_style import COLUMN, fitted, readable, short_labels
from evaluation.reading.comparison import UNGUIDED, Comparison
from pipeline.records import read_table

# Images of one line. A thirteenth of a column would be too narrow to see, so more weightings take several lines.
MOST_COLUMNS = 7
_TYPE, _HEADING, _GAP = 6.0, 0.11, 0.02


def draw_methods(comparison: Comparison, prompts: Sequence[str] = ()) -> list[Drawn]:
    """Draws Figure 4: the images of one prompt, one row for each guided method of each run, one column for each weight.

    Args:
        prompts: the prompt, by text or prompt_id; by default the first in alphabetical order.

    Raises:
        CannotDraw: no method has weights, or the prompt is not among those that are compared.
    """
    prompt_id, text = _chosen(comparison, prompts, 1)[0]
    names = short_labels(comparison)
    rows = [(label, prompt_id, names[label]) for label in _guided(comparison, "Figure 4")]
    return [_grid("figure_4", comparison, rows, text)]


def grid_of_prompts(number: str, most: int) -> Callable[..., list[Drawn]]:
    """Returns the function that draws Figure 18 or 22: a grid of up to `most` prompts for each guided method."""

    def draw(comparison: Comparison, prompts: Sequence[str] = ()) -> list[Drawn]:
        chosen = _chosen(comparison, prompts, most)
        drawn = []
        for position, label in enumerate(_guided(comparison, f"Figure {number}"), 1):
            stem = f"figure_{number}" if position == 1 else f"figure_{number}_{position}"
            drawn.append(
                _grid(stem, comparison, [(label, *prompt) for prompt in chosen], short_labels(comparison)[label])
            )
        left = len(comparison.prompts) - len(chosen)
        note = f"{left:,} further prompts are not drawn; name prompts with --prompt."
        return [one._replace(notes=(note,)) for one in drawn] if left and not prompts else drawn

    return draw


def _guided(comparison: Comparison, figure: str) -> list[str]:
    labels = [label for label in comparison.labels if comparison.method_of(label) != UNGUIDED]
    if not labels:
        raise CannotDraw(
            f"{figure} shows images by weight, and the model alone has none. fix: run a guided method too."
        )
    return labels


def _chosen(comparison: Comparison, prompts: Sequence[str], most: int) -> list[tuple[str, str]]:
    """Returns (prompt_id, prompt) of the named prompts, or of the first ones."""
    known = [(str(prompt_id), str(text)) for prompt_id, text in comparison.prompts.itertuples(index=False)]
    if not prompts:
        return known[:most]
    found = [pair for name in prompts for pair in known if name in pair]
    if lacking := [name for name in prompts if not any(name in pair for pair in known)]:
        raise CannotDraw(f"no compared prompt is {lacking[0]!r}. The first ones are {[text for _, text in known[:5]]}.")
    return found[:most]


def images_of(comparison: Comparison, label: str, prompt_id: str) -> dict[int, bytes]:
    """Returns weight_index -> PNG bytes of one front, read from samples/."""
    points = comparison.points_of(label)
    key = str(points.loc[points["prompt_id"] == prompt_id, "key"].iloc[0])
    rows = read_table(comparison.run_of(label).path, "samples", [key]).select(["weight_index", "image"]).to_pylist()
    return {row["weight_index"]: row["image"]["bytes"] for row in rows}


def _grid(stem: str, comparison: Comparison, rows: Sequence[tuple[str, str, str]], title: str) -> Drawn:
    """Draws a grid whose rows are (label, prompt_id, heading)."""
    weights = _weights_of(comparison, rows[0][0])
    lines = [list(weights)[start : start + MOST_COLUMNS] for start in range(0, len(weights), MOST_COLUMNS)]
    across = len(lines[0])
    cell = (COLUMN - (across - 1) * _GAP) / across
    headed = 2 if len(comparison.guided) == 2 else 3
    top = 0.16
    row_height = 0.13 + len(lines) * (cell + _GAP) + (len(lines) * _HEADING if len(lines) > 1 else 0)
    height = top + (_HEADING if len(lines) == 1 else 0) + len(rows) * row_height
    figure = Figure(figsize=(COLUMN, height))
    figure.text(0, 1 - 0.02 / height, fitted(title, COLUMN, 7), fontsize=7, va="top", ha="left")
    y, drawn = top, list[tuple[str, str, str, int, str]]()
    for number, (label, prompt_id, heading) in enumerate(rows):
        if number == 0 and len(lines) == 1:
            _write_weights(figure, height, y, cell, lines[0], weights, headed)
            y += _HEADING
        figure.text(0, 1 - (y + 0.015) / height, fitted(heading, COLUMN, _TYPE), fontsize=_TYPE, va="top", ha="left")
        y += 0.13
        images = images_of(comparison, label, prompt_id)
        for line in lines:
            if len(lines) > 1:
                _write_weights(figure, height, y, cell, line, weights, headed)
                y += _HEADING
            for column, index in enumerate(line):
                box = (column * (cell + _GAP) / COLUMN, 1 - (y + cell) / height, cell / COLUMN, cell / height)
                axis = figure.add_axes(box)
                axis.imshow(np.asarray(Image.open(io.BytesIO(images[index])).convert("RGB")))
                axis.axis("off")
                drawn.append((label, prompt_id, heading, index, " ".join(f"{w:g}" for w in weights[index])))
            y += cell + _GAP
    columns = ["label", "prompt_id", "heading", "weight_index", "weights"]
    return Drawn(stem, figure, pd.DataFrame(drawn, columns=columns))


def _weights_of(comparison: Comparison, label: str) -> dict[int, Sequence[float]]:
    points = comparison.points_of(label).drop_duplicates("weight_index").sort_values("weight_index")
    return {int(i): w for i, w in zip(points["weight_index"], points["weights"], strict=True)}


def _write_weights(
    figure: Figure, height: float, y: float, cell: float, line: Sequence[int],
    weights: Mapping[int, Sequence[float]], headed: int,
) -> None:  # fmt: skip
    """Writes w_1 above each image, or all weights if there are more than two."""
    for column, index in enumerate(line):
        w = weights[index]
        text = f"w₁ = {w[0]:.2g}" if headed == 2 else " ".join(f"{x:.2g}" for x in w)
        size = min(5.5, _fit_size(text, cell))
        x = (column * (cell + _GAP) + cell / 2) / COLUMN
        figure.text(x, 1 - (y + 0.01) / height, readable(text), fontsize=size, va="top", ha="center")


def _fit_size(text: str, inches: float) -> float:
    """Returns the largest size of type at which a short text is not wider than `inches`."""
    return 72 * inches / (0.62 * max(1, len(text)))
