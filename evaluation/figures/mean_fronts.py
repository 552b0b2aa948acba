"""Figure 3: the mean fronts of the methods in the plane of the two guided rewards."""

import pandas as pd

from evaluation.figures.drawn import CannotDraw, Drawn
from evaluation.figures.paper_style import GREY, colour, deepened, legend_outside, marker, new_figure, short_labels
from evaluation.measures.fronts import mean_over_prompts
from evaluation.reading.comparison import UNGUIDED, Comparison


def draw_mean_fronts(comparison: Comparison) -> list[Drawn]:
    """Draws Figure 3: one line for each method of each run, one mark for each weighting.

    A mark is the mean of both rewards over the compared prompts. The deeper its colour, the larger w_1, the weight of
    the first reward. The model alone has no weights, so it is one mark, the mean over all of its images.

    Raises:
        CannotDraw: the runs do not have two guided rewards.
    """
    if len(comparison.guided) != 2:
        raise CannotDraw(
            f"Figure 3 needs two guided rewards, and these runs have {len(comparison.guided)} "
            f"({', '.join(comparison.guided)}). fix: for three rewards, draw figure 5."
        )
    first, second = comparison.guided
    data = mean_front_table(comparison)
    names = short_labels(comparison)
    figure, (axis,) = new_figure(height=2.7)
    number = 0
    for label in comparison.labels:
        own = data[data["label"] == label].sort_values("w_1")
        if comparison.method_of(label) == UNGUIDED:
            axis.plot(own[first], own[second], "*", color=GREY, markersize=8, label=names[label])
            continue
        base = colour(number)
        axis.plot(own[first], own[second], "-", marker=marker(number), color=base, markersize=5, label=names[label])
        for _, row in own.iterrows():
            axis.plot(
                row[first], row[second], marker(number), color=deepened(base, row["w_1"]), markeredgecolor=base,
                markeredgewidth=0.7, markersize=5,
            )  # fmt: skip
        number += 1
    axis.set_xlabel(with_unit(comparison, first))
    axis.set_ylabel(with_unit(comparison, second))
    axis.margins(0.08)
    legend_outside(figure, axis)
    return [Drawn("figure_3", figure, data)]


def mean_front_table(comparison: Comparison) -> pd.DataFrame:
    """Returns the mean fronts: label, weight_index, w_1, w_2, ..., prompts, and the mean of every guided reward.

    A label of the model alone has one row, without weights.
    """
    guided = list(comparison.guided)
    means = mean_over_prompts(comparison.points, guided)
    weighted = means[means["weights"].notna()].reset_index(drop=True)
    columns = [f"w_{m}" for m in range(1, len(guided) + 1)]
    weights = pd.DataFrame(weighted["weights"].tolist(), columns=columns, dtype=float)
    rows = [pd.concat([weighted[["label", "weight_index"]], weights, weighted[["prompts", *guided]]], axis=1)]
    for label in comparison.labels:
        if comparison.method_of(label) == UNGUIDED:
            own = comparison.points_of(label)
            alone = own[guided].mean().to_frame().T
            rows.append(alone.assign(label=label, prompts=own["prompt_id"].nunique()))
    order = {label: number for number, label in enumerate(comparison.labels)}
    table = pd.concat([part for part in rows if len(part)], ignore_index=True)
    table = table.sort_values(["label", "weight_index"], key=lambda c: c.map(order) if c.name == "label" else c)
    return table.astype({"weight_index": "Int64", "prompts": int}).reset_index(drop=True)


def with_unit(comparison: Comparison, reward: str) -> str:
    """Returns the name of a reward with its unit, as an axis is named."""
    unit = comparison.unit_of(reward)
    return f"{reward} ({unit})" if unit else reward
