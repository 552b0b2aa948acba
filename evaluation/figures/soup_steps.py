"""Figure 10: the hypervolume by the number of soup steps."""

from evaluation.figures.ablations import by_steps
from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.paper_style import colour, legend_outside, new_figure
from evaluation.figures.settings import budgets, check_same_settings
from evaluation.reading.comparison import Comparison


def draw_soup_steps(comparison: Comparison) -> list[Drawn]:
    """Draws Figure 10: the hypervolume against K; K = 0 is the weighted sum.

    Solid, the hypervolume of the mean front, which the paper very probably shows. Dashed, the mean over prompts of the
    hypervolume of each prompt's own front, with its 95 % interval as a band.

    Raises:
        CannotDraw: the runs do not have two K at the same N, or differ in more than K.
    """
    table = budgets(comparison)
    data = by_steps(table)
    if len(data) < 2:
        known = ", ".join(f"K = {k}" for k in sorted(set(table["K"].dropna()))) or "no K"
        raise CannotDraw(
            f"Figure 10 needs runs of srsoup with two or more soup.steps at the same queries, and these have {known}. "
            "fix: run `srsoup sweep` with configs/experiments/fig7_soup_steps.yaml, and give all of its run folders."
        )
    check_same_settings(comparison, data["label"], "Figure 10", ("K",))
    figure, (axis,) = new_figure(height=2.4)
    k = data["K"].astype(float)
    low, high, mean = (data[column].astype(float) for column in ("low", "high", "hypervolume"))
    axis.plot(k, data["of_mean_front"].astype(float), "o-", color=colour(0), label="of the mean front")
    axis.plot(k, mean, "s--", color=colour(1), label="mean over prompts")
    axis.fill_between(k, low, high, color=colour(1), alpha=0.15, linewidth=0)
    axis.set(xlabel="soup steps K", ylabel="hypervolume")
    axis.set_xticks(k)
    legend_outside(figure, axis)
    return [Drawn("figure_10", figure, data)]
