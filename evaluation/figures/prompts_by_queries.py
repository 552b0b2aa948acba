"""Figure 16: the fronts of single prompts, easy and hard ones, by the number of candidates."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from evaluation.figures.ablations import by_candidates
from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.mean_fronts import with_unit
from evaluation.figures.paper_style import fitted, legend_outside, marker, new_figure, shades
from evaluation.figures.settings import check_same_settings, settings
from evaluation.measures.hypervolume import hypervolume_table, reference_point
from evaluation.reading.comparison import Comparison

MOST_PANELS = 6


def draw_prompts(comparison: Comparison, prompts: Sequence[str] = ()) -> list[Drawn]:
    """Draws Figure 16: one panel for each prompt, one line for each N of SRSoup.

    Of more than six prompts, the three with the largest and the three with the smallest hypervolume are drawn; the
    easiest is first. With one N, a panel has one line.

    Args:
        prompts: the prompts to draw, by text or prompt_id; by default the easiest and the hardest.

    Raises:
        CannotDraw: there is no SRSoup, there are not two guided rewards, or the runs differ in more than N.
    """
    if len(comparison.guided) != 2:
        raise CannotDraw(f"Figure 16 needs two guided rewards, and these runs have {len(comparison.guided)}.")
    table = settings(comparison)
    soups = table[table["method"] == "srsoup"]
    if soups.empty:
        raise CannotDraw("Figure 16 shows SRSoup, and these runs have other methods only. fix: run with method=srsoup.")
    rows = by_candidates(table)
    rows = rows if len(rows) else soups.head(1)
    check_same_settings(comparison, rows["label"], "Figure 16", ("N",))
    points = comparison.points[comparison.points["label"].isin(rows["label"])].merge(rows[["label", "N"]], on="label")
    if prompts:
        points = points[points["prompt_id"].isin(prompts) | points["prompt"].isin(prompts)]
    chosen = _easy_and_hard(comparison, points)
    data = points[points["prompt_id"].isin(chosen)]
    data = pd.concat([
        data[["label", "N", "prompt_id", "prompt", "weight_index"]],
        pd.DataFrame(data["weights"].tolist(), columns=["w_1", "w_2"], index=data.index),
        data[list(comparison.guided)],
    ], axis=1)  # fmt: skip
    data = data.reset_index(drop=True)
    return [Drawn("figure_16", _draw(comparison, data, chosen), data)]


def _easy_and_hard(comparison: Comparison, points: pd.DataFrame) -> list[str]:
    volumes = hypervolume_table(comparison, reference_point(comparison)).by_prompt
    volumes = volumes[volumes["label"].isin(points["label"]) & volumes["prompt_id"].isin(points["prompt_id"])]
    means = volumes.groupby("prompt_id")["hypervolume"].mean().sort_values(ascending=False, kind="stable")
    order = [str(prompt_id) for prompt_id in means.index]
    half = MOST_PANELS // 2
    return order if len(order) <= MOST_PANELS else order[:half] + order[-half:]


def _draw(comparison: Comparison, data: pd.DataFrame, chosen: Sequence[str]) -> Figure:
    columns = min(2, len(chosen))
    lines = -(-len(chosen) // columns)
    figure, axes = new_figure(lines, columns, height=1.35 * lines + 0.55, sharex=True, sharey=True)
    values = sorted(set(data["N"]))
    colours = shades(len(values))
    for axis, prompt_id in zip(axes, chosen, strict=False):
        own = data[data["prompt_id"] == prompt_id]
        for number, n in enumerate(values):
            line = own[own["N"] == n].sort_values("w_1")
            axis.plot(
                line[comparison.guided[0]], line[comparison.guided[1]], marker=marker(number), color=colours[number],
                markersize=3, label=f"N = {n}",
            )  # fmt: skip
        axis.set_title(fitted(str(own["prompt"].iloc[0]), 2.6 / columns, 6.5), fontsize=6.5)
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    figure.supxlabel(with_unit(comparison, comparison.guided[0]), fontsize=7)
    figure.supylabel(with_unit(comparison, comparison.guided[1]), fontsize=7)
    legend_outside(figure, axes[0], columns=4, side="outside upper center")
    return figure
