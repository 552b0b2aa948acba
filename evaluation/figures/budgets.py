"""Figure 1: the hypervolume by the number of queries and by time, for SRSoup and for the weighted sum."""

import pandas as pd

from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.paper_style import colour, legend_outside, marker, new_figure
from evaluation.figures.settings import budgets, check_same_settings
from evaluation.reading.comparison import UNGUIDED, Comparison

_NEEDS = (
    "Figure 1 needs one method with two or more budgets of queries: runs of srsoup with different soup.steps, and of "
    "weighted_sum with different queries"
)
_FIX = "fix: run `srsoup sweep` with one of configs/experiments/fig1_*.yaml, and give all of its run folders."


def draw_budgets(comparison: Comparison) -> list[Drawn]:
    """Draws Figure 1: the hypervolume of the mean front against queries and against time per prompt.

    Every mark is one method of one run, and a line joins the budgets of one method. The paper does not say which of the
    hypervolumes it shows; that of the mean front is the likely one, because its reference points lie just below its
    worst means. The data also have the mean over prompts, with its interval.

    Raises:
        CannotDraw: no method has two budgets, or the budgets of one method differ in another setting.
    """
    data = budgets(comparison)
    data = data[data["method"] != UNGUIDED].dropna(subset=["queries"]).sort_values(["method", "queries"])
    data = data.reset_index(drop=True)
    methods = {str(method): own for method, own in data.groupby("method", sort=False)}
    if not any(own["queries"].nunique() > 1 for own in methods.values()):
        found = ", ".join(f"{method}: {own['queries'].iloc[0]:,.0f}" for method, own in methods.items())
        raise CannotDraw(f"{_NEEDS}. Queries per prompt in these runs: {found or 'not known'}. {_FIX}")
    for method, own in methods.items():
        check_same_settings(comparison, own["label"], f"Figure 1, for {method},", ("K", "N"))
    figure, axes = new_figure(1, 2, height=2.2, sharey=True)
    unit, seconds = ("min", 60.0) if data["seconds"].max() >= 120 else ("s", 1.0)
    x_axes = (("queries", 1.0, "queries per prompt"), ("seconds", seconds, f"time per prompt ({unit})"))
    for axis, (column, scale, name) in zip(axes, x_axes, strict=True):
        for number, (method, own) in enumerate(_in_order(methods)):
            own = own.sort_values(column)
            x, y = own[column].astype(float) / scale, own["of_mean_front"].astype(float)
            axis.plot(x, y, marker=marker(number), color=colour(number), label=method)
        axis.set_xlabel(name)
        axis.margins(0.08)
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_ylabel("HV of the mean front")
    legend_outside(figure, axes[0])
    return [Drawn("figure_1", figure, data)]


def _in_order(methods: dict[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame]]:
    """Returns the methods with SRSoup first, so that it has the same colour in all figures."""
    return sorted(methods.items(), key=lambda item: (item[0] != "srsoup", item[0]))
