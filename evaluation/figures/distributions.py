"""Figure 8: the overlap of the denoising distributions of two exemplars and of a mixed weighting, step by step."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.paper_style import colour, fitted, legend_outside, new_figure
from evaluation.measures.fronts import one_hot_reward
from evaluation.measures.overlap import QUARTILES, overlap_table
from evaluation.reading.comparison import Comparison

_LINES = ("-", "--", "-.", ":")


def draw_distributions(comparison: Comparison) -> list[Drawn]:
    """Draws Figure 8, one picture for each method whose steps have exemplars.

    The lines are the medians of the Bhattacharyya coefficient over the latent's entries, and the bands reach from the
    25th to the 75th percentile, all averaged over the compared prompts. Its distributions are those of the exemplars,
    with means c_1, c_2, ..., and that of the weighting nearest to equal weights, with mean mu. The time t falls from T,
    as in the paper.

    Raises:
        CannotDraw: no method has the overlap of two different distributions.
    """
    table = overlap_table(comparison)
    drawn = list[Drawn]()
    for label in comparison.labels:
        points = comparison.points_of(label).drop_duplicates("weight_index")
        weights = {int(i): w for i, w in zip(points["weight_index"], points["weights"], strict=True) if w is not None}
        pairs = _pairs(weights, comparison.guided)
        rows = table[table["label"] == label].merge(pairs, on=["exemplar", "weight_index"])
        if len(rows):
            rows = rows.assign(t=int(comparison.run_of(label).config["steps"]) - rows["step"])
            stem = "figure_8" if not drawn else f"figure_8_{len(drawn) + 1}"
            rows = rows.sort_values(["pair", "step"]).reset_index(drop=True)
            drawn.append(_draw(stem, _title(label, rows, weights, comparison.guided), rows))
    if not drawn:
        raise CannotDraw(
            "Figure 8 needs the overlap of two distributions, which steps/ has for srsoup and weighted_sum with two or "
            "more guided rewards. fix: run `srsoup run configs/experiments/fig8_overlap.yaml` or its _mini twin."
        )
    return drawn


def _pairs(weights: Mapping[int, Sequence[float]], guided: Sequence[str]) -> pd.DataFrame:
    """Returns the pairs of distributions: exemplar, weight_index, and the name of the pair."""
    mixed = [index for index, w in weights.items() if one_hot_reward(w) is None]
    rows = []
    if mixed:
        nearest = min(mixed, key=lambda index: (float(np.ptp(weights[index])), index))
        rows += [(reward, nearest, f"μ and {_mean(m)}") for m, reward in enumerate(guided)]
    for index, w in weights.items():
        other = one_hot_reward(w)
        rows += [
            (reward, index, f"{_mean(m)} and {_mean(other)}")
            for m, reward in enumerate(guided)
            if other is not None and m < other
        ]
    return pd.DataFrame(rows, columns=["exemplar", "weight_index", "pair"]).drop_duplicates(["exemplar", "pair"])


def _mean(m: int) -> str:
    return f"c{chr(0x2081 + m)}"


def _title(label: str, rows: pd.DataFrame, weights: Mapping[int, Sequence[float]], guided: Sequence[str]) -> str:
    means = ", ".join(f"{_mean(m)}: {reward}" for m, reward in enumerate(guided))
    mixed = rows[rows["pair"].str.startswith("μ")]["weight_index"]
    own = f"; μ: weights {', '.join(f'{w:.2g}' for w in weights[mixed.iloc[0]])}" if len(mixed) else ""
    return "\n".join(fitted(line, 2.4, 6.5) for line in (f"{label}{own}", means))


def _draw(stem: str, title: str, rows: pd.DataFrame) -> Drawn:
    figure, (axis,) = new_figure(height=2.5)
    for number, pair in enumerate(sorted(set(rows["pair"]), reverse=True)):
        own = rows[rows["pair"] == pair].sort_values("step")
        low, median, high = (own[quartile].to_numpy(dtype=float) for quartile in QUARTILES)
        axis.fill_between(own["t"], low, high, color=colour(number), alpha=0.18, linewidth=0)
        axis.plot(own["t"], median, _LINES[number % 4], color=colour(number), label=f"BC between {pair}")
    axis.set(xlabel="denoising time t", ylabel="Bhattacharyya coefficient", ylim=(-0.02, 1.02))
    axis.invert_xaxis()
    axis.set_title(title, fontsize=6.5)
    legend_outside(figure, axis)
    return Drawn(stem, figure, rows[["label", "pair", "exemplar", "weight_index", "step", "t", *QUARTILES, "fronts"]])
