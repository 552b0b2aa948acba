"""Pareto fronts: the non-dominated points of each prompt, and the mean over prompts of each weighting."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def non_dominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns for each of n points (n, M) whether no other point dominates it; higher is better.

    Point a dominates point b if a >= b in every reward and a > b in at least one. Equal points do not dominate each
    other.
    """
    values = np.asarray(points, dtype=np.float64)
    at_least = (values[:, None, :] >= values[None, :, :]).all(axis=2)
    above = (values[:, None, :] > values[None, :, :]).any(axis=2)
    return np.asarray(~(at_least & above).any(axis=0))


def mark_fronts(points: pd.DataFrame, rewards: Sequence[str]) -> pd.DataFrame:
    """Adds the column `on_front`: no sample of the same label and prompt dominates this one."""
    marked = points.assign(on_front=False)
    for _, group in points.groupby(["label", "prompt_id"], sort=False):
        marked.loc[group.index, "on_front"] = non_dominated(group[list(rewards)].to_numpy(dtype=np.float64))
    return marked


def mean_over_prompts(points: pd.DataFrame, rewards: Sequence[str]) -> pd.DataFrame:
    """Returns the mean of each reward over prompts, by label and weight_index, with `weights` and `prompts`."""
    groups = points.groupby(["label", "weight_index"], sort=False)
    means = groups[list(rewards)].mean()
    means["weights"] = groups["weights"].agg(lambda column: column.iloc[0])
    means["prompts"] = groups.size()
    means = means.reset_index().sort_values(["label", "weight_index"]).reset_index(drop=True)
    return means


def one_hot_reward(weights: Sequence[float] | None) -> int | None:
    """Returns the number of the reward that has all the weight, or None if no reward has.

    Weights up to 1e-6 are rounding, as in a configuration. The unguided model has no weights (None).
    """
    used = [number for number, w in enumerate(weights or ()) if w > 1e-6]
    return used[0] if len(used) == 1 else None


def weight_name(weights: Sequence[float] | None, index: int) -> str:
    """Returns a short name of a weighting: its first weight if it has one or two, else all its weights.

    The unguided model has no weights (None); its samples are named by their number, from 1.
    """
    if weights is None:
        return f"#{index + 1}"
    shown = [f"{w:.3g}" for w in weights]
    return shown[0] if len(shown) <= 2 else "(" + ", ".join(shown) + ")"
