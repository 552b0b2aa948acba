"""How far the denoising distributions overlap, by step (Appendix B, Figure 8): what justifies a soup step."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.figures import finish, style
from evaluation.fronts import weight_name
from evaluation.run_data import Comparison

QUARTILES = ("overlap_q25", "overlap_q50", "overlap_q75")
COLUMNS = ("label", "exemplar", "weight_index", "step", "timestep", "phase", *QUARTILES, "fronts")


def overlap_table(comparison: Comparison) -> pd.DataFrame:
    """Quartiles over dimensions of the Bhattacharyya coefficient of each exemplar and weight, mean over prompts.

    A row for each label, guided reward (whose exemplar it is), weight and step. Of the coefficients over the dimensions
    d, BC_d = exp(-(mu_d - c_d)^2 / (8 sigma^2)) in 0..1, the three quartiles, each averaged over the `fronts` prompts
    (and seeds) that have it; timestep and phase of the step. Steps without exemplars have no row; an exemplar's own is
    1.
    """
    steps = comparison.steps.dropna(subset=["reward", *QUARTILES])
    steps = steps.rename(columns={"reward": "exemplar"})
    groups = steps.groupby(["label", "exemplar", "weight_index", "step"], sort=False)
    table = groups[list(QUARTILES)].mean()
    table[["timestep", "phase"]] = groups[["timestep", "phase"]].first()
    table["fronts"] = groups["key"].nunique()
    table = table.reset_index()
    table["label"] = pd.Categorical(table["label"], comparison.labels)
    table["exemplar"] = pd.Categorical(table["exemplar"], comparison.guided)
    table = table.sort_values(["label", "exemplar", "weight_index", "step"]).reset_index(drop=True)
    return table.astype({"label": str, "exemplar": str})[list(COLUMNS)]


def draw_overlap(rows: pd.DataFrame, weights: Mapping[int, Sequence[float]], guided: Sequence[str]) -> Figure:
    """One label's overlap: a panel an exemplar, a line a weight (median), a band from quartile to quartile.

    An exemplar's overlap with itself, 1 throughout, is not drawn. A dashed line is where the soup steps end.

    Args:
        rows: of `overlap_table`, of one label.
        weights: weight_index -> its M entries.
        guided: the guiding rewards, in the order of the weights.
    """
    exemplars = [reward for reward in guided if reward in set(rows["exemplar"])]
    # Not the whole map: its ends are lost on near-black and on white.
    shades = dict(zip(weights, plt.get_cmap("viridis")(np.linspace(0.3, 0.9, len(weights))), strict=True))
    with plt.rc_context(style(9)):
        figure, axes = plt.subplots(
            1,
            len(exemplars),
            figsize=(3.4 * len(exemplars) + 1.2, 3.0),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, exemplar in zip(axes[0], exemplars, strict=True):
            one_hot = [float(reward == exemplar) for reward in guided]
            own = rows[rows["exemplar"] == exemplar]
            for index, w in weights.items():
                if list(w) != one_hot:
                    _draw_line(axis, own[own["weight_index"] == index], weight_name(w, index), shades[index])
            _mark_soup(axis, own)
            axis.set(title=f"exemplar of {exemplar}", xlabel="step", ylim=(-0.02, 1.02))
            finish(axis)
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
    soup, later = (rows[(rows["phase"] == "soup") == shared]["step"] for shared in (True, False))
    if len(soup) and len(later):
        axis.axvline(soup.max() + 0.5, color="#8b929c", linestyle="--", linewidth=1)
