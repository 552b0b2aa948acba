"""The comparison of methods: every two labels on the same prompts, and the indicators of each label's fronts."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.measures.fronts import non_dominated, split
from evaluation.measures.hypervolume import HypervolumeTable
from evaluation.measures.indicators import additive_epsilon, igd_plus, r2
from evaluation.reading.comparison import Comparison
from evaluation.statistics.paired import compare, holm

PAIR_COLUMNS = [
    "reference", "first", "second", "prompts", "difference", "low", "high", "wins", "ties", "losses", "win_rate", "p",
    "p_holm", "exact",
]  # fmt: skip
INDICATORS = ("igd_plus", "epsilon", "r2")


def compare_methods(
    comparison: Comparison, volumes: Mapping[str, HypervolumeTable], labels: Sequence[str] | None = None
) -> pd.DataFrame:
    """Returns how the hypervolumes of every two labels differ, prompt by prompt (`paired.compare`).

    `p_holm` is corrected for the number of pairs with the same reference point.

    Args:
        volumes: the hypervolumes from each reference point, by the name of the point.
        labels: the labels in the order in which the first of a pair is chosen; by default that of the comparison.
    """
    rows = []
    for reference, table in volumes.items():
        wide = table.by_prompt.pivot(index="prompt_id", columns="label", values="hypervolume").sort_index()
        texts = table.by_prompt.drop_duplicates("prompt_id").set_index("prompt_id")["text_id"].loc[wide.index]
        values = {label: wide[label].to_numpy(dtype=np.float64) for label in comparison.labels}
        names = texts.to_numpy(dtype=str)
        pairs = list(combinations(labels or comparison.labels, 2))
        found = [compare(values[a], values[b], names) for a, b in pairs]
        corrected = holm(np.array([pair.p for pair in found]))
        for (a, b), pair, p_holm in zip(pairs, found, corrected, strict=True):
            counts = (pair.wins, pair.ties, pair.losses, pair.win_rate)
            ends = (pair.prompts, pair.difference, pair.low, pair.high)
            rows.append((reference, a, b, *ends, *counts, pair.p, float(p_holm), pair.exact))
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


def indicators(comparison: Comparison) -> pd.DataFrame:
    """Returns the mean over fronts of IGD+, additive epsilon and R2 of each label; lower is better for all three.

    They are measured on rewards that are scaled, one by one, so that the images of all labels reach from 0 to 1. The
    reference front of a prompt and seed is the set of the images of all labels that none of them dominates, and the
    ideal point is (1, ..., 1). So the values are relative to the labels that are compared, and can be compared within
    one table only.
    """
    rewards = list(comparison.guided)
    low, high = comparison.points[rewards].min(), comparison.points[rewards].max()
    span = (high - low).where(high > low, 1.0)
    scaled = comparison.points.assign(**{name: (comparison.points[name] - low[name]) / span[name] for name in rewards})
    labels, rows = scaled["label"].to_numpy(), []
    for _, places, values in split(scaled, ["prompt_id"], rewards):
        front = np.unique(values[non_dominated(values)], axis=0)
        own = labels[places]
        rows += [(label, *_indicators(values[own == label], front)) for label in comparison.labels]
    means = pd.DataFrame(rows, columns=["label", *INDICATORS]).groupby("label").mean()
    return means.loc[list(comparison.labels)].reset_index()


def _indicators(points: NDArray[np.float64], front: NDArray[np.float64]) -> tuple[float, float, float]:
    ideal = np.ones(points.shape[1])
    return igd_plus(points, front), additive_epsilon(points, front), r2(points, ideal)
