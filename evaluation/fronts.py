"""Pareto fronts: the non-dominated points of one prompt, and the mean over prompts by weight."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def non_dominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of n points (n, M), higher is better, no other point dominates.

    a dominates b where a >= b in every reward and a > b in one; equal points do not dominate each other.
    """
    values = np.asarray(points, dtype=np.float64)
    at_least = (values[:, None, :] >= values[None, :, :]).all(axis=2)
    above = (values[:, None, :] > values[None, :, :]).any(axis=2)
    return np.asarray(~(at_least & above).any(axis=0))


def mark_fronts(points: pd.DataFrame, rewards: Sequence[str]) -> pd.DataFrame:
    """The points with a column `on_front`: non-dominated among the samples of its label and prompt."""
    marked = points.assign(on_front=False)
    for _, group in points.groupby(["label", "prompt_id"], sort=False):
        marked.loc[group.index, "on_front"] = non_dominated(group[list(rewards)].to_numpy(dtype=np.float64))
    return marked


def mean_over_prompts(points: pd.DataFrame, rewards: Sequence[str]) -> pd.DataFrame:
    """Mean of each reward over prompts, per label and weight_index, with `weights` and `on_front`."""
    groups = points.groupby(["label", "weight_index"], sort=False)
    means = groups[list(rewards)].mean()
    means["weights"] = groups["weights"].agg(lambda column: column.iloc[0])
    means["prompts"] = groups.size()
    means = means.reset_index().sort_values(["label", "weight_index"]).reset_index(drop=True)
    return means


def weight_name(weights: Sequence[float] | None, index: int) -> str:
    """How a weight is written beside a point: w_1 for two rewards, else all of w; the sample's number
    (from 1) for the unguided model, which has no weight."""
    if weights is None:
        return f"#{index + 1}"
    shown = [f"{w:.3g}" for w in weights]
    return shown[0] if len(shown) <= 2 else "(" + ", ".join(shown) + ")"
